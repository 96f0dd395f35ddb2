"""local_resource, test, probes, settings."""

from __future__ import annotations

import pytest

from kindling.graph.node import FileSet, IgnoreRule, Trigger
from kindling.graph.spec import Probe, ProbeAction
from kindling.lang.declared import CiSettings, LocalResource, WatchIgnore
from kindling.testing.project import Project


def test_a_local_resource_is_declared_in_full(project: Project) -> None:
    declared = project.evaluate(
        "local_resource('go', 'go build', deps=['cmd', '../shared', '/abs'],\n"
        "  ignore=['*_test.go'],\n"
        "  trigger_mode=TRIGGER_MODE_MANUAL, resource_deps=['gen'], auto_init=False,\n"
        "  serve_cmd=['./run', '-v'], allow_parallel=True, links=link('http://a', 'b'),\n"
        "  labels=['x'], env={'A': 'b', 'N': 1}, serve_env={'C': 'd'}, dir='sub', serve_dir='.',\n"
        "  readiness_probe=probe(period_secs=2, tcp_socket=tcp_socket_action(80)),\n"
        "  outputs=['bin/go'])\n"
    )
    (one,) = declared.locals
    assert one == LocalResource(
        name="go",
        where=one.where,
        argv=("sh", "-c", "go build"),
        dir="sub",
        env=(("A", "b"), ("N", "1")),
        serve_argv=("./run", "-v"),
        serve_dir=".",
        serve_env=(("C", "d"),),
        files=FileSet(("cmd", "../shared", one.files.paths[2]), (IgnoreRule(".", ("*_test.go",)),)),
        outputs=("bin/go",),
        trigger=Trigger.MANUAL,
        resource_deps=("gen",),
        auto_init=False,
        allow_parallel=True,
        links=one.links,
        labels=("x",),
        readiness_probe=Probe(ProbeAction.TCP_SOCKET, port=80, period_secs=2),
    )
    assert one.files.paths[2].endswith("../abs")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("local_resource('a')", "local_resource `a` has no command"),
        ("local_resource('a', serve_cmd='x', dir='d')", "Did you mean `serve_dir`?"),
        ("local_resource('a', 'x', serve_dir='d')", "Did you mean `dir`?"),
        ("local_resource('a', cmd_bat='x')", "for Windows"),
        ("local_resource('', 'x')", "`local_resource(name=)` is empty"),
        ("local_resource('a', 'x')\nlocal_resource('a', 'x')", "is declared twice"),
        ("test('a')", "test `a` has no command"),
        ("probe()", "exactly one of"),
        ("probe(exec=exec_action(['a']), tcp_socket=tcp_socket_action(1))", "exactly one of"),
        ("probe(http_get=tcp_socket_action(1))", "wants a `http_get_action()`"),
        ("http_get_action(0)", "must be at least 1"),
        ("trigger_mode(TRIGGER_MODE_AUTO)\ntrigger_mode(TRIGGER_MODE_AUTO)", "declared twice"),
        ("cluster()\ncluster()", "`cluster` may be called once"),
    ],
)
def test_declarations_that_cannot_be_are_refused(project: Project, call: str, message: str) -> None:
    assert message in project.fails(call + "\n")


def test_a_probe_without_a_server_is_ignored_with_a_warning(project: Project) -> None:
    declared = project.evaluate(
        "local_resource('a', 'x', readiness_probe=probe(exec=exec_action(['true'])))\n"
    )
    assert declared.locals[0].readiness_probe is None
    assert "readiness_probe and no serve_cmd" in str(declared.remarks[0])


def test_a_test_has_a_time_limit(project: Project) -> None:
    (one,) = project.evaluate("test('a', 'pytest', ['x'], timeout='1m30s')\n").tests
    assert (one.timeout, one.allow_parallel, one.files.paths) == (90.0, True, ("x",))


def test_settings_add_up(project: Project) -> None:
    settings = project.evaluate(
        "update_settings(max_parallel_updates=5)\nupdate_settings(k8s_upsert_timeout_secs=60,\n"
        "  suppress_unused_image_warnings=['a*'])\n"
        "ci_settings(timeout='1h', readiness_timeout=0)\nci_settings(k8s_grace_period='10s')\n"
        "watch_settings('*.log')\nwatch_settings(ignore=['tmp'])\nsecret_settings(True)\n"
        "trigger_mode(TRIGGER_MODE_MANUAL)\nallow_k8s_contexts('a')\nallow_k8s_contexts(['b'])\n"
    ).settings
    assert (settings.max_parallel_updates, settings.k8s_upsert_timeout_secs) == (5, 60)
    assert settings.suppress_unused_images == ("a*",)
    assert settings.ci == CiSettings(3600.0, 0.0, 10.0)
    assert settings.watch_ignores == (
        WatchIgnore(".", ("*.log",)),
        WatchIgnore(".", ("tmp",)),
    )
    assert not settings.scrub_secrets
    assert settings.trigger is Trigger.MANUAL
    assert settings.allowed_contexts == ("a", "b")


def test_the_cluster_is_what_the_file_says(project: Project) -> None:
    assert project.evaluate("").cluster.where is None
    cluster = project.evaluate(
        "cluster(provider='context', name='team', registry='localhost:5000', namespace='dev')\n"
    ).cluster
    assert (cluster.provider, cluster.name, cluster.namespace) == ("context", "team", "dev")
    assert (cluster.registry, cluster.registry_host) == (True, "localhost:5000")
