"""A storm over environments: what users do to many at once, and whether the end is as it should be.

It speaks to any cluster behind the `Cluster` Protocol, so the same storm meets the one in memory
and real ones. What it does follows from its seed alone; when it does it depends on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from random import Random
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.controller.planning import reference
from kindling.operator.controller.reading import SORTS
from kindling.operator.controller.wanting import known_of
from kindling.operator.definitions.environment import KIND
from kindling.operator.desired import desired

__all__ = ["Storm", "uncovered"]

SORT = SORTS[KIND]
_IMAGES = ("none:1", "none:2", "none:3")
_DEPENDENCIES: tuple[dict[str, Any], ...] = (
    {"type": "redis", "image": "none:1"},
    {"type": "redis", "image": "none:1", "port": 7000},
    {"type": "postgres", "image": "none:1"},
    {"type": "nats", "image": "none:1"},
    {"type": "memcached", "image": "none:1"},
)
_INGRESS = {"enabled": True, "host": "storm.localhost", "ingressClassName": "nobody"}


class Storm:
    """`count` names of environments in `namespace`. `acts` counts what was done to them."""

    def __init__(self, cluster: Cluster, namespace: str, count: int, seed: int) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.names = tuple(f"env-{number:03}" for number in range(count))
        self.acts = 0
        self._random = Random(seed)
        self._living: set[str] = set()

    async def begin(self) -> None:
        """Every environment is there once."""
        for name in self.names:
            await self._write(name)

    async def act(self) -> None:
        """One thing that a user does: to an environment, or, rarely, to a child behind the
        operator's back."""
        self.acts += 1
        random = self._random
        name = random.choice(self.names)
        if name not in self._living:
            await self._write(name)
            return
        match random.choices(("change", "delete", "anew", "spoil", "drift"), (5, 3, 1, 1, 1))[0]:
            case "change":
                await self._write(name)
            case "delete":
                await self._delete(name)
            case "anew":
                await self._delete(name)
                await self._write(name)
            case "spoil":
                kind = random.choice((("apps/v1", "Deployment"), ("v1", "Service")))
                await self.cluster.delete(ObjectRef(*kind, name, self.namespace))
            case _:
                with suppress(NotFoundError):
                    await self.cluster.patch(
                        ObjectRef("apps/v1", "Deployment", name, self.namespace),
                        {"spec": {"replicas": 7}},
                        manager="somebody",
                    )

    async def wrong(self) -> list[str]:
        """Whatever is not as it should be: children of survivors that are not as `desired` says,
        and objects that belong to nobody who is left."""
        listing = await self.cluster.list(SORT.api_version, KIND, namespace=self.namespace)
        owners = listing.items
        names = {one["metadata"]["name"] for one in owners}
        found = [f"{name} should be there" for name in self._living - names]
        found += [f"{name} should be gone" for name in names - self._living]
        children = await self.children()
        wanted: dict[ObjectRef, tuple[Object, Object]] = {}
        for owner in owners:
            found += _unobserved(owner)

            async def find(ref: ObjectRef) -> Object | None:
                return children.get(ref)

            try:
                made = desired(owner, await known_of(owner, find), _no_draw)
            except _DrawnError:
                found.append(f"credentials of {owner['metadata']['name']} are missing")
                continue
            if made.problems:
                found.append(f"{owner['metadata']['name']}: {made.problems}")
            wanted |= {reference(one): (owner, one) for one in made.objects}
        for ref, (owner, manifest) in wanted.items():
            live = children.get(ref)
            if live is None:
                found.append(f"{ref} is missing")
            else:
                found += [f"{ref}: {path}" for path in uncovered(manifest, live)]
                if _owner(live) != owner["metadata"]["uid"]:
                    found.append(f"{ref} belongs to another")
        return found + [f"{ref} is left over" for ref in children.keys() - wanted.keys()]

    async def calm(self, limit: float) -> None:
        """Return once nothing is wrong.

        Raises:
            AssertionError: Something still is after `limit` seconds.
        """
        wrong = ["not looked at yet"]
        try:
            async with asyncio.timeout(limit), self.news() as news:
                while wrong:
                    await news.wait()
                    news.clear()
                    wrong = await self.wrong()
        except TimeoutError:
            listed = "\n".join(wrong[:20])
            raise AssertionError(f"{len(wrong)} wrong after {limit} s:\n{listed}") from None

    async def _write(self, name: str) -> None:
        manifest = {
            "apiVersion": SORT.api_version,
            "kind": KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": self._spec(),
        }
        await self.cluster.apply(manifest, manager="user", force=True)
        self._living.add(name)

    def _spec(self) -> dict[str, Any]:
        random = self._random
        deployment: dict[str, Any] = {
            "image": random.choice(_IMAGES),
            "port": random.choice((8080, 9090)),
            "env": [
                {"name": key, "value": str(random.randrange(9))}
                for key in random.sample(("ALPHA", "BETA", "GAMMA"), random.randrange(4))
            ],
        }
        spec: dict[str, Any] = {
            "deployment": deployment,
            "service": {"port": random.choice((80, 81))},
        }
        if random.random() < 0.3:
            spec["ingress"] = _INGRESS
        if random.random() < 0.5:
            spec["dependencies"] = [random.choice(_DEPENDENCIES)]
        return spec

    async def _delete(self, name: str) -> None:
        ref = SORT.ref(self.namespace, name)
        await self.cluster.delete(ref)
        await self.cluster.wait_deleted(ref)
        self._living.discard(name)

    async def children(self) -> dict[ObjectRef, Object]:
        """All objects of the kinds that an operator writes, but for those of the cluster itself."""
        found: dict[ObjectRef, Object] = {}
        for version, kind in SORT.children:
            listing = await self.cluster.list(version, kind, namespace=self.namespace)
            found |= {reference(one): one for one in listing.items if not _of_the_cluster(one)}
        return found

    @asynccontextmanager
    async def news(self) -> AsyncIterator[asyncio.Event]:
        """Set whenever something in the namespace has changed."""
        news = asyncio.Event()
        news.set()

        async def follow(version: str, kind: str) -> None:
            events = self.cluster.watch(version, kind, namespace=self.namespace)
            async with aclosing(events):
                async for event in events:
                    if event.kind is not EventKind.AWAY:
                        news.set()

        kinds = ((SORT.api_version, KIND), *SORT.children)
        tasks = [asyncio.create_task(follow(*kind)) for kind in kinds]
        try:
            yield news
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _DrawnError(Exception):
    pass


