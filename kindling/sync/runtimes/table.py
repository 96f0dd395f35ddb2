"""The one table of runtimes.

Keys, labels and modes are upstream's (kindling-sh/kindling, its 49 runtimes), with four languages
and some servers besides. A signal stands here only where the server's own text says that it loads
the application's code anew:

    gunicorn  HUP: new workers, old ones stop gracefully; code is loaded anew unless preloaded
              (gunicorn.org/signals)
    uvicorn   HUP restarts the workers, only with the process manager of `--workers`, from 0.30 on
              (github.com/Kludex/uvicorn, pull request 2183, uvicorn/supervisors/multiprocess.py);
              a single process has no handler and would die of it
    puma      USR2: executes itself anew, in cluster and single mode; USR1 needs a cluster, and HUP
              only opens logs anew or ends it (github.com/puma/puma, docs/signals.md and restart.md)
    unicorn   HUP restarts all workers, which load the code unless preload_app is set; USR2 would
              leave two masters until one is told to QUIT (unicorn's SIGNALS)
    nginx     HUP: new workers with the new configuration (nginx.org, Controlling nginx)
    apache2   USR1: graceful restart; HUP drops requests (httpd.apache.org/docs/2.4/stopping.html)
    php-fpm   USR2: graceful reload of all workers (php-fpm(8)); not needed for scripts, which are
              read at each request, but for an opcache that does not look at times
    haproxy   USR2 to the master of `-W`, no reload without one (haproxy's configuration manual,
              master-worker)
    uwsgi     HUP reloads workers and master; needs `--master` (uwsgi-docs, Management)
    starman   HUP restarts the workers, which load the code unless preloaded (Starman, SIGNALS)
    lighttpd  USR1 from 1.4.46 on (lighttpd 1.4, doc/initscripts.txt)

Upstream signals two more, which their own sources contradict. Hypercorn handles INT and TERM alone
(github.com/pgjones/hypercorn, src/hypercorn/run.py), so it is supervised. Caddy dropped USR1 with
version 2 (github.com/caddyserver/caddy, issue 3967); it serves files as they are on disk and needs
no word about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kindling.sync.runtimes.runtime import Check, Family, Mode, Runtime

__all__ = ["ALIASES", "RUNTIMES", "UPSTREAM", "unknown"]


def _runs(family: Family, settle: int, **labels: str) -> tuple[Runtime, ...]:
    """Rows that are supervised: key and label, `_` for `-` in the key."""
    return tuple(
        Runtime(
            key.replace("_", "-"),
            label,
            Mode.SUPERVISE,
            family,
            check=Check.NEW_PROCESS,
            settle=settle,
        )
        for key, label in labels.items()
    )


def _built(key: str, label: str, family: Family, settle: int) -> Runtime:
    return Runtime(
        key,
        label,
        Mode.BUILD,
        family,
        check=Check.NEW_PROCESS,
        settle=settle,
        sources=False,
    )


def _signalled(
    key: str,
    label: str,
    family: Family,
    signal: str,
    settle: int,
    check: Check = Check.NEW_CHILDREN,
    *,
    sources: bool = True,
    note: str = "",
) -> Runtime:
    return Runtime(key, label, Mode.SIGNAL, family, signal, check, settle, sources, note)


_ROWS = (
    *_runs(Family.NODE, 2, node="Node.js", deno="Deno", bun="Bun"),
    *_runs(Family.NODE, 2, ts_node="TypeScript (ts-node)", tsx="TypeScript (tsx)"),
    Runtime("nodemon", "Node.js (nodemon)", Mode.AUTO, Family.NODE),
    *_runs(Family.PYTHON, 2, python="Python", python3="Python 3", flask="Python (Flask)"),
    _signalled(
        "uvicorn",
        "Python (uvicorn)",
        Family.PYTHON,
        "HUP",
        2,
        note="HUP restarts the workers of `--workers` from uvicorn 0.30 on; a single process is"
        " supervised",
    ),
    _signalled("gunicorn", "Python (gunicorn)", Family.PYTHON, "HUP", 2),
    *_runs(Family.PYTHON, 3, celery="Python (Celery)"),
    *_runs(Family.PYTHON, 2, daphne="Python (Daphne)", hypercorn="Python (Hypercorn)"),
    *_runs(Family.PYTHON, 2, waitress_serve="Python (Waitress)", waitress="Python (Waitress)"),
    *_runs(Family.PYTHON, 2, tornado="Python (Tornado)", sanic="Python (Sanic)"),
    *_runs(Family.PYTHON, 2, django="Python (Django)", grpcio="Python (gRPC)"),
    *_runs(Family.RUBY, 2, ruby="Ruby"),
    *_runs(Family.RUBY, 3, rails="Ruby on Rails"),
    _signalled("puma", "Ruby (Puma)", Family.RUBY, "USR2", 5, Check.NEW_IMAGE),
    _signalled("unicorn", "Ruby (Unicorn)", Family.RUBY, "HUP", 2),
    *_runs(Family.RUBY, 3, bundle="Ruby (Bundler)"),
    *_runs(Family.RUBY, 2, thin="Ruby (Thin)", falcon="Ruby (Falcon)"),
    Runtime("php", "PHP", Mode.AUTO, Family.PHP),
    Runtime(
        "php-fpm",
        "PHP-FPM",
        Mode.AUTO,
        Family.PHP,
        "USR2",
        Check.NEW_CHILDREN,
        2,
        note="with opcache.validate_timestamps=0 it needs `--restart`, which sends USR2",
    ),
    _signalled("apache2", "Apache (PHP)", Family.WEB, "USR1", 2),
    *_runs(Family.BEAM, 3, mix="Elixir (Mix)", elixir="Elixir"),
    *_runs(Family.BEAM, 2, iex="Elixir (IEx)"),
    *_runs(Family.PERL, 1, perl="Perl"),
    *_runs(Family.LUA, 1, lua="Lua", luajit="LuaJIT"),
    *_runs(Family.R, 2, Rscript="R", R="R"),
    *_runs(Family.JULIA, 3, julia="Julia"),
    _signalled("nginx", "Nginx", Family.WEB, "HUP", 1, sources=False),
    Runtime("caddy", "Caddy", Mode.STATIC, Family.WEB, sources=False),
    _built("go", "Go", Family.GO, 3),
    _built("java", "Java", Family.JVM, 5),
    _built("kotlin", "Kotlin", Family.JVM, 5),
    _built("dotnet", ".NET", Family.DOTNET, 4),
    _built("cargo", "Rust (cargo)", Family.RUST, 3),
    _built("rustc", "Rust", Family.RUST, 3),
    _built("gcc", "C/C++", Family.C, 2),
    _built("zig", "Zig", Family.ZIG, 2),
    # Besides upstream's: four languages, and servers that know a signal.
    _built("scala", "Scala", Family.JVM, 5),
    _built("haskell", "Haskell", Family.HASKELL, 3),
    _built("ocaml", "OCaml", Family.OCAML, 3),
    _built("swift", "Swift", Family.SWIFT, 3),
    _signalled("uwsgi", "Python (uWSGI)", Family.PYTHON, "HUP", 3),
    _signalled("starman", "Perl (Starman)", Family.PERL, "HUP", 2),
    _signalled("haproxy", "HAProxy", Family.WEB, "USR2", 2, sources=False),
    _signalled("lighttpd", "lighttpd", Family.WEB, "USR1", 2, Check.NOTHING, sources=False),
    *_runs(Family.PYTHON, 2, fastapi="Python (FastAPI)"),
    Runtime("streamlit", "Python (Streamlit)", Mode.AUTO, Family.PYTHON),
    *_runs(Family.RUBY, 2, rackup="Ruby (Rack)"),
    *_runs(Family.RUBY, 3, sidekiq="Ruby (Sidekiq)"),
)

RUNTIMES: Mapping[str, Runtime] = MappingProxyType({row.key: row for row in _ROWS})

_NAMES = """
node deno bun nodemon ts-node tsx python python3 uvicorn gunicorn flask celery daphne hypercorn
waitress-serve waitress tornado sanic django grpcio ruby rails puma unicorn bundle thin falcon php
php-fpm apache2 mix elixir iex perl lua luajit Rscript R julia nginx caddy go java kotlin dotnet
cargo rustc gcc zig
"""

UPSTREAM: frozenset[str] = frozenset(_NAMES.split())
"""The 49 names that upstream knows."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "nodejs": "node",
        "pm2-runtime": "node",
        "next": "node",
        "nest": "node",
        "vite": "node",
        "py": "python",
        "pypy": "python3",
        "httpd": "apache2",
        "apache": "apache2",
        "apache2-foreground": "apache2",
        "httpd-foreground": "apache2",
        "apache2ctl": "apache2",
        "apachectl": "apache2",
        "nginx-debug": "nginx",
        "catalina.sh": "java",
        "openresty": "nginx",
        "unicorn_rails": "unicorn",
        "django-admin": "django",
        "celeryd": "celery",
        "beam.smp": "elixir",
        "tsnode": "ts-node",
        "javascript": "node",
        "js": "node",
        "typescript": "ts-node",
        "ts": "ts-node",
        "golang": "go",
        "rust": "cargo",
        "c": "gcc",
        "c++": "gcc",
        "cpp": "gcc",
        "cc": "gcc",
        "g++": "gcc",
        "clang": "gcc",
        "csharp": "dotnet",
        "c#": "dotnet",
        ".net": "dotnet",
        "r": "R",
        "rscript": "Rscript",
        "sbt": "scala",
        "ghc": "haskell",
        "runghc": "haskell",
        "stack": "haskell",
        "cabal": "haskell",
        "dune": "ocaml",
        "mvn": "java",
        "mvnw": "java",
        "gradle": "java",
        "gradlew": "java",
    }
)
"""Other names of the same things, of processes and as words for `--language`."""


def unknown(name: str) -> Runtime:
    """The row for a process that no other row is about: it is started again like any other."""
    label = f"unknown ({name})" if name else "unknown"
    return Runtime("", label, Mode.SUPERVISE, Family.UNKNOWN, check=Check.NEW_PROCESS, settle=3)
