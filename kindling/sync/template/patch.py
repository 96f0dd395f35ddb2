"""The pod template as a session needs it.

    agent       a ConfigMap, mounted read-only with mode 0555: any user may run it, and it works on
                a read-only root file system
    command     the agent as supervisor of the original argument vector, with an `emptyDir` for
                its control socket and for a program that is built here and cannot be put over
                the image's; `args` go, since they are part of the vector. A program that
                ends by itself does not end the container, which would lose the synced files: the
                session starts it again, or the next save does. A session of files alone leaves
                both.
    destination where the container cannot write, an `emptyDir` (which every user can write), filled
                by an init container of the same image that copies what the image has there
    probes      liveness and startup wait much longer, so that the restarts of a session and a
                program stopped in a debugger end no pod; readiness stays as it is
    nodes       those of one architecture, where the cluster has several
    annotation  who has it, since when, and for what

Everything else stays as it is, fields that nobody here has heard of included.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kindling.errors import ConfigError, UsageError, nearest
from kindling.objects.identity import Manifest, canonical
from kindling.sync.template.normal import normal
from kindling.sync.template.session import SESSION_ANNOTATION, Session, note, refuse_second

__all__ = [
    "AGENT_PATH",
    "CONTROL_FOLDER",
    "OURS",
    "carries",
    "chosen",
    "original_argv",
    "patched",
    "read_only",
    "without_ours",
]

OURS = "kindling-sync-"
"""How the volumes and containers that a session adds begin."""
_PLACE = "/.kindling-sync"
_SEEDS = "/.kindling-seed"
AGENT_PATH = f"{_PLACE}/agent"
"""Where the agent is in the container: key `agent` of the ConfigMap."""

CONTROL_FOLDER = "/.kindling-control"
"""Where the supervising agent has its socket (`--control`)."""

_AGENT_VOLUME = f"{OURS}agent"
_CONTROL_VOLUME = f"{OURS}control"
_SEED = f"{OURS}seed"
_PATIENCE = 1000
"""Failures in a row before a relaxed probe acts: hours, with the usual period."""
_ARCHITECTURE = "kubernetes.io/arch"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_READ_ONLY_SOURCES = ("configMap", "secret", "downwardAPI", "projected", "image")


def patched(template: Manifest, session: Session, called: str = "The workload") -> dict[str, Any]:
    """The template while `session` has it; a new value. Patching again changes nothing.

    Raises:
        SecondSessionError: Another session has it. `called` is how the message names it.
        UsageError: It has no such container.
    """
    refuse_second(template, session, called)
    result = copy.deepcopy(dict(template))
    spec = result["spec"] = without_ours(result.get("spec") or {})
    targets = [chosen(result, name) for name in session.containers]
    target = targets[0]
    volumes: list[dict[str, Any]] = [
        {"name": _AGENT_VOLUME, "configMap": {"name": session.agent, "defaultMode": 0o555}}
    ]
    mounts: list[list[dict[str, Any]]] = [[_agent_mount()] for _ in targets]
    if session.argv:
        volumes.append({"name": _CONTROL_VOLUME, "emptyDir": {}})
        mounts[0].append({"name": _CONTROL_VOLUME, "mountPath": CONTROL_FOLDER})
        words = ("supervise", "--control", CONTROL_FOLDER, "--hold", "--", *session.argv)
        target["command"] = [AGENT_PATH, *words]
        target.pop("args", None)
    # Each container has a folder of its own, as it has in the image; but for what a volume of its
    # own is mounted over, which it can write.
    folders = [
        (place, mine)
        for each, mine in zip(targets, mounts, strict=True)
        for place in session.writable
        if _mount_of(each, place) is None
    ]
    for at, (place, mine) in enumerate(folders):
        volumes.append({"name": f"{OURS}files-{at}", "emptyDir": {}})
        mine.append({"name": f"{OURS}files-{at}", "mountPath": place})
    spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]
    if folders:
        seed = _seed(target, [place for place, _ in folders])
        spec["initContainers"] = [seed, *(spec.get("initContainers") or ())]
    if session.architecture:
        nodes = {**(spec.get("nodeSelector") or {}), _ARCHITECTURE: session.architecture}
        spec["nodeSelector"] = nodes
    for each, mine in zip(targets, mounts, strict=True):
        each["volumeMounts"] = [*(each.get("volumeMounts") or ()), *mine]
        if session.relax_probes:
            _relax(each)
    metadata = result["metadata"] = dict(result.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    metadata["annotations"] = {**annotations, SESSION_ANNOTATION: note(session)}
    return result


def _relax(container: dict[str, Any]) -> None:
    for name in ("livenessProbe", "startupProbe"):
        if isinstance(probe := container.get(name), Mapping):
            most = max(_PATIENCE, int(probe.get("failureThreshold") or 0))
            container[name] = {**probe, "failureThreshold": most}


def carries(template: Manifest, session: Session) -> bool:
    """Whether a template has all that `patched` gives it for `session`, whatever else it says."""
    try:
        wanted = patched(template, session)
    except UsageError:
        return False
    return bool(_in_any_order(normal(template)) == _in_any_order(normal(wanted)))


def _in_any_order(value: Any) -> Any:
    """Lists of named things (volumes, mounts, containers) by name."""
    if isinstance(value, dict):
        return {key: _in_any_order(inner) for key, inner in value.items()}
    if isinstance(value, list):
        items = [_in_any_order(inner) for inner in value]
        return sorted(items, key=canonical) if all(isinstance(i, dict) for i in items) else items
    return value


def chosen(template: Manifest, name: str = "") -> dict[str, Any]:
    """The container that is meant: by name, else kubectl's default container, else the first.

    An init container is one that can be meant where it goes on running beside the others
    (`restartPolicy: Always`).

    Raises:
        UsageError: There is none of that name, or none at all.
    """
    spec = template.get("spec") or {}
    running: list[dict[str, Any]] = [
        *(spec.get("containers") or ()),
        *(one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"),
    ]
    names = [str(one.get("name", "")) for one in running]
    if not running:
        raise UsageError("The pod template has no container")
    if not name:
        annotations = (template.get("metadata") or {}).get("annotations") or {}
        wish = annotations.get(_DEFAULT_CONTAINER)
        return running[names.index(wish) if wish in names else 0]
    if name in names:
        return running[names.index(name)]
    passing = [one.get("name") for one in spec.get("initContainers") or ()]
    if name in passing:
        raise UsageError(
            f"`{name}` is an init container, which has ended by the time anything can be synced",
            hint=f"Choose one of these: {', '.join(names)}.",
        )
    near = nearest(name, names)
    raise UsageError(
        f"The pods have no container `{name}`",
        hint=near or f"Choose one of these: {', '.join(names)}.",
    )


def original_argv(
    container: Manifest, entrypoint: Sequence[str] = (), arguments: Sequence[str] = ()
) -> tuple[str, ...]:
    """What the container runs, fit to be a `command`, by Kubernetes' rules; empty when unknown.

    `entrypoint` and `arguments` are the image's (its ENTRYPOINT and CMD; or, as the last resort,
    the process's own vector as `entrypoint`). Kubernetes replaces `$(NAME)` in `command` and
    `args` but not in what comes from the image, so the image's words are guarded against it.
    """
    command, args = container.get("command") or (), container.get("args") or ()
    if command:
        return (*command, *args)
    if args:
        return (*_guarded(entrypoint), *args) if entrypoint else tuple(args)
    return (*_guarded(entrypoint), *_guarded(arguments))


def read_only(
    template: Manifest, container: Manifest, destinations: Iterable[str]
) -> tuple[str, ...]:
    """Those destinations that the container cannot write and that need an `emptyDir`.

    Raises:
        ConfigError: A destination lies on a volume that is mounted for reading: nothing can be
            mounted over it, and what is on it comes from elsewhere.
    """
    spec = template.get("spec") or {}
    volumes = {one.get("name"): one for one in spec.get("volumes") or ()}
    closed = bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))
    found: list[str] = []
    for place in destinations:
        mount = _mount_of(container, place)
        if mount is None:
            if closed:
                found.append(place)
            continue
        volume = volumes.get(mount.get("name")) or {}
        if mount.get("readOnly") or any(source in volume for source in _READ_ONLY_SOURCES):
            raise ConfigError(
                f"`{place}` lies on volume `{mount.get('name')}`, which container "
                f"`{container.get('name')}` can only read",
                hint="Sync to another folder, or take the mount away for development.",
            )
    return tuple(dict.fromkeys(found))


def _mount_of(container: Manifest, place: str) -> Mapping[str, Any] | None:
    """The mount that `place` lies on; None for the container's own root. Ours do not count."""
    best: Mapping[str, Any] | None = None
    for mount in container.get("volumeMounts") or ():
        path = str(mount.get("mountPath", "")).rstrip("/")
        if str(mount.get("name", "")).startswith(OURS):
            continue
        inside = place.rstrip("/") == path or place.startswith(path + "/")
        if inside and (best is None or len(path) > len(str(best["mountPath"]).rstrip("/"))):
            best = mount
    return best


