"""One object written to the cluster: whose it is, who else owns its fields, and what cannot change.

Server-side apply as `kindling`, into a namespace that is made where it is missing, under four
rules.

An object that carries another project's label is refused by name. One that carries no project's
label is taken over only when no field of ours is owned with another value by somebody else. On an
object that is ours already, what people changed by hand is drift and is put back, with a line that
says so; a controller that goes on writing the field (an autoscaler) would fight us for ever, so
that is an error. A field that cannot change makes the object be deleted and created anew, only
where the user consents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kindling.errors import ClusterError
from kindling.executors.placing import ensure_namespace
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    ConflictError,
    FieldConflictError,
    InvalidError,
    NotFoundError,
    UnknownKindError,
)
from kindling.kube.protocol import FIELD_MANAGER, Cluster, Object, Propagation
from kindling.objects.inject import OWNER_LABEL, owner_of
from kindling.sync.workload.agents import MANAGER as SESSION_MANAGER

__all__ = ["RefusedError", "Writer", "check_owner"]

_GONE_LIMIT = 60.0
_CONTROLLERS = (
    "kube-controller-manager",
    "vpa-",
    "keda",
    "argocd",
    "helm-controller",
    "kustomize-",
)
"""Managers that write again whatever we write, by the beginning of their names."""


class RefusedError(ClusterError):
    """kindling itself refuses to write an object."""


def check_owner(live: Object, ref: ObjectRef, project: str) -> None:
    """Refuse an object that carries another project's label.

    Raises:
        RefusedError: The message names the object and the project.
    """
    owner = owner_of(live)
    if owner and owner != project:
        raise RefusedError(
            f"{ref} belongs to the project `{owner}`, and this one is `{project}`",
            hint=(
                "Rename one of the two, or remove the other project with `kindling down`. To "
                f"take it over, remove its label `{OWNER_LABEL}`"
            ),
        )


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes objects for one node. `say` takes lines about what a user did not ask for by name."""

    cluster: Cluster
    project: str
    recreate: bool
    timeout: float
    say: Callable[[str], None]

    async def write(self, ref: ObjectRef, manifest: Object) -> Object:
        """Make the object equal to `manifest`; the object as it then is.

        Raises:
            RefusedError: It is another owner's.
            ClusterError: The API server refused it or did not answer.
        """
        live = await self._live(ref)
        if live is not None:
            check_owner(live, ref, self.project)
            if live["metadata"].get("deletionTimestamp"):
                self.say(f"{ref} is being deleted; waiting until it is gone")
                await self.cluster.wait_deleted(
                    ref, uid=live["metadata"]["uid"], timeout=_GONE_LIMIT
                )
                live = None
        try:
            return await self._apply(ref, manifest, live)
        except InvalidError as error:
            if live is None or not error.immutable:
                raise
            return await self._anew(ref, manifest, live, error)

    async def _live(self, ref: ObjectRef) -> Object | None:
        try:
            return await self.cluster.get(ref, timeout=self.timeout)
        except UnknownKindError:
            raise
        except NotFoundError:
            return None

    async def _apply(self, ref: ObjectRef, manifest: Object, live: Object | None) -> Object:
        try:
            return await self.cluster.apply(manifest, timeout=self.timeout)
        except FieldConflictError as error:
            self._may_take(ref, error, live)
            return await self.cluster.apply(manifest, force=True, timeout=self.timeout)
        except ConflictError:
            # Somebody wrote between the server's reading and writing: the same again works.
            return await self.cluster.apply(manifest, timeout=self.timeout)
        except UnknownKindError:
            raise
        except NotFoundError:
            # A new object has no other place to miss than its namespace.
            namespace = ref.namespace or self.cluster.namespace
            await ensure_namespace(self.cluster, namespace, self.project, self.say)
            return await self.cluster.apply(manifest, timeout=self.timeout)

    def _may_take(self, ref: ObjectRef, error: FieldConflictError, live: Object | None) -> None:
        # What a sync session has taken for its time, it takes again after this.
        others = [c for c in error.conflicts if c.manager not in (FIELD_MANAGER, SESSION_MANAGER)]
        if not others:
            return
        owned = live is not None and owner_of(live) == self.project
        stubborn = [c for c in others if c.manager.startswith(_CONTROLLERS)]
        if owned and not stubborn:
            for conflict in others:
                self.say(
                    f"{ref}: put back [{', '.join(conflict.fields)}], which `{conflict.manager}` "
                    "had changed"
                )
            return
        if owned:
            raise RefusedError(
                f"{ref}: a controller goes on writing fields that the manifest sets",
                details=[str(conflict) for conflict in stubborn],
                hint="Remove these fields from the manifest, or stop that controller",
            )
        raise RefusedError(
            f"{ref} exists already and is managed by others",
            details=[str(conflict) for conflict in others],
            hint=(
                "Rename it, delete the one in the cluster, or give that one the label "
                f"`{OWNER_LABEL}: {self.project}` so that kindling may take it over"
            ),
        )

    async def _anew(
        self, ref: ObjectRef, manifest: Object, live: Object, error: InvalidError
    ) -> Object:
        fields = ", ".join(error.immutable)
        if owner_of(live) != self.project or not self.recreate:
            raise InvalidError(
                f"{ref}: [{fields}] cannot be changed on an object that exists",
                error.causes,
                details=error.details,
                hint=(
                    "To let kindling delete it and create it anew, say "
                    "`k8s_resource(..., recreate=True)`; or delete it yourself"
                ),
            ) from error
        self.say(f"{ref}: [{fields}] cannot be changed, so it is deleted and created anew")
        # Pods of a stateful set keep their names: the new ones need the old ones gone.
        how = Propagation.FOREGROUND if ref.kind == "StatefulSet" else Propagation.BACKGROUND
        uid: Any = live["metadata"]["uid"]
        await self.cluster.delete(ref, uid=uid, propagation=how, timeout=self.timeout)
        await self.cluster.wait_deleted(ref, uid=uid, timeout=_GONE_LIMIT)
        return await self.cluster.apply(manifest, timeout=self.timeout)
