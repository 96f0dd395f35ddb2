"""Which cluster is meant, and whether it may be touched: kubeconfig rules without a cluster."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from kindling.errors import ClusterError, ConfigError, ContextNotAllowedError
from kindling.kube.contexts import (
    Kubeconfig,
    Product,
    check_allowed,
    choose_target,
    product_of,
    read_kubeconfig,
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), "utf-8")
    return path


LOCAL = """
    current-context: kind-dev
    contexts:
    - {name: kind-dev, context: {cluster: kind-dev, user: me, namespace: work}}
    - {name: prod, context: {cluster: eks-prod, user: me}}
    clusters:
    - {name: kind-dev, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.crt}}
    - {name: eks-prod, cluster: {server: "https://eks.example.com"}}
    users:
    - {name: me, user: {token: very-secret, exec: {command: ./login, apiVersion: v1}}}
"""


@pytest.fixture
def local(tmp_path: Path) -> Kubeconfig:
    return read_kubeconfig({"KUBECONFIG": str(write(tmp_path / "one" / "config", LOCAL))})


@pytest.mark.parametrize(
    ("cluster", "product"),
    [
        ("kind", Product.KIND),
        ("kind-kindling-real", Product.KIND),
        ("k3d-kpulse-test", Product.K3D),
        ("minikube", Product.MINIKUBE),
        ("docker-desktop", Product.DOCKER_DESKTOP),
        ("docker-for-desktop-cluster", Product.DOCKER_DESKTOP),
        ("microk8s-cluster", Product.MICROK8S),
        ("api-crc-testing:6443", Product.CRC),
        ("rancher-desktop", Product.RANCHER_DESKTOP),
        ("colima", Product.COLIMA),
        ("orbstack", Product.ORBSTACK),
        ("kindling", Product.EMBEDDED),
        ("mankind", Product.UNKNOWN),
        ("gke_project_zone_name", Product.UNKNOWN),
        ("orbstack-prod", Product.UNKNOWN),
    ],
)
def test_local_products_are_known_by_the_names_they_give(cluster: str, product: Product) -> None:
    assert product_of(cluster) is product


def test_a_minikube_profile_of_any_name_is_known_by_its_extension() -> None:
    mark = {"name": "cluster_info", "extension": {"provider": "minikube.sigs.k8s.io"}}
    assert product_of("my-profile", {"extensions": [mark]}) is Product.MINIKUBE


def test_of_several_files_the_first_that_names_a_thing_wins(tmp_path: Path) -> None:
    first = write(
        tmp_path / "a" / "config",
        """
        contexts: [{name: x, context: {cluster: kind-a}}]
        clusters: [{name: kind-a, cluster: {server: "https://a"}}]
        """,
    )
    second = write(
        tmp_path / "b" / "config",
        """
        current-context: x
        contexts: [{name: x, context: {cluster: kind-b}}, {name: y, context: {cluster: kind-b}}]
        clusters: [{name: kind-b, cluster: {server: "https://b"}}]
        """,
    )
    missing = tmp_path / "none"
    found = read_kubeconfig({"KUBECONFIG": f"{first}:{missing}:{second}"})
    assert [(c.name, c.server) for c in found.contexts] == [("x", "https://a"), ("y", "https://b")]
    assert found.current is not None
    assert found.current.name == "x"
    assert found.files == (first, second)


def test_without_kubeconfig_the_home_folder_is_asked(tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", LOCAL)
    assert read_kubeconfig({"HOME": str(tmp_path)}).current_name == "kind-dev"
    assert read_kubeconfig({"HOME": str(tmp_path / "nobody")}).contexts == ()


def test_paths_are_relative_to_the_file_they_stand_in(local: Kubeconfig) -> None:
    folder = local.files[0].parent
    assert local.raw["clusters"][0]["cluster"]["certificate-authority"] == str(folder / "ca.crt")
    assert local.raw["users"][0]["user"]["exec"]["command"] == str(folder / "login")


def test_a_context_has_its_namespace_and_server_and_no_credentials(local: Kubeconfig) -> None:
    context = local.find("kind-dev")
    assert (context.namespace, context.server) == ("work", "https://127.0.0.1:6443")
    assert local.find("prod").namespace == "default"
    assert "very-secret" not in repr(local)


def test_a_minified_kubeconfig_knows_one_context(local: Kubeconfig) -> None:
    document = local.minified("prod")
    assert document["current-context"] == "prod"
    assert [entry["name"] for entry in document["contexts"]] == ["prod"]
    assert [entry["name"] for entry in document["clusters"]] == ["eks-prod"]


def test_an_unknown_context_names_the_nearest(local: Kubeconfig) -> None:
    with pytest.raises(ConfigError) as caught:
        local.find("kind-dve")
    assert caught.value.hint == "Did you mean `kind-dev`?"


def test_auto_takes_the_current_context_when_it_is_local(local: Kubeconfig) -> None:
    target = choose_target(local)
    assert target.context.name == "kind-dev"
    assert "local cluster (kind)" in target.reason


def test_a_cluster_that_is_not_local_must_be_allowed_by_name(local: Kubeconfig) -> None:
    with pytest.raises(ContextNotAllowedError) as caught:
        choose_target(local, "context", "prod")
    assert 'allow_k8s_contexts("prod")' in caught.value.hint
    assert 'cluster(provider = "embedded")' in caught.value.hint
    assert all(line.startswith("  ") for line in caught.value.render().splitlines()[1:])
    assert choose_target(local, "context", "prod", ["prod"]).context.name == "prod"
    check_allowed(local.find("kind-dev"), [])


def test_auto_refuses_a_current_context_that_is_not_local(tmp_path: Path) -> None:
    text = LOCAL.replace("current-context: kind-dev", "current-context: prod")
    found = read_kubeconfig({"KUBECONFIG": str(write(tmp_path / "config", text))})
    with pytest.raises(ContextNotAllowedError):
        choose_target(found)
    assert choose_target(found, allowed=["prod"]).context.name == "prod"


def test_auto_takes_the_embedded_cluster_where_there_is_no_other() -> None:
    for found in (Kubeconfig(), read_kubeconfig({"KUBECONFIG": "/nowhere/config"})):
        target = choose_target(found)
        assert (target.context.name, target.context.product) == (
            "kindling-kindling",
            Product.EMBEDDED,
        )
        assert "the kubeconfig names no other" in target.reason


def test_an_embedded_cluster_may_have_a_name(local: Kubeconfig) -> None:
    target = choose_target(local, "embedded", "demo")
    assert (target.context.name, target.context.cluster) == ("kindling-demo", "kindling-demo")


def test_no_current_context_says_what_can_be_done() -> None:
    with pytest.raises(ClusterError, match="There is no cluster") as caught:
        choose_target(Kubeconfig(), "context")
    assert "KUBECONFIG" in caught.value.hint
    missing = read_kubeconfig({"KUBECONFIG": "/nowhere/config"})
    with pytest.raises(ClusterError) as caught:
        choose_target(missing, "context")
    assert caught.value.details == ("not there: [/nowhere/config]",)


def test_an_unknown_provider_is_refused(local: Kubeconfig) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_target(local, "contxt")
    assert caught.value.hint == "Did you mean `context`?"


@pytest.mark.parametrize("text", ["a: [", "- 1", "contexts: {a: 1}", "contexts: [{context: {}}]"])
def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "config", text + "\n# token: very-secret")
    with pytest.raises(ClusterError) as caught:
        read_kubeconfig({"KUBECONFIG": str(path)})
    assert str(path) in caught.value.message
    assert "very-secret" not in caught.value.render()
