"""Taking environments in, wherever in a file they were declared, and what they may not share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kindling.errors import ConfigError, KindlingError
from kindling.lang.declared import (
    Environment,
    KubernetesObject,
    LiveUpdateStep,
    ResourceConfiguration,
)
from kindling.lang.diagnose import placed
from kindling.objects.identity import api_group, canonical

if TYPE_CHECKING:
    from kindling.lang.call import Call
    from kindling.lang.session import Session

__all__ = ["check_environments", "is_environment", "place_of", "take_in", "take_in_file"]

_GROUP = "apps.example.com"
_KIND = "DevStagingEnvironment"


def is_environment(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is of our kind, in whichever version of it."""
    group = api_group(str(manifest.get("apiVersion", "")))
    return manifest.get("kind") == _KIND and group == _GROUP


def take_in_file(
    call: Call,
    manifest: Mapping[str, Any],
    source: str,
    text: str,
    configuration: ResourceConfiguration | None = None,
    *,
    namespace: str = "",
    allow_duplicates: bool = False,
    sync: tuple[LiveUpdateStep, ...] = (),
) -> None:
    """Take in an environment of a YAML text; `namespace` is where it goes if it names none.

    Raises:
        ConfigError: It says something wrong; the message has the line in the file.
    """
    # Imported here: what the operator knows is not paid for by files without environments.
    from kindling.lang.findings import error_in_file, find_in_environment

    found = find_in_environment(manifest)
    serious = tuple(one for one in found if one.serious)
    if serious:
        raise error_in_file(serious, manifest, source, text)
    where = f"{source or 'YAML'}: `{manifest['metadata']['name']}`"
    for one in found:
        call.warn(f"{where}: {one}")
    ingress = manifest["spec"].get("ingress") or {}
    if ingress.get("host") and "enabled" not in ingress:
        call.warn(f"{where}: nothing is made of `spec.ingress` until it says `enabled: true`")
    if namespace and not manifest["metadata"].get("namespace"):
        manifest = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
    take_in(call, manifest, source, configuration, allow_duplicates=allow_duplicates, sync=sync)


def take_in(
    call: Call,
    manifest: Mapping[str, Any],
    source: str = "",
    configuration: ResourceConfiguration | None = None,
    *,
    allow_duplicates: bool = False,
    sync: tuple[LiveUpdateStep, ...] = (),
) -> None:
    """Take in an environment that was checked.

    Raises:
        ConfigError: One of that name is there already.
    """
    name = str(manifest["metadata"]["name"])
    namespace = str(manifest["metadata"].get("namespace") or "")
    kept = {key: value for key, value in manifest.items() if key != "status"}
    made = Environment(
        name=name,
        manifest=canonical(kept),
        where=call.where,
        file=source,
        configuration=configuration,
        allow_duplicates=allow_duplicates,
        sync=sync,
    )
    key = (_GROUP, _KIND, namespace, name)
    state = call.state
    first = state.identities.get(key)
    if isinstance(first, Environment):
        if not allow_duplicates:
            details = [f"first at {place_of(first)}"]
            if source:
                details.append(f"again in {source}")
            raise ConfigError(
                f"an environment `{name}` is declared twice",
                details=details,
                hint="Declare it once; `k8s_yaml` takes all of a file."
                if source and source == first.file
                else "Give one of them another name.",
            )
        state.environments.remove(first)
    state.identities[key] = made
    state.environments.append(made)


def place_of(environment: Environment) -> str:
    """Where it was declared, with its file."""
    return f"{environment.where}" + (f", in {environment.file}" if environment.file else "")


# What they may not share --------------------------------------------------------------------------


def check_environments(session: Session) -> None:
    """After the evaluation: no two environments want one address, or one name of a child.

    Raises:
        ConfigError: Two of them do.
    """
    addresses: dict[tuple[str, str], Environment] = {}
    children: dict[tuple[str, str], tuple[str, Environment]] = {}
    for environment in session.state.environments:
        manifest = json.loads(environment.manifest)
        spec = manifest["spec"]
        ingress = spec.get("ingress") or {}
        if ingress.get("enabled"):
            host, path = ingress.get("host", ""), ingress.get("path", "/")
            first = addresses.setdefault((host, path), environment)
            if first is not environment:
                raise _two(
                    session,
                    environment,
                    f"`{first.name}` and `{environment.name}` are both at "
                    f"`{host or 'any host'}{path if len(path) > 1 or not host else ''}`",
                    first,
                    "Give one of them another host or path.",
                )
        namespace = manifest["metadata"].get("namespace") or ""
        for child, what in _children(manifest):
            known = children.setdefault((namespace, child), (what, environment))
            if known[1] is not environment:
                raise _two(
                    session,
                    environment,
                    f"{what} of `{environment.name}` would be called `{child}`, as {known[0]} of "
                    f"`{known[1].name}` is",
                    known[1],
                    "Give one of them another name.",
                )
    for one in session.state.objects:
        if one.ref.kind not in ("Deployment", "Service"):
            continue
        if (found := children.get((one.ref.namespace, one.ref.name))) is not None:
            what, environment = found
            raise _two(
                session,
                one,
                f"the {one.ref.kind} `{one.ref.name}` has the name of {what} of "
                f"`{environment.name}`",
                environment,
                "Give one of them another name.",
            )


def _children(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of the Deployments and Services that stand for an environment."""
    base = manifest["metadata"]["name"].replace(".", "-")
    yield base, "the Service"
    for one in manifest["spec"].get("dependencies") or ():
        name = one.get("name") or one["type"]
        yield f"{base}-{name}", f"the dependency `{name}`"


def _two(
    session: Session,
    second: Environment | KubernetesObject,
    message: str,
    first: Environment,
    hint: str,
) -> KindlingError:
    where = second.where
    details = [f"`{first.name}` is at {place_of(first)}"]
    source = session.source(where.file)
    line = source.lines[where.line - 1] if source and where.line else ""
    word = re.match(r"\w*", line[max(0, where.column - 1) :])
    width = len(word[0]) if word else 0
    return placed(ConfigError(message, details=details, hint=hint), where, source, width=width)
