"""The strategy of a session: from what runs, what the folder builds and what the user says."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.sync.runtimes.build import Machine
from kindling.sync.runtimes.detect import Detection, detect
from kindling.sync.runtimes.placing import Place
from kindling.sync.runtimes.plan import Overrides, Source, lines, plan, restarting
from kindling.sync.runtimes.runtime import Check, Mode
from kindling.sync.runtimes.table import RUNTIMES

GO = Source({"go.mod": "module example.com/api\n", "main.go": "package main\nfunc main() {}\n"})
SITE = Source({"package.json": json.dumps({"scripts": {"build": "vite build"}})})


def found(line: str, environ: dict[str, str] | None = None) -> Detection:
    return detect(shlex.split(line), environ=environ or {})


@pytest.mark.parametrize(
    ("line", "signal", "to", "check"),
    [
        ("gunicorn app:app", "HUP", "", Check.NEW_CHILDREN),
        ("python -m uvicorn app:app --workers 4", "HUP", "", Check.NEW_CHILDREN),
        ("tini -- puma", "USR2", "", Check.NEW_IMAGE),
        ("unicorn -c x", "HUP", "", Check.NEW_CHILDREN),
        ("unicorn -cx -p 80", "HUP", "", Check.NEW_CHILDREN),
        ("nginx -g 'daemon off;'", "HUP", "", Check.NEW_CHILDREN),
        ("apache2 -DFOREGROUND", "USR1", "", Check.NEW_CHILDREN),
        ("haproxy -W -f x", "USR2", "", Check.NEW_CHILDREN),
        ("uwsgi --master --http :80", "HUP", "", Check.NEW_CHILDREN),
        ("uwsgi --ini app.ini", "HUP", "", Check.NEW_CHILDREN),
        ("sh -c 'migrate && gunicorn app:app'", "HUP", "gunicorn", Check.NEW_CHILDREN),
    ],
)
def test_row_55_a_server_with_a_signal_gets_it_and_is_supervised_if_it_has_no_effect(
    line: str, signal: str, to: str, check: Check
) -> None:
    strategy = plan(found(line))
    assert strategy.mode is Mode.SIGNAL
    assert (strategy.signal, strategy.to, strategy.check) == (signal, to, check)
    assert strategy.fallback is Mode.SUPERVISE
    assert strategy.settle > 0
    assert not strategy.patches


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("uvicorn app:app", "several `--workers`"),
        ("uvicorn app:app --workers 1", "several `--workers`"),
        ("gunicorn --preload app:app", "keeps the old code"),
        ("haproxy -f x", "`-W` alone"),
        ("uwsgi --http :80 --wsgi-file a.py", "`--master` alone"),
        ("unicorn -l 0.0.0.0:80", "a second master"),
        ("starman --preload-app app.psgi", "keeps the old code"),
    ],
)
def test_a_signal_that_would_end_a_server_or_change_nothing_is_not_sent(
    line: str, reason: str
) -> None:
    strategy = plan(found(line))
    assert strategy.mode is Mode.SUPERVISE
    assert strategy.signal == ""
    assert reason in strategy.says
    assert strategy.patches


def test_the_environment_may_give_uvicorn_its_workers() -> None:
    detection = found("uvicorn app:app", environ={"WEB_CONCURRENCY": "2"})
    assert plan(detection).mode is Mode.SIGNAL


@pytest.mark.parametrize("line", ["node server.js", "python3 main.py", "ruby app.rb", "/app/x"])
def test_an_interpreted_program_is_supervised(line: str) -> None:
    strategy = plan(found(line))
    assert (strategy.mode, strategy.check) == (Mode.SUPERVISE, Check.NEW_PROCESS)
    assert strategy.carries_sources


@pytest.mark.parametrize("line", ["nodemon x.js", "flask --debug run", "dotnet watch", "air"])
def test_what_reloads_by_itself_is_left_alone(line: str) -> None:
    strategy = plan(found(line), source=GO)
    assert strategy.mode is Mode.AUTO
    assert not strategy.patches
    assert strategy.carries_sources


def test_php_fpm_reads_scripts_anew_and_knows_a_signal_for_a_stubborn_cache() -> None:
    strategy = plan(found("php-fpm8.2 -F"))
    assert (strategy.mode, strategy.fallback, strategy.signal) == (Mode.AUTO, Mode.SIGNAL, "USR2")
    assert strategy.says == "auto-reload, and SIGUSR2 for what is cached"
    assert not strategy.tips
    silent = plan(found("php-fpm8.2 -F"), Overrides(restart=False))
    assert silent.says == "auto-reload"
    assert "opcache" in silent.tips[0]
    assert plan(detect(["sh", "-c", "php-fpm -F; true"])).to == "php-fpm"


def test_a_php_worker_is_started_again() -> None:
    strategy = plan(found("php artisan queue:work"))
    assert strategy.mode is Mode.SUPERVISE
    assert "`artisan queue:work` keeps its code in memory" in strategy.says


def test_row_64_a_binary_is_built_here_for_the_node_and_put_over_the_one_that_runs() -> None:
    detection = detect(["/usr/local/bin/api", "--port", "80"], project=GO.files)
    arm = Machine("linux", "arm64")
    strategy = plan(detection, source=GO, machine=arm)
    assert strategy.mode is Mode.BUILD
    assert strategy.build is not None
    assert dict(strategy.build.filled(arm, "/o").environ)["GOARCH"] == "arm64"
    assert strategy.place == Place("/usr/local/bin/api")
    assert strategy.patches
    assert not strategy.carries_sources


def test_row_64_a_bare_name_is_looked_for_in_the_container() -> None:
    detection = detect(["api"], project=GO.files)
    assert plan(detection, source=GO).place == Place("api", search=True)


@pytest.mark.parametrize(
    ("line", "files", "path"),
    [
        (
            "java -Xmx1g -jar /app/app.jar --x",
            {"pom.xml": "<project><artifactId>a</artifactId><version>1</version></project>"},
            "/app/app.jar",
        ),
        ("dotnet /srv/Api.dll", {"Api.csproj": "<OutputType>Exe</OutputType>"}, "/srv"),
        ("dotnet Api.dll", {"Api.csproj": "<OutputType>Exe</OutputType>"}, ""),
        (
            "java -cp /app/libs/slf4j-2.0.jar:/app/libs/a-0.9.jar com.acme.Main",
            {"pom.xml": "<project><artifactId>a</artifactId><version>1</version></project>"},
            "/app/libs/a-0.9.jar",
        ),
        (
            "java -classpath /opt/api/lib/app.jar:/opt/api/lib/x.jar com.acme.Main",
            {"build.gradle": "plugins {\n id 'application'\n}\n"},
            "/opt/api",
        ),
        (
            "/opt/api/bin/api",
            {"build.gradle": "plugins {\n id 'application'\n}\n"},
            "/opt/api",
        ),
    ],
)
def test_row_65_where_an_artefact_goes(line: str, files: dict[str, str], path: str) -> None:
    detection = detect(shlex.split(line), project=files)
    assert plan(detection, source=Source(files)).place == Place(path)


def test_row_65_a_servers_own_jar_is_never_overwritten() -> None:
    pom = "<project><artifactId>a</artifactId><version>1</version></project>"
    line = "java -cp /tomcat/bin/bootstrap.jar org.apache.catalina.startup.Bootstrap start"
    strategy = plan(found(line), source=Source({"pom.xml": pom}))
    assert strategy.place is None
    assert "Where `a-1.jar` belongs cannot be told" in strategy.warnings[0]


def test_springs_devtools_get_classes_and_no_restart() -> None:
    line = "java -cp /app/classes:/app/libs/spring-boot-devtools-3.2.jar com.acme.Main"
    strategy = plan(found(line), source=Source({"pom.xml": "<project/>"}))
    assert (strategy.mode, strategy.place) == (Mode.AUTO, Place("/app/classes"))
    assert strategy.build is not None
    assert strategy.build.artefact == "target/classes"
    assert not strategy.patches
    packed = "java -cp /app/app.jar:/app/spring-boot-devtools.jar com.acme.Main"
    assert plan(found(packed), source=Source({"pom.xml": "<project/>"})).mode is not Mode.AUTO


@pytest.mark.parametrize(
    "line",
    ["go run .", "cargo run --release", "dotnet run", "zig build run", "mvn spring-boot:run"],
)
def test_a_compiler_in_the_container_gets_sources_and_is_never_overwritten(line: str) -> None:
    strategy = plan(found(line), source=GO)
    assert strategy.mode is Mode.SUPERVISE
    assert strategy.place is None
    assert "compiles in the container" in strategy.says


def test_row_65_what_cannot_be_built_is_said_before_anything_happens() -> None:
    strategy = plan(found("java -jar app.jar"))
    assert strategy.build is None
    assert strategy.carries_sources
    assert strategy.warnings[0].startswith("Java needs a build. The source folder has no pom.xml")
    assert "--build-cmd" in strategy.warnings[0]


def test_a_build_of_ones_own_is_used_for_any_runtime() -> None:
    own = Overrides(build_cmd="make it", build_output="bin/it")
    strategy = plan(found("/app/it"), own)
    assert strategy.mode is Mode.BUILD
    assert strategy.build is not None
    assert strategy.build.commands == (("sh", "-c", "make it"),)
    with pytest.raises(ConfigError, match="without `--build-output`"):
        plan(found("/app/it"), Overrides(build_cmd="make it"))


@pytest.mark.parametrize(
    "line",
    ["/bin/sh /app/run.sh", "/usr/local/bin/node server.js", "/usr/sbin/nginx", "python3.12"],
)
@pytest.mark.parametrize("output", ["out/app", "out/"])
def test_what_is_built_never_lands_on_a_shell_an_interpreter_or_a_server(
    line: str, output: str
) -> None:
    strategy = plan(found(line), Overrides(build_cmd="make it", build_output=output))
    assert strategy.build is not None
    assert strategy.place == Place("")


@pytest.mark.parametrize("line", ["nginx", "caddy run", "/docker-entrypoint.sh nginx"])
def test_row_66_a_front_end_is_built_and_copied_without_a_signal(line: str) -> None:
    strategy = plan(found(line), source=SITE)
    assert strategy.mode is Mode.STATIC
    assert strategy.frontend is not None
    assert (strategy.signal, strategy.fallback) == ("", None)
    assert not strategy.carries_sources
    assert strategy.says == "local build and copy (npm run build -> dist)"


def test_what_a_build_writes_is_left_out_of_the_watch() -> None:
    """Else each build would be answered with another one."""
    pom = {"pom.xml": "<project><artifactId>a</artifactId><version>1</version></project>"}
    java = plan(found("java -jar /a.jar"), source=Source(pom))
    assert java.leaves == ("target/a-1.jar", "**/target")
    assert plan(detect(["/app/api"], project=GO.files), source=GO).leaves == ()
    site = plan(found("nginx"), source=SITE)
    assert {"dist", "build", "out", "**/node_modules"} <= set(site.leaves)
    assert plan(found("node x.js"), source=SITE).leaves == ()


def test_row_66_a_build_script_beside_another_runtime_is_no_front_end() -> None:
    assert plan(found("node server.js"), source=SITE).frontend is None


def test_row_57_language_decides() -> None:
    strategy = plan(found("/app/start"), Overrides(language="gunicorn"))
    assert (strategy.runtime, strategy.mode) == (RUNTIMES["gunicorn"], Mode.SIGNAL)
    assert strategy.warnings == ()
    assert plan(found("node x.js"), Overrides(language="go"), source=GO).mode is Mode.BUILD


def test_row_57_an_unknown_language_warns_and_falls_back() -> None:
    strategy = plan(found("node server.js"), Overrides(language="nodde"))
    assert strategy.runtime is RUNTIMES["node"]
    assert strategy.warnings == (
        "--language: `nodde` is no runtime that sync knows. Did you mean `node`?"
        " Going by what the container runs: Node.js.",
    )


def test_a_word_for_the_language_does_not_make_a_single_uvicorn_take_a_signal() -> None:
    assert plan(found("python3 main.py"), Overrides(language="uvicorn")).mode is Mode.SUPERVISE


@pytest.mark.parametrize("line", ["gunicorn a:b", "node x.js", "/app/api"])
def test_without_restart_files_are_carried_and_a_tip_says_what_would_follow(line: str) -> None:
    detection = detect(shlex.split(line), project=GO.files)
    strategy = plan(detection, Overrides(restart=False), source=GO)
    assert not strategy.restarts
    assert not strategy.patches
    assert strategy.carries_sources
    assert "with `--restart`: " in strategy.tips[-1]


def test_the_lines_before_the_first_batch() -> None:
    strategy = plan(found("uvicorn app:app --workers 2"))
    assert lines(strategy, source="./src", destination="/app in pod api-1") == (
        "Detected runtime: Python (uvicorn)",
        "Strategy: signal reload (SIGHUP)",
        "Watching ./src -> /app in pod api-1",
    )


def test_the_line_of_a_build_has_no_placeholder_left() -> None:
    detection = detect(["/app/api"], project=GO.files)
    strategy = plan(detection, source=GO, machine=Machine("linux", "arm64"))
    assert strategy.says == "local build and binary sync (go build . for linux/arm64)"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*RUNTIMES, "/app/x", "-c", "sh", "run", "--reload"]), max_size=4),
    st.booleans(),
    st.sampled_from(["", "go", "nginx", "nonsense"]),
    st.sampled_from([Source(), GO, SITE]),
)
def test_each_command_has_a_strategy_that_is_whole(
    argv: list[str], restart: bool, language: str, source: Source
) -> None:
    strategy = plan(detect(argv), Overrides(restart, language), source=source)
    assert strategy.says
    assert (strategy.build is None) == (strategy.place is None)
    if strategy.restarts:
        assert strategy.signal or strategy.mode is not Mode.SIGNAL
        assert strategy.fallback is not Mode.SIGNAL or strategy.signal
        assert strategy.settle > 0 or strategy.mode in (Mode.AUTO, Mode.STATIC)
        assert strategy.build is not None or strategy.mode is not Mode.BUILD
    else:
        assert not strategy.patches


def test_a_restart_that_is_asked_for_takes_the_place_of_every_other_strategy() -> None:
    """Nothing is built for it, and a server that serves files as they are is started anew too."""
    for argv in (["nginx", "-g", "daemon off;"], ["httpd", "-f"], ["/app/server"]):
        strategy = restarting(plan(detect(argv)))
        assert strategy.patches
        assert strategy.carries_sources
        assert strategy.mode is Mode.SUPERVISE
