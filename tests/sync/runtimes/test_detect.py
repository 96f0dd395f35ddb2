"""What runs in a container is told from the command of its first process."""

from __future__ import annotations

import json
import shlex

import pytest

from kindling.sync.runtimes.detect import by_project, detect, process_of, words_of
from kindling.sync.runtimes.runtime import Mode
from kindling.sync.runtimes.table import RUNTIMES, UPSTREAM
from tests.sync.runtimes.vectors import MENDED, UPSTREAMS


def cmdline(line: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in shlex.split(line))


@pytest.mark.parametrize(("line", "key"), UPSTREAMS)
def test_row_56_what_upstreams_tests_pin(line: str, key: str) -> None:
    assert detect(cmdline(line)).runtime.key == key


@pytest.mark.parametrize(("line", "key"), MENDED)
def test_row_56_what_upstream_misses(line: str, key: str) -> None:
    assert detect(cmdline(line)).runtime.key == key


@pytest.mark.parametrize("key", sorted(UPSTREAM))
def test_row_56_each_key_by_itself_and_by_its_path(key: str) -> None:
    assert detect([key]).runtime.key == key
    assert detect([f"/usr/local/bin/{key}", "--flag"]).runtime.key == key


@pytest.mark.parametrize("key", sorted(UPSTREAM))
def test_row_56_no_key_is_found_among_arguments(key: str) -> None:
    assert detect(["/app/server", key]).runtime.key == ""
    assert detect(["python3", "main.py", key]).runtime.key == "python3"
    assert detect(["node", "server.js", f"/bin/{key}"]).runtime.key == "node"


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("nginx: master process nginx -g daemon off;", "nginx"),
        ("puma 6.4.2 (tcp://0.0.0.0:3000) [app]", "puma"),
        ("gunicorn: master [app:app]", "gunicorn"),
        ("unicorn master -c config/unicorn.rb", "unicorn"),
        ("php-fpm: master process (/usr/local/etc/php-fpm.conf)", "php-fpm"),
        ("sidekiq 7.2.0 app [0 of 5 busy]", "sidekiq"),
    ],
)
def test_a_title_that_a_server_gave_itself(title: str, key: str) -> None:
    """Such a title is one argument, filled up with zeros to its old length."""
    assert detect(title.encode() + b"\0\0\0\0").runtime.key == key


def test_the_file_of_the_process_decides_when_its_words_do_not() -> None:
    assert detect(["my-worker"], "/usr/local/bin/python3.12").runtime.key == "python3"
    assert detect(["/app/server"], "/app/server").runtime.key == ""
    assert detect(b"", "/usr/sbin/nginx").runtime.key == "nginx"
    assert detect(["sh", "run.sh"], "/bin/busybox").runtime.key == ""


def test_busyboxs_web_server_is_not_apache() -> None:
    """It has no handler for Apache's signal."""
    assert detect(["httpd", "-f"], "/bin/busybox").runtime.key == ""
    assert (
        detect(["httpd", "-DFOREGROUND"], "/usr/local/apache2/bin/httpd").runtime.key == "apache2"
    )


def test_a_file_that_was_replaced_while_it_ran_is_still_known() -> None:
    assert detect(["worker"], "/usr/bin/ruby3.2 (deleted)").runtime.key == "ruby"


def test_a_long_title_is_answered_at_once() -> None:
    """A pattern for versions would try every way to part it."""
    assert detect(["x" + "1.1-" * 50_000]).runtime.key == ""


def test_nothing_is_unknown_and_says_so() -> None:
    found = detect(b"")
    assert not found.known
    assert found.runtime.label == "unknown"
    assert found.runtime.mode is Mode.SUPERVISE
    assert detect(["/app/server"]).runtime.label == "unknown (server)"


def test_empty_arguments_and_foreign_bytes_survive() -> None:
    assert words_of(b"a\0\0b\0") == ("a", "", "b")
    assert words_of(b"node\0caf\xe9.js\0")[1].encode("utf-8", "surrogateescape") == b"caf\xe9.js"


