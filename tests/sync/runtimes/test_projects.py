"""What a project builds is read from its files, or a message says why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from kindling.errors import ConfigError
from kindling.sync.runtimes.build import LocalBuild, Machine, own_build
from kindling.sync.runtimes.projects import local_build
from kindling.sync.runtimes.runtime import Family

AMD, ARM = Machine(), Machine("linux", "arm64")


class Project(NamedTuple):
    family: Family
    files: Mapping[str, str]


MAIN_GO = "package main\n\nfunc main() {}\n"

GO = Project(Family.GO, {"go.mod": "module example.com/shop/api/v2\n", "main.go": MAIN_GO})
RUST = Project(
    Family.RUST,
    {"Cargo.toml": '[package]\nname = "api"\nversion = "0.1.0"\n', "src/main.rs": "fn main() {}"},
)
DOTNET = Project(
    Family.DOTNET, {"Api.csproj": '<Project Sdk="Microsoft.NET.Sdk.Web"></Project>', "a.cs": ""}
)
CMAKE = Project(
    Family.C, {"CMakeLists.txt": "project(server)\nadd_executable(${PROJECT_NAME} main.c)\n"}
)
MAKE = Project(Family.C, {"Makefile": "TARGET = bin/server\nall: $(TARGET)\n"})
ZIG = Project(
    Family.ZIG,
    {
        "build.zig": "const target = b.standardTargetOptions(.{});\n"
        'const exe = b.addExecutable(.{\n  .name = "server",\n  .target = target,\n});\n'
    },
)
SWIFT = Project(
    Family.SWIFT,
    {"Package.swift": 'targets: [.executableTarget(name: "Server"), .target(name: "Lib")]'},
)
CABAL = Project(Family.HASKELL, {"app.cabal": "name: app\nexecutable server\n  main-is: M.hs\n"})
STACK = Project(
    Family.HASKELL,
    {
        "stack.yaml": "resolver: lts\n",
        "package.yaml": "name: app\nexecutables:\n  server:\n    main: Main.hs\n\ntests:\n  t:\n",
    },
)
DUNE = Project(
    Family.OCAML,
    {
        "dune-project": "(lang dune 3.0)",
        "bin/dune": "(executable\n (name main)\n (public_name server))\n",
    },
)
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<artifactId>api</artifactId><version>1.2</version></project>"""
MAVEN = Project(Family.JVM, {"pom.xml": POM})
SPRING = Project(
    Family.JVM,
    {
        "build.gradle": "plugins {\n id 'org.springframework.boot' version '3.2'\n}\n"
        "version = '0.0.1'\n",
        "settings.gradle": "rootProject.name = 'api'\n",
        "gradlew": "",
    },
)
APPLICATION = Project(
    Family.JVM,
    {
        "build.gradle.kts": 'plugins {\n  application\n  kotlin("jvm")\n}\n',
        "settings.gradle.kts": 'rootProject.name = "api"\n',
    },
)
SBT = Project(
    Family.JVM,
    {
        "build.sbt": 'val root = (project in file("."))\n  .settings(\n    name := "api",\n  )\n',
        "project/plugins.sbt": 'addSbtPlugin("com.eed3si9n" % "sbt-assembly" % "2.1.5")',
    },
)


def build(project: Project, machine: Machine = AMD, runs: str = "") -> LocalBuild:
    found = local_build(project.family, project.files, machine=machine, here=AMD, runs=runs)
    return found.filled(machine, "/o")


