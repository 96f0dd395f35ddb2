"""Whether a server was told to look for changed files by itself, and what its signal needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from kindling.sync.runtimes.names import basename
from kindling.sync.runtimes.programs import Program
from kindling.sync.runtimes.runtime import Family

__all__ = ["dev_server", "needs_restart", "reloads", "signal_refused"]

_ON = frozenset({"1", "true", "yes", "on"})

_FLAGS: Mapping[str, tuple[str, ...]] = {
    "uvicorn": ("--reload",),
    "gunicorn": ("--reload",),
    "hypercorn": ("--reload",),
    "flask": ("--debug", "--reload"),
    "sanic": ("--reload", "-r", "--auto-reload", "--dev", "-d"),
    "celery": ("--autoreload",),
    "fastapi": ("--reload",),
    "uwsgi": ("--py-autoreload", "--py-auto-reload"),
    "node": ("--watch", "--watch-path"),
    "deno": ("--watch", "--watch-hmr"),
    "bun": ("--watch", "--hot"),
    "tsx": ("watch", "--watch"),
    "ts-node": ("--watch", "--respawn"),
    "rackup": ("--reload",),
    "caddy": ("--watch",),
    "perl": ("-R", "--Reload"),
}

_DEV_SERVERS: Mapping[str, tuple[str, ...]] = {
    "next": ("dev",),
    "nuxt": ("dev",),
    "nuxi": ("dev",),
    "astro": ("dev",),
    "remix": ("dev", "vite:dev"),
    "gatsby": ("develop",),
    "vite": ("", "dev", "serve"),
    "ng": ("serve",),
    "vue-cli-service": ("serve",),
    "react-scripts": ("start",),
    "webpack": ("serve",),
    "parcel": ("", "serve", "watch"),
    "webpack-dev-server": ("",),
    "svelte-kit": ("dev",),
    "ts-node-dev": ("",),
    "node-dev": ("",),
    "quarkus": ("dev",),
}
"""Programs that replace what a browser or a server runs, and the subcommand that makes them."""

_WATCHERS = {
    "air": Family.GO,
    "CompileDaemon": Family.GO,
    "gow": Family.GO,
    "wgo": Family.GO,
    "bacon": Family.RUST,
    "cargo-watch": Family.RUST,
    "watchfiles": Family.PYTHON,
}


def _named(arguments: Sequence[str], flags: Sequence[str]) -> str:
    """The first of these options that was given, as `--reload` or `--reload=...`."""
    for argument in arguments:
        if argument == "--":
            break
        for flag in flags:
            if argument == flag or argument.startswith(f"{flag}="):
                return argument
    return ""


def _subcommand(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), "")


def dev_server(argv: Sequence[str]) -> tuple[Family, str]:
    """The family of a development server or rebuilder that this command is, and why."""
    name, arguments = basename(argv[0]), argv[1:]
    if name in _WATCHERS:
        return _WATCHERS[name], f"`{name}` starts the program again on a change"
    commands = _DEV_SERVERS.get(name)
    if commands is not None:
        word = _subcommand(arguments)
        if word in commands or ("" in commands and (not word or name.endswith("-dev"))):
            return Family.NODE, f"`{' '.join(filter(None, (name, word)))}` reloads by itself"
    return Family.UNKNOWN, ""


def reloads(program: Program, environ: Mapping[str, str]) -> str:
    """Why this server needs no word about changed files, or an empty string."""
    key, arguments = program.runtime.key, program.arguments
    flag = _named(arguments, _FLAGS.get(key, ()))
    word = _subcommand(arguments)
    found = ""
    if key == "django":
        if word in ("runserver", "runserver_plus") and "--noreload" not in arguments:
            found = f"`{word}` looks for changes by itself"
    elif key == "dotnet":
        if word == "watch":
            found = "`dotnet watch` builds and starts again on a change"
    elif key == "cargo":
        if word == "watch":
            found = "`cargo watch` builds and starts again on a change"
    elif key == "fastapi" and word == "dev" and "--no-reload" not in arguments:
        found = "`fastapi dev` looks for changes by itself"
    elif key == "flask" and environ.get("FLASK_DEBUG", "").lower() in _ON:
        found = "" if "--no-reload" in arguments else "FLASK_DEBUG is on"
    elif key == "java" and (named := _named(arguments, ("quarkus:dev", "quarkusDev"))):
        found = f"`{named}` compiles and loads anew on a change"
    elif program.server in ("http.server", "busybox httpd"):
        found = f"`{program.server}` serves files as they are on disk"
    if not found and flag and not (key == "flask" and "--no-reload" in arguments):
        found = f"`{program.server} {flag}` looks for changes by itself"
    return found


def needs_restart(program: Program) -> str:
    """Why a PHP command, other than a server of scripts, has to be started again."""
    arguments = program.arguments
    if program.runtime.key != "php" or not arguments or "-S" in arguments:
        return ""
    word = _subcommand(arguments)
    if basename(word) in ("artisan", "console"):
        command = _subcommand(arguments[arguments.index(word) + 1 :])
        if command in ("", "serve", "server:run", "server:start"):
            return ""
        return f"`{basename(word)} {command}` keeps its code in memory"
    return f"`{word}` keeps its code in memory" if word.endswith(".php") else ""


def signal_refused(program: Program, environ: Mapping[str, str]) -> str:
    """Why the signal of this server would not load the code anew as it was started."""
    key, arguments = program.runtime.key, program.arguments
    if key == "uvicorn":
        count = _value(arguments, "--workers") or environ.get("WEB_CONCURRENCY", "")
        if not (count.isdigit() and int(count) > 1):
            return "uvicorn without several `--workers` dies of SIGHUP"
    elif key == "gunicorn" and _named(arguments, ("--preload", "--preload-app")):
        return "gunicorn with `--preload` keeps the old code on SIGHUP"
    elif key == "unicorn" and arguments and not _configured(arguments):
        return "unicorn without a configuration (`-c`) starts a second master on SIGHUP"
    elif key == "starman" and _named(arguments, ("--preload-app",)):
        return "Starman with `--preload-app` keeps the old code on SIGHUP"
    elif key == "haproxy" and not _named(arguments, ("-W", "-Ws")):
        return "HAProxy reloads with `-W` alone"
    elif key == "uwsgi" and arguments and not _master(arguments):
        return "uWSGI reloads with `--master` alone"
    return ""


def _configured(arguments: Sequence[str]) -> bool:
    """Whether unicorn was given a file of settings."""
    named = _named(arguments, ("-c", "--config-file"))
    return bool(named) or any(re.match(r"-c[^-]", word) for word in arguments)


def _master(arguments: Sequence[str]) -> bool:
    """Whether a master is asked for, or may be by a file of settings."""
    files = ("--ini", "--yaml", "--xml", "--json", "-y", "-j", "-x")
    named = _named(arguments, ("--master", "-M", *files))
    return bool(named) or any(word.endswith((".ini", ".yaml", ".yml")) for word in arguments)


def _value(arguments: Sequence[str], option: str) -> str:
    for at, argument in enumerate(arguments):
        if argument == option and at + 1 < len(arguments):
            return arguments[at + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return ""
