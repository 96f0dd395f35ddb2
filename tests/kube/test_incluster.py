"""The cluster that a pod runs in takes the place of a kubeconfig that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.errors import ContextNotAllowedError
from kindling.kube.contexts import Product, choose_target, read_kubeconfig
from kindling.kube.incluster import IN_CLUSTER, in_cluster


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, str]:
    """The environment of a pod in the namespace `tools`."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    for name, text in (("token", "secret"), ("ca.crt", "certificate"), ("namespace", "tools\n")):
        (folder / name).write_text(text)
    return {
        "HOME": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "6443",
        "KINDLING_SERVICE_ACCOUNT": str(folder),
    }


def test_a_pod_finds_its_cluster_without_a_kubeconfig(pod: dict[str, str]) -> None:
    found = read_kubeconfig(pod)
    assert found.current is not None
    assert (found.current.name, found.current.namespace) == (IN_CLUSTER, "tools")
    assert found.current.server == "https://10.96.0.1:6443"


def test_the_token_is_read_from_its_file_each_time_and_not_copied(pod: dict[str, str]) -> None:
    [user] = read_kubeconfig(pod).raw["users"]
    assert user["user"] == {"tokenFile": f"{pod['KINDLING_SERVICE_ACCOUNT']}/token"}


def test_a_kubeconfig_in_a_pod_comes_first(pod: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("contexts: [{name: mine, context: {cluster: mine}}]\ncurrent-context: mine\n")
    found = read_kubeconfig({**pod, "KUBECONFIG": str(file)})
    assert [context.name for context in found.contexts] == ["mine"]


def test_a_session_in_a_pod_takes_the_cluster_around_it_only_where_that_is_allowed(
    pod: dict[str, str],
) -> None:
    found = read_kubeconfig(pod)
    assert choose_target(found).context.product is Product.EMBEDDED
    assert choose_target(found, allowed=[IN_CLUSTER]).context.name == IN_CLUSTER
    with pytest.raises(ContextNotAllowedError):
        choose_target(found, "context", IN_CLUSTER)


def test_an_address_of_version_6_is_put_in_brackets(pod: dict[str, str]) -> None:
    found = in_cluster({**pod, "KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert found is not None
    assert found["clusters"][0]["cluster"]["server"] == "https://[fd00::1]:6443"


@pytest.mark.parametrize("gone", ["KUBERNETES_SERVICE_HOST", "token"])
def test_without_an_address_or_a_token_there_is_no_cluster_around(
    pod: dict[str, str], gone: str
) -> None:
    if gone == "token":
        (Path(pod["KINDLING_SERVICE_ACCOUNT"]) / gone).unlink()
    else:
        del pod[gone]
    assert in_cluster(pod) is None
    assert read_kubeconfig(pod).current is None
