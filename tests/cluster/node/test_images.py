"""Which images are pulled, with what, and what a failure looks like."""

from __future__ import annotations

import base64
import json

import pytest

from kindling.cluster.images.protocol import Credentials
from tests.cluster.node.bed import Bed


@pytest.mark.parametrize(
    ("image", "policy", "pulls"),
    [
        ("app:1", "", 0),
        ("app:1", "Always", 1),
        ("app", "", 1),
        ("app:latest", "", 1),
        ("app:latest", "IfNotPresent", 0),
        ("app@sha256:" + "a" * 64, "", 0),
        ("localhost:5000/app:2", "", 0),
    ],
)
async def test_policies(bed: Bed, image: str, policy: str, pulls: int) -> None:
    fields = {"imagePullPolicy": policy} if policy else {}
    await bed.pod(containers=[{"image": image, **fields}])
    await bed.running()
    assert len(bed.images.pulled) == pulls


async def test_a_missing_image_is_pulled(bed: Bed) -> None:
    bed.images.missing.add("app:1")
    await bed.pod()
    await bed.running()
    await bed.told("Pulling", 'Pulling image "app:1"')
    await bed.told("Pulled", 'Successfully pulled image "app:1" in ')
    assert bed.entry()["image"] == "docker.io/library/app:1"
    assert bed.entry()["imageID"] == "sha256:" + "0" * 64


async def test_a_failed_pull_backs_off_and_recovers(bed: Bed) -> None:
    why = 'failed to resolve reference "docker.io/library/app:1": not found'
    bed.images.broken["app:1"] = why
    await bed.pod()
    await bed.until(lambda: bed.entry().get("state", {}).get("waiting", {}).get("message"))
    assert bed.entry()["state"]["waiting"] == {"reason": "ErrImagePull", "message": why}
    await bed.told("Failed", f'Failed to pull image "app:1": {why}')
    await bed.told("Failed", "Error: ErrImagePull")
    await bed.clock.advance(3)
    waiting = bed.entry()["state"]["waiting"]
    assert waiting["reason"] == "ImagePullBackOff"
    assert waiting["message"] == f'Back-off pulling image "app:1": ErrImagePull: {why}'
    await bed.told("BackOff", 'Back-off pulling image "app:1"')
    assert len(bed.images.pulled) == 1
    await bed.clock.advance(8)
    assert len(bed.images.pulled) == 2
    await bed.clock.advance(15)
    assert len(bed.images.pulled) == 2
    del bed.images.broken["app:1"]
    bed.images.missing.add("app:1")
    await bed.clock.advance(6)
    await bed.running()
    assert bed.entry()["restartCount"] == 0


async def test_never_means_never(bed: Bed) -> None:
    bed.images.missing.add("app:1")
    await bed.pod(containers=[{"imagePullPolicy": "Never"}])
    await bed.until(lambda: bed.entry().get("state", {}).get("waiting", {}).get("message"))
    assert bed.entry()["state"]["waiting"] == {
        "reason": "ErrImageNeverPull",
        "message": 'Container image "app:1" is not present with pull policy of Never',
    }
    assert not bed.images.pulled


async def test_a_name_that_is_none(bed: Bed) -> None:
    await bed.pod(containers=[{"image": "App:1"}])
    await bed.until(lambda: bed.entry().get("state", {}).get("waiting", {}).get("message"))
    waiting = bed.entry()["state"]["waiting"]
    assert waiting["reason"] == "InvalidImageName"
    assert waiting["message"].startswith(
        'Failed to apply default image tag "App:1": couldn\'t parse'
    )


async def test_pull_secrets_of_the_pod_and_of_its_account(bed: Bed) -> None:
    def config(server: str, user: str) -> dict[str, str]:
        auth = base64.b64encode(f"{user}:pass:word".encode()).decode()
        text = json.dumps({"auths": {server: {"auth": auth}}})
        return {".dockerconfigjson": base64.b64encode(text.encode()).decode()}

    await bed.create("secrets", "mine", data=config("ghcr.io", "me"))
    await bed.create("secrets", "ours", data=config("https://index.docker.io/v1/", "we"))
    await bed.create("serviceaccounts", "puller", imagePullSecrets=[{"name": "ours"}])
    await bed.pod(
        containers=[{"imagePullPolicy": "Always"}],
        serviceAccountName="puller",
        imagePullSecrets=[{"name": "mine"}, {"name": "nowhere"}],
    )
    await bed.running()
    assert bed.images.pulled[0][1] == (
        Credentials("ghcr.io", "me", "pass:word"),
        Credentials("https://index.docker.io/v1/", "we", "pass:word"),
    )
    await bed.told("FailedToRetrieveImagePullSecret", "(nowhere)")
