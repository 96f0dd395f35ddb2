"""What is to be written: manifests with the references of built images and the owner's label, and
the records of objects that were written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kindling.errors import ExecutionError
from kindling.executors.protocol import Job
from kindling.graph.node import NodeId
from kindling.graph.spec import ImageInjection, ObjectRef, ObjectSpec
from kindling.kube.protocol import Object
from kindling.objects.compare import digest_of
from kindling.objects.identity import Manifest, canonical, install_order, manifest_of
from kindling.objects.inject import Delivered, inject, with_owner

__all__ = ["output_digest", "record_of", "ref_of", "wanted"]


def wanted(
    job: Job,
    objects: Iterable[ObjectSpec],
    images: tuple[ImageInjection, ...],
    *,
    lenient: bool = False,
) -> Iterator[tuple[ObjectRef, Manifest]]:
    """The objects to write, with images and owner, in install order. `lenient`: an image that no
    node has delivered yet stays as the manifest has it.

    Raises:
        ExecutionError: A node delivered no reference.
    """
    references: dict[str, Delivered] = {}
    for injection in images:
        delivered = _delivered(job, injection)
        if delivered is None and not lenient:
            raise ExecutionError(
                f"`{injection.delivery}` delivered no reference for the image `{injection.ref}`"
            )
        if delivered is None:
            images = tuple(i for i in images if i.delivery != injection.delivery)
        else:
            references[injection.delivery] = delivered
    for item in install_order(objects):
        manifest = inject(manifest_of(item), images, references)
        yield item.ref, with_owner(manifest, job.world.project)


def _delivered(job: Job, injection: ImageInjection) -> Delivered | None:
    output = job.inputs.get(NodeId(injection.delivery))
    # An image that no node delivers is meant by its name in the engine, which the cluster shares.
    data = output.data if output else {}
    reference = str(data.get("reference") or data.get("local") or "")
    if output is None or not reference:
        return None
    return Delivered(reference, str(output.data.get("roll") or ""))


def record_of(live: Object, manifest: Manifest) -> dict[str, Any]:
    """Who an object is, and the digest of those of its fields that `manifest` has."""
    metadata = live["metadata"]
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata["uid"],
        "digest": digest_of(live, manifest),
    }


def ref_of(entry: Mapping[str, Any]) -> ObjectRef:
    """Of whom a record is."""
    return ObjectRef(
        entry["apiVersion"], entry["kind"], entry["name"], entry.get("namespace") or ""
    )


def output_digest(content: Mapping[str, Any]) -> str:
    """The digest of what was written; see `Output`."""
    return "sha256:" + hashlib.sha256(canonical(dict(content)).encode()).hexdigest()
