"""`kindling operator` as far as it needs no cluster: words, refusals, and manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kindling.cli.invocation import Invocation
from kindling.cli.main import program

Kindling = Callable[..., Any]


@pytest.mark.parametrize("action", ["run", "install", "uninstall", "status", "manifests"])
def test_every_action_on_the_operator_has_help_in_80_columns(action: str) -> None:
    result = CliRunner().invoke(program, ["operator", action, "--help"], obj=Invocation())
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("instal",), "there is no command `operator instal`\n  Did you mean `install`?\n"),
        (
            ("run", "--namespace", "a", "--all-namespaces"),
            "`--namespace` and `--all-namespaces` contradict each other\n",
        ),
        (
            ("run", "--namespace", "Team A"),
            "`Team A` cannot be the name of a namespace\n"
            "  Lower-case letters, digits and hyphens, at most 63.\n",
        ),
        (
            ("manifests", "--only", "-x"),
            "`-x` cannot be the name of a namespace\n"
            "  Lower-case letters, digits and hyphens, at most 63.\n",
        ),
        (
            ("status", "--", "word"),
            "`kindling operator status` takes no words after `--`: [word]\n",
        ),
    ],
)
def test_wrong_words_are_refused(kindling: Kindling, words: tuple[str, ...], said: str) -> None:
    result = kindling("operator", *words)
    assert (result.code, result.out, result.err) == (2, "", said)


def test_manifests_are_what_kubectl_applies_and_no_cluster_is_asked(kindling: Kindling) -> None:
    result = kindling("operator", "manifests", "--image", "registry/kindling:2", "--only", "a")
    assert (result.code, result.err) == (0, "")
    documents = list(yaml.safe_load_all(result.out))
    kinds = [document["kind"] for document in documents]
    assert kinds[:3] == ["CustomResourceDefinition"] * 3
    assert kinds[-1] == "Deployment"
    [container] = documents[-1]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry/kindling:2"
    assert container["args"][-2:] == ["--namespace", "a"]


def test_a_remote_cluster_is_left_alone_unless_the_file_allows_it(
    kindling: Kindling, folder: Path
) -> None:
    config = {
        "current-context": "prod",
        "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "me"}}],
        "clusters": [{"name": "prod", "cluster": {"server": "https://prod.invalid"}}],
        "users": [{"name": "me", "user": {"token": "very-secret"}}],
    }
    (folder / "no-kubeconfig").write_text(yaml.safe_dump(config))
    for words in (("install",), ("uninstall", "--yes"), ("install", "--context", "prod")):
        result = kindling("operator", *words)
        assert result.code == 2
        assert "allow_k8s_contexts" in result.err
