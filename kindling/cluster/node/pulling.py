"""Which image a container gets: pull policies, credentials, and patience with registries."""

from __future__ import annotations

from collections.abc import Callable

from kindling.cluster.events import EventRecorder
from kindling.cluster.images.protocol import Image, Images, PullError
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.node.backoff import Backoff
from kindling.cluster.node.clock import Clock
from kindling.cluster.node.credentials import credentials_of, missing_pull_secrets

__all__ = ["ImageError", "Puller", "pull_policy"]


class ImageError(Exception):
    """No image now: the reason and message of the container's waiting state. `retry_at` is when to
    ask again, on the monotonic clock."""

    def __init__(self, reason: str, message: str, retry_at: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_at = retry_at


_SEEN = 2.0  # seconds for which a failed pull is shown before its back-off is
_ASK_AGAIN = 10.0


class Puller:
    """The images of all pods of a node. Failures back off for each pod and image on its own;
    `pulled` is called when an image came."""

    def __init__(
        self,
        api: Api,
        images: Images,
        clock: Clock,
        events: EventRecorder,
        pulled: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._images = images
        self._clock = clock
        self._events = events
        self._pulled = pulled
        self._backoffs: dict[tuple[str, str], tuple[Backoff, float, str]] = {}

    async def ensure(self, pod: Obj, container: Obj, about: Obj, slow: Callable[[], None]) -> Image:
        """The image to run; `about` is the reference that events are told of, and `slow` is called
        before a pull. Raises `ImageError`."""
        name = container.get("image", "")
        now = self._clock.monotonic()
        try:
            present = self._images.find(name)
        except PullError as error:
            message = f'Failed to apply default image tag "{name}": {error}'
            self._events.warning(about, "InspectFailed", message)
            self._events.warning(about, "Failed", f"Error: {error.reason}")
            raise ImageError(error.reason, message, now + 60) from error
        policy = pull_policy(container)
        if present is not None and policy != "Always":
            text = f'Container image "{name}" already present on machine'
            self._events.normal(about, "Pulled", text)
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            self._events.warning(about, "ErrImageNeverPull", message)
            self._events.warning(about, "Failed", "Error: ErrImageNeverPull")
            raise ImageError("ErrImageNeverPull", message, now + _ASK_AGAIN)
        slow()
        return await self._pull(pod, name, about)

    async def _pull(self, pod: Obj, name: str, about: Obj) -> Image:
        key = (pod["metadata"]["uid"], name)
        backoff, failed, told = self._backoffs.get(key, (Backoff(), 0.0, ""))
        begun = self._clock.monotonic()
        if told and begun < (until := failed + backoff.delay):
            self._events.normal(about, "BackOff", f'Back-off pulling image "{name}"')
            self._events.warning(about, "Failed", "Error: ImagePullBackOff")
            message = f'Back-off pulling image "{name}": ErrImagePull: {told}'
            raise ImageError("ImagePullBackOff", message, until)
        if missing := missing_pull_secrets(self._api, pod):
            self._events.warning(
                about,
                "FailedToRetrieveImagePullSecret",
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); attempting"
                " to pull the image may not succeed.",
            )
        self._events.normal(about, "Pulling", f'Pulling image "{name}"')
        try:
            image = await self._images.pull(name, credentials_of(self._api, pod))
        except PullError as error:
            now = self._clock.monotonic()
            backoff.step(now)
            self._backoffs[key] = (backoff, now, str(error))
            self._events.warning(about, "Failed", f'Failed to pull image "{name}": {error}')
            self._events.warning(about, "Failed", f"Error: {error.reason}")
            raise ImageError(error.reason, str(error), now + _SEEN) from error
        self._backoffs.pop(key, None)
        self._pulled()
        took = _duration(self._clock.monotonic() - begun)
        self._events.normal(
            about,
            "Pulled",
            f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size:'
            f" {image.size} bytes.",
        )
        return image

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        for key in [key for key in self._backoffs if key[0] == uid]:
            del self._backoffs[key]


def pull_policy(container: Obj) -> str:
    """The policy in force; without one, `Always` for the tag `latest` or none."""
    if policy := container.get("imagePullPolicy"):
        return str(policy)
    name = str(container.get("image", "")).rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    return "Always" if name.partition(":")[2] in ("", "latest") else "IfNotPresent"


def _duration(seconds: float) -> str:
    """As Go prints one: `250ms`, `1.5s`."""
    return (
        f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    )
