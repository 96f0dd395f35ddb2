"""The specification of a container for the runtime, out of pod, image and volumes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kindling.cluster.images.protocol import Image
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.node.downward import PodFacts
from kindling.cluster.node.environment import (
    PATH,
    ConfigError,
    command_line,
    environment,
    limits_of,
    user_of,
)
from kindling.cluster.node.expansion import expand, references
from kindling.cluster.node.names import hostname_of
from kindling.cluster.node.subpath import SubPathError, below
from kindling.cluster.node.volumes import VolumePlace
from kindling.cluster.runtime.protocol import ContainerSpec, Mount

__all__ = ["Place", "container_spec"]

_log = logging.getLogger(__name__)
_TERMINATION_LOG = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod's container is made: its sandbox, its own folder, its volumes, the files for its
    /etc, and the file for its last words."""

    sandbox: str
    folder: Path
    volumes: Mapping[str, VolumePlace]
    etc: Mapping[str, Path]
    termination: Path


def container_spec(
    api: Api, pod: Obj, container: Obj, image: Image, place: Place, facts: PodFacts
) -> ContainerSpec:
    """Raises `ConfigError`."""
    asked = dict(environment(api, pod, container, facts))
    user = user_of(pod, container, image.config)
    above = pod["spec"].get("securityContext") or {}
    context = container.get("securityContext") or {}
    capabilities = context.get("capabilities") or {}
    variables = {"PATH": PATH, "HOSTNAME": hostname_of(pod)[0]}
    if container.get("tty"):
        variables["TERM"] = "xterm"
    variables |= dict(image.config.env) | asked
    memory, cpus = limits_of(container)
    groups = [*(above.get("supplementalGroups") or ())]
    if above.get("fsGroup") is not None:
        groups.append(above["fsGroup"])
    return ContainerSpec(
        id=secrets.token_hex(32),
        sandbox=place.sandbox,
        folder=place.folder,
        root=image.root,
        argv=command_line(container, image.config, asked),
        env=tuple(variables.items()),
        cwd=container.get("workingDir") or image.config.cwd or "/",
        user=user,
        groups=tuple(dict.fromkeys(int(group) for group in groups)),
        mounts=_mounts(container, place, asked),
        stdin=bool(container.get("stdin")),
        tty=bool(container.get("tty")),
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
        privileged=bool(context.get("privileged")),
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        memory=memory,
        cpus=cpus,
    )


def _mounts(container: Obj, place: Place, variables: Mapping[str, str]) -> tuple[Mount, ...]:
    mounts: dict[str, Mount] = {}
    for target, file in place.etc.items():
        mounts[target] = Mount(target, file)
    last_words = container.get("terminationMessagePath") or _TERMINATION_LOG
    mounts[last_words] = Mount(last_words, place.termination)
    for wanted in container.get("volumeMounts") or ():
        name = wanted["name"]
        if name not in place.volumes:
            raise ConfigError(
                f'cannot find volume "{name}" to mount into container "{container["name"]}"'
            )
        volume = place.volumes[name]
        source = volume.path
        sub = wanted.get("subPath") or ""
        if template := wanted.get("subPathExpr"):
            if missing := references(template) - variables.keys():
                raise ConfigError(f"missing value for {sorted(missing)[0]!r}".replace("'", '"'))
            sub = expand(template, variables)
        if sub and source is not None:
            try:
                source = below(source, sub)
            except SubPathError as error:
                _log.info("volume %s of %s: %s", name, container["name"], error)
                raise ConfigError(
                    f'failed to prepare subPath for volumeMount "{name}" of container'
                    f' "{container["name"]}"'
                ) from error
        target = str(PurePosixPath("/") / wanted["mountPath"])
        read_only = bool(wanted.get("readOnly")) or volume.read_only
        mounts[target] = Mount(target, source, read_only, volume.size)
    # A mount below another one has to come after it.
    return tuple(sorted(mounts.values(), key=lambda mount: mount.target.rstrip("/").count("/")))