def _no_draw(_: int) -> bytes:
    raise _DrawnError


def _unobserved(owner: Object) -> list[str]:
    seen = (owner.get("status") or {}).get("observedGeneration", 0)
    head = owner["metadata"]
    told = f"the status of {head['name']} is of generation {seen}, not {head['generation']}"
    return [] if seen == head["generation"] else [told]


def _owner(live: Object) -> str:
    owners = live["metadata"].get("ownerReferences") or ()
    return next((one["uid"] for one in owners if one.get("controller")), "")


def _of_the_cluster(live: Object) -> bool:
    return live.get("type") == "kubernetes.io/service-account-token"


def uncovered(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Where `live` lacks something of `wanted`. It may have more fields; lists are of one length.
    This is told apart by plain comparison, not with the operator's own idea of a difference."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return [path] if wanted else []
        return [
            where
            for key, value in wanted.items()
            for where in uncovered(value, live.get(key), f"{path}.{key}")
        ]
    if isinstance(wanted, list | tuple):
        if not wanted and live is None:
            return []
        if not isinstance(live, list | tuple) or len(wanted) != len(live):
            return [path]
        pairs = enumerate(zip(wanted, live, strict=True))
        return [p for n, (one, two) in pairs for p in uncovered(one, two, f"{path}[{n}]")]
    return [] if wanted == live else [f"{path}: {live!r} instead of {wanted!r}"]
