"""helm and kustomize: renderers that run while the file is evaluated, and what they read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kindling.errors import ConfigError, HostError
from kindling.lang import structured
from kindling.lang.blob import Blob
from kindling.lang.call import Call
from kindling.lang.native.commands import failure, run_command
from kindling.lang.session import Native

__all__ = ["NATIVES", "without_tests"]

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_PATH_LISTS = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "transformers",
    "generators",
)


def _tool(call: Call, name: str) -> str | None:
    return shutil.which(name, path=call.session.environ.get("PATH", os.defpath))


def helm(
    call: Call,
    pathToChartDir: object,
    name: object,
    namespace: object,
    values: object,
    set: object,
    kube_version: object,
    skip_crds: object,
) -> Blob:
    folder = call.on_disk("pathToChartDir", pathToChartDir)
    relative = call.session.paths.relative(folder)
    call.state.read([relative])
    if not folder.is_dir():
        raise ConfigError(f"The chart `{relative}` is not a folder")
    if not (folder / "Chart.yaml").is_file():
        raise ConfigError(f"`{relative}` is no chart: it has no Chart.yaml")
    _read_subcharts(call, folder)
    program = _tool(call, "helm")
    if program is None:
        raise HostError(
            "`helm` is not installed, and the builtin `helm` needs it",
            hint="Install it from https://helm.sh, or render the chart to a file for `k8s_yaml`.",
        )
    argv = [program, "template", call.text("name", name) or "chart", str(folder)]
    if namespace:
        argv += ["--namespace", call.text("namespace", namespace)]
    for item in call.texts("values", values):
        file = call.on_disk("values", item)
        call.state.read([call.session.paths.relative(file)])
        argv += ["--values", str(file)]
    for item in call.texts("set", set):
        argv += ["--set", item]
    if kube_version:
        argv += ["--kube-version", call.text("kube_version", kube_version)]
    if not call.flag("skip_crds", skip_crds):
        argv.append("--include-crds")
    done = run_command(call, tuple(argv))
    if done.code != 0:
        raise failure(tuple(argv), done)
    return Blob(without_tests(done.stdout))


def without_tests(text: str) -> str:
    """Rendered YAML less the objects that `helm test` would run."""
    if "helm.sh/hook" not in text:
        return text
    kept = [item for item in structured.parse_yaml_stream(text) if item and not _is_test(item)]
    return structured.dump_yaml_stream(kept)


def _is_test(manifest: object) -> bool:
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    hooks = annotations.get("helm.sh/hook") if isinstance(annotations, dict) else None
    names = {hook.strip() for hook in str(hooks or "").split(",")}
    return bool(names & {"test", "test-success", "test-failure"})


def _read_subcharts(call: Call, folder: Path) -> None:
    """Charts beside this one, named as `file://` dependencies, are inputs too."""
    for name in ("Chart.yaml", "requirements.yaml"):
        file = folder / name
        if not file.is_file():
            continue
        documents = structured.parse_yaml_stream(
            file.read_text(encoding="utf-8"), call.session.paths.relative(file)
        )
        data = documents[0] if documents else None
        for item in (data.get("dependencies") or []) if isinstance(data, dict) else []:
            where = str(item.get("repository", "")) if isinstance(item, dict) else ""
            if where.startswith("file://"):
                other = call.session.paths.absolute(where.removeprefix("file://"), folder)
                call.state.read([call.session.paths.relative(other)])


def kustomize(call: Call, pathToDir: object, kustomize_bin: object, flags: object) -> Blob:
    folder = call.on_disk("pathToDir", pathToDir)
    relative = call.session.paths.relative(folder)
    if not any((folder / name).is_file() for name in _KUSTOMIZATIONS):
        call.state.read([relative])
        raise ConfigError(
            f"`{relative}` has no kustomization.yaml"
            if folder.is_dir()
            else f"`{relative}` is not a folder"
        )
    _read_kustomization(call, folder, set())
    options = call.texts("flags", flags)
    given = call.text("kustomize_bin", kustomize_bin)
    if given:
        path = call.session.paths.absolute(given, call.folder) if "/" in given else given
        argv = [path, "build", *options, str(folder)]
    elif (program := _tool(call, "kustomize")) is not None:
        argv = [program, "build", *options, str(folder)]
    elif (program := _tool(call, "kubectl")) is not None:
        argv = [program, "kustomize", *options, str(folder)]
    else:
        raise HostError(
            "Neither `kustomize` nor `kubectl` is installed, and the builtin `kustomize` needs one",
            hint="Install one of them, or render to a file for `k8s_yaml`.",
        )
    done = run_command(call, tuple(argv))
    if done.code != 0:
        raise failure(tuple(argv), done)
    return Blob(done.stdout)


def _read_kustomization(call: Call, folder: Path, seen: set[Path]) -> None:
    """The folder, and every local path that its kustomization names, wherever it lies."""
    if folder in seen:
        return
    seen.add(folder)
    call.state.read([call.session.paths.relative(folder)])
    for name in _KUSTOMIZATIONS:
        file = folder / name
        if not file.is_file():
            continue
        source = call.session.paths.relative(file)
        documents = structured.parse_yaml_stream(file.read_text(encoding="utf-8"), source)
        data = documents[0] if documents else None
        if not isinstance(data, dict):
            continue
        for text in _paths_of(data):
            path = Path(call.session.paths.absolute(text, folder))
            if path.is_dir():
                _read_kustomization(call, path, seen)
            elif path.exists():
                call.state.read([call.session.paths.relative(path)])


def _paths_of(data: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for key in _PATH_LISTS:
        found += [item for item in data.get(key) or [] if isinstance(item, str)]
    for key in ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements"):
        for item in data.get(key) or []:
            if isinstance(item, str):
                found.append(item)
            elif isinstance(item, dict) and isinstance(item.get("path"), str):
                found.append(item["path"])
    for key in ("configMapGenerator", "secretGenerator"):
        for item in data.get(key) or []:
            if isinstance(item, dict):
                names = [*(item.get("files") or []), *(item.get("envs") or []), item.get("env")]
                found += [str(name).rpartition("=")[2] for name in names if name]
    return [text for text in found if "\n" not in text and "://" not in text]


NATIVES: dict[str, Native] = {"helm": helm, "kustomize": kustomize}
