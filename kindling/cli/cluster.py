"""`kindling cluster`: the embedded cluster, by hand.

`kindling up` starts it when it is the target; these verbs are for all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kindling.cli.actions import SETTINGS, Actions
from kindling.cli.invocation import Invocation
from kindling.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from kindling.cluster.daemon import Status
    from kindling.cluster.home import ClusterHome

__all__ = ["command"]


@click.group(
    "cluster",
    cls=Actions,
    short_help="Start, stop and look at the embedded cluster.",
    context_settings=SETTINGS,
    epilog="\b\nExamples:\n"
    "  kindling cluster start          a Kubernetes on this machine\n"
    "  kubectl --context kindling-kindling get pods -A\n"
    "  kindling cluster load app:dev   an image of the Docker engine\n"
    "  kindling cluster load app.tar   or out of an archive\n"
    "  kindling cluster stop           keep everything, run nothing\n"
    "  kindling cluster reset --yes    delete it with all it holds",
)
def command() -> None:
    """The embedded cluster: a Kubernetes of one node that needs no Docker. `kindling up` starts it
    by itself where no other cluster is the target."""


def _action(name: str, help_line: str) -> Callable[[Callable[..., Any]], click.Command]:
    def decorate(function: Callable[..., Any]) -> click.Command:
        named = click.option(
            "--name",
            metavar="NAME",
            default="",
            help="Which cluster; several can run.  [default: kindling]",
        )(function)
        made = click.command(name, short_help=help_line, context_settings=SETTINGS)(
            click.pass_obj(named)
        )
        command.add_command(made)
        return made

    return decorate


def _home(invocation: Invocation, name: str) -> ClusterHome:
    from kindling.cluster.home import DEFAULT_NAME, ClusterHome

    invocation.no_words("cluster")
    return ClusterHome.of(name or DEFAULT_NAME)


def _typed(action: str, home: ClusterHome) -> str:
    """The command for an action on this cluster, as short as it can be typed."""
    from kindling.cluster.home import DEFAULT_NAME

    named = "" if home.name == DEFAULT_NAME else f" --name {home.name}"
    return f"kindling cluster {action}{named}"


def _kubeconfig_file(given: str) -> Path:
    """The file that kubectl would write to: the first of KUBECONFIG, else `~/.kube/config`."""
    import os

    from kindling.kube.contexts import kubeconfig_paths

    return Path(given) if given else kubeconfig_paths(os.environ)[0]


@_action("start", "Start the cluster, and add its context to the kubeconfig.")
@click.option(
    "--isolation",
    type=click.Choice(["auto", "none"]),
    default=None,
    help="`none` runs pods as plain processes.  [default: auto, what the machine allows]",
)
@click.option(
    "--ingress-port",
    type=click.IntRange(1, 65535),
    default=None,
    metavar="PORT",
    help="Where `*.localhost` is served.  [default: 7080, or the next free one]",
)
@click.option(
    "--kubeconfig",
    "file",
    default="",
    metavar="PATH",
    help="The kubeconfig to add the context to.  [default: as kubectl]",
)
@click.option("--no-kubeconfig", is_flag=True, help="Leave the kubeconfig alone.")
def _start(
    invocation: Invocation,
    name: str,
    isolation: str | None,
    ingress_port: int | None,
    file: str,
    no_kubeconfig: bool,
) -> None:
    """Start the cluster in the background and wait until it is ready. One that runs already is left
    as it is. The current context of the kubeconfig is not switched."""
    import time

    import yaml

    from kindling.cli.output import emit
    from kindling.cluster.daemon import start
    from kindling.cluster.kubeconfig import add_entry

    home = _home(invocation, name)
    began = time.monotonic()
    was = _status(home)
    if was.ready and (isolation not in (None, was.settings.isolation)):
        raise ClusterError(
            f"The cluster `{home.name}` runs with isolation `{was.settings.isolation}`",
            hint=f"`{_typed('stop', home)}` first.",
        )
    found = was
    if not was.ready:
        found = start(home, isolation=isolation or "", ingress_port=ingress_port or 0)
    took = time.monotonic() - began
    said = "runs already" if was.ready else f"is ready after {took:.1f} s"
    emit(f"Cluster `{home.name}` {said}: {found.settings.server}", "\n")
    if ingress_port and found.settings.ingress_port != ingress_port:
        why = "stop it first to change that" if was.ready else "that port is taken"
        emit(f"The ingress is at port {found.settings.ingress_port}: {why}", "\n")
    if not no_kubeconfig:
        path = _kubeconfig_file(file)
        added = add_entry(path, yaml.safe_load(home.kubeconfig.read_text("utf-8")))
        emit(f"Context `{home.context}` {'added to' if added else 'is in'} {path}", "\n")
    if shared := _shared(found.settings.runtime):
        emit(f"{shared} (`kindling cluster status` says why)", "\n")


@_action("stop", "Stop the cluster and keep its state.")
def _stop(invocation: Invocation, name: str) -> None:
    """End every pod in order and stop the cluster. Objects, volumes and images stay, and the next
    start brings everything back."""
    from kindling.cli.output import emit
    from kindling.cluster.daemon import stop

    home = _home(invocation, name)
    stopped = stop(home, lambda line: click.echo(line, err=True))
    emit(f"Cluster `{home.name}` {'stopped' if stopped else 'was not running'}", "\n")


@_action("status", "Show whether it runs, where, and what it cannot isolate.")
@click.option("--all", "everything", is_flag=True, help="Every cluster of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def _show(invocation: Invocation, name: str, everything: bool, as_json: bool) -> int:
    """Say how the cluster is. Exit 0 when it is ready, 1 when it is not."""
    from kindling.cli.output import emit, emit_json
    from kindling.cluster.home import ClusterHome

    home = _home(invocation, name)
    homes = ClusterHome.all() if everything else (home,)
    found = [_status(one) for one in homes]
    if as_json:
        emit_json({"schema": 1, "type": "cluster", "clusters": [_form(one) for one in found]})
    elif not found:
        emit("no clusters: `kindling cluster start` makes one", "\n")
    else:
        emit("\n\n".join(_lines(one) for one in found), "\n")
    return 0 if all(one.ready for one in found) else ClusterError.exit_code


def _status(home: ClusterHome) -> Status:
    from kindling.cluster.daemon import status

    return status(home)


def _form(found: Status) -> dict[str, Any]:
    settings = found.settings
    return {
        "name": found.home.name,
        "context": found.home.context,
        "ready": found.ready,
        "running": found.running,
        "pid": found.pid or None,
        "since": found.since or None,
        "problem": found.problem or None,
        "server": settings.server if settings.api_port else None,
        "ingress": _ingress(found) or None,
        "registry": _registry(found) or None,
        "isolation": settings.runtime or None,
        "missing": list(settings.missing),
        "folder": str(found.home.folder),
        "kubeconfig": str(found.home.kubeconfig),
        "engine": f"unix://{found.home.engine_socket}",
    }


def _ingress(found: Status) -> str:
    port = found.settings.ingress_port
    return f"http://*.localhost:{port}" if port else ""


def _registry(found: Status) -> str:
    port = found.settings.registry_port
    return f"localhost:{port}" if port else ""


def _shared(runtime: str) -> str:
    """What pods have in common with this machine, in one line; empty when it is nothing that
    matters to most apps."""
    if runtime == "plain processes":
        return "Pods are plain processes: no addresses, DNS names or memory limits of their own"
    without = [word for word in ("memory", "users") if runtime and word not in runtime]
    return f"Pods run {runtime}, but not {' and '.join(without)}" if without else ""


def _lines(found: Status) -> str:
    import textwrap

    how = "ready" if found.ready else found.problem
    rows = [("cluster", f"{found.home.name}: {how}")]
    if found.running:
        rows += [("pid", str(found.pid)), ("server", found.settings.server)]
        rows += [("context", found.home.context)]
        rows += [("ingress", _ingress(found))] if _ingress(found) else []
        rows += [("registry", _registry(found))] if _registry(found) else []
        rows += [("builder", f"DOCKER_HOST=unix://{found.home.engine_socket}")]
        rows += [("pods", found.settings.runtime)] if found.settings.runtime else []
        rows += [("", f"- {line}") for line in found.settings.missing]
    if found.home.exists:
        rows += [("state", str(found.home.folder))]
    return "\n".join(
        textwrap.fill(
            text,
            80,
            initial_indent=f"{key:<10}",
            subsequent_indent=" " * (10 if key else 12),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for key, text in rows
    )


@_action("reset", "Delete the cluster with everything it holds.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--kubeconfig", "file", default="", metavar="PATH", help="Where its context is.")
def _reset(invocation: Invocation, name: str, yes: bool, file: str) -> None:
    """Stop the cluster and delete its objects, volumes, images and its context. What is in its
    volumes is lost."""
    import sys

    from kindling.cli.output import emit
    from kindling.cluster.daemon import reset
    from kindling.cluster.kubeconfig import remove_entry

    home = _home(invocation, name)
    if not home.exists:
        emit(f"There is no cluster `{home.name}`", "\n")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"`kindling cluster reset` deletes all that `{home.name}` holds, volumes included",
                hint="Say `--yes` where nobody can be asked.",
            )
        click.confirm(f"Delete `{home.name}` and all it holds, volumes included?", abort=True)
    reset(home, lambda line: click.echo(line, err=True))
    path = _kubeconfig_file(file)
    gone = remove_entry(path, home.context)
    emit(f"Cluster `{home.name}` deleted", "\n")
    if gone:
        emit(f"Context `{home.context}` removed from {path}", "\n")


@_action("kubeconfig", "Print a kubeconfig for the cluster.")
@click.option("--path", "as_path", is_flag=True, help="Print the path of the file instead.")
def _kubeconfig(invocation: Invocation, name: str, as_path: bool) -> None:
    """Print a kubeconfig that knows this cluster alone. It holds a key: treat it as a password.

    \b
    export KUBECONFIG=$(kindling cluster kubeconfig --path)
    """
    from kindling.cli.output import emit

    home = _home(invocation, name)
    if not home.kubeconfig.is_file():
        raise ClusterError(
            f"There is no cluster `{home.name}`", hint="`kindling cluster start` makes it."
        )
    if as_path:
        emit(str(home.kubeconfig), "\n")
    else:
        emit(home.kubeconfig.read_text("utf-8"))


@_action("load", "Put images into the cluster's node.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FILE...")
def _load(invocation: Invocation, name: str, images: tuple[str, ...]) -> None:
    """Load images by name from the running Docker engine, or from archives (`docker save`, OCI
    layout), so that pods can use them without a registry."""
    import asyncio
    import os

    from kindling.cli.output import emit
    from kindling.engine.embedded import load_images

    home = _home(invocation, name)
    found = _status(home)
    if not found.ready:
        raise ClusterError(
            f"The cluster `{home.name}` is not ready: {found.problem}",
            hint=f"`{_typed('start', home)}`",
        )
    asyncio.run(load_images(home, images, dict(os.environ), lambda line: emit(line, "\n")))
