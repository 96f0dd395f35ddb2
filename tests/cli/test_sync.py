"""`kindling sync` on clusters in memory: what it refuses, and what it puts back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kindling.cli.sync_run import scratch_for
from kindling.errors import StoreError
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import PatchKind
from kindling.sync.template.normal import template_bytes
from kindling.sync.template.session import Session
from kindling.sync.workload.records import Records
from kindling.sync.workload.scratch import remove_scratch
from kindling.sync.workload.taking import take
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.cli.clusters import Clusters

Kindling = Callable[..., Any]

_WEB = ObjectRef("apps/v1", "Deployment", "web", "default")


@pytest.fixture
def clusters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Clusters:
    assert folder.is_dir()
    made = Clusters(monkeypatch)
    made.connect()
    return made


@pytest.fixture
def cluster(clusters: Clusters) -> FakeCluster:
    made = clusters.add("kind-fake")
    for kind, name in (("Deployment", "web"), ("Deployment", "worker"), ("StatefulSet", "db")):
        made.put(_workload(kind, name))
    return made


def _workload(kind: str, name: str) -> dict[str, Any]:
    containers = [
        {"name": "app", "image": "busybox:1.36", "command": ["sh", "-c", "sleep 1000"]},
        {"name": "side", "image": "busybox:1.36"},
    ]
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def _template(cluster: FakeCluster) -> bytes:
    found = next(o for o in cluster.objects("Deployment") if o["metadata"]["name"] == "web")
    return template_bytes(found["spec"]["template"])


def _session_that_died(cluster: FakeCluster, folder: Path, *, host: str = "") -> None:
    """A session with a patched template whose process is gone, by `kill -9`."""

    async def run() -> None:
        records = Records(folder)
        session = Session("web-1", "ada@desk", "2026-01-02T03:04:05Z", "./web", "", "", ("sh",))
        hold = await take(
            cluster,
            _WEB,
            session,
            records,
            patch=True,
            agents=lambda _machine: b"agent",
            clock=FakeClock(),
            tell=lambda _notice: None,
        )
        holder = replace(hold.record.holder, started="never")
        if host:
            holder = replace(holder, host=host, boot="another", folder="/elsewhere")
        record = replace(hold.record, holder=holder)
        data = {"record": record.to_json()}
        await cluster.patch(
            ObjectRef("v1", "ConfigMap", "kindling-sync-web-1", "default"), {"data": data}
        )
        if host:
            records.forget("web-1")
        else:
            records.save(record)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "needs a workload"),
        (("-d", "web", "worker"), "two workloads"),
        (("web", "--src", "nope"), "there is no `nope`"),
        (("web", "--dest", "app"), "no absolute path"),
        (("web", "--dest", "/"), "over the whole container"),
        (("web", "--build-cmd", "make", "--restart"), "without `--build-output`"),
        (("web", "--build-output", "a", "--restart"), "without `--build-cmd`"),
        (("web", "--build-cmd", "make", "--build-output", "a"), "only with `--restart`"),
        (("web", "--debounce", "soon"), "no duration"),
        (("web", "--keep"), "is for `kindling sync --restore`"),
        (("--restore", "--keep", "--force"), "exclude each other"),
        (("--restore", "--once"), "means nothing beside `--restore`"),
        (("--restore", "--src", "."), "means nothing beside `--restore`"),
        (("web", "--exlude", "a"), "Did you mean `--exclude`?"),
        (("web", "--", "more"), "takes no words"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_cluster_is_asked(
    kindling: Kindling, args: tuple[str, ...], says: str
) -> None:
    done = kindling("sync", *args)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("wep",), "Did you mean `web`?"),
        (("sts/web",), "Did you mean `deployment/web`?"),
        (("deplyment/web",), "Did you mean `deployment`?"),
        (("web", "-c", "ap"), "Did you mean `app`?"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(
    kindling: Kindling, args: tuple[str, ...], says: str
) -> None:
    done = kindling("sync", *args)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def test_a_cluster_that_is_not_local_is_not_synced_by_accident(
    kindling: Kindling, clusters: Clusters
) -> None:
    made = clusters.add("prod-eu")
    made.put(_workload("Deployment", "web"))
    done = kindling("sync", "web", "--context", "prod-eu")
    assert done.code == 2
    assert "prod-eu" in done.err
    assert made.writes == []


def test_help_fits_into_80_columns(kindling: Kindling) -> None:
    done = kindling("sync", "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80


# What dead sessions left --------------------------------------------------------------------------


@pytest.mark.usefixtures("cluster")
def test_where_nothing_is_left_restore_says_so(kindling: Kindling) -> None:
    done = kindling("sync", "--restore")
    assert done.code == 0
    assert "no session has left anything" in done.out
    one = kindling("sync", "--restore", "-d", "web")
    assert one.code == 0
    assert "no session has left anything" in one.out


@pytest.mark.parametrize("args", [(), ("-d", "web"), ("deployment/web",)])
def test_what_a_dead_session_left_is_put_back_exactly(
    kindling: Kindling, cluster: FakeCluster, folder: Path, args: tuple[str, ...]
) -> None:
    before = _template(cluster)
    _session_that_died(cluster, folder / ".kindling" / "sync")
    assert _template(cluster) != before
    done = kindling("sync", "--restore", *args)
    assert done.code == 0, done.err
    assert _template(cluster) == before
    assert not cluster.objects("ConfigMap")
    assert "own pod template again" in done.out
    assert list((folder / ".kindling" / "sync").glob("*.json")) == []


def test_a_session_of_another_folder_of_this_machine_is_found_by_the_cluster(
    kindling: Kindling, cluster: FakeCluster, tmp_path: Path
) -> None:
    before = _template(cluster)
    _session_that_died(cluster, tmp_path / "elsewhere" / "sync")
    done = kindling("sync", "--restore")
    assert done.code == 0, done.err
    assert _template(cluster) == before
    assert list((tmp_path / "elsewhere" / "sync").glob("*.json")) == []


def test_a_session_of_another_machine_is_ended_only_when_its_workload_is_named(
    kindling: Kindling, cluster: FakeCluster, tmp_path: Path
) -> None:
    before = _template(cluster)
    _session_that_died(cluster, tmp_path / "elsewhere", host="laptop")
    left = kindling("sync", "--restore")
    assert left.code == 0
    assert "laptop" in left.out
    assert "kindling sync --restore -d deployment/web" in left.out
    assert _template(cluster) != before
    done = kindling("sync", "--restore", "-d", "web")
    assert done.code == 0, done.err
    assert _template(cluster) == before


def test_what_somebody_writes_into_a_cluster_touches_no_file_of_this_machine(
    kindling: Kindling, cluster: FakeCluster, tmp_path: Path
) -> None:
    """A ConfigMap that looks like a dead session's of this machine, and names a folder of it."""
    _session_that_died(cluster, tmp_path / "victim")
    taken = _template(cluster)
    (record,) = (tmp_path / "victim").glob("*.json")
    record.write_text('{"name": "something of the user"}')
    done = kindling("sync", "--restore")
    assert done.code == 0, done.err
    assert "held by session `web-1` of ada@desk" in done.out
    assert record.read_text() == '{"name": "something of the user"}'
    assert _template(cluster) == taken


