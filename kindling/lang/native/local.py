"""local_resource, test, probes and links."""

from __future__ import annotations

import json
from dataclasses import replace

from kindling.errors import ConfigError
from kindling.graph.node import FileSet
from kindling.graph.spec import Probe, ProbeAction
from kindling.lang.blob import has_mark, unmark
from kindling.lang.call import Call
from kindling.lang.declared import Link, LocalResource, TestDeclaration
from kindling.lang.session import Native

__all__ = ["NATIVES"]


def _files(call: Call, deps: object, ignore: object) -> FileSet:
    if not deps:
        return FileSet(())
    rules = call.ignore(ignore, [call.path("dir", "")]) if ignore else ()
    return FileSet(call.paths("deps", deps), rules)


def _name(call: Call, value: object) -> str:
    name = call.required("name", value)
    if "\n" in name or name != name.strip():
        raise ConfigError(
            f"{name!r} is not a name", hint="A name is one line without outer spaces."
        )
    return name


def local_resource(
    call: Call, plain: str, links: object = None, readiness_probe: object = None
) -> None:
    (
        name,
        cmd,
        deps,
        trigger_mode,
        resource_deps,
        ignore,
        auto_init,
        serve_cmd,
        cmd_bat,
        serve_cmd_bat,
        allow_parallel,
        labels,
        env,
        serve_env,
        dir_,
        serve_dir,
        outputs,
    ) = unmark(json.loads(plain)) if has_mark(plain) else json.loads(plain)
    name = _name(call, name)
    argv = call.argv("cmd", cmd)
    serve_argv = call.argv("serve_cmd", serve_cmd)
    if not argv and not serve_argv:
        if cmd_bat or serve_cmd_bat:
            hint = "`cmd_bat` and `serve_cmd_bat` are for Windows, where kindling does not run."
        else:
            hint = (
                "Give `cmd` (a command that ends), `serve_cmd` (one that keeps running), or both."
            )
        raise ConfigError(f"local_resource `{name}` has no command", hint=hint)
    for part, given, other, has in (
        ("dir", dir_, "cmd", argv),
        ("env", env, "cmd", argv),
        ("outputs", outputs, "cmd", argv),
        ("serve_dir", serve_dir, "serve_cmd", serve_argv),
        ("serve_env", serve_env, "serve_cmd", serve_argv),
    ):
        if given and not has:
            counterpart = f"serve_{part}" if other == "cmd" else part.removeprefix("serve_")
            hint = "" if part == "outputs" else f"Did you mean `{counterpart}`?"
            raise ConfigError(f"local_resource `{name}` has `{part}` and no `{other}`", hint=hint)
    probe = None
    if readiness_probe is not None:
        (probe,) = call.instances("readiness_probe", readiness_probe, Probe, "a `probe()`")
        if not serve_argv:
            call.warn(
                f"local_resource `{name}` has a readiness_probe and no serve_cmd: it is ignored"
            )
            probe = None
    call.claim("local_resource", name)
    call.state.locals.append(
        LocalResource(
            name=name,
            where=call.where,
            argv=argv,
            dir=call.path("dir", dir_),
            env=call.environment("env", env),
            serve_argv=serve_argv,
            serve_dir=call.path("serve_dir", serve_dir),
            serve_env=call.environment("serve_env", serve_env),
            files=_files(call, deps, ignore),
            outputs=call.paths("outputs", outputs),
            trigger=call.trigger("trigger_mode", trigger_mode),
            resource_deps=call.texts("resource_deps", resource_deps),
            auto_init=call.flag("auto_init", auto_init),
            allow_parallel=call.flag("allow_parallel", allow_parallel),
            links=call.links("links", links) if links else (),
            labels=call.labels(labels) if labels else (),
            readiness_probe=probe,
        )
    )


