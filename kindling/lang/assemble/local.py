"""Local work: `local_resource` and `test` as nodes."""

from __future__ import annotations

import re

from kindling.graph.node import EdgeKind, FileSet, Kind, Node, NodeId, node_id
from kindling.graph.spec import CommandSpec, ServeSpec
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.outputs import without
from kindling.lang.declared import Declarations, Link, LocalResource, TestDeclaration

__all__ = ["add_locals", "add_tests", "links_of", "talks_to_cluster"]

_CLUSTER_TOOLS = re.compile(r"(?:^|[\s;&|(/`])(?:kubectl|helm)(?=$|[\s;&|)`])")


def add_locals(draft: Draft, declarations: Declarations) -> None:
    """A command node, a server node or both for every `local_resource`."""
    for local in declarations.locals:
        trigger = local.trigger or declarations.settings.trigger
        command: NodeId | None = None
        files = _files(local.files, local.outputs)
        if local.argv:
            command = draft.add(
                Node(
                    id=node_id(Kind.LOCAL, local.name),
                    kind=Kind.LOCAL,
                    name=local.name,
                    spec=CommandSpec(local.argv, local.dir, local.env, local.outputs),
                    where=local.where,
                    resource=local.name,
                    files=files,
                    trigger=trigger,
                    auto_init=local.auto_init,
                    # One that says what it writes can be told apart from its neighbours' work.
                    exclusive=not (local.allow_parallel or local.outputs),
                    labels=local.labels,
                    links=() if local.serve_argv else links_of(local.links),
                )
            )
        if local.serve_argv:
            server = draft.add(_server(local, files, declarations))
            if command is not None:
                draft.connect(command, server, EdgeKind.CONTENT)


def _server(local: LocalResource, files: tuple[FileSet, ...], declarations: Declarations) -> Node:
    return Node(
        id=node_id(Kind.SERVE, local.name),
        kind=Kind.SERVE,
        name=local.name,
        spec=ServeSpec(local.serve_argv, local.serve_dir, local.serve_env, local.readiness_probe),
        where=local.where,
        resource=local.name,
        files=files,
        trigger=local.trigger or declarations.settings.trigger,
        auto_init=local.auto_init,
        labels=local.labels,
        links=links_of(local.links),
    )


def add_tests(draft: Draft, declarations: Declarations) -> None:
    """A node for every `test`."""
    for test in declarations.tests:
        draft.add(_test(test, declarations))


def _test(test: TestDeclaration, declarations: Declarations) -> Node:
    return Node(
        id=node_id(Kind.TEST, test.name),
        kind=Kind.TEST,
        name=test.name,
        spec=CommandSpec(test.argv, test.dir, test.env, test.outputs),
        where=test.where,
        resource=test.name,
        files=_files(test.files, test.outputs),
        trigger=test.trigger or declarations.settings.trigger,
        auto_init=test.auto_init,
        exclusive=not test.allow_parallel,
        timeout=test.timeout,
        labels=test.labels,
    )


def _files(files: FileSet, outputs: tuple[str, ...]) -> tuple[FileSet, ...]:
    return (without(files, outputs),) if files.paths else ()


def links_of(links: tuple[Link, ...]) -> tuple[tuple[str, str], ...]:
    """Links as nodes carry them: pairs of address and name."""
    return tuple((link.url, link.name) for link in links)


def talks_to_cluster(argv: tuple[str, ...]) -> bool:
    """Whether a command line runs kubectl or helm: what it did, it did to one cluster only."""
    return any(_CLUSTER_TOOLS.search(word) for word in argv)
