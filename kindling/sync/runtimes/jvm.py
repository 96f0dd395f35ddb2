"""What Maven, Gradle and sbt build, read from their files without running them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from kindling.sync.runtimes.build import SAY_IT, CannotTellError, LocalBuild

__all__ = ["gradle", "maven", "sbt"]


def maven(files: Mapping[str, str]) -> LocalBuild:
    """The jar or war of pom.xml: `finalName`, else artifact and version."""
    text = files["pom.xml"]
    if "<!DOCTYPE" in text:
        raise CannotTellError("pom.xml: a document type is not read.", hint=SAY_IT)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CannotTellError(f"pom.xml: this is no XML: {error}.", hint=SAY_IT) from error
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""

    def value(*path: str) -> str:
        return (root.findtext("/".join(f"{space}{part}" for part in path)) or "").strip()

    known = {
        element.tag.removeprefix(space): (element.text or "").strip()
        for element in root.findall(f"{space}properties/*")
    }
    known["project.artifactId"] = value("artifactId")
    known["project.version"] = value("version") or value("parent", "version")

    def expanded(name: str) -> str:
        for _ in range(8):
            replaced = re.sub(r"\$\{([^}]+)\}", lambda found: known.get(found[1], found[0]), name)
            if replaced == name:
                break
            name = replaced
        return name

    packaging = value("packaging") or "jar"
    if packaging == "pom":
        modules = [(module.text or "").strip() for module in root.findall(f"{space}modules/*")]
        raise CannotTellError(
            f"pom.xml: it builds nothing itself, its modules do [{', '.join(modules)}].",
            hint="Let `--src` be the folder of one of them.",
        )
    name = expanded(value("build", "finalName") or "${project.artifactId}-${project.version}")
    if not value("artifactId") or "${" in name or name.endswith("-"):
        raise CannotTellError(
            f"pom.xml: the name of what it builds cannot be told from `{name}`.",
            hint=f"Give it a `<finalName>`. {SAY_IT}",
        )
    command = "./mvnw" if "mvnw" in files else "mvn"
    ending = "war" if packaging == "war" else "jar"
    return LocalBuild(
        ((command, "-q", "-DskipTests", "package"),),
        f"target/{name}.{ending}",
        says=f"{command} package, target/{name}.{ending}",
    )


def gradle(files: Mapping[str, str], folder: str, runs: str) -> LocalBuild:
    """The jar of a Gradle project, or the folder of `installDist` where a script runs there."""
    place = "build.gradle.kts" if "build.gradle.kts" in files else "build.gradle"
    text = files[place]
    settings = files.get("settings.gradle.kts") or files.get("settings.gradle") or ""
    named = re.search(r"rootProject\.name\s*=\s*[\"']([^\"']+)", settings)
    name = named[1] if named else folder
    written = re.search(r"^version\s*=?\s*[\"']([^\"'$]+)[\"']", text, re.M)
    version = written[1] if written else _property(files, "version")
    if version is None and re.search(r"^version\b", text, re.M):
        raise CannotTellError(f"{place}: the version is not written as a text.", hint=SAY_IT)
    command = "./gradlew" if "gradlew" in files else "gradle"
    spring = re.search(r"org\.springframework\.boot", text)
    shadow = re.search(r"com\.(github\.johnrengelman|gradleup)\.?shadow", text)
    application = re.search(r"^\s*(id\s*\(?\s*[\"']application[\"']|application\s*$)", text, re.M)
    if application and not spring and not (shadow and runs.endswith(".jar")):
        return LocalBuild(
            ((command, "-q", "installDist", "-x", "test"),),
            f"build/install/{name}",
            folder=True,
            says=f"{command} installDist, build/install/{name}",
        )
    task, suffix = ("bootJar", "") if spring else ("shadowJar", "-all") if shadow else ("jar", "")
    archive = re.search(r"archiveFileName(?:\.set\(|\s*=)\s*[\"']([^\"'$]+)[\"']", text)
    base = re.search(r"archiveBaseName(?:\.set\(|\s*=)\s*[\"']([^\"'$]+)[\"']", text)
    stem = "-".join(filter(None, (base[1] if base else name, version)))
    jar = archive[1] if archive else f"{stem}{suffix}.jar"
    return LocalBuild(
        ((command, "-q", task, "-x", "test"),),
        f"build/libs/{jar}",
        says=f"{command} {task}, build/libs/{jar}",
    )


def _property(files: Mapping[str, str], name: str) -> str | None:
    found = re.search(rf"^{name}\s*=\s*(\S+)", files.get("gradle.properties", ""), re.M)
    return found[1] if found else None


def sbt(files: Mapping[str, str], folder: str) -> LocalBuild:
    """A jar by sbt-assembly, or the folder that sbt-native-packager stages."""
    text = files["build.sbt"]
    plugins = files.get("project/plugins.sbt", "")
    named = re.search(r"(?:^|[(,\s])name\s*:=\s*\"([^\"]+)\"", text)
    name = named[1] if named else folder
    if "sbt-assembly" in plugins:
        target = f"{{out}}/{name}.jar"
        return LocalBuild(
            (("sbt", f'set assembly / assemblyOutputPath := file("{target}")', "assembly"),),
            target,
            says=f"sbt assembly, {name}.jar",
        )
    if "sbt-native-packager" in plugins or "play" in plugins.lower():
        return LocalBuild(
            (("sbt", "stage"),), "target/universal/stage", folder=True, says="sbt stage"
        )
    raise CannotTellError(
        "build.sbt: neither sbt-assembly nor sbt-native-packager is in project/plugins.sbt, so"
        " what would run in the container cannot be told.",
        hint=SAY_IT,
    )