@pytest.mark.parametrize(
    ("project", "commands", "artefact", "folder"),
    [
        (GO, ["go build -o /o/api ."], "/o/api", False),
        (
            RUST,
            ["cargo build --release --bin api --target x86_64-unknown-linux-gnu"],
            "target/x86_64-unknown-linux-gnu/release/api",
            False,
        ),
        (
            DOTNET,
            [
                "dotnet publish Api.csproj -c Release -r linux-x64 --self-contained false"
                " -o /o/publish"
            ],
            "/o/publish",
            True,
        ),
        (
            CMAKE,
            [
                "cmake -S . -B /o/cmake -DCMAKE_BUILD_TYPE=Release",
                "cmake --build /o/cmake --target server",
            ],
            "/o/cmake/server",
            False,
        ),
        (MAKE, ["make bin/server"], "bin/server", False),
        (
            ZIG,
            ["zig build -Dtarget=x86_64-linux-musl --prefix /o/zig"],
            "/o/zig/bin/server",
            False,
        ),
        (
            SWIFT,
            [
                "swift build -c release --static-swift-stdlib --product Server"
                " --scratch-path /o/swift"
            ],
            "/o/swift/release/Server",
            False,
        ),
        (
            CABAL,
            [
                "cabal install exe:server --installdir=/o --install-method=copy"
                " --overwrite-policy=always"
            ],
            "/o/server",
            False,
        ),
        (STACK, ["stack install :server --local-bin-path /o"], "/o/server", False),
        (
            DUNE,
            ["dune build --profile release ./bin/main.exe"],
            "_build/default/bin/main.exe",
            False,
        ),
        (MAVEN, ["mvn -q -DskipTests package"], "target/api-1.2.jar", False),
        (SPRING, ["./gradlew -q bootJar -x test"], "build/libs/api-0.0.1.jar", False),
        (APPLICATION, ["gradle -q installDist -x test"], "build/install/api", True),
        (
            SBT,
            ['sbt set assembly / assemblyOutputPath := file("/o/api.jar") assembly'],
            "/o/api.jar",
            False,
        ),
    ],
)
def test_row_65_each_language_yields_an_artefact_that_can_be_copied(
    project: Project, commands: list[str], artefact: str, folder: bool
) -> None:
    found = build(project)
    assert [" ".join(words) for words in found.commands] == commands
    assert (found.artefact, found.folder) == (artefact, folder)
    assert found.says


def test_row_64_go_is_built_for_the_nodes_processor() -> None:
    found = build(GO, ARM)
    assert dict(found.environ) == {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "arm64"}


@pytest.mark.parametrize(
    ("arch", "gnu", "dotnet"),
    [
        ("amd64", "x86_64", "x64"),
        ("arm64", "aarch64", "arm64"),
        ("riscv64", "riscv64", "riscv64"),
        ("s390x", "s390x", "s390x"),
    ],
)
def test_processors_have_the_names_that_tools_give_them(arch: str, gnu: str, dotnet: str) -> None:
    machine = Machine("linux", arch)
    assert (machine.gnu, machine.dotnet) == (gnu, dotnet)


def test_other_braces_than_placeholders_stay() -> None:
    assert Machine().fill("${x} {} {os}/{arch} {out}", "/o") == "${x} {} linux/amd64 /o"


@pytest.mark.parametrize(
    ("project", "word"),
    [
        (RUST, "aarch64-unknown-linux-gnu"),
        (DOTNET, "linux-arm64"),
        (ZIG, "-Dtarget=aarch64-linux-musl"),
        (SWIFT, "aarch64-swift-linux-musl"),
        (MAKE, "CC=aarch64-linux-gnu-gcc"),
    ],
)
def test_row_65_another_processor_stands_in_the_command(project: Project, word: str) -> None:
    assert word in build(project, ARM).commands[0]


def test_row_65_cmake_takes_the_other_compiler_from_its_environment() -> None:
    assert ("CC", "aarch64-linux-gnu-gcc") in build(CMAKE, ARM).environ
    assert build(CMAKE).environ == ()


@pytest.mark.parametrize("project", [CABAL, STACK, DUNE])
def test_row_65_what_cannot_be_built_for_another_processor_is_refused_before(
    project: Project,
) -> None:
    with pytest.raises(ConfigError, match="does not build for another processor"):
        build(project, ARM)


def test_zig_without_a_choice_of_targets_builds_for_this_machine_alone() -> None:
    bare = Project(Family.ZIG, {"build.zig": 'b.addExecutable(.{ .name = "s" });'})
    assert "-Dtarget" not in " ".join(build(bare).commands[0])
    with pytest.raises(ConfigError, match="standardTargetOptions"):
        build(bare, ARM)


SEVERAL_GO = Project(
    Family.GO,
    {
        "go.mod": "module m\n",
        "cmd/api/main.go": MAIN_GO,
        "cmd/worker/main.go": MAIN_GO,
        "cmd/api/main_test.go": MAIN_GO,
        "tools/gen.go": "//go:build ignore\n\n" + MAIN_GO,
        "vendor/x/main.go": MAIN_GO,
        "internal/db.go": "package internal\n",
    },
)


def test_row_64_the_program_that_runs_decides_among_several() -> None:
    assert build(SEVERAL_GO, runs="worker").commands[0][-1] == "./cmd/worker"
    with pytest.raises(ConfigError) as caught:
        build(SEVERAL_GO, runs="server")
    assert caught.value.message == (
        "go.mod: there are several main packages [api, worker], and none is called `server` as the"
        " program in the container."
    )
    assert "--build-cmd" in caught.value.hint