def _guarded(words: Iterable[str]) -> list[str]:
    return [word.replace("$(", "$$(") for word in words]


def _agent_mount() -> dict[str, Any]:
    return {"name": _AGENT_VOLUME, "mountPath": _PLACE, "readOnly": True}


def _seed(target: Manifest, places: Sequence[str]) -> dict[str, Any]:
    """The init container that fills the new folders with what the image has in their places."""
    pairs = [(place, f"{_SEEDS}/{at}") for at, place in enumerate(places)]
    kept = ("image", "imagePullPolicy", "resources", "securityContext")
    return {
        "name": _SEED,
        **{key: copy.deepcopy(target[key]) for key in kept if key in target},
        "command": [AGENT_PATH, "seed", *(word for pair in pairs for word in pair)],
        "volumeMounts": [
            _agent_mount(),
            *(
                {"name": f"{OURS}files-{at}", "mountPath": seed}
                for at, (_, seed) in enumerate(pairs)
            ),
        ],
    }


def without_ours(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The pod without what an earlier patch added, so that a patch can be made again."""
    result = dict(spec)
    for name in ("volumes", "initContainers"):
        if name in result:
            result[name] = _others(result[name])
            if not result[name]:
                del result[name]
    for name in ("containers", "initContainers"):
        if name in result:
            result[name] = [
                {**one, "volumeMounts": _others(one["volumeMounts"])}
                if "volumeMounts" in one
                else one
                for one in result[name] or ()
            ]
    return result


def _others(items: Iterable[Any] | None) -> list[Any]:
    return [
        item
        for item in items or ()
        if not (isinstance(item, Mapping) and str(item.get("name", "")).startswith(OURS))
    ]
