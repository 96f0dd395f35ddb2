"""`kindling secrets` on clusters in memory (rows 86 to 88)."""

from __future__ import annotations

import base64
import getpass
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.testing.cluster import FakeCluster
from tests.cli.clusters import Clusters, typed

Kindling = Callable[..., Any]

_VALUE = "sk-live-0123456789"
_REF = ObjectRef("v1", "Secret", "kindling-secret-stripe-key", "default")


@pytest.fixture
def clusters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Clusters:
    assert folder.is_dir()
    made = Clusters(monkeypatch)
    made.connect()
    return made


@pytest.fixture
def cluster(clusters: Clusters) -> FakeCluster:
    return clusters.add("kind-fake")


@pytest.fixture
def put(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`put(value, "NAME", ...)`: set it, with the value on standard input."""

    def call(value: str | bytes, *args: str) -> Any:
        typed(monkeypatch, value.encode() if isinstance(value, str) else value)
        return kindling("secrets", "set", *args)

    return call


def _secrets(cluster: FakeCluster) -> dict[str, bytes]:
    return {
        one["metadata"]["name"]: base64.b64decode(one["data"]["value"])
        for one in cluster.objects("Secret")
    }


def test_row_86_set_creates_the_secret_with_its_label(
    put: Callable[..., Any], cluster: FakeCluster
) -> None:
    result = put(f"{_VALUE}\n", "STRIPE_KEY")
    assert result.code == 0, result.err
    assert result.out == (
        "STRIPE_KEY: created (`kindling-secret-stripe-key` in namespace `default` of `kind-fake`)\n"
    )
    (made,) = cluster.objects("Secret")
    assert made["metadata"]["name"] == "kindling-secret-stripe-key"
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kindling"}
    encoded = base64.b64encode(_VALUE.encode()).decode()
    assert made["data"] == {"value": encoded, "STRIPE_KEY": encoded}
    assert _VALUE not in result.out + result.err


def test_row_86_an_update_is_in_place_and_the_same_value_writes_nothing(
    put: Callable[..., Any], cluster: FakeCluster
) -> None:
    put("one", "STRIPE_KEY")
    (before,) = cluster.objects("Secret")
    assert "changed" in put("two", "STRIPE_KEY").out
    (after,) = cluster.objects("Secret")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert _secrets(cluster) == {"kindling-secret-stripe-key": b"two"}
    verbs = [verb for verb, _ in cluster.writes]
    assert "unchanged" in put("two", "STRIPE_KEY").out
    assert [verb for verb, _ in cluster.writes] == verbs
    assert "delete" not in verbs


def test_row_86_a_secret_that_another_tool_made_and_labelled_is_taken_over(
    put: Callable[..., Any], cluster: FakeCluster
) -> None:
    labels = {"app.kubernetes.io/managed-by": "kindling"}
    head = {"name": _REF.name, "namespace": "default", "labels": labels}
    data = {"STRIPE_KEY": "b2xk", "value": "b2xk"}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": data})
    assert "changed" in put("new", "STRIPE_KEY").out
    assert _secrets(cluster) == {_REF.name: b"new"}


@pytest.mark.parametrize("verb", ["set", "delete"])
def test_a_secret_of_somebody_else_is_left_alone(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster, verb: str
) -> None:
    head = {"name": _REF.name, "namespace": "default"}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": {"value": "eA=="}})
    result = put("y", "STRIPE_KEY") if verb == "set" else kindling("secrets", verb, "STRIPE_KEY")
    assert result.code == 1
    assert "was not made by kindling" in result.err
    assert _secrets(cluster) == {_REF.name: b"x"}
    assert cluster.writes == []


@pytest.mark.parametrize(
    "args",
    [
        ("STRIPE_KEY", _VALUE),
        (f"STRIPE_KEY={_VALUE}",),
        ("STRIPE_KEY", "--", _VALUE),
        ("STRIPE_KEY", f"--value={_VALUE}"),
        ("STRIPE_KEY", "Value-123"),
    ],
)
def test_row_86_a_value_on_the_command_line_is_refused_and_not_repeated(
    put: Callable[..., Any], cluster: FakeCluster, args: tuple[str, ...]
) -> None:
    result = put("", *args)
    assert result.code == 2
    assert _VALUE not in result.err
    assert "Value-123" not in result.err
    if not args[-1].startswith("--"):
        assert "does not belong on the command line" in result.err
        assert "the shell keeps it" in result.err
    assert cluster.writes == []


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", "../../etc/passwd", "schlüssel", "n" * 300, "KEY_", "a b", "", "KEY\n"],
)
@pytest.mark.parametrize("verb", ["set", "delete", "restore"])
def test_row_87_a_name_that_cannot_be_an_object_s_is_refused_before_anything_is_asked(
    put: Callable[..., Any], kindling: Kindling, folder: Path, name: str, verb: str
) -> None:
    before = sorted(folder.iterdir())
    result = put("x", name) if verb == "set" else kindling("secrets", verb, name)
    assert result.code == 2
    assert "secret" in result.err
    assert sorted(folder.iterdir()) == before


def test_row_87_list_shows_names_and_never_values(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster
) -> None:
    put(_VALUE, "STRIPE_KEY")
    put("another value", "db.password")
    for args in ((), ("--json",), ("--all",), ("--all", "--json"), ("--verbose",)):
        result = kindling("secrets", "list", *args)
        assert result.code == 0
        for hidden in (_VALUE, "another value"):
            for form in (hidden, base64.b64encode(hidden.encode()).decode()):
                assert form not in result.out + result.err
        assert "STRIPE_KEY" in result.out
        assert "db.password" in result.out
    assert len(cluster.objects("Secret")) == 2


def test_list_tells_what_is_only_in_one_of_the_two_and_what_differs(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster
) -> None:
    for name in ("BOTH", "GONE", "OTHER"):
        put(name, name)
    cluster.remove(ObjectRef("v1", "Secret", "kindling-secret-gone", "default"))
    labels = {"app.kubernetes.io/managed-by": "kindling"}
    for name in ("other", "alone"):
        head = {"name": f"kindling-secret-{name}", "namespace": "default", "labels": labels}
        cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": {"value": ""}})
    head = {"name": "github-runner-token", "namespace": "default", "labels": labels}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": head})
    result = kindling("secrets", "list", "--json")
    form = json.loads(result.out)
    assert {key: form[key] for key in ("schema", "type", "context", "reachable")} == {
        "schema": 1,
        "type": "secrets",
        "context": "kind-fake",
        "reachable": True,
    }
    assert {one["name"]: one["standing"] for one in form["secrets"]} == {
        "BOTH": "both",
        "GONE": "backup",
        "other": "differs",
        "alone": "cluster",
    }
    table = kindling("secrets", "list").out
    assert table.startswith("NAME ")
    for words in ("only in the backup", "only in the cluster", "with different values"):
        assert words in table


def test_the_backup_is_listed_when_the_cluster_does_not_answer(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster
) -> None:
    put("x", "STRIPE_KEY")
    cluster.go_away()
    result = kindling("secrets", "list", "--json")
    form = json.loads(result.out)
    assert result.code == 1
    assert form["reachable"] is False
    assert [(one["name"], one["standing"]) for one in form["secrets"]] == [
        ("STRIPE_KEY", "unknown")
    ]
    assert "Cannot reach the cluster" in result.err


def test_row_88_a_new_cluster_gets_every_secret_back(
    put: Callable[..., Any], kindling: Kindling, clusters: Clusters, folder: Path
) -> None:
    clusters.add("kind-old", namespace="dev")
    clusters.known["kind-old"].put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    )
    put(_VALUE, "STRIPE_KEY")
    put("-----BEGIN-----\nabc\n-----END-----\n", "TLS_KEY")
    put(b"\x00\xff\n\x00", "BINARY", "-n", "other")
    old = _secrets(clusters.known["kind-old"])
    clusters.remove("kind-old")
    new = clusters.add("kind-new")
    result = kindling("secrets", "restore")
    assert result.code == 0, result.err
    assert sorted(result.out.splitlines()) == [
        "BINARY: restored (namespace `other` of `kind-new`)",
        "STRIPE_KEY: restored (namespace `dev` of `kind-new`)",
        "TLS_KEY: restored (namespace `dev` of `kind-new`)",
    ]
    assert _secrets(new) == old
    places = {
        one["metadata"]["name"]: one["metadata"]["namespace"] for one in new.objects("Secret")
    }
    assert places["kindling-secret-binary"] == "other"
    again = kindling("secrets", "restore")
    assert again.out.count("kept, the cluster has it already") == 3
    backup = folder / ".kindling" / "secrets.yaml"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert _VALUE.encode() not in backup.read_bytes()
    assert (folder / ".kindling" / ".gitignore").read_text() == "*\n"


def test_restore_takes_those_that_are_named_to_the_namespace_that_is_named(
    put: Callable[..., Any], kindling: Kindling, clusters: Clusters
) -> None:
    clusters.add("kind-old", namespace="dev")
    for name in ("A", "B", "C"):
        put(name, name)
    clusters.remove("kind-old")
    new = clusters.add("kind-new")
    result = kindling("secrets", "restore", "A", "c", "-n", "team")
    assert (result.code, len(result.out.splitlines())) == (0, 2)
    found = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in new.objects("Secret")
    }
    assert found == {("team", "kindling-secret-a"), ("team", "kindling-secret-c")}
    missing = kindling("secrets", "restore", "STRIPE")
    assert missing.code == 2
    assert "The backup has no secret `STRIPE`" in missing.err


def test_of_several_clusters_restore_asks_which(
    put: Callable[..., Any], kindling: Kindling, clusters: Clusters
) -> None:
    for context in ("kind-a", "kind-b"):
        clusters.add(context)
        put(f"of {context}", "KEY", "--context", context)
    for context in ("kind-a", "kind-b"):
        clusters.remove(context)
    new = clusters.add("kind-new")
    result = kindling("secrets", "restore")
    assert result.code == 2
    assert "[kind-a, kind-b]" in result.err
    assert "--from kind-a" in result.err
    assert kindling("secrets", "restore", "--from", "kind-b").code == 0
    assert _secrets(new) == {"kindling-secret-key": b"of kind-b"}
    wrong = kindling("secrets", "restore", "--from", "kind-c")
    assert (wrong.code, "nothing of the cluster `kind-c`" in wrong.err) == (2, True)


def test_restore_without_a_backup_says_so(kindling: Kindling, cluster: FakeCluster) -> None:
    result = kindling("secrets", "restore")
    assert result.code == 2
    assert "The backup of this project has no secrets" in result.err
    assert cluster.writes == []


def test_a_value_that_differs_is_overwritten_only_after_a_yes(
    put: Callable[..., Any],
    kindling: Kindling,
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("kept", "STRIPE_KEY")
    live = dict(cluster.objects("Secret")[0])
    cluster.put({**live, "data": {"value": base64.b64encode(b"live").decode()}})
    typed(monkeypatch, b"")
    result = kindling("secrets", "restore")
    assert result.code == 1
    assert "left alone" in result.out
    assert "restore -y" in result.err
    typed(monkeypatch, b"n\n", terminal=True)
    assert kindling("secrets", "restore").code == 1
    assert _secrets(cluster) == {_REF.name: b"live"}
    typed(monkeypatch, b"y\n", terminal=True)
    asked = kindling("secrets", "restore")
    assert (asked.code, "replaced" in asked.out) == (0, True)
    assert "STRIPE_KEY: the cluster has another value" in asked.err
    assert _secrets(cluster) == {_REF.name: b"kept"}
    cluster.put({**live, "data": {"value": "eA=="}})
    assert kindling("secrets", "restore", "-y").code == 0
    assert _secrets(cluster) == {_REF.name: b"kept"}


def test_restore_goes_on_past_one_that_fails(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster
) -> None:
    for name in ("A", "B", "C"):
        put(name, name)
    for name in ("a", "b", "c"):
        cluster.remove(ObjectRef("v1", "Secret", f"kindling-secret-{name}", "default"))
    head = {"name": "kindling-secret-b", "namespace": "default"}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": {"value": "eA=="}})
    result = kindling("secrets", "restore")
    assert result.code == 1
    assert result.out.count("restored") == 2
    assert "B: not restored" in result.err
    assert _secrets(cluster)["kindling-secret-b"] == b"x"


def test_delete_takes_a_secret_from_both(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster
) -> None:
    put("x", "STRIPE_KEY")
    result = kindling("secrets", "delete", "stripe-key")
    assert (result.code, "the cluster and the backup" in result.out) == (0, True)
    assert cluster.objects("Secret") == ()
    again = kindling("secrets", "delete", "STRIPE_KEY")
    assert again.code == 2
    assert "There is no secret `STRIPE_KEY`" in again.err


def test_the_backup_of_a_cluster_that_is_gone_can_be_cleared(
    put: Callable[..., Any], kindling: Kindling, clusters: Clusters
) -> None:
    for context in ("kind-a", "kind-b"):
        clusters.add(context)
        put("x", "KEY", "--context", context)
    clusters.remove("kind-a")
    result = kindling("secrets", "delete", "KEY", "--backup-only")
    assert (result.code, "of several places" in result.err) == (2, True)
    result = kindling("secrets", "delete", "KEY", "--backup-only", "--context", "kind-a")
    assert (result.code, result.out) == (
        0,
        "KEY: deleted from the backup of namespace `default` of `kind-a`\n",
    )
    rows = json.loads(kindling("secrets", "list", "--all", "--json").out)["secrets"]
    assert [row["context"] for row in rows] == ["kind-b"]


def test_a_lost_key_is_one_message_and_nothing_is_written(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster, folder: Path
) -> None:
    put("x", "STRIPE_KEY")
    (key,) = (folder / "data" / "kindling" / "keys").iterdir()
    key.unlink()
    before = list(cluster.writes)
    for result in (put("y", "OTHER"), kindling("secrets", "restore")):
        assert result.code == 1
        assert f"its key `{key}` is not there" in result.err
        assert "Traceback" not in result.err
    assert cluster.writes == before
    listed = kindling("secrets", "list")
    assert listed.code == 0
    assert "STRIPE_KEY" in listed.out
    assert "values are not compared" in listed.err


def test_the_line_end_of_a_single_line_is_the_shell_s(
    put: Callable[..., Any], cluster: FakeCluster, folder: Path
) -> None:
    cases = {
        "A": (b"one\n", b"one"),
        "B": (b"one\r\n", b"one"),
        "C": (b"one\ntwo\n", b"one\ntwo\n"),
        "D": (b"one\n\n", b"one\n\n"),
        "E": (b" one ", b" one "),
        "F": (b"a\nb", b"a\nb"),
    }
    for name, (given, _) in cases.items():
        assert put(given, name).code == 0
    (folder / "file").write_bytes(b"one\n")
    assert put("", "G", "--from-file", "file").code == 0
    assert put("via dash", "H", "-").code == 0
    expected = {name: kept for name, (_, kept) in cases.items()}
    assert _secrets(cluster) == {
        f"kindling-secret-{name.lower()}": kept
        for name, kept in {**expected, "G": b"one\n", "H": b"via dash"}.items()
    }


@pytest.mark.parametrize("value", [b"a\x00b", b"\xff\xfe"])
def test_a_value_that_is_no_text_is_kept_and_said_to_be_no_variable(
    put: Callable[..., Any], cluster: FakeCluster, value: bytes
) -> None:
    result = put(value, "KEY")
    assert result.code == 0
    assert "it cannot be a variable" in result.err
    assert _secrets(cluster) == {"kindling-secret-key": value}


def test_a_value_too_large_is_refused_before_the_cluster_is_asked(
    put: Callable[..., Any], cluster: FakeCluster, folder: Path
) -> None:
    cluster.go_away()
    result = put(b"x" * 2_000_000, "KEY")
    assert result.code == 2
    assert "more than 524,288 bytes" in result.err
    (folder / "big").write_bytes(b"x" * 600_000)
    assert "524,288" in put("", "KEY", "--from-file", "big").err
    assert "524,288" in put("", "KEY", "--from-file", "/dev/zero").err


def test_what_cannot_be_a_value_is_told(
    put: Callable[..., Any], cluster: FakeCluster, folder: Path
) -> None:
    (folder / ".env").write_text("A=1\nB_C='two words'\n")
    (folder / "none.env").write_text("# nothing\n")
    for args, said in (
        (("KEY",), "is empty"),
        ((), "needs the name of a secret"),
        (("A", "B"), "One value cannot be that of 2 secrets"),
        (("KEY", "--from-file", "missing"), "Cannot read `missing`: No such file"),
        (("KEY", "--from-file", "."), "Cannot read `.`"),
        (("KEY", "-", "--from-file", ".env"), "cannot be said together"),
        (("B_D", "--from-env-file", ".env"), "has no `B_D`"),
        (("--from-env-file", "none.env"), "no lines of the form"),
        (("A_B", "A-B"), "looks like a value"),
        (("KEY", "-n", "a/b"), "cannot be the name of a namespace"),
    ):
        result = put("", *args)
        assert (result.code, said in result.err) == (2, True), result.err
    assert cluster.writes == []


def test_many_come_from_an_env_file(
    put: Callable[..., Any], cluster: FakeCluster, folder: Path
) -> None:
    (folder / ".env").write_text("# keys\nexport A=1\nB_C='two words'\nD=\"x\\ny\"\n")
    assert put("", "--from-env-file", ".env").code == 0
    assert _secrets(cluster) == {
        "kindling-secret-a": b"1",
        "kindling-secret-b-c": b"two words",
        "kindling-secret-d": b"x\ny",
    }
    (folder / ".env").write_text("A=2\nB_C=3\n")
    assert put("", "A", "--from-env-file", ".env").code == 0
    assert _secrets(cluster)["kindling-secret-a"] == b"2"
    assert _secrets(cluster)["kindling-secret-b-c"] == b"two words"
    (folder / ".env").write_text("A_B=2\na-b=3\n")
    assert "are one secret" in put("", "--from-env-file", ".env").err


def test_a_missing_namespace_is_made_where_the_kindlingfile_says_it_and_else_told(
    put: Callable[..., Any], cluster: FakeCluster, folder: Path
) -> None:
    result = put("x", "KEY", "-n", "defualt")
    assert result.code == 2
    assert "has no namespace `defualt`" in result.err
    assert "Did you mean `default`?" in result.err
    (folder / "Kindlingfile").write_text('cluster(namespace="shop")\n')
    assert put("x", "KEY").code == 0
    (made,) = cluster.objects("Secret")
    assert made["metadata"]["namespace"] == "shop"


def test_the_cluster_is_that_of_the_kindlingfile_and_a_remote_one_needs_leave(
    put: Callable[..., Any], clusters: Clusters, folder: Path
) -> None:
    clusters.add("kind-current")
    named = clusters.add("kind-named")
    remote = clusters.add("production")
    (folder / "Kindlingfile").write_text('cluster(provider="context", name="kind-named")\n')
    result = put("x", "KEY")
    assert result.code == 0
    assert "Cluster `kind-named`: the Kindlingfile names it" in result.err
    assert len(named.objects("Secret")) == 1
    refused = put("x", "KEY", "--context", "production")
    assert refused.code == 2
    assert "allow_k8s_contexts" in refused.err
    assert remote.writes == []


def test_the_value_is_asked_for_on_a_terminal(
    kindling: Kindling, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []

    def answer(prompt: str, stream: object) -> str:
        assert stream is not None
        prompts.append(prompt)
        return f"value {len(prompts)}"

    monkeypatch.setattr(getpass, "getpass", answer)
    typed(monkeypatch, b"", terminal=True)
    result = kindling("secrets", "set", "A", "B")
    assert result.code == 0
    assert prompts == ["Value of A (not shown): ", "Value of B (not shown): "]
    assert _secrets(cluster) == {"kindling-secret-a": b"value 1", "kindling-secret-b": b"value 2"}


def test_a_terminal_that_would_show_the_value_is_not_used(
    kindling: Kindling, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shows(prompt: str, stream: object) -> str:
        import warnings

        warnings.warn(f"cannot control echo {prompt}{stream}", getpass.GetPassWarning, stacklevel=2)
        return "shown"

    monkeypatch.setattr(getpass, "getpass", shows)
    typed(monkeypatch, b"", terminal=True)
    result = kindling("secrets", "set", "A")
    assert (result.code, "would show what you type" in result.err) == (1, True)
    assert cluster.writes == []


def test_a_cluster_that_refuses_leaves_the_backup_as_it_was(
    put: Callable[..., Any], cluster: FakeCluster, folder: Path
) -> None:
    put("one", "A")
    before = (folder / ".kindling" / "secrets.yaml").read_bytes()
    cluster.go_away()
    result = put(_VALUE, "B")
    assert (result.code, "Cannot reach the cluster" in result.err) == (1, True)
    assert (folder / ".kindling" / "secrets.yaml").read_bytes() == before
    assert _VALUE not in result.err


def test_a_session_shows_and_records_no_value_of_the_backup(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster, folder: Path
) -> None:
    assert cluster.writes == []
    put(_VALUE, "STRIPE_KEY")
    (folder / "value.txt").write_text(f"the key is {_VALUE}\n")
    (folder / "Kindlingfile").write_text(
        'local_resource("leak", cmd="cat value.txt; base64 value.txt; exit 3")\n'
    )
    result = kindling("ci", "--plain")
    assert result.code == 1
    assert "the key is [redacted secret STRIPE_KEY:value]" in result.out
    assert _VALUE not in result.out + result.err
    for path in (folder / ".kindling").rglob("*"):
        assert not path.is_file() or _VALUE.encode() not in path.read_bytes(), path


def test_a_session_goes_on_without_the_key(
    put: Callable[..., Any], kindling: Kindling, cluster: FakeCluster, folder: Path
) -> None:
    assert cluster.writes == []
    put(_VALUE, "STRIPE_KEY")
    for key in (folder / "data" / "kindling" / "keys").iterdir():
        key.unlink()
    (folder / "Kindlingfile").write_text('local_resource("ok", cmd="true")\n')
    assert kindling("ci", "--plain").code == 0