@pytest.mark.parametrize(
    ("path", "text", "key"),
    [
        ("/app/start", "#!/usr/bin/env python3\nimport x\n", "python3"),
        ("/app/start", "#!/usr/bin/ruby3.2 -w\n", "ruby"),
        ("/app/start", "#!/usr/bin/env -S node --no-warnings\n", "node"),
        ("/app/start", "#!/bin/sh\nset -e\n# go first\nexec gunicorn app:app\n", "gunicorn"),
        ("/app/start.sh", "python manage.py migrate\nexec \\\n  puma -p 80\n", "puma"),
        ("/app/start.sh", 'cd /app\nexec "$@"\n', "nginx"),
        ("/app/start.sh", 'if [ "$1" = x ]; then\n  exec "$@"\nfi\nexec node s.js\n', "node"),
        ("/app/start.sh", "while true; do\n  julia main.jl\n  sleep 1\ndone\n", "julia"),
        ("/app/start.sh", "echo 'open\n", ""),
        ("/app/start.sh", "", ""),
        ("/app/start.sh", "exec /app/start.sh\n", ""),
    ],
)
def test_row_56_a_script_is_read_when_its_text_is_at_hand(path: str, text: str, key: str) -> None:
    assert detect([path, "nginx", "-g", "x"], scripts={path: text}).runtime.key == key


def test_a_script_of_unknown_text_and_name_tells_nothing_by_its_arguments() -> None:
    assert detect(["sh", "/app/deploy.sh", "node"]).runtime.key == ""
    assert detect(["/app/deploy.sh", "go"]).runtime.key == ""


def test_apaches_control_script_is_apache_and_keeps_signals_to_itself() -> None:
    script = (
        '#!/bin/sh\nHTTPD=/usr/sbin/apache2\ncase $1 in\n*)\n  $HTTPD "$@"\nesac\nexit $ERROR\n'
    )
    path = "/usr/sbin/apache2ctl"
    for argv in (["/bin/sh", path, "-D", "FOREGROUND"], [path, "-D", "FOREGROUND"]):
        found = detect(argv, scripts={path: script})
        assert (found.runtime.key, found.direct) == ("apache2", False)
    processes = [
        (1, b"/bin/sh\0/usr/sbin/apache2ctl\0-D\0FOREGROUND\0"),
        (9, b"/usr/sbin/apache2\0-D\0FOREGROUND\0"),
        (10, b"/usr/sbin/apache2\0-D\0FOREGROUND\0"),
    ]
    assert process_of("apache2", processes) == 9


def test_a_script_of_package_json_is_followed() -> None:
    package = json.dumps({"scripts": {"start": "NODE_ENV=x nodemon a.js", "web": "next dev"}})
    scripts = {"package.json": package}
    assert detect(["npm", "start"], scripts=scripts).runtime.key == "nodemon"
    assert detect(["yarn", "web"], scripts=scripts).reloads == "`next dev` reloads by itself"
    assert detect(["npm", "run", "missing"], scripts=scripts).runtime.key == "node"
    assert detect(["npm", "start"], scripts={"package.json": "{"}).runtime.key == "node"


@pytest.mark.parametrize(
    ("line", "direct"),
    [
        ("gunicorn app:app", True),
        ("tini -- gunicorn app:app", True),
        ("gosu app gunicorn app:app", True),
        ("sh -c 'exec gunicorn app:app'", True),
        ("/docker-entrypoint.sh gunicorn app:app", True),
        ("sh -c 'migrate && gunicorn app:app'", False),
        ("uv run gunicorn app:app", False),
        ("timeout 60 gunicorn app:app", False),
    ],
)
def test_whether_process_1_hands_signals_on(line: str, direct: bool) -> None:
    found = detect(cmdline(line))
    assert found.argv[0] == "gunicorn"
    assert found.direct is direct


