"""One evaluation: the interpreter, the files it runs, and the way from a call to a native builtin.

The only importer of `starlark`. The prelude is evaluated and frozen first; every user file gets its
names by injection, so that a file may redefine them for itself and nobody else. Files are run once
each, whether they are loaded or included. Relative paths are seen from the folder of the file that
is being executed, which for a function of a loaded file is the folder of whoever runs at that
moment, as in Tilt.
"""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import starlark

from kindling.errors import ConfigError, InterruptError, KindlingError, nearest
from kindling.graph.node import Where
from kindling.lang.blob import is_marked, to_starlark, unmark
from kindling.lang.call import Call
from kindling.lang.declared import Link
from kindling.lang.diagnose import diagnose, parse_report, placed
from kindling.lang.glance import text_digest
from kindling.lang.inputs import ContextInfo, EvaluationInputs
from kindling.lang.nesting import MAX_BRACKETS, too_deep
from kindling.lang.prelude import extension_source, extensions, prelude
from kindling.lang.preprocess import Source, preprocess
from kindling.lang.state import Collected, Paths

__all__ = ["Native", "Session", "Stop"]

Native = Callable[..., object]
"""`native(call, *arguments)`: the arguments in the order of its wrapper's parameters."""

_MAX_DEPTH = 1000
_PRELUDE = "@kindling"
_ENVIRON = re.compile(r"\bos\.environ\b")
_TAKE_ENVIRON = (
    "custom_build",
    "helm",
    "k8s_custom_deploy",
    "kustomize",
    "local",
    "local_resource",
    "test",
)
"""Builtins that hand the environment of the moment on: what a file wrote into it must be known."""
_ENVIRON_KEY = re.compile(
    r"""os\.environ(?:\.get\(|\.pop\(|\.setdefault\(|\[)\s*["']([^"']+)["']"""
    r"""|["']([^"']+)["']\s+(?:not\s+)?in\s+os\.environ"""
)
_HOOK = "workload_to_resource_function"


@dataclass(slots=True)
class _Environ:
    """One file's `os.environ`: as it was when it and `Session.environ` were last made equal."""

    base: dict[str, str] = field(default_factory=dict)
    text: str = ""
    frozen: bool = False


class Stop(Exception):  # noqa: N818
    """`exit()` was called: evaluation ends, and what was declared counts."""


def _dialect() -> starlark.Dialect:
    dialect = starlark.Dialect.extended()
    dialect.enable_f_strings = True
    dialect.enable_load_reexport = False
    dialect.enable_types = starlark.DialectTypes.PARSE_ONLY
    return dialect