def test(
    call: Call,
    name: object,
    cmd: object,
    deps: object,
    trigger_mode: object,
    resource_deps: object,
    ignore: object,
    auto_init: object,
    allow_parallel: object,
    labels: object,
    env: object,
    dir: object,
    outputs: object,
    timeout: object,
) -> None:
    text = _name(call, name)
    argv = call.argv("cmd", cmd)
    if not argv:
        raise ConfigError(
            f"test `{text}` has no command", hint="Give `cmd`, which fails or does not."
        )
    call.claim("test", text)
    call.state.tests.append(
        TestDeclaration(
            name=text,
            where=call.where,
            argv=argv,
            dir=call.path("dir", dir),
            env=call.environment("env", env),
            files=_files(call, deps, ignore),
            outputs=call.paths("outputs", outputs),
            trigger=call.trigger("trigger_mode", trigger_mode),
            resource_deps=call.texts("resource_deps", resource_deps),
            auto_init=call.flag("auto_init", auto_init),
            allow_parallel=call.flag("allow_parallel", allow_parallel),
            labels=call.labels(labels),
            timeout=call.duration("timeout", timeout) or 0.0,
        )
    )


def probe(
    call: Call,
    initial_delay_secs: object,
    timeout_secs: object,
    period_secs: object,
    success_threshold: object,
    failure_threshold: object,
    exec: object,
    http_get: object,
    tcp_socket: object,
) -> Probe:
    wanted = {
        "exec": (exec, ProbeAction.EXEC, "`exec_action()`"),
        "http_get": (http_get, ProbeAction.HTTP_GET, "`http_get_action()`"),
        "tcp_socket": (tcp_socket, ProbeAction.TCP_SOCKET, "`tcp_socket_action()`"),
    }
    given = {name: item for name, item in wanted.items() if item[0] is not None}
    if len(given) != 1:
        raise ConfigError(
            "`probe` wants exactly one of `exec`, `http_get` and `tcp_socket`",
            details=[f"given: [{', '.join(given)}]"],
        )
    name, (value, action, maker) = next(iter(given.items()))
    if not isinstance(value, Probe) or value.action is not action:
        raise call.wants(name, f"an {maker}" if name == "exec" else f"a {maker}", value)
    return replace(
        value,
        initial_delay_secs=call.number("initial_delay_secs", initial_delay_secs),
        timeout_secs=call.number("timeout_secs", timeout_secs),
        period_secs=call.number("period_secs", period_secs),
        success_threshold=call.count("success_threshold", success_threshold, 1),
        failure_threshold=call.count("failure_threshold", failure_threshold, 1),
    )


def exec_action(call: Call, command: object) -> Probe:
    argv = call.texts("command", command)
    if not argv:
        raise ConfigError("`exec_action` has no command")
    return Probe(ProbeAction.EXEC, argv=argv)


def _port(call: Call, value: object) -> int:
    port = call.count("port", value, 1)
    if port > 65535:
        raise ConfigError(f"`{call.name}(port=)` is above 65535: {port}")
    return port


def http_get_action(
    call: Call, port: object, host: object, scheme: object, path: object, headers: object
) -> Probe:
    return Probe(
        ProbeAction.HTTP_GET,
        host=call.text("host", host) or "localhost",
        port=_port(call, port),
        path=call.text("path", path) or "/",
        scheme=call.choice("scheme", call.text("scheme", scheme).lower(), ["http", "https"])
        or "http",
        headers=call.pairs("headers", headers),
    )


def tcp_socket_action(call: Call, port: object, host: object) -> Probe:
    return Probe(
        ProbeAction.TCP_SOCKET, host=call.text("host", host) or "localhost", port=_port(call, port)
    )


def link(call: Call, url: object, name: object) -> Link:
    made = call.session.link(call, "url", call.required("url", url))
    return replace(made, name=call.text("name", name))


NATIVES: dict[str, Native] = {
    "local_resource": local_resource,
    "test": test,
    "probe": probe,
    "exec_action": exec_action,
    "http_get_action": http_get_action,
    "tcp_socket_action": tcp_socket_action,
    "link": link,
}
