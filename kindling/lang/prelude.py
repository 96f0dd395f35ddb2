"""The Starlark side of the language: the `.star` files beside this package, and what is in them.

They are read once a process. Names without a leading underscore are what users see; a function of
`os`, `config` and the like is called `_os_getenv` there.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = [
    "Parameter",
    "Wrapper",
    "extension_source",
    "extensions",
    "prelude",
    "public_name",
    "wrappers",
]

FOLDER = Path(__file__).parent.parent / "builtins"
_FILES = (
    "core0",
    "core",
    "files",
    "environment",
    "arguments",
    "commands",
    "images",
    "live_update",
    "kubernetes",
    "environments",
    "resources",
    "settings",
    "absent",
)
_PUBLIC = re.compile(r"^(?:def )?([A-Za-z]\w*)(?:\(| = )", re.MULTILINE)
_STRUCTS = ("os_path", "os", "config", "shlex", "v1alpha1")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as its wrapper declares it. `default` is its source text, empty when required."""

    name: str
    default: str
    kind: str = "normal"
    """`normal`, `*` or `**`."""


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A builtin as users call it."""

    name: str
    parameters: tuple[Parameter, ...]
    file: str
    native: tuple[str, ...] = ()
    """The arguments it hands to the native callable of its name; empty when it calls none."""


@dataclass(frozen=True, slots=True)
class Prelude:
    """The sources, by the name that errors know them by, and the public names in order."""

    sources: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


@lru_cache(maxsize=1)
def prelude() -> Prelude:
    """The prelude as it stands on disk when first asked for."""
    sources = tuple((f"<{name}.star>", (FOLDER / f"{name}.star").read_text()) for name in _FILES)
    names = dict.fromkeys(name for _, text in sources for name in _PUBLIC.findall(text))
    return Prelude(sources, tuple(names))


def public_name(name: str) -> str:
    """`os.getenv` for `_os_getenv`; other names as they are."""
    if name.startswith("_"):
        for struct in _STRUCTS:
            if name.startswith(f"_{struct}_"):
                return f"{struct.replace('_', '.')}.{name.removeprefix(f'_{struct}_')}"
    return name


@lru_cache(maxsize=1)
def wrappers() -> dict[str, Wrapper]:
    """Every builtin function by its public name. Slow: for error messages and tests."""
    found = {}
    for file, text in prelude().sources:
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                name = public_name(node.name)
                if not name.startswith("_"):
                    native = _native_arguments(node)
                    found[name] = Wrapper(name, _parameters(node.args), file, native)
    return found


def _parameters(args: ast.arguments) -> tuple[Parameter, ...]:
    plain = args.args
    defaults = [""] * (len(plain) - len(args.defaults)) + [ast.unparse(d) for d in args.defaults]
    out = [Parameter(arg.arg, default) for arg, default in zip(plain, defaults, strict=True)]
    if args.vararg:
        out.append(Parameter(args.vararg.arg, "", "*"))
    out += [
        Parameter(arg.arg, ast.unparse(default) if default else "")
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    if args.kwarg:
        out.append(Parameter(args.kwarg.arg, "", "**"))
    return tuple(out)


def _native_arguments(function: ast.FunctionDef) -> tuple[str, ...]:
    wanted = "_native_" + function.name.removeprefix("_")
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == wanted
        ):
            return tuple(ast.unparse(arg) for arg in node.args[1:])
    return ()


def extensions() -> tuple[str, ...]:
    """The names of the `ext://` extensions that are built in."""
    return tuple(sorted(path.stem for path in (FOLDER / "ext").glob("*.star")))


def extension_source(name: str) -> str | None:
    """The text of a built-in extension, None when there is none of that name."""
    if name not in extensions():
        return None
    return (FOLDER / "ext" / f"{name}.star").read_text()
