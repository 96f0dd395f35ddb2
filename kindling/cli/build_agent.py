"""`kindling build-agent`."""

from __future__ import annotations

from pathlib import Path

import click

from kindling.cli.invocation import Duration, Invocation, verb

__all__ = ["command"]


@verb(
    "build-agent",
    "Serve builds to the CI jobs of a runner pod.",
    "  kindling build-agent                       beside a runner, in its pod\n"
    "  kindling build-agent --kaniko-image registry:5000/kaniko:1\n"
    "  kindling build-agent --context kind-dev --namespace ci --builds ./builds",
)
@click.option(
    "--builds",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/builds"),
    show_default=True,
    help="The folder that is shared with jobs.",
)
@click.option(
    "--kaniko-image",
    envvar="KINDLING_KANIKO_IMAGE",
    metavar="IMAGE",
    help="The image of builds.  [default: Kaniko's, by a pinned tag]",
)
@click.option(
    "--registry",
    envvar="KINDLING_REGISTRY",
    default="registry:5000",
    show_default=True,
    metavar="HOST",
    help="The registry in the cluster: plain HTTP, and the home of the cache.",
)
@click.option(
    "--namespace",
    "-n",
    default="",
    metavar="NAME",
    help="Where builds run and manifests go.  [default: the agent's own]",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="How many builds run at a time.",
)
@click.option(
    "--memory",
    default="",
    envvar="KINDLING_BUILD_MEMORY",
    metavar="AMOUNT",
    help="Memory that each build may have, such as 2Gi.",
)
@click.option(
    "--build-timeout",
    type=Duration(),
    default=1800.0,
    metavar="DURATION",
    help="Stop a build after this long.  [default: 30m]",
)
@click.option(
    "--script-timeout",
    type=Duration(),
    default=900.0,
    metavar="DURATION",
    help="Stop a script after this long.  [default: 15m]",
)
@click.pass_obj
def command(
    invocation: Invocation,
    builds: Path,
    kaniko_image: str | None,
    registry: str,
    namespace: str,
    at_once: int,
    memory: str,
    build_timeout: float,
    script_timeout: float,
) -> None:
    """Take requests out of a folder that CI jobs share (docs/build-agent.md has the files), build
    images by Kaniko pods, apply DevStagingEnvironments and run scripts, and answer in the folder.
    Ends at SIGTERM, and then ends the builds under way too."""
    import asyncio
    import os

    from kindling.agent.agent import Limits
    from kindling.agent.pods import KANIKO_IMAGE, BuildSettings
    from kindling.agent.serve import Options, serve
    from kindling.agent.signals import Kind
    from kindling.engine.clock import SystemClock

    invocation.no_words("build-agent")
    settings = BuildSettings(
        namespace=namespace,
        image=kaniko_image or KANIKO_IMAGE,
        registry=registry,
        memory=memory,
        limit=build_timeout,
    )
    limits = Limits(at_once={Kind.BUILD: at_once, Kind.APPLY: 4, Kind.SCRIPT: 4})
    options = Options(builds, settings, limits, script_timeout, invocation.context)

    def say(line: str) -> None:
        click.echo(line, err=True)

    asyncio.run(serve(options, dict(os.environ), SystemClock(), say))