@pytest.mark.parametrize(
    "line",
    [
        "uvicorn app:app --reload",
        "python -m uvicorn --reload app:app",
        "gunicorn --reload app:app",
        "flask --debug run",
        "flask run --debug",
        "python manage.py runserver",
        "python3 -m http.server 8000",
        "watchmedo auto-restart -d . -p *.py -- python worker.py",
        "nodemon --exec python x.py",
        "node --watch server.js",
        "tsx watch src/index.ts",
        "bun --hot server.ts",
        "deno run --watch main.ts",
        "next dev",
        "npx vite",
        "dotnet watch run",
        "air",
        "cargo watch -x run",
        "fastapi dev main.py",
        "sanic app --dev",
        "php -S 0.0.0.0:80",
        "streamlit run app.py",
        "mvn quarkus:dev",
        "httpd -f -p 80 -h /www",
    ],
)
def test_what_looks_for_changes_by_itself(line: str) -> None:
    found = detect(cmdline(line))
    assert found.reloads or (found.runtime.mode is Mode.AUTO and not found.restarts)


@pytest.mark.parametrize(
    "line",
    [
        "uvicorn app:app",
        "gunicorn app:app",
        "flask run",
        "flask --debug run --no-reload",
        "python manage.py runserver --noreload",
        "python manage.py migrate",
        "node server.js",
        "next start",
        "vite build",
        "dotnet run",
        "uvicorn app:app -- --reload",
        "php artisan queue:work",
        "php worker.php",
        "php bin/console messenger:consume",
    ],
)
def test_what_does_not_look_for_changes(line: str) -> None:
    found = detect(cmdline(line))
    assert not found.reloads
    assert found.runtime.mode is not Mode.AUTO or found.restarts


def test_the_environment_turns_reloading_on() -> None:
    assert detect(["flask", "run"], environ={"FLASK_DEBUG": "1"}).reloads == "FLASK_DEBUG is on"
    assert not detect(["flask", "run"], environ={"FLASK_DEBUG": "0"}).reloads


@pytest.mark.parametrize(
    ("names", "key", "marker"),
    [
        ({"go.mod", "package.json"}, "go", "go.mod"),
        ({"Cargo.toml", "package.json"}, "cargo", "Cargo.toml"),
        ({"package.json", "requirements.txt"}, "node", "package.json"),
        ({"pom.xml"}, "java", "pom.xml"),
        ({"build.gradle"}, "java", "build.gradle"),
        ({"build.gradle.kts"}, "kotlin", "build.gradle.kts"),
        ({"requirements.txt"}, "python3", "requirements.txt"),
        ({"setup.py"}, "python3", "setup.py"),
        ({"pyproject.toml"}, "python3", "pyproject.toml"),
        ({"Gemfile"}, "ruby", "Gemfile"),
        ({"mix.exs"}, "elixir", "mix.exs"),
        ({"composer.json"}, "php", "composer.json"),
        ({"Api.csproj", "Program.cs"}, "dotnet", "Api.csproj"),
        ({"Package.swift"}, "swift", "Package.swift"),
        ({"app.cabal"}, "haskell", "app.cabal"),
        ({"dune-project"}, "ocaml", "dune-project"),
        ({"build.sbt"}, "scala", "build.sbt"),
    ],
)
def test_files_of_the_source_folder_decide_last(names: set[str], key: str, marker: str) -> None:
    assert by_project(names) == (RUNTIMES[key], marker)
    found = detect(["/app/server"], project=names)
    assert found.runtime.key == key
    assert marker in found.why
    assert detect(["nginx"], project=names).runtime.key == "nginx"


def test_a_folder_without_a_marker_says_nothing() -> None:
    assert by_project({"README.md", "sub/Api.csproj"}) is None


def test_a_signal_goes_to_the_master_within_a_shell() -> None:
    processes = [
        (1, b"sh\0-c\0migrate && gunicorn app:app\0"),
        (19, b"/usr/local/bin/python3\0/usr/local/bin/gunicorn\0app:app\0"),
        (7, b"/usr/local/bin/python3\0/usr/local/bin/gunicorn\0app:app\0"),
        (3, b""),
    ]
    assert process_of("gunicorn", processes) == 7
    assert process_of("puma", processes) is None
