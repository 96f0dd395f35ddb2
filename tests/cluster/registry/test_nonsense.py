"""Whatever a client sends, it gets an answer of the API, and the registry goes on."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.cluster.model.api import DeleteOptions, PatchType, Selection, WriteOptions
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.schema.catalog import Catalog
from tests.cluster.registry.bench import (
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    Bench,
)

FIELDS = """
    metadata name namespace labels annotations finalizers ownerReferences uid generateName spec
    status replicas template containers image selector matchLabels ports port nodePort clusterIP
    type names plural kind group versions served storage schema scope target deleteOptions
    preconditions gracePeriodSeconds ephemeralContainers tolerations volumes volumeMounts
    priorityClassName serviceAccountName conditions resourceVersion managedFields fieldsV1 data
    apiVersion value path op $patch
"""
WORDS = st.sampled_from(FIELDS.split())
TEXTS = ["", "a", "web", "default", "None", "NodePort", "v1", "10.198.0.1", "x/y", "0"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.floats(allow_nan=False),
    st.sampled_from(TEXTS),
    st.text(max_size=5),
)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=6)
KINDS = [CONFIG_MAPS, PODS, SERVICES, DEPLOYMENTS, DEFINITIONS, builtin("jobs", "batch")]
SUBRESOURCES = ["", "status", "scale", "binding", "eviction", "ephemeralcontainers", "finalize"]


@given(
    resource=st.sampled_from(KINDS),
    obj=OBJECTS,
    subresource=st.sampled_from(SUBRESOURCES),
    patch_type=st.sampled_from(list(PatchType)),
    patch=JSON,
    selection=st.text(max_size=12),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nonsense_is_answered(**asked: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(ask(Path(folder), **asked))


async def ask(
    folder: Path,
    resource: Any,
    obj: Any,
    subresource: str,
    patch_type: PatchType,
    patch: Any,
    selection: str,
) -> None:
    bench = await Bench(folder, Catalog()).open()
    api = bench.api
    options = WriteOptions(field_manager="fuzz", force=True)
    try:
        await bench.furnish()
        await bench.pod(node="n")
        metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
        named = obj | {"metadata": metadata | {"name": "web", "namespace": "default"}}
        for doing in (
            api.create(resource, obj, "default", options),
            api.create(resource, named, "default", options),
            api.update(resource, named, subresource, options),
            api.patch(
                resource,
                "web",
                patch,
                "default",
                patch_type=patch_type,
                subresource="" if subresource in ("binding", "eviction") else subresource,
                options=options,
            ),
            api.delete(resource, "web", "default", DeleteOptions()),
        ):
            with contextlib.suppress(ApiError):
                await doing
        for question in (Selection(labels=selection), Selection(fields=selection)):
            with contextlib.suppress(ApiError):
                api.list(resource, question, proceed=selection)
        await bench.create(CONFIG_MAPS, "after")
        await bench.reopen()
        assert bench.get(CONFIG_MAPS, "after") is not None
    finally:
        await bench.close()
