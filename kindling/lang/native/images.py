"""docker_build, custom_build, default_registry."""

from __future__ import annotations

from pathlib import Path

from kindling.errors import ConfigError
from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.call import Call
from kindling.lang.declared import CustomBuild, DefaultRegistry, DockerBuild
from kindling.lang.native.files import read_text
from kindling.lang.native.live_update import live_update_steps
from kindling.lang.session import Native
from kindling.objects.reference import check_registry_host, parse_reference

__all__ = ["NATIVES"]


def _ref(call: Call, argument: str, value: object) -> str:
    text = call.required(argument, value)
    parse_reference(text)
    return text


def _entrypoint(call: Call, value: object) -> tuple[str, ...]:
    return call.argv("entrypoint", value)


def _container_args(call: Call, value: object) -> tuple[str, ...] | None:
    return None if value is None else call.texts("container_args", value)


def docker_build(
    call: Call,
    ref: object,
    context: object,
    build_args: object,
    dockerfile: object,
    dockerfile_contents: object,
    live_update: object,
    match_in_env_vars: object,
    ignore: object,
    only: object,
    entrypoint: object,
    target: object,
    ssh: object,
    network: object,
    secret: object,
    extra_tag: object,
    container_args: object,
    cache_from: object,
    pull: object,
    platform: object,
    extra_hosts: object,
) -> None:
    name = _ref(call, "ref", ref)
    call.required("context", context)
    folder = call.path("context", context)
    on_disk = call.on_disk("context", context)
    if on_disk.exists() and not on_disk.is_dir():
        # One that does not exist is fine: it may be what a command writes.
        raise ConfigError(f"The context `{folder}` of image `{name}` is a file")
    if dockerfile and dockerfile_contents:
        raise ConfigError(
            f"Image `{name}` has both `dockerfile` and `dockerfile_contents`",
            hint="Remove one of them.",
        )
    contents = call.text("dockerfile_contents", dockerfile_contents)
    path = ""
    text = contents
    ignore_file = on_disk / ".dockerignore"
    if not contents:
        file = call.on_disk("dockerfile", dockerfile) if dockerfile else on_disk / "Dockerfile"
        path = call.session.paths.relative(file)
        text = read_text(call, file) or ""
        own = file.with_name(f"{file.name}.dockerignore")
        call.state.read([call.session.paths.relative(own)])
        if own.is_file():
            ignore_file = own
    kept = tuple(call.session.paths.resolve(item, on_disk) for item in _only(call, only))
    rules = (
        *_ignore_file(call, ignore_file, folder),
        *call.ignore(ignore, [folder]),
    )
    extra_tags = call.texts("extra_tag", extra_tag)
    for tag in extra_tags:
        parse_reference(tag)
    call.claim("image", name)
    call.state.images.append(
        DockerBuild(
            ref=name,
            where=call.where,
            context=folder,
            files=FileSet((folder,), rules, kept),
            dockerfile=path,
            dockerfile_contents=contents,
            dockerfile_text=text,
            build_args=call.pairs("build_args", build_args),
            live_update=live_update_steps(call, live_update),
            match_in_env_vars=call.flag("match_in_env_vars", match_in_env_vars),
            entrypoint=_entrypoint(call, entrypoint),
            container_args=_container_args(call, container_args),
            target=call.text("target", target),
            ssh=call.texts("ssh", ssh),
            network=call.text("network", network),
            secrets=call.texts("secret", secret),
            extra_tags=extra_tags,
            cache_from=call.texts("cache_from", cache_from),
            pull=call.flag("pull", pull),
            platform=call.text("platform", platform),
            extra_hosts=call.texts("extra_hosts", extra_hosts),
        )
    )


def _only(call: Call, value: object) -> tuple[str, ...]:
    paths = call.patterns("only", value)
    for path in paths:
        if any(sign in path for sign in "*?[") or path.startswith("!"):
            raise ConfigError(
                f"`docker_build(only=)` takes paths, not patterns, and `{path}` is a pattern",
                hint="Use `ignore=`, which takes patterns.",
            )
    return paths


def _ignore_file(call: Call, file: Path, folder: str) -> tuple[IgnoreRule, ...]:
    text = read_text(call, file, default="")
    patterns = tuple(
        line.strip()
        for line in (text or "").splitlines()
        if line.strip() and not line.startswith("#")
    )
    return (IgnoreRule(folder, patterns),) if patterns else ()


def custom_build(
    call: Call,
    ref: object,
    command: object,
    deps: object,
    tag: object,
    disable_push: object,
    skips_local_docker: object,
    live_update: object,
    match_in_env_vars: object,
    ignore: object,
    entrypoint: object,
    container_args: object,
    command_bat_val: object,
    outputs_image_ref_to: object,
    command_bat: object,
    image_deps: object,
    env: object,
    dir: object,
) -> None:
    name = _ref(call, "ref", ref)
    argv = call.argv("command", command)
    if not argv:
        hint = "`command_bat` is for Windows." if command_bat or command_bat_val else ""
        raise ConfigError(f"Image `{name}` has no command to build it", hint=hint)
    fixed = call.text("tag", tag)
    if fixed and outputs_image_ref_to:
        raise ConfigError(
            f"Image `{name}` has both `tag` and `outputs_image_ref_to`",
            hint="Either the command builds a tag you know, or it says which one it built.",
        )
    paths = call.paths("deps", deps)
    images = call.texts("image_deps", image_deps)
    for image in images:
        parse_reference(image)
    bases = [
        path if call.session.paths.on_disk(path).is_dir() else path.rpartition("/")[0] or "."
        for path in paths
    ]
    output = call.path("outputs_image_ref_to", outputs_image_ref_to) if outputs_image_ref_to else ""
    call.claim("image", name)
    call.state.images.append(
        CustomBuild(
            ref=name,
            where=call.where,
            argv=argv,
            files=FileSet(paths, call.ignore(ignore, dict.fromkeys(bases))),
            dir=call.path("dir", dir),
            env=call.environment("env", env),
            tag=fixed,
            disable_push=call.flag("disable_push", disable_push),
            skips_local_docker=call.flag("skips_local_docker", skips_local_docker),
            outputs_image_ref_to=output,
            image_deps=images,
            live_update=live_update_steps(call, live_update),
            match_in_env_vars=call.flag("match_in_env_vars", match_in_env_vars),
            entrypoint=_entrypoint(call, entrypoint),
            container_args=_container_args(call, container_args),
        )
    )


def default_registry(
    call: Call, host: object, host_from_cluster: object, single_name: object
) -> None:
    name = call.required("host", host)
    inner = call.text("host_from_cluster", host_from_cluster)
    check_registry_host(name)
    if inner:
        check_registry_host(inner)
    if call.state.registry is not None:
        raise ConfigError(
            "`default_registry` may be called once",
            details=[f"first at {call.state.registry.where}"],
        )
    call.state.registry = DefaultRegistry(
        name, inner, call.text("single_name", single_name), call.where
    )


NATIVES: dict[str, Native] = {
    "docker_build": docker_build,
    "custom_build": custom_build,
    "default_registry": default_registry,
}
