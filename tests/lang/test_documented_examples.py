"""What docs/kindlingfile.md shows can be run, and what it says is answered is answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kindling.lang.assemble.assembly import Assembly, assemble
from kindling.lang.assemble.reader import DiskReader
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.testing.project import Project

PAGE = (Path(__file__).parents[2] / "docs" / "kindlingfile.md").read_text()
EXAMPLES = re.findall(r"^```starlark\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TARGET = TargetFacts("dev", registry=AnnouncedRegistry("localhost:5000"))

ORDERS = """\
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata:
  name: orders
spec:
  deployment:
    image: orders
    port: 8080
  service:
    port: 80
"""


def build(project: Project, text: str) -> Assembly:
    project.write("shop/Dockerfile", "FROM busybox\n")
    project.write("orders/dev-environment.yaml", ORDERS)
    project.write("platform.yaml", ORDERS.replace("orders", "platform"))
    return assemble(project.evaluate(text), TARGET, DiskReader(project.root))


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_becomes_a_graph(project: Project, text: str) -> None:
    made = build(project, text)
    assert made.warnings == ()
    assert any(id_.startswith("operator:") for id_ in made.graph.nodes)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


def test_the_message_that_is_shown_is_the_one_that_comes(project: Project) -> None:
    (shown,) = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    project.write("dev-environment.yaml", ORDERS.replace("port: 8080", "prot: 8080"))
    assert project.fails('dse("orders", file = "dev-environment.yaml")') == shown


def test_the_first_example_is_wired_as_it_says(project: Project) -> None:
    made = build(project, EXAMPLES[0])
    assert "push:shop" in made.graph.nodes
    assert {endpoint.url for endpoint in made.endpoints} == {
        "http://shop.localhost/",
        "http://localhost:8000/",
    }
