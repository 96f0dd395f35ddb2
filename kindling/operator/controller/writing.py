"""Steps carried out: each is one write, and what the server says to it is kept for the status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    ThrottledError,
    TimeLimitError,
    UnreachableError,
)
from kindling.kube.protocol import Cluster
from kindling.operator.controller.comparing import differences, reordering, spec_hash
from kindling.operator.controller.planning import Step, Verb, owned_by, reference
from kindling.operator.controller.reading import Reader
from kindling.operator.rules import Problem

__all__ = ["OPERATOR_MANAGER", "StaleError", "Writer", "described"]

Object = Mapping[str, Any]

OPERATOR_MANAGER = "kindling-operator"
"""The field manager of what the operator writes."""

_RECREATED = frozenset({"Deployment", "RoleBinding"})
"""Kinds that lose nothing by being made anew, where a field cannot change."""

_AWAY = (UnreachableError, TimeLimitError, ThrottledError)
"""Says nothing of the object: the whole pass is tried again."""


class StaleError(Exception):
    """An object is not as it was read; it has been read again, and the plan must be made anew."""


class Writer:
    """Carries out steps, one after the other. It remembers what servers spell otherwise."""

    def __init__(self, cluster: Cluster, reader: Reader) -> None:
        self._cluster = cluster
        self._reader = reader
        self._spelt: dict[str, tuple[str, tuple[str, ...]]] = {}

    def settled(self, step: Step) -> bool:
        """Whether the server keeps these very fields otherwise than they were written, so that
        writing them again would change nothing."""
        assert step.manifest is not None
        return self._spelt.get(step.uid) == (spec_hash(step.manifest), step.fields)

    async def carry_out(self, step: Step, owner_uid: str) -> Object | Problem | None:
        """The object as it then is, None for one that is gone, or why it could not be done.

        Raises:
            StaleError: The plan does not fit what is there.
            ClusterError: The cluster cannot be reached; nothing is known of the step.
        """
        try:
            if step.manifest is None:
                await self._cluster.delete(step.ref, uid=step.uid)
                self._reader.deleted(step.ref, step.uid)
                self._spelt.pop(step.uid, None)
                return None
            live = await self._write(step, step.manifest, owner_uid)
        except _AWAY:
            raise
        except (AlreadyExistsError, ConflictError) as error:
            self._reader.wrote(await self._cluster.get(step.ref))
            raise StaleError from error
        except ClusterError as error:
            return Problem(str(step.ref), "ReconcileFailed", _words(error))
        self._reader.wrote(live)
        if left := differences(step.manifest, live):
            self._spelt[live["metadata"]["uid"]] = (spec_hash(step.manifest), left)
        return live

    async def _write(self, step: Step, manifest: Object, owner_uid: str) -> Object:
        if step.ref.kind == "Secret":
            return await self._write_secret(step, manifest, owner_uid)
        try:
            return await self._apply(manifest)
        except InvalidError as error:
            if not error.immutable or step.ref.kind not in _RECREATED or not step.uid:
                raise
            if not owned_by(await self._cluster.get(step.ref), owner_uid):
                raise
            await self._cluster.delete(step.ref, uid=step.uid)
            self._reader.deleted(step.ref, step.uid)
            return await self._apply(manifest)

    async def _apply(self, manifest: Object) -> Object:
        live = await self._cluster.apply(manifest, manager=OPERATOR_MANAGER, force=True)
        patch = reordering(manifest, live)
        if patch is None:
            return live
        version = {"resourceVersion": live["metadata"]["resourceVersion"]}
        return await self._cluster.patch(
            reference(live), {"metadata": version, **patch}, manager=OPERATOR_MANAGER
        )

    async def _write_secret(self, step: Step, manifest: Object, owner_uid: str) -> Object:
        """A Secret is never written over: its values may be of use to somebody already."""
        if step.verb is Verb.CREATE:
            return await self._cluster.create(manifest, manager=OPERATOR_MANAGER)
        live = await self._reader.find(step.ref)
        if live is None:
            raise StaleError
        patch = _secret_patch(manifest, live, owner_uid)
        return await self._cluster.patch(step.ref, patch, manager=OPERATOR_MANAGER)


def _secret_patch(manifest: Object, live: Object, owner_uid: str) -> dict[str, Any]:
    """What makes the Secret that was read, and no later one, hold what it should. Keys that are no
    longer wanted go, unless the Secret was somebody else's before."""
    head, old = manifest["metadata"], live["metadata"]
    ours = head.get("ownerReferences", ())
    others = [one for one in old.get("ownerReferences") or () if one.get("uid") != owner_uid]
    gone = (live.get("data") or {}).keys() - manifest["data"].keys()
    stale = dict.fromkeys(gone) if owned_by(live, owner_uid) else {}
    return {
        "metadata": {
            "labels": head["labels"],
            "annotations": head["annotations"],
            "ownerReferences": [*others, *ours],
            "resourceVersion": old["resourceVersion"],
        },
        "data": {**stale, **manifest["data"]},
    }


def _words(error: ClusterError) -> str:
    return ": ".join((error.message, "; ".join(error.details))) if error.details else error.message


def described(ref: ObjectRef, verb: Verb) -> str:
    """A write in a few words, for logs and tests."""
    return f"{verb.value} {ref}"