class Session:
    """Runs the main file and all it loads. Used once, on one thread."""

    def __init__(self, main: Path, inputs: EvaluationInputs, natives: dict[str, Native]) -> None:
        self.main = main
        self.inputs = inputs
        self.paths = Paths(main.parent)
        self.state = Collected()
        self.environ = dict(inputs.environment)
        self.consumed: set[str] = set()
        """Words after `--` that `config.parse` took."""
        self.parsed_in: Path | None = None
        self.settings: dict[str, object] = {}
        """What `config.define_*` declared; owned by the arguments builtins."""
        self.failure: BaseException | None = None
        self.stopped = False
        """`exit()` was called."""
        self.deadline = time.monotonic() + inputs.time_limit
        self._executing: list[Path] = [main]
        self._folders: list[Path] = [main.parent]
        self._loading: list[str] = []
        self._sources: dict[str, Source] = {}
        self._modules: dict[str, starlark.FrozenModule] = {}
        self._environs: list[_Environ] = []
        self._environ_index: dict[str, int] = {}
        self._hook: starlark.FrozenModule | None = None
        self._dialect = _dialect()
        self._globals = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
        self._options = starlark.EvalOptions(
            check_cancelled=self._expired, max_callstack_size=_MAX_DEPTH
        )
        self._prelude = self._make_prelude(natives)

    # The prelude -------------------------------------------------------------------------------

    def _make_prelude(self, natives: dict[str, Native]) -> starlark.FrozenModule:
        extension = starlark.LibraryExtension
        globals_ = starlark.Globals.extended_by(
            [extension.StructType, extension.CallStack, extension.Json]
        )
        module = starlark.Module()
        for name, function in natives.items():
            module.add_callable(f"_native_{name.replace('.', '_')}", self._bind(name, function))
        module.add_callable("_unmark", lambda text: str(unmark(text)))
        module.add_callable("_is_marked", is_marked)
        module.add_callable("_call_loaded", self._call_loaded)
        module.add_callable("_environ_of", self._environ_of)
        module.add_callable("_environ_seen", self._environ_seen)
        module["_main_path"] = str(self.main)
        module["_main_dir"] = str(self.main.parent)
        module["_subcommand"] = self.inputs.subcommand
        for name, text in prelude().sources:
            starlark.eval(module, starlark.parse(name, text, self._dialect), globals_)
        return module.freeze()

    def _bind(self, name: str, function: Native) -> Callable[..., object]:
        wrap = starlark.OpaquePythonObject

        def native(stack: str, *arguments: object) -> object:
            call = Call(self, name, self._site(stack, name))
            try:
                result = function(call, *map(unmark, arguments))
                return None if result is None else to_starlark(result, wrap)
            except BaseException as error:
                self._record(error, call, stack)
                raise

        return native

    def _record(self, error: BaseException, call: Call, stack: str) -> None:
        """Keep the first error as it is: crossing the interpreter leaves only its text."""
        if self.failure is not None:
            return
        if isinstance(error, starlark.StarlarkError):
            self.failure = diagnose(str(error), self._sources, ())
            return
        if isinstance(error, RecursionError):
            error = ConfigError(
                f"`{call.name}`: something is nested too deep, or contains itself",
                hint="Does a value hold itself, or a file load itself without end?",
            )
        elif isinstance(error, ValueError) and "null byte" in str(error):
            error = ConfigError(f"`{call.name}`: a text holds a zero byte")
        elif isinstance(error, OSError):
            what = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
            error = ConfigError(f"`{call.name}`: {what}")
        elif isinstance(error, UnicodeError):
            error = ConfigError(f"`{call.name}`: not UTF-8 text: {error}")
        elif isinstance(error, Exception) and not isinstance(error, KindlingError | Stop):
            cause = error
            error = ConfigError(
                f"`{call.name}` failed inside kindling: {type(cause).__name__}: {cause}",
                hint="This is a bug in kindling; please report it with this file.",
            )
            error.__cause__ = cause
        if isinstance(error, KindlingError) and not isinstance(error, InterruptError):
            report = parse_report(stack)
            callers = [
                Where(file, self._line(file, line)) for file, line in reversed(report.frames[:-1])
            ]
            placed_error = placed(
                error,
                call.where,
                self._sources.get(call.where.file),
                width=len(call.name),
                callers=callers,
            )
            placed_error.__cause__ = error.__cause__
            error = placed_error
        self.failure = error

    def _site(self, stack: str, name: str) -> Where:
        """The innermost place in a user's file of a stack as `call_stack()` gives it."""
        at = len(stack)
        while (at := stack.rfind("\n  * ", 0, at)) != -1:
            entry = stack[at + 5 : stack.find("\n", at + 1)].rpartition(", in ")[0]
            if entry and not entry.startswith("<"):
                file, _, line = entry.rpartition(":")
                source = self._sources.get(file)
                number = int(line)
                column = 0
                if source is not None:
                    number = source.line(number)
                    text = source.lines[number - 1]
                    column = text.find(name) + 1 or len(text) - len(text.lstrip()) + 1
                return Where(file, number, column)
        return Where(self.paths.relative(self._executing[-1]))

    def _line(self, file: str, running: int) -> int:
        source = self._sources.get(file)
        return source.line(running) if source else running

    def source(self, file: str) -> Source | None:
        """A file that was run, by its path relative to the root."""
        return self._sources.get(file)

    def context(self) -> ContextInfo | None:
        """The context that the file means: the one `cluster()` names, else the current one."""
        cluster = self.state.cluster
        name = cluster.name if cluster.provider == "context" else ""
        return self.inputs.contexts.context(name)

    # Files -------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of the file that is being executed."""
        return self._folders[-1]

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time spent here, waiting for a command, is not the file's own."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.deadline += time.monotonic() - begin

    def _expired(self) -> bool:
        return time.monotonic() > self.deadline or self.inputs.cancelled()

    def run_main(self) -> None:
        """Run the main file.

        Raises:
            KindlingError: What stopped it, with its place.
        """
        try:
            self._run(self.main)
        except BaseException:
            if isinstance(self.failure, Stop):
                self.stopped = True
                return
            if self.failure is not None:
                raise self.failure from self.failure.__cause__
            raise

    def _run(self, path: Path) -> starlark.FrozenModule:
        key = str(path)
        if (module := self._modules.get(key)) is not None:
            return module
        name = self.paths.relative(path)
        if key in self._loading:
            cycle = [*self._loading[self._loading.index(key) :], key]
            names = [self.paths.relative(item) for item in cycle]
            raise ConfigError(f"Files load each other in a circle: {' -> '.join(names)}")
        self.state.read([name])
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"`{name}` cannot be read: {why}") from None
        self._executing.append(path)
        self._folders.append(path.parent)
        self._loading.append(key)
        try:
            return self._execute(key, name, text, main=path == self.main)
        finally:
            self._executing.pop()
            self._folders.pop()
            self._loading.pop()

    def _execute(self, key: str, name: str, text: str, *, main: bool) -> starlark.FrozenModule:
        source = self._sources[name] = preprocess(text)
        try:
            if (where := too_deep(source, name)) is not None:
                error = ConfigError(f"Brackets are nested more than {MAX_BRACKETS} deep")
                self.failure = placed(error, where, source)
                raise self.failure
            module = self._module(key, source, main=main)
            tree = starlark.parse(name, source.text, self._dialect)
            starlark.eval_with(
                self._options, module, tree, self._globals, starlark.FileLoader(self._load)
            )
        except starlark.StarlarkError as error:
            if self.failure is None:
                self.failure = self._diagnosed(str(error))
            raise
        frozen = self._modules[key] = module.freeze()
        if key in self._environ_index:
            self._environs[self._environ_index[key]].frozen = True
        if _HOOK in source.text:
            self._hook = frozen
        return frozen

    def _diagnosed(self, text: str) -> KindlingError:
        if "Evaluation cancelled" in text:
            if self.inputs.cancelled():
                return InterruptError("The evaluation was cancelled")
            report = parse_report(text)
            where = Where(report.file, self._line(report.file, report.line), report.column)
            return placed(
                ConfigError(
                    f"Evaluation has taken more than {self.inputs.time_limit:g} s",
                    hint="Is this a loop without an end?",
                ),
                where,
                self._sources.get(report.file),
            )
        return diagnose(text, self._sources, ())

    def _module(self, key: str, source: Source, *, main: bool) -> starlark.Module:
        """A fresh module with the prelude's names in it, and what each file has of its own."""
        module = starlark.Module()
        names = ", ".join(f"'{name}'" for name in prelude().names)
        starlark.eval(
            module,
            starlark.parse("<names>", f"load('{_PRELUDE}', {names})", self._dialect),
            self._globals,
            starlark.FileLoader(lambda _: self._prelude),
        )
        own = [f"__file__ = {key!r}", f"__name__ = {('__main__' if main else key)!r}"]
        if source.environ:
            index = len(self._environs)
            self._note_environ("\n".join(source.lines))
            self._environs.append(_Environ())
            own += [
                f"kf_environ = kf_environ_of({index})",
                f"def kf_envir(): return kf_refreshed(kf_environ, {index})",
                f"os = kf_os(kf_environ, {index})",
                *(f"{name} = kf_merging({name}, kf_environ, {index})" for name in _TAKE_ENVIRON),
            ]
            self._environ_index[key] = index
        if _HOOK in source.text:
            own += [
                "kf_hooks = []",
                f"def {_HOOK}(fn): kf_hooks.append(fn)",
                "def kf_hook(id): return kf_hooks[-1](struct(**id)) if kf_hooks else None",
            ]
        starlark.eval(module, starlark.parse("<own>", "\n".join(own), self._dialect), self._globals)
        return module

    # Loading -----------------------------------------------------------------------------------

    def _load(self, name: str) -> starlark.FrozenModule:
        """`load(name, ...)`, called by the interpreter."""
        try:
            return self._load_named(name)
        except BaseException as error:
            if self.failure is None:
                where = self._where_of_load(name)
                self.failure = error
                if isinstance(error, KindlingError) and not isinstance(error, InterruptError):
                    self.failure = placed(error, where, self._sources.get(where.file))
            raise

    def _load_named(self, name: str) -> starlark.FrozenModule:
        if name == _PRELUDE:
            raise ConfigError(f"`{name}` is private to kindling")
        if name.startswith("ext://"):
            return self._extension(name.removeprefix("ext://"))
        return self._run(self.target(name))

    def target(self, name: str) -> Path:
        """The file that `load` or `include` means: a path, or a folder that has a main file in
        it."""
        path = Path(self.paths.absolute(name, self.folder))
        if path.is_dir():
            for candidate in ("Kindlingfile", "Tiltfile"):
                if (path / candidate).is_file():
                    return path / candidate
        return path

    def _extension(self, name: str) -> starlark.FrozenModule:
        key = f"ext://{name}"
        if (module := self._modules.get(key)) is not None:
            return module
        text = extension_source(name)
        if text is None:
            raise ConfigError(
                f"The extension `{key}` is not part of kindling",
                details=[f"known: [{', '.join(extensions())}]"],
                hint=nearest(name, extensions())
                or "Load a file of your own instead: `load('./extension/Tiltfile', ...)`.",
            )
        fresh = self._module(key, Source("", ()), main=False)
        tree = starlark.parse(f"<ext://{name}>", text, self._dialect)
        starlark.eval_with(
            self._options, fresh, tree, self._globals, starlark.FileLoader(self._load)
        )
        frozen = self._modules[key] = fresh.freeze()
        return frozen

    def _where_of_load(self, name: str) -> Where:
        file = self.paths.relative(self._executing[-1])
        source = self._sources.get(file)
        if source is not None:
            for number, line in enumerate(source.lines, 1):
                if re.match(r"\s*load\s*\(", line) and name in line:
                    return Where(file, number, line.find(name))
            for number, line in enumerate(source.lines, 1):
                if name in line and not line.lstrip().startswith("#"):
                    return Where(file, number, line.find(name))
        return Where(file)

    def include(self, name: str) -> None:
        """`include(name)`: run a file for what it declares."""
        if name.startswith("ext://"):
            self._extension(name.removeprefix("ext://"))
        else:
            self._run(self.target(name))

    def load_dynamic(self, name: str) -> dict[str, object]:
        """`load_dynamic(name)`: the names of a file, values as they are and functions by name."""
        path = self.target(name)
        module = self._run(path)
        functions, others = _top_level(self._sources[self.paths.relative(path)].text)
        return {
            "id": str(path),
            "functions": [name for name in functions if self._has(module, name)],
            "values": dict(self._values(module, others)),
        }

    def _fetch(self, module: starlark.FrozenModule, name: str, as_name: str) -> starlark.Module:
        """A module that has loaded one name of a frozen one."""
        fetched = starlark.Module()
        text = f"load('', kf_loaded = {name!r})\n{as_name} = kf_loaded\n"
        tree = starlark.parse("<fetch>", text, self._dialect)
        starlark.eval(fetched, tree, self._globals, starlark.FileLoader(lambda _: module))
        return fetched

    def _has(self, module: starlark.FrozenModule, name: str) -> bool:
        try:
            self._fetch(module, name, "kf_value")
        except starlark.StarlarkError:
            return False  # it stands in a branch that was not taken
        return True

    def _values(
        self, module: starlark.FrozenModule, names: list[str]
    ) -> Iterator[tuple[str, object]]:
        for name in names:
            try:
                yield name, self._fetch(module, name, "kf_value")["kf_value"]
            except starlark.StarlarkError:
                continue  # never bound, or a value that cannot leave the interpreter

    def _call_loaded(self, key: str, name: str, args: list[Any], kwargs: dict[str, Any]) -> object:
        wrap = starlark.OpaquePythonObject
        keywords = {key: to_starlark(item, wrap) for key, item in kwargs.items()}
        try:
            result = self._modules[key].call_with(
                self._options, name, *(to_starlark(item, wrap) for item in args), **keywords
            )
        except starlark.StarlarkError as error:
            if self.failure is None:
                self.failure = self._diagnosed(str(error))
            raise
        return to_starlark(result.value, wrap)

    # Hooks and environment ---------------------------------------------------------------------

    @property
    def has_hook(self) -> bool:
        """Whether a file may have called `workload_to_resource_function`."""
        return self._hook is not None

    def call_hook(self, fields: dict[str, str]) -> object:
        """What the user's naming function says; None when it was never set."""
        assert self._hook is not None
        self.failure = None
        self.deadline = time.monotonic() + self.inputs.time_limit
        try:
            return unmark(self._hook.call_with(self._options, "kf_hook", fields).value)
        except starlark.StarlarkError as error:
            raise (self.failure or self._diagnosed(str(error))) from None

    def read_environ(self, name: str) -> None:
        """An environment variable was looked at."""
        value = self.inputs.environment.get(name)
        self.state.environment.setdefault(name, "" if value is None else text_digest(value))

    def _note_environ(self, text: str) -> None:
        keys = [first or second for first, second in _ENVIRON_KEY.findall(text)]
        every = len(keys) < len(_ENVIRON.findall(text))
        for name in self.inputs.environment if every else keys:
            self.read_environ(name)

    def _environ_of(self, index: int) -> dict[str, str]:
        self._environs[index].base = dict(self.environ)
        return dict(self.environ)

    def _environ_seen(self, index: int, text: str) -> dict[str, object] | None:
        """Merge what a file wrote into its `os.environ`, and say what others wrote meanwhile.

        `text` is the dict as JSON; None when neither side changed since the last time.
        """
        own = self._environs[index]
        if text == own.text and own.base == self.environ and not own.frozen:
            return None
        environ = json.loads(text)
        seen = {str(unmark(key)): str(unmark(value)) for key, value in environ.items()}
        if not own.frozen:
            for name, value in seen.items():
                if own.base.get(name) != value:
                    self.environ[name] = value
            for name in own.base:
                if name not in seen:
                    self.environ.pop(name, None)
            own.base = dict(self.environ)
            own.text = text
        return {
            "frozen": own.frozen,
            "all": dict(self.environ) if own.frozen else {},
            "changed": {k: v for k, v in self.environ.items() if seen.get(k) != v},
            "removed": [name for name in seen if name not in self.environ],
        }

    def link(self, call: Call, argument: str, url: str) -> Link:
        """A link from an address; the scheme is http where none is given."""
        if "://" not in url:
            url = f"http://{url}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", url):
            raise call.wants(argument, "an address such as `http://localhost:8080`", url)
        return Link(url)


def _top_level(text: str) -> tuple[list[str], list[str]]:
    """The names of the functions that a file defines and of its other globals."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return re.findall(r"^def ([A-Za-z]\w*)", text, re.MULTILINE), re.findall(
            r"^([A-Za-z]\w*) *=[^=]", text, re.MULTILINE
        )
    functions: list[str] = []
    others: list[str] = []
    todo = list(body)
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.FunctionDef):
            functions.append(node.name)
        elif isinstance(node, ast.If | ast.For):
            todo += [*node.body, *node.orelse]
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            is_function = isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        (functions if is_function else others).append(name.id)
    keep = [name for name in dict.fromkeys(functions) if not name.startswith("_")]
    return keep, [name for name in dict.fromkeys(others) if not name.startswith("_")]