def test_a_main_package_in_the_root_wins_unless_another_one_runs() -> None:
    project = Project(Family.GO, {**SEVERAL_GO.files, "main.go": MAIN_GO})
    assert build(project, runs="server").commands[0][-1] == "."
    assert build(project, runs="api").commands[0][-1] == "./cmd/api"


@pytest.mark.parametrize(
    ("manifest", "files", "runs", "name"),
    [
        (
            '[package]\nname="a"\n[[bin]]\nname="srv"\npath="src/main.rs"\n',
            ["src/main.rs"],
            "",
            "srv",
        ),
        ('[package]\nname="a"\n', ["src/bin/x.rs", "src/bin/y/main.rs"], "y", "y"),
        ('[package]\nname="a"\ndefault-run="a"\n', ["src/main.rs", "src/bin/x.rs"], "?", "a"),
        ('[package]\nname="a"\ndefault-run="a"\n', ["src/main.rs", "src/bin/x.rs"], "x", "x"),
    ],
)
def test_the_binary_of_a_cargo_package(
    manifest: str, files: list[str], runs: str, name: str
) -> None:
    project = Project(Family.RUST, {"Cargo.toml": manifest, **dict.fromkeys(files, "")})
    assert build(project, runs=runs).artefact.endswith(f"/release/{name}")


def test_the_binaries_of_a_cargo_workspace() -> None:
    project = Project(
        Family.RUST,
        {
            "Cargo.toml": '[workspace]\nmembers = ["api", "lib"]\n',
            "api/Cargo.toml": '[package]\nname = "api"\n',
            "api/src/main.rs": "",
            "lib/Cargo.toml": '[package]\nname = "lib"\n',
        },
    )
    assert build(project).artefact.endswith("/api")


def test_a_dotnet_library_is_no_program_and_a_name_is_honoured() -> None:
    project = Project(
        Family.DOTNET,
        {
            "src/Api/Api.csproj": "<OutputType>Exe</OutputType><AssemblyName>shop</AssemblyName>",
            "src/Worker/Worker.csproj": '<Project Sdk="Microsoft.NET.Sdk.Worker">',
            "src/Lib/Lib.csproj": '<Project Sdk="Microsoft.NET.Sdk">',
        },
    )
    assert build(project, runs="shop.dll").commands[0][2] == "src/Api/Api.csproj"
    with pytest.raises(ConfigError, match=r"\[Worker, shop\]"):
        build(project, runs="x")


def test_a_dotnet_program_without_a_runtime_beside_it_brings_its_own() -> None:
    found = local_build(DOTNET.family, DOTNET.files, machine=AMD, here=AMD, shared=False)
    words = found.commands[0]
    assert words[words.index("--self-contained") + 1] == "true"


@pytest.mark.parametrize(
    ("inner", "jar"),
    [
        ("<artifactId>a</artifactId><version>1</version>", "a-1.jar"),
        ("<parent><version>2</version></parent><artifactId>a</artifactId>", "a-2.jar"),
        (
            "<artifactId>a</artifactId><version>${revision}</version>"
            "<properties><revision>3</revision></properties>",
            "a-3.jar",
        ),
        (
            "<artifactId>a</artifactId><version>1</version>"
            "<build><finalName>${project.artifactId}</finalName></build>",
            "a.jar",
        ),
        ("<artifactId>a</artifactId><version>1</version><packaging>war</packaging>", "a-1.war"),
    ],
)
def test_row_65_the_jar_of_maven(inner: str, jar: str) -> None:
    project = Project(Family.JVM, {"pom.xml": f"<project>{inner}</project>", "mvnw": ""})
    assert build(project).artefact == f"target/{jar}"
    assert build(project).commands[0][0] == "./mvnw"


@pytest.mark.parametrize(
    ("gradle", "artefact"),
    [
        ("plugins { id 'java' }\n", "build/libs/app.jar"),
        ("version '1.0'\n", "build/libs/app-1.0.jar"),
        ("plugins {\n id 'com.gradleup.shadow'\n}\nversion = \"2\"\n", "build/libs/app-2-all.jar"),
        ("jar { archiveFileName = 'server.jar' }\n", "build/libs/server.jar"),
        ('tasks.jar { archiveFileName.set("s.jar") }\n', "build/libs/s.jar"),
        ("archiveBaseName = 'shop'\nversion = '1'\n", "build/libs/shop-1.jar"),
        ('plugins {\n    id("application")\n}\n', "build/install/app"),
    ],
)
def test_row_65_the_artefact_of_gradle(gradle: str, artefact: str) -> None:
    assert build(Project(Family.JVM, {"build.gradle": gradle})).artefact == artefact


