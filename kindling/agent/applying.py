"""Applying the manifests of a request, by server-side apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from kindling.agent.orders import RefusedError
from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster

__all__ = ["MANAGER", "apply_manifests", "read_manifests"]

MANAGER = "kindling-build-agent"
"""Under which the fields are recorded that pipelines wrote."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_manifests(text: str) -> tuple[Mapping[str, Any], ...]:
    """The objects of a YAML text, lists taken apart.

    Raises:
        RefusedError: It is no YAML, has no object, or one without kind or name.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise RefusedError(f"the manifest is no valid YAML: {place}{problem}") from error
    found = tuple(_objects(documents))
    if not found:
        raise RefusedError("the manifest holds no object")
    return found


async def apply_manifests(text: str, cluster: Cluster, say: Callable[[str], None]) -> int:
    """Apply all objects, in their order, up to the first that fails; the exit code.

    Raises:
        ClusterError: The API server is away or refuses.
    """
    for manifest in read_manifests(text):
        say(await _apply(manifest, cluster))
    return 0


async def _apply(manifest: Mapping[str, Any], cluster: Cluster) -> str:
    metadata = manifest["metadata"]
    kind, name = str(manifest["kind"]), str(metadata["name"])
    namespace = str(metadata.get("namespace") or cluster.namespace)
    ref = ObjectRef(str(manifest["apiVersion"]), kind, name, namespace)
    try:
        try:
            before = (await cluster.get(ref))["metadata"]["resourceVersion"]
        except NotFoundError:
            before = ""
        # The job's manifest is how it is to be, as with `kubectl apply`, whoever wrote it before.
        live = await cluster.apply(manifest, force=True, manager=MANAGER)
    except ForbiddenError as error:
        raise ClusterError(
            error.message,
            details=error.details,
            hint="The agent may apply DevStagingEnvironments in its own namespace, nothing else",
        ) from error
    after = live["metadata"]["resourceVersion"]
    done = "created" if not before else "unchanged" if before == after else "configured"
    return f"{kind.lower()}/{name} {done}"


def _objects(documents: list[Any]) -> Iterator[Mapping[str, Any]]:
    for at, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise RefusedError(f"document {at} of the manifest is no object")
        if document.get("kind") == "List" and isinstance(document.get("items"), list):
            yield from _objects(document["items"])
            continue
        metadata = document.get("metadata")
        named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
        for what, there in (
            ("apiVersion", isinstance(document.get("apiVersion"), str)),
            ("kind", isinstance(document.get("kind"), str)),
            ("metadata.name", named),
        ):
            if not there:
                raise RefusedError(f"document {at} of the manifest has no `{what}`")
        yield document