def _roll_out(cluster: FakeCluster) -> None:
    steps = [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": "busybox:1.37",
        }
    ]
    asyncio.run(cluster.patch(_WEB, steps, PatchKind.JSON))


@pytest.mark.parametrize(
    ("option", "code", "image"),
    [((), 1, "busybox:1.37"), (("--keep",), 0, "busybox:1.37"), (("--force",), 0, "busybox:1.36")],
)
def test_what_others_rolled_out_meanwhile_is_kept_unless_force_says_otherwise(
    kindling: Kindling,
    cluster: FakeCluster,
    folder: Path,
    option: tuple[str, ...],
    code: int,
    image: str,
) -> None:
    _session_that_died(cluster, folder / ".kindling" / "sync")
    _roll_out(cluster)
    done = kindling("sync", "--restore", *option)
    assert done.code == code, done.err
    found = next(o for o in cluster.objects("Deployment") if o["metadata"]["name"] == "web")
    app = found["spec"]["template"]["spec"]["containers"][0]
    assert (app["image"], app["command"]) == (image, ["sh", "-c", "sleep 1000"])


def test_on_a_terminal_it_is_asked_what_becomes_of_others_changes(
    kindling: Kindling, cluster: FakeCluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.clusters import typed

    before = _template(cluster)
    _session_that_died(cluster, folder / ".kindling" / "sync")
    _roll_out(cluster)
    typed(monkeypatch, b"force\n", terminal=True)
    done = kindling("sync", "--restore")
    assert done.code == 0, done.err
    assert "busybox:1.37" in done.out
    assert _template(cluster) == before


def test_restore_as_json_is_one_object_a_line(
    kindling: Kindling, cluster: FakeCluster, folder: Path
) -> None:
    _session_that_died(cluster, folder / ".kindling" / "sync")
    done = kindling("sync", "--restore", "--json")
    forms = [json.loads(line) for line in done.out.splitlines()]
    assert [form["type"] for form in forms] == ["released"]
    assert forms[0]["exact"] is True


def test_what_a_killed_session_was_building_is_removed_by_the_next_one_alone(
    tmp_path: Path,
) -> None:
    """Of one that lives, nothing is: its process is known by its number and its start."""
    killed, lives = (scratch_for(tmp_path, _WEB) for _ in range(2))
    about = killed.with_name(f"{killed.name}.json")
    dead = {**json.loads(about.read_text()), "pid": 2**22 + 1, "started": "1"}
    about.write_text(json.dumps(dead))
    mine = scratch_for(tmp_path, _WEB)
    assert not killed.exists()
    assert not about.exists()
    assert lives.is_dir()
    remove_scratch(mine)
    remove_scratch(lives)
    assert not list((tmp_path / "scratch").iterdir())


def test_a_disk_that_takes_no_session_is_named(tmp_path: Path) -> None:
    (tmp_path / "sync").write_text("a file in its place")
    with pytest.raises(StoreError, match=r"cannot write to .*sync"):
        scratch_for(tmp_path / "sync", _WEB)
