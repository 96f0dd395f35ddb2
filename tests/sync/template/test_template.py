"""Templates: a session takes one and gives back the very same, whatever happened in between."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.errors import ConfigError, UsageError
from kindling.objects.identity import canonical
from kindling.sync.template.normal import normal, template_bytes
from kindling.sync.template.patch import (
    AGENT_PATH,
    CONTROL_FOLDER,
    carries,
    chosen,
    original_argv,
    patched,
    read_only,
)
from kindling.sync.template.restore import (
    Conflict,
    JsonPatch,
    Recorded,
    Restore,
    Restored,
    begin,
    original,
    undone,
)
from kindling.sync.template.session import SESSION_ANNOTATION, SecondSessionError, Session, held

quick = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def session(container: str = "", **fields: Any) -> Session:
    told = {"argv": ("python", "app.py"), **fields}
    return Session(
        told.pop("name", "s1"),
        "ada@desk",
        "2026-01-02T03:04:05Z",
        "./web",
        container,
        "kindling-agent",
        **told,
    )


def template(**container: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1", **container}]},
    }


def workload(
    of: dict[str, Any], kind: str = "Deployment", name: str = "web", **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
            "annotations": {"deployment.kubernetes.io/revision": "3"},
        },
        "spec": {"replicas": 2, "template": of, **spec},
    }


def patched_by(patch: JsonPatch, thing: dict[str, Any]) -> dict[str, Any]:
    """RFC 6902, as far as these patches go."""
    result = copy.deepcopy(thing)
    for step in patch:
        parts = [p.replace("~1", "/").replace("~0", "~") for p in step["path"].split("/")[1:]]
        place = result
        for part in parts[:-1]:
            place = place[part]
        match step["op"]:
            case "test":
                assert place[parts[-1]] == step["value"]
            case "add":
                place[parts[-1]] = copy.deepcopy(step["value"])
            case "replace":
                assert parts[-1] in place
                place[parts[-1]] = copy.deepcopy(step["value"])
            case "remove":
                del place[parts[-1]]
            case other:
                raise AssertionError(other)
    return result


# Realistic templates ------------------------------------------------------------------------------

_WORDS = st.sampled_from(["sh", "-c", "node server.js", "$(PORT)", "--x=ü y", ""])
_ENV = st.lists(
    st.one_of(
        st.builds(lambda value: {"value": value}, st.sampled_from(["1", "", "x"])),
        st.just({"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
        st.just({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
    ),
    max_size=3,
).map(lambda items: [{"name": f"V{at}", **item} for at, item in enumerate(items)])
_PROBE_FIELD = st.fixed_dictionaries(
    {"httpGet": st.just({"port": 8080, "path": "/up"})},
    optional={"failureThreshold": st.sampled_from([1, 3, 5000]), "periodSeconds": st.just(10)},
)
_SECURITY = st.fixed_dictionaries(
    {},
    optional={
        "readOnlyRootFilesystem": st.booleans(),
        "runAsNonRoot": st.just(True),
        "runAsUser": st.just(65532),
        "capabilities": st.just({"drop": ["ALL"]}),
    },
)
_CONTAINER: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"image": st.sampled_from(["web", "web:1", "r:5000/web@sha256:00", "web:latest"])},
    optional={
        "command": st.lists(_WORDS, max_size=3),
        "args": st.lists(_WORDS, max_size=3),
        "env": _ENV,
        "ports": st.just([{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]),
        "livenessProbe": _PROBE_FIELD,
        "readinessProbe": _PROBE_FIELD,
        "startupProbe": _PROBE_FIELD,
        "securityContext": _SECURITY,
        "resources": st.just({"limits": {"cpu": "1", "memory": "64Mi"}}),
        "volumeMounts": st.just([{"name": "data", "mountPath": "/data"}]),
        "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
        "lifecycle": st.just({"preStop": {"httpGet": {"port": 1}}}),
        "fieldOfTomorrow": st.just({"deep": [1, {"er": None}]}),
    },
)
_META = st.fixed_dictionaries(
    {"labels": st.just({"app": "web"})},
    optional={
        "annotations": st.dictionaries(st.sampled_from(["a/b", "c"]), st.text(max_size=3)),
        "creationTimestamp": st.none(),
    },
)


@st.composite
def templates(draw: st.DrawFn) -> dict[str, Any]:
    def several(least: int, most: int, prefix: str) -> list[dict[str, Any]]:
        drawn = draw(st.lists(_CONTAINER, min_size=least, max_size=most))
        return [{"name": f"{prefix}{at}", **one} for at, one in enumerate(drawn)]

    spec: dict[str, Any] = {"containers": several(1, 3, "c")}
    if init := several(0, 2, "i"):
        if draw(st.booleans()):
            init[-1]["restartPolicy"] = "Always"
        spec["initContainers"] = init
    if draw(st.booleans()):
        spec["volumes"] = [
            {"name": "data", "emptyDir": {}},
            {"name": "c", "configMap": {"name": "c"}},
        ]
    if draw(st.booleans()):
        spec |= {"terminationGracePeriodSeconds": 5, "topology": {"labelSelector": {}}}
    result: dict[str, Any] = {"spec": spec}
    if draw(st.booleans()):
        result["metadata"] = draw(_META)
    # As it comes off the wire: no value in two places.
    wire: dict[str, Any] = json.loads(json.dumps(result))
    return wire


sessions = st.builds(
    lambda argv, writable, relax: session(argv=argv, writable=writable, relax_probes=relax),
    st.sampled_from([(), ("python", "app.py")]),
    st.sampled_from([(), ("/app",), ("/app", "/srv")]),
    st.booleans(),
)


@quick
@given(templates(), sessions, st.sampled_from(["Deployment", "StatefulSet"]))
def test_what_a_session_took_it_gives_back_exactly(
    of: dict[str, Any], who: Session, kind: str
) -> None:
    before = workload(of, kind)
    untouched = copy.deepcopy(before)
    begun = begin(before, who)
    during = patched_by(begun.patch, before)
    assert during["metadata"]["annotations"][SESSION_ANNOTATION] == "s1"
    answer = original(during, Recorded.from_json(begun.record.to_json()))
    assert isinstance(answer, Restore)
    assert canonical(patched_by(answer.patch, during)) == canonical(before)
    assert before == untouched
    assert original(before, begun.record) == Restored()


@quick
@given(templates(), sessions)
def test_patching_again_changes_nothing(of: dict[str, Any], who: Session) -> None:
    once = patched(of, who)
    assert patched(once, who) == once


@quick
@given(templates(), sessions)
def test_a_patch_adds_and_leaves_everything_else(of: dict[str, Any], who: Session) -> None:
    ours = patched(of, who)
    assert template_bytes(undone(ours, ours, of)) == template_bytes(of)
    target = chosen(of)
    now = chosen(ours)
    for key, value in target.items():
        if key in {"volumeMounts"}:
            assert now[key][: len(value)] == value
        elif key not in {"command", "args", "livenessProbe", "startupProbe"}:
            assert now[key] == value
    if not who.argv:
        assert (now.get("command"), now.get("args")) == (target.get("command"), target.get("args"))
    assert ours["spec"]["containers"][1:] == of["spec"]["containers"][1:]
    added = 1 if who.writable else 0
    assert ours["spec"].get("initContainers", [])[added:] == of["spec"].get("initContainers", [])


def _image(of: dict[str, Any]) -> None:
    of["spec"]["containers"][0]["image"] = "web:2"


def _label(of: dict[str, Any]) -> None:
    of.setdefault("metadata", {}).setdefault("labels", {})["team"] = "x"


def _variable(of: dict[str, Any]) -> None:
    of["spec"]["containers"][0].setdefault("env", []).append({"name": "NEW", "value": "1"})


def _sidecar(of: dict[str, Any]) -> None:
    of["spec"]["containers"].append({"name": "proxy", "image": "envoy:1"})


def _restarted(of: dict[str, Any]) -> None:
    annotations = of.setdefault("metadata", {}).setdefault("annotations", {})
    annotations["kubectl.kubernetes.io/restartedAt"] = "2026-01-02T00:00:00Z"


def _volume(of: dict[str, Any]) -> None:
    of["spec"].setdefault("volumes", []).append({"name": "more", "emptyDir": {}})
    mounts = of["spec"]["containers"][0].setdefault("volumeMounts", [])
    mounts.append({"name": "more", "mountPath": "/more"})


def _init(of: dict[str, Any]) -> None:
    of["spec"].setdefault("initContainers", []).append({"name": "wait", "image": "w:1"})


EDITS = [_image, _label, _variable, _sidecar, _restarted, _volume, _init]


@quick
@given(templates(), sessions, st.lists(st.sampled_from(EDITS), min_size=1, unique=True, max_size=4))
def test_what_others_changed_meanwhile_is_kept_where_the_user_says_so(
    of: dict[str, Any], who: Session, edits: list[Any]
) -> None:
    begun = begin(workload(of), who)
    live = patched_by(begun.patch, workload(of))
    wanted = copy.deepcopy(of)
    for edit in edits:
        edit(live["spec"]["template"])
        edit(wanted)
    answer = original(live, begun.record)
    assert isinstance(answer, Conflict)
    assert answer.differs
    assert answer.kept is not None
    kept = patched_by(answer.kept.patch, live)
    assert template_bytes(kept["spec"]["template"]) == template_bytes(wanted)
    forced = patched_by(answer.forced.patch, live)
    assert canonical(forced["spec"]["template"]) == canonical(of)
    for after in (kept, forced):
        assert SESSION_ANNOTATION not in after["metadata"]["annotations"]
        assert held(after) is None


# The patch ----------------------------------------------------------------------------------------


def test_a_template_under_a_session() -> None:
    of = template(
        command=["sh"],
        args=["-c", "x"],
        livenessProbe={"tcpSocket": {"port": 1}},
        readinessProbe={"tcpSocket": {"port": 1}},
        securityContext={"readOnlyRootFilesystem": True, "runAsNonRoot": True},
    )
    who = session("web", argv=("sh", "-c", "x"), writable=("/app",))
    pod = patched(of, who)
    (web,) = pod["spec"]["containers"]
    assert web["command"] == [
        AGENT_PATH,
        "supervise",
        "--control",
        CONTROL_FOLDER,
        "--hold",
        "--",
        "sh",
        "-c",
        "x",
    ]
    assert "args" not in web
    assert web["livenessProbe"] == {"tcpSocket": {"port": 1}, "failureThreshold": 1000}
    assert web["readinessProbe"] == {"tcpSocket": {"port": 1}}
    assert web["securityContext"] == {"readOnlyRootFilesystem": True, "runAsNonRoot": True}
    assert web["volumeMounts"] == [
        {"name": "kindling-sync-agent", "mountPath": "/.kindling-sync", "readOnly": True},
        {"name": "kindling-sync-control", "mountPath": CONTROL_FOLDER},
        {"name": "kindling-sync-files-0", "mountPath": "/app"},
    ]
    assert pod["spec"]["volumes"] == [
        {
            "name": "kindling-sync-agent",
            "configMap": {"name": "kindling-agent", "defaultMode": 0o555},
        },
        {"name": "kindling-sync-control", "emptyDir": {}},
        {"name": "kindling-sync-files-0", "emptyDir": {}},
    ]
    (seed,) = pod["spec"]["initContainers"]
    assert seed["command"] == [AGENT_PATH, "seed", "/app", "/.kindling-seed/0"]
    assert (seed["image"], seed["securityContext"]) == ("web:1", web["securityContext"])
    assert json.loads(pod["metadata"]["annotations"][SESSION_ANNOTATION]) == {
        "name": "s1",
        "who": "ada@desk",
        "when": "2026-01-02T03:04:05Z",
        "what": "./web",
        "container": "web",
    }


def test_each_container_of_a_session_has_the_agent_and_folders_of_its_own() -> None:
    of = template(livenessProbe={"tcpSocket": {"port": 1}})
    spec = of["spec"]
    spec["containers"] += [{**spec["containers"][0], "name": name} for name in ("log", "worker")]
    who = session("web", argv=(), writable=("/app", "/srv"), also=("worker",))
    begun = begin(workload(of), who)
    pod = begun.record.patched["spec"]
    web, log, worker = pod["containers"]
    assert log == spec["containers"][1]
    agent = {"name": "kindling-sync-agent", "mountPath": "/.kindling-sync", "readOnly": True}
    for container, at in ((web, 0), (worker, 2)):
        assert container["volumeMounts"] == [
            agent,
            {"name": f"kindling-sync-files-{at}", "mountPath": "/app"},
            {"name": f"kindling-sync-files-{at + 1}", "mountPath": "/srv"},
        ]
        assert container["livenessProbe"]["failureThreshold"] == 1000
        assert "command" not in container
    (seed,) = pod["initContainers"]
    pairs = [("/app", 0), ("/srv", 1), ("/app", 2), ("/srv", 3)]
    words = [word for place, at in pairs for word in (place, f"/.kindling-seed/{at}")]
    assert seed["command"] == [AGENT_PATH, "seed", *words]
    during = patched_by(begun.patch, workload(of))
    recorded = Recorded.from_json(begun.record.to_json())
    assert recorded.session == who
    answer = original(during, recorded)
    assert isinstance(answer, Restore)
    assert canonical(patched_by(answer.patch, during)) == canonical(workload(of))
    del during["spec"]["template"]["spec"]["containers"][2]["volumeMounts"]
    assert not carries(during["spec"]["template"], who)


def test_a_folder_that_a_container_has_a_volume_at_is_left_to_it() -> None:
    of = template()
    spec = of["spec"]
    own = [{"name": "data", "mountPath": "/srv"}]
    spec["containers"].append({**spec["containers"][0], "name": "worker", "volumeMounts": own})
    spec["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod = patched(of, session("web", argv=(), writable=("/app", "/srv"), also=("worker",)))["spec"]
    places = [[one["mountPath"] for one in each["volumeMounts"]] for each in pod["containers"]]
    assert places == [["/.kindling-sync", "/app", "/srv"], ["/srv", "/.kindling-sync", "/app"]]
    (seed,) = pod["initContainers"]
    words = ["/app", "/.kindling-seed/0", "/srv", "/.kindling-seed/1", "/app", "/.kindling-seed/2"]
    assert seed["command"] == [AGENT_PATH, "seed", *words]


def test_a_record_of_a_session_in_one_container_is_read_whoever_wrote_it() -> None:
    record = begin(workload(template()), session("web")).record
    data = json.loads(record.to_json())
    del data["session"]["also"]
    assert Recorded.from_json(json.dumps(data)) == record


def test_a_second_session_is_refused_by_the_name_of_the_first() -> None:
    taken = workload(patched(template(), session()))
    with pytest.raises(SecondSessionError) as caught:
        begin(taken, session(name="s2"))
    assert caught.value.message == (
        "`deployment/web` is held by session `s1` of ada@desk since 2026-01-02T03:04:05Z (./web)"
    )
    with pytest.raises(SecondSessionError, match="session `s1` of ada"):
        patched(taken["spec"]["template"], session(name="s2"))


@pytest.mark.parametrize("text", ["20260101-1200-77", "[1]", '"x"', "{"])
def test_an_annotation_of_any_form_counts_as_a_session(text: str) -> None:
    of = workload(template())
    of["metadata"]["annotations"][SESSION_ANNOTATION] = text
    with pytest.raises(SecondSessionError):
        begin(of, session())


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (workload(template(), "DaemonSet"), "needs a Deployment or a StatefulSet"),
        (workload(template(), paused=True), "is paused"),
    ],
)
def test_what_no_session_can_take_is_refused(thing: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        begin(thing, session())


@pytest.mark.parametrize(
    ("strategy", "follows"),
    [
        ({}, True),
        ({"type": "OnDelete"}, False),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, False),
    ],
)
def test_pods_that_do_not_follow_are_told_of(strategy: dict[str, Any], follows: bool) -> None:
    thing = workload(template(), "StatefulSet", updateStrategy=strategy)
    assert begin(thing, session()).follows is follows


def test_the_container_is_the_named_one_or_the_one_that_kubectl_takes() -> None:
    of: dict[str, Any] = {
        "spec": {
            "containers": [{"name": "proxy"}, {"name": "web"}],
            "initContainers": [{"name": "wait"}, {"name": "mesh", "restartPolicy": "Always"}],
        }
    }
    assert chosen(of)["name"] == "proxy"
    assert chosen(of, "web")["name"] == "web"
    assert chosen(of, "mesh")["name"] == "mesh"
    of["metadata"] = {"annotations": {"kubectl.kubernetes.io/default-container": "web"}}
    assert chosen(of)["name"] == "web"
    with pytest.raises(UsageError) as caught:
        chosen(of, "wep")
    assert caught.value.hint == "Did you mean `web`?"
    with pytest.raises(UsageError, match="init container"):
        chosen(of, "wait")
    with pytest.raises(UsageError, match="no container"):
        chosen({"spec": {}})


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"command": ["a"], "args": ["$(B)"]}, ("a", "$(B)")),
        ({"command": ["a"]}, ("a",)),
        ({"args": ["c"]}, ("ep", "$$(X)", "c")),
        ({}, ("ep", "$$(X)", "cmd", "$5")),
    ],
)
def test_the_original_command_follows_the_rules_of_kubernetes(
    container: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert original_argv(container, ("ep", "$(X)"), ("cmd", "$5")) == expected


def test_the_original_command_is_unknown_without_pod_and_image() -> None:
    assert original_argv({}) == ()


def test_read_only_destinations_get_a_folder_of_their_own() -> None:
    container = {
        "name": "web",
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data/"},
            {"name": "conf", "mountPath": "/etc/conf"},
            {"name": "kindling-sync-files-0", "mountPath": "/app"},
        ],
    }
    of = {
        "spec": {
            "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {}}],
        }
    }
    assert read_only(of, container, ("/app", "/app", "/data/x", "/database")) == (
        "/app",
        "/database",
    )
    assert read_only(of, {**container, "securityContext": {}}, ("/app",)) == ()
    with pytest.raises(ConfigError, match="volume `conf`"):
        read_only(of, container, ("/etc/conf/sub",))


# The way back -------------------------------------------------------------------------------------


def test_a_patch_holds_for_the_version_that_was_looked_at() -> None:
    begun = begin(workload(template()), session())
    assert begun.patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    bare = workload(template())
    del bare["metadata"]["annotations"]
    during = patched_by(begin(bare, session()).patch, bare)
    assert during["metadata"]["annotations"] == {SESSION_ANNOTATION: "s1"}


def test_defaults_that_the_server_filled_in_are_no_conflict() -> None:
    begun = begin(workload(template(livenessProbe={"httpGet": {"port": 1}})), session())
    live = patched_by(begun.patch, workload(template()))
    pod = live["spec"]["template"]
    pod["metadata"]["creationTimestamp"] = None
    pod["spec"] |= {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    pod["spec"]["containers"][0] |= {
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "livenessProbe": {
            "httpGet": {"port": 1, "path": "/", "scheme": "HTTP"},
            "failureThreshold": 1000,
            "periodSeconds": 10,
            "successThreshold": 1,
            "timeoutSeconds": 1,
        },
    }
    answer = original(live, begun.record)
    assert isinstance(answer, Restore)
    assert answer.template == begun.record.before


def test_an_annotation_that_stayed_alone_is_taken_away() -> None:
    begun = begin(workload(template()), session())
    live = workload(template())
    live["metadata"]["annotations"][SESSION_ANNOTATION] = "s1"
    answer = original(live, begun.record)
    assert isinstance(answer, Restore)
    assert patched_by(answer.patch, live) == workload(template())


def test_a_conflict_says_what_differs_and_shows_no_secrets() -> None:
    of = template(env=[{"name": "TOKEN", "value": "old"}])
    begun = begin(workload(of), session())
    live = patched_by(begun.patch, workload(of))
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "web:2"
    container["env"][0]["value"] = "hush"
    live["spec"]["template"]["spec"]["volumes"].append({"name": "v", "emptyDir": {}})
    answer = original(live, begun.record)
    assert isinstance(answer, Conflict)
    assert answer.differs == (
        "`containers[web].env[TOKEN].value` was changed",
        "`containers[web].image` was `web:1` and is `web:2`",
        "`volumes[v]` was added",
    )
    assert "hush" not in str(answer)


def test_a_rollout_that_took_our_patch_away_leaves_nothing_to_undo() -> None:
    begun = begin(workload(template()), session())
    live = workload(template(image="web:2"))
    answer = original(live, begun.record)
    assert isinstance(answer, Conflict)
    assert answer.kept is None
    live["metadata"]["annotations"][SESSION_ANNOTATION] = "s1"
    answer = original(live, begun.record)
    assert isinstance(answer, Conflict)
    assert answer.kept is not None
    assert [step["op"] for step in answer.kept.patch] == ["test", "remove"]


def test_a_workload_that_was_made_anew_is_told_of() -> None:
    begun = begin(workload(template()), session())
    live = workload(template(image="web:2"))
    live["metadata"]["uid"] = "u2"
    answer = original(live, begun.record)
    assert isinstance(answer, Conflict)
    assert answer.differs[0] == "it was deleted and made anew"


def test_another_sessions_template_is_left_to_it() -> None:
    begun = begin(workload(template()), session())
    live = workload(patched(template(image="web:2"), session(name="s2")))
    answer = original(live, begun.record)
    assert isinstance(answer, Conflict)
    assert answer.kept is None
    assert "session `s2`" in str(answer)


# Normal -------------------------------------------------------------------------------------------


@quick
@given(templates())
def test_normal_is_settled_and_blind_to_the_order_of_keys(of: dict[str, Any]) -> None:
    once = normal(of)
    assert normal(once) == once

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(list(value))}
        return [turned(one) for one in value] if isinstance(value, list) else value

    assert template_bytes(turned(of)) == template_bytes(of)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"imagePullPolicy": "IfNotPresent"}, {}),
        ({"command": []}, {}),
        ({"securityContext": {}}, {"securityContext": None}),
        ({"ports": [{"containerPort": 1, "protocol": "TCP"}]}, {"ports": [{"containerPort": 1}]}),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}},
            {"resources": {"limits": {"cpu": "1"}}},
        ),
    ],
)
def test_spellings_of_one_thing_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert template_bytes(template(**one)) == template_bytes(template(**other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"imagePullPolicy": "Always"}, {}),
        ({"image": "web"}, {"image": "web", "imagePullPolicy": "IfNotPresent"}),
        ({"command": [""]}, {}),
        ({"args": ["b", "a"]}, {"args": ["a", "b"]}),
        ({"stdin": True}, {}),
    ],
)
def test_what_is_no_default_is_a_difference(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert template_bytes(template(**one)) != template_bytes(template(**other))


def test_an_empty_map_that_means_something_stays() -> None:
    of = template()
    of["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    of["spec"]["spread"] = {"labelSelector": {}}
    assert normal(of)["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert normal(of)["spec"]["spread"] == {"labelSelector": {}}


def test_a_session_without_a_patch_takes_its_annotation_away_and_nothing_else() -> None:
    """Whatever others did to the template meanwhile was never its business."""
    thing = workload(template())
    begun = begin(thing, session(), patch=False)
    assert begun.record.patched == begun.record.before
    taken = patched_by(begun.patch, thing)
    assert taken["spec"] == thing["spec"]
    assert held(taken) is not None
    with pytest.raises(SecondSessionError):
        begin(taken, session(name="s2"), patch=False)
    taken["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    back = original(taken, begun.record)
    assert isinstance(back, Restore)
    given = patched_by(back.patch, taken)
    assert given["spec"] == taken["spec"]
    assert given["metadata"]["annotations"] == thing["metadata"]["annotations"]
    assert original(given, begun.record) == Restored()


def test_a_template_carries_a_patch_in_whatever_order_and_misses_any_part_of_it() -> None:
    made = session("web", writable=("/app",), architecture="arm64")
    whole = patched(template(livenessProbe={"httpGet": {"port": 1}}), made)
    assert carries(whole, made)
    other = copy.deepcopy(whole)
    other["spec"]["volumes"].append({"name": "aaa", "emptyDir": {}})
    other["spec"]["volumes"].reverse()
    other["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    other["metadata"]["labels"] = {"app": "new"}
    assert carries(other, made)
    # What is copied into the new folders must come from the image that runs.
    other["spec"]["containers"][0]["image"] = "web:2"
    assert not carries(other, made)

    def without(*path: Any) -> dict[str, Any]:
        result = copy.deepcopy(whole)
        place: Any = result
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return result

    for path in (
        ("metadata", "annotations"),
        ("spec", "volumes", 0),
        ("spec", "initContainers"),
        ("spec", "nodeSelector"),
        ("spec", "containers", 0, "command"),
        ("spec", "containers", 0, "volumeMounts", 0),
        ("spec", "containers", 0, "livenessProbe", "failureThreshold"),
        ("spec", "containers", 0, "name"),
    ):
        assert not carries(without(*path), made), path
    assert not carries(whole, session("web", name="s2"))


def test_what_bears_our_name_goes_whole_whatever_was_written_into_it() -> None:
    before = template()
    ours = patched(before, session(writable=("/app",)))
    live = copy.deepcopy(ours)
    live["spec"]["volumes"][0]["configMap"]["defaultMode"] = 0o755
    live["spec"]["initContainers"][0]["resources"] = {"limits": {"cpu": "1"}}
    live["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "x"
    live["spec"]["containers"][0]["image"] = "web:2"
    before["spec"]["containers"][0]["image"] = "web:2"
    assert template_bytes(undone(live, ours, template())) == template_bytes(before)
