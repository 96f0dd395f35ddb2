"""What `kindling deploy` says of its files before any cluster is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.engine.environments.manifests import Item, check, placed, read
from kindling.engine.environments.places import line_of
from kindling.errors import ConfigError, UsageError

GOOD = """\
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: orders}
spec:
  deployment: {image: nginx, port: 80}
  service: {port: 80}
"""


def items(text: str, namespace: str = "") -> tuple[Item, ...]:
    return placed(read(["-"], text), namespace, "default")


def said(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check(items(text))
    return caught.value.render()


def test_row_15_every_mistake_is_told_by_file_line_document_and_field() -> None:
    text = f"""\
# a comment
{GOOD}---
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata:
  name: shop
spec:
  deployment:
    image: nginx
    prot: 80
    port: 0
  service: {{}}
  dependencies:
    - type: redis
      storageSiz: 1Gi
    - type: postgress
"""
    assert said(text).splitlines() == [
        "5 mistakes:",
        "  standard input:16: document 2: spec.deployment.prot: there is no such field. "
        "Did you mean `port`?",
        "  standard input:21: document 2: spec.dependencies[0].storageSiz: there is no such field. "
        "Did you mean `storageSize`?",
        "  standard input:17: document 2: spec.deployment.port: 0 is less than 1",
        "  standard input:18: document 2: spec.service.port: is required",
        "  standard input:22: document 2: spec.dependencies[1].type: `postgress` is none of "
        "[postgres, redis, mysql, mongodb, rabbitmq, minio, elasticsearch, kafka, nats, memcached, "
        "cassandra, consul, vault, influxdb, jaeger]",
        "  Nothing was written.",
    ]


def test_row_15_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(GOOD)
    with pytest.raises(UsageError) as caught:
        read([str(tmp_path / "order.yaml")])
    assert f"there is no file `{tmp_path}/order.yaml`" in caught.value.message
    assert caught.value.hint == "Did you mean `orders.yaml`?"


def test_a_folder_is_all_its_manifests_and_none_of_those_below(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(GOOD)
    (tmp_path / "a.yml").write_text(GOOD.replace("orders", "shop"))
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("- not read")
    found = read([str(tmp_path)])
    assert [item.ref.name for item in found] == ["shop", "orders"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no manifests"):
        read([str(empty)])


def test_a_cross_field_mistake_is_refused_and_an_odd_one_is_told() -> None:
    clash = GOOD + "  dependencies: [{type: postgres}, {type: mysql}]\n"
    assert "sets the variable `DATABASE_URL`" in said(clash)
    odd = GOOD + "  dependencies: [{type: nats, storageSize: 1Gi}]\n"
    (line,) = check(items(odd))
    assert "keeps nothing on disk" in line


def test_two_objects_of_one_name_are_refused() -> None:
    assert "DevStagingEnvironment/orders in default stands in standard input:1 too" in said(
        f"{GOOD}---\n{GOOD}"
    )


def test_two_environments_that_need_one_deployment_are_refused() -> None:
    first = GOOD + "  dependencies: [{type: redis}]\n"
    second = GOOD.replace("name: orders", "name: orders-redis")
    assert "both need a Deployment `orders-redis`" in said(f"{first}---\n{second}")


def test_a_pool_is_checked_by_its_own_fields() -> None:
    text = """\
apiVersion: apps.example.com/v1alpha1
kind: GithubActionRunnerPool
metadata: {name: ci}
spec: {githubUsername: jeff, repositry: jeff/shop, tokenSecretRef: {name: token}}
"""
    told = said(text)
    assert "spec.repositry: there is no such field. Did you mean `repository`?" in told
    assert "spec.repository: is required" in told


def test_a_namespace_is_given_to_those_that_need_one_and_have_none() -> None:
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
    strange = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n"
    found = items(f"{GOOD}---\n{role}---\n{strange}", "staging")
    spaces = {item.kind: item.manifest["metadata"].get("namespace") for item in found}
    assert spaces == {"ClusterRole": None, "Thing": None, "DevStagingEnvironment": "staging"}
    assert [item.kind for item in found][-1] == "DevStagingEnvironment"
    other = GOOD.replace("{name: orders}", "{name: orders, namespace: prod}")
    with pytest.raises(ConfigError, match="is `prod`, and `staging` was asked for"):
        items(other, "staging")


def test_an_object_without_a_name_is_refused_by_its_document() -> None:
    told = said(f"{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{}}\n")
    assert "standard input:8: document 2: A ConfigMap has no `metadata.name`" in told


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("spec.deployment.port", 5),
        ("spec.service", 6),
        ("spec.service.port", 6),
        ("spec.ingress.host", 4),
        ("metadata.name", 3),
        ("nothing", 1),
    ],
)
def test_a_field_is_found_where_it_stands_or_should_stand(field: str, line: int) -> None:
    assert line_of(GOOD, 1, field) == line


def test_what_stands_in_a_list_of_objects_has_the_place_of_the_list() -> None:
    assert line_of("kind: List\nitems: [{metadata: {name: a}}]\n", 1, "metadata.name") == 0
