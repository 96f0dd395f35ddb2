"""Defaults and complaints are those of a real API server.

The server that stands for reference is a 1.20, so what later versions fill in or word otherwise is
left out by name below; where the two differ, we follow 1.32.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from kindling.cluster.schema.catalog import Catalog
from tests.cluster.schema.objects import Obj, documents, row_of, told

pytestmark = pytest.mark.cluster
KUBECTL = shutil.which("kubectl")

ADMITTED = re.compile(
    # Admission, allocation and the registry's own part, none of which is ours.
    r"\.spec\.(volumes|(init)?[cC]ontainers\[\d\]\.volumeMounts)\[\d\]\.?.*"
    r"|\.spec\.(tolerations.*|priority|preemptionPolicy|serviceAccount(Name)?)"
    r"|\.spec\.ports\[\d\]\.nodePort|\.spec\.clusterIPs?(\[0\])?|\.spec\.finalizers\[0\]"
    r"|\.metadata\.(finalizers\[0\]|annotations\.deprecated\.daemonset.*)|\.status.*|\.spec"
    r"|.*creationTimestamp|\.metadata\.managedFields.*"
)
LATER = re.compile(
    # Fields that 1.20 does not have.
    r"\.spec\.(completionMode|manualSelector|podReplacementPolicy|suspend)"
    r"|\.spec\.(internalTrafficPolicy|ipFamil.*|persistentVolumeClaimRetentionPolicy.*)"
    r"|\.spec\.updateStrategy\.rollingUpdate\.maxSurge"
    r"|.*(batch\.kubernetes\.io/|controller-uid|job-name|kubernetes\.io/metadata\.name).*"
)
REWORDED = re.compile(
    r"must not contain dots|lowercase RFC 1123 label|printable ASCII|valid environment variable"
    r"|at least one letter|must be less than or equal to cpu limit|valid IP address"
    r"|ReadWriteOncePod|ReadOnlyMany\"|greater than or equal to 0|must to greater"
    r"|ExternalTrafficPolicy|externalTrafficPolicy|loadBalancerClass|ClusterFirstWithHostNet"
    r"|not be set for init containers|CustomResourceDefinitionVersion"
)


def flat(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, one in node.items():
            yield from flat(one, f"{path}.{key}")
    elif isinstance(node, list) and node:
        for index, one in enumerate(node):
            yield from flat(one, f"{path}[{index}]")
    else:
        yield path, node


def create(obj: Obj) -> subprocess.CompletedProcess[str]:
    assert KUBECTL is not None
    return subprocess.run(
        [KUBECTL, "create", "--validate=false", "--dry-run=server", "-o", "json", "-f", "-"],
        input=json.dumps(obj),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def name_of(obj: Obj) -> str:
    return f"{obj['kind']}-{obj['metadata']['name']}"


@pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")
@pytest.mark.parametrize("obj", documents("valid.yaml"), ids=name_of)
def test_what_is_filled_in(obj: Obj, catalog: Catalog) -> None:
    done = create(obj)
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout)
    schema = catalog.of(row_of(obj))
    given = {name: real["metadata"][name] for name in ("uid",)}
    if row_of(obj).namespaced:
        given["namespace"] = real["metadata"]["namespace"]
    if "generation" in real["metadata"]:
        given["generation"] = real["metadata"]["generation"]
    ours = schema.default(schema.prune(obj | {"metadata": obj["metadata"] | given})[0])
    mine, theirs = dict(flat(ours)), dict(flat(real))
    differing = {
        path: (mine.get(path), theirs.get(path))
        for path in {*mine, *theirs}
        if mine.get(path) != theirs.get(path)
        and not (ADMITTED.fullmatch(path) and path not in mine)
        and not (LATER.fullmatch(path))
        and not path.startswith((".status", ".metadata.creationTimestamp"))
        and not path.endswith(".creationTimestamp")
        and path != ".spec"
    }
    assert differing == {}


@pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")
@pytest.mark.parametrize("obj", documents("invalid.yaml"), ids=name_of)
def test_complaints(obj: Obj, catalog: Catalog) -> None:
    if obj["metadata"].get("namespace") == "Bad_":
        pytest.skip("the server looks for the namespace first")
    lines = create(obj).stderr.strip().splitlines()
    theirs = [line.removeprefix("* ") for line in lines[1:]]
    if not theirs:
        # A single complaint stands behind the object's name, admission's behind another word.
        text = re.sub(r"^.*?(is invalid|is forbidden): ", "", lines[0])
        theirs = [text]
    row = row_of(obj)
    schema = catalog.of(row)
    placed = obj | {"metadata": obj["metadata"] | {"uid": "u"}}
    if row.namespaced:
        placed["metadata"]["namespace"] = "default"
    ours = told(catalog, schema.default(schema.prune(placed)[0]))

    def comparable(texts: list[str]) -> set[str]:
        return {text for text in texts if not REWORDED.search(text) and "Probe{" not in text}

    if obj["kind"] == "CustomResourceDefinition":
        # Status, which the server fills in before it looks, repeats a fault of the spec.
        theirs = [text for text in theirs if not text.startswith("status.")]
    assert comparable(ours) == comparable(theirs)
