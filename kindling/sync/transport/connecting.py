"""The best way to a container: the agent that is mounted there, one that is placed for the time of
the link, or `tar`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kindling.kube.exec import NoProgramError
from kindling.kube.protocol import Cluster
from kindling.sync.protocol import CannotCarryError, Container, Link, LinkLostError
from kindling.sync.template.patch import AGENT_PATH, CONTROL_FOLDER
from kindling.sync.transport.channel import AgentEndedError
from kindling.sync.transport.link import AgentLink
from kindling.sync.transport.placing import CANNOT_RUN, NotPlacedError, place
from kindling.sync.transport.tar import TarLink

__all__ = ["connect"]


async def connect(
    cluster: Cluster,
    container: Container,
    agents: Callable[[str], bytes],
    *,
    places: Sequence[str] = (),
) -> Link:
    """A link to `container`. `agents` gives the agent for a machine (`x86_64`, `arm64`); it may
    build one, and is called in a thread. `places` are what will be synced: only there what a killed
    agent left is looked for, and an agent may be put there when no other folder will do.

    Raises:
        CannotCarryError: There is no way; the message says what was tried.
        LinkLostError: A way broke off; another attempt may work.
        ClusterError: The container cannot be reached.
    """
    tried: list[str] = []
    # What has no name in UTF-8 cannot be said on the way to a command line.
    places = [place for place in places if place.isprintable()]
    if container.mounted:
        link = await _mounted(cluster, container, places)
        if link is not None:
            return link
        tried.append(f"the agent is not at `{AGENT_PATH}`")
    try:
        stream = await place(cluster, container, agents, places)
    except NotPlacedError as error:
        tried += error.tried
        if error.shell:
            tar = await TarLink.open(cluster, container)
            if tar is not None:
                return tar
            tried.append("the image has no `tar`")
        raise CannotCarryError(
            f"There is no way to bring files into {container}",
            details=[f"no agent can be placed: {'; '.join(tried)}"],
            hint="Let kindling mount its agent, which changes the pod template for the time of "
            "the session and needs nothing in the image; or use an image with a shell and a "
            "folder that can be written.",
        ) from error
    return await AgentLink.open(stream, str(container))


async def _mounted(
    cluster: Cluster, container: Container, places: Sequence[str]
) -> AgentLink | None:
    """A link to the mounted agent; None where it is not there."""
    control = ("--control", CONTROL_FOLDER) if container.supervised else ()
    try:
        stream = await cluster.open_exec(
            container.namespace,
            container.pod,
            container.name,
            (AGENT_PATH, "serve", *control, "/", *places),
        )
        return await AgentLink.open(stream, str(container))
    except NoProgramError:
        return None
    except AgentEndedError as error:
        if error.code in CANNOT_RUN:
            return None
        raise
    except LinkLostError as error:
        if isinstance(error.__cause__, NoProgramError):
            return None
        raise
