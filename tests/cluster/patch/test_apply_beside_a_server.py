"""Field owners and conflicts come out as on a real API server."""

from __future__ import annotations

import copy
import re
import uuid
from contextlib import closing
from typing import Any

import pytest

from kindling.cluster.model.api import PatchType
from kindling.cluster.model.status import ApiError
from kindling.cluster.patch.apply import apply
from kindling.cluster.patch.fields import paths, text
from kindling.cluster.patch.owners import track
from tests.cluster.patch.applies import HISTORIES, Step
from tests.cluster.patch.manifests import Json
from tests.cluster.patch.openapi import own_shape, shape_of
from tests.cluster.patch.real import RealServer

pytestmark = pytest.mark.cluster

NOW = "2030-01-01T00:00:00Z"
FILLED_IN = frozenset(
    (
        "clusterIP",
        "clusterIPs",
        "creationTimestamp",
        "dnsPolicy",
        "generation",
        "imagePullPolicy",
        "ipFamilies",
        "ipFamilyPolicy",
        "managedFields",
        "namespace",
        "progressDeadlineSeconds",
        "protocol",
        "resourceVersion",
        "restartPolicy",
        "revisionHistoryLimit",
        "schedulerName",
        "sessionAffinity",
        "status",
        "strategy",
        "targetPort",
        "terminationGracePeriodSeconds",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "type",
        "uid",
    )
)

LATER = {
    "a list without keys in the schema",
    "a service's selector and ports",
    "atomic lists and maps",
    "create of a service",
    "create with a pod's everything",
    "finalizers and owners",
}
"""Where 1.20 owns field by field what later servers, and our own shapes, own as a whole: selectors
of nodes and Services, references to fields, secrets and owners."""


def owners(obj: Json) -> list[str]:
    """Who owns what, a line for each field; times aside."""
    return sorted(
        f"{entry['operation']} {entry['manager']} {entry['apiVersion']} {text(path)}"
        for entry in obj["metadata"].get("managedFields") or []
        for path in paths(entry["fieldsV1"])
    )


def normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: normal(inner)
            for key, inner in value.items()
            if key not in FILLED_IN and inner not in (None, {}, [])
        }
    return [normal(item) for item in value] if isinstance(value, list) else value


class Player:
    """Plays the steps of one history on the server, and each again with ours."""

    def __init__(self, server: RealServer, suffix: str, shapes: str) -> None:
        self.server = server
        self.shapes = shapes
        self.suffix = suffix

    def named(self, body: Json) -> Json:
        body = copy.deepcopy(body)
        body["metadata"]["name"] += self.suffix
        return body

    def settled(self, obj: Json) -> Json | None:
        """The object once no controller has anything to add; none if there is none."""
        status, found = self.server.request("GET", self.server.path(obj))
        if status == 404:
            return None
        if found["kind"] != "Deployment":
            result: Json = found
            return result
        with closing(self.server.versions(obj)) as versions:
            for version in versions:
                seen = version.get("status", {})
                kinds = {item["type"] for item in seen.get("conditions") or []}
                if seen.get("observedGeneration") == version["metadata"]["generation"] and (
                    {"Available", "Progressing"} <= kinds
                ):
                    return version
        raise AssertionError("the controller never came to rest")

    def play(self, step: Step, identity: Json) -> tuple[Any, Any]:
        """What the server says and what ours says: the object, or the error's code and text."""
        kind = identity["apiVersion"], identity["kind"]
        shape = own_shape(*kind) if self.shapes == "own" else shape_of(self.server.openapi, *kind)
        before = self.settled(identity)
        version = identity["apiVersion"]
        if step.verb == "create":
            after = self.server.create(self.named(step.body), step.manager)
            bare = copy.deepcopy(after)
            del bare["metadata"]["managedFields"]
            for allocated in ("clusterIP", "clusterIPs"):  # after owners are written
                bare.get("spec", {}).pop(allocated, None)
            mine = track(None, bare, shape, manager=step.manager, now=NOW, api_version=version)
            return after, mine
        if step.verb == "apply":
            body = self.named(step.body)
            status, after = self.server.patch(
                body, body, PatchType.APPLY, manager=step.manager, force=step.force
            )
            try:
                mine = apply(
                    before,
                    body,
                    shape,
                    manager=step.manager,
                    force=step.force,
                    now=NOW,
                    api_version=version,
                )
            except ApiError as error:
                mine = _told(error.code, error.status())
            return (_told(status, after) if status >= 400 else after), mine
        patch_type = PatchType.STRATEGIC if step.verb == "strategic" else PatchType.MERGE
        status, after = self.server.patch(identity, step.body, patch_type, manager=step.manager)
        assert status == 200, after
        sent = copy.deepcopy(after)
        assert before is not None
        entries = step.body.get("metadata", {}).get(
            "managedFields", before["metadata"].get("managedFields")
        )
        sent["metadata"].pop("managedFields", None)
        if entries is not None:
            sent["metadata"]["managedFields"] = entries
        mine = track(before, sent, shape, manager=step.manager, now=NOW, api_version=version)
        return after, mine


def _told(code: int, status: Json) -> Json:
    """An error without the object's name, which 1.20 leaves out, and in an order of our own."""
    message = re.sub(r"(typed patch object) \([^)]*\)", r"\1", status["message"])
    causes = status.get("details", {}).get("causes", [])
    return {
        "code": code,
        "lines": sorted(message.splitlines()),
        "causes": sorted(causes, key=lambda cause: (cause["message"], cause["field"])),
    }


@pytest.mark.parametrize(
    ("name", "shapes"),
    [(name, "server") for name in HISTORIES]
    + [(name, "own") for name in HISTORIES if name not in LATER],
)
def test_owners_are_those_of_a_real_server(server: RealServer, name: str, shapes: str) -> None:
    player = Player(server, f"-{uuid.uuid4().hex[:6]}", shapes)
    identity = player.named(HISTORIES[name][0].body)
    for number, step in enumerate(HISTORIES[name]):
        theirs, mine = player.play(step, identity)
        if "code" in theirs or "code" in mine:
            assert mine == theirs, f"step {number}"
            continue
        assert owners(mine) == owners(theirs), f"step {number}"
        assert normal(mine) == normal(theirs), f"step {number}"