def test_a_version_of_gradle_may_stand_in_its_properties() -> None:
    files = {"build.gradle": "", "gradle.properties": "version=4.5\n"}
    assert build(Project(Family.JVM, files)).artefact == "build/libs/app-4.5.jar"


def test_sbt_stages_a_folder_with_the_native_packager() -> None:
    files = {"build.sbt": "", "project/plugins.sbt": "sbt-native-packager"}
    found = build(Project(Family.JVM, files))
    assert (found.artefact, found.folder) == ("target/universal/stage", True)


@pytest.mark.parametrize(
    ("makefile", "runs", "target"),
    [
        ("BIN := build/app\nall: $(BIN)\n$(BIN): a.o\n\tcc -o $@ $^\n", "", "build/app"),
        ("all: server\nserver: a.o\n\tcc -o $@ $^\n", "", "server"),
        ("server: a.o\n\tcc -o $@ $^\na.o: a.c\nclean:\n\trm server\n", "", "server"),
        ("all: client server\nserver: a.o\nclient: b.o\n", "server", "server"),
        ("NAME=x\nPROG = $(NAME)-bin # why\n", "", "x-bin"),
    ],
)
def test_row_65_the_program_of_a_makefile(makefile: str, runs: str, target: str) -> None:
    assert build(Project(Family.C, {"Makefile": makefile}), runs=runs).artefact == target


@pytest.mark.parametrize(
    ("family", "files", "message"),
    [
        (Family.GO, {}, "has no go.mod"),
        (Family.GO, {"go.mod": "module m", "a.go": "package a"}, "func main"),
        (Family.RUST, {}, "has no Cargo.toml"),
        (Family.RUST, {"Cargo.toml": "[package"}, "no TOML"),
        (Family.RUST, {"Cargo.toml": '[package]\nname = "lib"'}, "no binary was found"),
        (Family.DOTNET, {}, r"has no \*.csproj"),
        (Family.C, {}, "has no Makefile or CMakeLists.txt"),
        (Family.C, {"Makefile": "a: b\nc: d\n"}, r"several targets \[a, c\]"),
        (Family.C, {"CMakeLists.txt": "add_library(x x.c)"}, "no executable"),
        (Family.ZIG, {}, "has no build.zig"),
        (Family.SWIFT, {}, "has no Package.swift"),
        (Family.HASKELL, {}, r"has no \*.cabal"),
        (Family.OCAML, {}, "has no dune-project"),
        (Family.JVM, {}, "has no pom.xml"),
        (Family.JVM, {"pom.xml": "<project>"}, "no XML"),
        (Family.JVM, {"pom.xml": "<!DOCTYPE x><project/>"}, "document type"),
        (Family.JVM, {"pom.xml": "<project/>"}, "cannot be told"),
        (
            Family.JVM,
            {"pom.xml": POM.replace("1.2", "${other}")},
            r"cannot be told from `api-\$\{other\}`",
        ),
        (
            Family.JVM,
            {
                "pom.xml": "<project><packaging>pom</packaging>"
                "<modules><module>api</module><module>lib</module></modules></project>"
            },
            r"its modules do \[api, lib\]",
        ),
        (Family.JVM, {"build.gradle": "version = rootProject.version\n"}, "version is not written"),
        (Family.JVM, {"build.sbt": ""}, "neither sbt-assembly"),
        (Family.PYTHON, {}, "knows no build"),
    ],
)
def test_row_65_what_cannot_be_told_is_said_with_the_way_out(
    family: Family, files: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(Project(family, files))
    assert "--build-cmd" in caught.value.hint or "--src" in caught.value.hint


def test_a_build_of_ones_own_needs_both_words() -> None:
    assert own_build("make", "bin/x").commands == (("sh", "-c", "make"),)
    assert own_build("make", "dist/").folder
    assert own_build("make", "dist", {"dist/index.html": ""}).folder
    assert not own_build("make", "dist").folder
    with pytest.raises(ConfigError, match="without `--build-output`"):
        own_build("make", "")
    with pytest.raises(ConfigError, match="without `--build-cmd`"):
        own_build("", "bin/x")
