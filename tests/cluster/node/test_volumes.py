"""Volumes: what is in them, how it changes, and what may not be reached through them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.model.resource import builtin
from kindling.cluster.node.projection import PayloadFile, write_payload
from kindling.cluster.node.subpath import SubPathError, below
from kindling.cluster.runtime.protocol import Mount
from tests.cluster.node.bed import Bed

CONFIG_MAPS = builtin("configmaps")


def mounts(bed: Bed) -> dict[str, Mount]:
    return {mount.target: mount for mount in bed.fake.started[-1].mounts}


def source(bed: Bed, target: str) -> Path:
    found = mounts(bed)[target].source
    assert found is not None
    return found


async def with_volume(bed: Bed, volume: Any, /, mount: Any = None, **spec: Any) -> None:
    at = {"name": "v", "mountPath": "/v", **(mount or {})}
    await bed.pod(containers=[{"volumeMounts": [at]}], volumes=[{"name": "v", **volume}], **spec)
    await bed.running()


async def test_a_config_map_follows_its_object(bed: Bed) -> None:
    made = await bed.create("configmaps", "cfg", data={"a": "1", "b": "2"})
    await with_volume(bed, {"configMap": {"name": "cfg", "defaultMode": 0o600}})
    folder = source(bed, "/v")
    assert mounts(bed)["/v"].read_only
    assert (folder / "a").read_text() == "1"
    assert os.readlink(folder / "a") == "..data/a"
    assert (folder / "a").stat().st_mode & 0o777 == 0o600
    await bed.api.update(CONFIG_MAPS, made | {"data": {"a": "3", "c": "4"}})
    await bed.until(lambda: (folder / "a").read_text() == "3")
    assert (folder / "c").read_text() == "4"
    assert not (folder / "b").is_symlink()
    assert bed.entry()["restartCount"] == 0


async def test_items_choose_keys_paths_and_modes(bed: Bed) -> None:
    await bed.create("secrets", "sec", data={"k": base64.b64encode(b"\0\xff").decode(), "l": ""})
    items = [{"key": "k", "path": "deep/er", "mode": 0o400}]
    await with_volume(bed, {"secret": {"secretName": "sec", "items": items}})
    folder = source(bed, "/v")
    assert (folder / "deep" / "er").read_bytes() == b"\0\xff"
    assert (folder / "deep" / "er").stat().st_mode & 0o777 == 0o400
    assert {one.name for one in folder.iterdir() if not one.name.startswith("..")} == {"deep"}


async def test_a_missing_object_is_told_and_waited_for(bed: Bed) -> None:
    await bed.pod(
        containers=[{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        volumes=[{"name": "v", "configMap": {"name": "late"}}],
    )
    await bed.told(
        "FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "late" not found'
    )
    await bed.until(bed.entry)
    assert bed.entry()["state"] == {"waiting": {"reason": "ContainerCreating"}}
    await bed.create("configmaps", "late", data={"x": "y"})
    await bed.running()


async def test_optional_objects_and_keys_may_be_missing(bed: Bed) -> None:
    await with_volume(bed, {"configMap": {"name": "never", "optional": True}})
    assert [one for one in source(bed, "/v").iterdir() if not one.name.startswith("..")] == []


async def test_projected_volumes_bring_everything_together(bed: Bed) -> None:
    await bed.create("configmaps", "cfg", data={"a": "1"})
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    token = {"path": "token", "expirationSeconds": 1000, "audience": "vault"}
    sources = [
        {"configMap": {"name": "cfg"}},
        {"downwardAPI": {"items": [label]}},
        {"serviceAccountToken": token},
    ]
    await with_volume(bed, {"projected": {"sources": sources}})
    folder = source(bed, "/v")
    pod = bed.get()
    assert (folder / "a").read_text() == "1"
    first = (folder / "token").read_text()
    issued = next(one for one in bed.tokens.issued if one["audiences"] == ("vault",))
    assert issued["lifetime"] == 1000
    assert issued["pod"] == ("web", pod["metadata"]["uid"])
    labelled = pod | {"metadata": pod["metadata"] | {"labels": {"b": "2", "a": "1"}}}
    await bed.api.update(builtin("pods"), labelled)
    await bed.until(lambda: (folder / "labels").read_text() == 'a="1"\nb="2"')
    await bed.clock.advance(790)
    assert (folder / "token").read_text() == first
    await bed.clock.advance(20)
    await bed.until(lambda: (folder / "token").read_text() != first)


async def test_an_empty_dir_outlives_restarts_of_a_container(bed: Bed) -> None:
    await with_volume(bed, {"emptyDir": {}})
    (source(bed, "/v") / "kept").write_text("x")
    bed.process().exit(1)
    await bed.running(restarts=1)
    assert (source(bed, "/v") / "kept").exists()
    assert source(bed, "/v").stat().st_mode & 0o777 == 0o777
    await bed.crash()
    await bed.running(restarts=2)
    assert (source(bed, "/v") / "kept").exists()


async def test_memory_of_one_container_is_a_tmpfs_of_its_size(bed: Bed) -> None:
    await with_volume(bed, {"emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}})
    assert (mounts(bed)["/v"].source, mounts(bed)["/v"].size) == (None, 16 << 20)


@pytest.mark.parametrize(
    ("kind", "there", "words"),
    [
        ("Directory", None, "is not a directory"),
        ("File", "folder", "is not a file"),
        ("Socket", "file", "is not a socket file"),
    ],
)
async def test_host_paths_are_checked(
    bed: Bed, tmp_path: Path, kind: str, there: str | None, words: str
) -> None:
    path = tmp_path / "thing"
    if there == "folder":
        path.mkdir()
    elif there == "file":
        path.touch()
    await bed.pod(volumes=[{"name": "v", "hostPath": {"path": str(path), "type": kind}}])
    await bed.told("FailedMount", f"hostPath type check failed: {path} {words}")


async def test_host_paths_are_made_where_that_is_asked(bed: Bed, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    await with_volume(bed, {"hostPath": {"path": str(path), "type": "DirectoryOrCreate"}})
    assert path.is_dir()
    assert source(bed, "/v") == path


async def test_a_claim_is_waited_for_and_leads_to_its_volume(bed: Bed, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    claim = {"persistentVolumeClaim": {"claimName": "data"}}
    await bed.pod(
        containers=[{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        volumes=[{"name": "v", **claim}],
    )
    await bed.told("FailedMount", 'persistentvolumeclaim "data" not found')
    await bed.create("persistentvolumes", "pv", spec={"hostPath": {"path": str(path)}})
    made = await bed.create("persistentvolumeclaims", "data", spec={"volumeName": "pv"})
    await bed.api.update(
        builtin("persistentvolumeclaims"), made | {"status": {"phase": "Bound"}}, "status"
    )
    await bed.running()
    assert source(bed, "/v") == path


async def test_sub_paths_lead_to_what_is_there_and_do_not_follow_updates(bed: Bed) -> None:
    made = await bed.create("configmaps", "cfg", data={"a": "1"})
    await with_volume(bed, {"configMap": {"name": "cfg"}}, {"subPath": "a"})
    file = source(bed, "/v")
    assert file.is_file()
    assert not file.is_symlink()
    with file.open() as held:
        await bed.api.update(CONFIG_MAPS, made | {"data": {"a": "2"}})
        await bed.clock.advance(1)
        assert held.read() == "1"


async def test_a_sub_path_may_be_an_expression(bed: Bed) -> None:
    await bed.pod(
        containers=[
            {
                "env": [{"name": "WHO", "value": "me"}],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "logs/$(WHO)"}],
            }
        ],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    await bed.running()
    assert source(bed, "/v").parts[-2:] == ("logs", "me")


def test_links_inside_a_volume_are_followed_and_links_out_are_not(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "real").mkdir(parents=True)
    outside.mkdir()
    (volume / "in").symlink_to("real")
    (volume / "out").symlink_to(outside)
    (volume / "up").symlink_to("../outside")
    assert below(volume, "in/new") == volume / "real" / "new"
    for path in ("out", "out/x", "up", "../outside", "/etc", "in/../../outside"):
        with pytest.raises(SubPathError):
            below(volume, path)
    assert list(outside.iterdir()) == []


def test_a_payload_is_never_seen_half(tmp_path: Path) -> None:
    """At every moment the names lead to one state; the same content writes nothing."""
    assert write_payload(
        tmp_path / "v", {"a": PayloadFile(b"1", 0o644), "b": PayloadFile(b"1", 0o644)}
    )
    state = os.readlink(tmp_path / "v" / "..data")
    same = {"a": PayloadFile(b"1", 0o644), "b": PayloadFile(b"1", 0o644)}
    assert not write_payload(tmp_path / "v", same)
    assert os.readlink(tmp_path / "v" / "..data") == state
    assert write_payload(tmp_path / "v", {"a": PayloadFile(b"2", 0o644)})
    assert {one.name for one in (tmp_path / "v").iterdir()} == {
        "a",
        "..data",
        os.readlink(tmp_path / "v" / "..data"),
    }
    for bad in ("../x", "/x", "..data", ""):
        with pytest.raises(ValueError, match="invalid path"):
            write_payload(tmp_path / "v", {bad: PayloadFile(b"", 0o644)})


async def test_names_are_mounted_below_etc(bed: Bed) -> None:
    await bed.pod(
        hostname="front",
        subdomain="shop",
        hostAliases=[{"ip": "10.1.2.3", "hostnames": ["db", "db.local"]}],
        dnsConfig={
            "nameservers": ["1.1.1.1"],
            "searches": ["corp"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        },
    )
    await bed.running()
    hosts = source(bed, "/etc/hosts").read_text()
    assert f"{bed.status()['podIP']}\tfront.shop.default.svc.cluster.local\tfront\n" in hosts
    assert "10.1.2.3\tdb\tdb.local\n" in hosts
    assert source(bed, "/etc/hostname").read_text() == "front\n"
    lines = source(bed, "/etc/resolv.conf").read_text().splitlines()
    assert lines[0].startswith("search default.svc.cluster.local svc.cluster.local cluster.local")
    assert lines[0].endswith(" corp")
    assert lines[1:] == ["nameserver 10.198.0.10", "nameserver 1.1.1.1", "options ndots:2 edns0"]


async def test_dns_policy_none_is_what_the_pod_says(bed: Bed) -> None:
    await bed.pod(dnsPolicy="None", dnsConfig={"nameservers": ["9.9.9.9"]})
    await bed.running()
    assert source(bed, "/etc/resolv.conf").read_text() == "nameserver 9.9.9.9\n"


async def test_a_sub_path_that_leads_out_is_refused(bed: Bed) -> None:
    """In the words of a real kubelet, asked on a real cluster."""
    await bed.pod(
        containers=[{"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "out"}]}],
        initContainers=[{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    await bed.running("init0")
    (source(bed, "/v") / "out").symlink_to("/etc")
    bed.process().exit(0)
    await bed.until(lambda: bed.entry()["state"].get("waiting", {}).get("message"))
    assert bed.entry()["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'failed to prepare subPath for volumeMount "v" of container "main"',
    }
