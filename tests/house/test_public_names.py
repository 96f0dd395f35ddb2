"""`__all__` of every module is true: each name exists, and others use no name outside it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "kindling"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def _module_name(path: Path) -> str:
    name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


def _listed(tree: ast.Module) -> list[str] | None:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return [str(name) for name in ast.literal_eval(value)]
    return None


def _bound(statements: list[ast.stmt]) -> set[str]:
    """Every name that these statements bind at the top of a module."""
    names: set[str] = set()
    for statement in statements:
        match statement:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(
                    node.id
                    for target in targets
                    for node in ast.walk(target)
                    if isinstance(node, ast.Name)
                )
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            case ast.If(body=body, orelse=orelse):
                names |= _bound(body) | _bound(orelse)
            case ast.Try(body=body, handlers=handlers, orelse=orelse):
                names |= _bound(body) | _bound(orelse)
                for handler in handlers:
                    names |= _bound(handler.body)
    return names


def _imported(tree: ast.Module) -> set[tuple[str, str]]:
    """Pairs of (module of kindling, name) that this module takes from another."""
    return {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kindling")
        for alias in node.names
    }


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@pytest.mark.parametrize("path", MODULES, ids=_module_name)
def test_all_names_what_exists(path: Path) -> None:
    """Each name in `__all__` is bound in the module, once in the list."""
    listed = _listed(_parsed(path)) or []
    assert len(listed) == len(set(listed))
    assert set(listed) <= _bound(_parsed(path).body)


@pytest.mark.parametrize("path", MODULES, ids=_module_name)
def test_other_modules_use_public_names_only(path: Path) -> None:
    """What this module takes from another stands in that module's `__all__`."""
    known = {_module_name(module): module for module in MODULES}
    hidden = [
        f"{module}.{name}"
        for module, name in sorted(_imported(_parsed(path)))
        if module in known
        and f"{module}.{name}" not in known
        and name not in (_listed(_parsed(known[module])) or [])
    ]
    assert hidden == []


@pytest.mark.parametrize("path", MODULES, ids=_module_name)
def test_all_is_sorted(path: Path) -> None:
    """Constants, then classes, then functions, each in alphabetical order, as ruff sorts them."""
    listed = _listed(_parsed(path)) or []

    def rank(name: str) -> tuple[int, str]:
        bare = name.strip("_")
        if bare.isupper() and len(bare) > 1:
            return (0, name)
        return (1 if bare[:1].isupper() else 2, name)

    assert listed == sorted(listed, key=rank)


def test_a_room_begins_with_a_docstring_and_nothing_else() -> None:
    """A room's `__init__` says what lives there; definitions have modules of their own."""
    for room in sorted(PACKAGE.glob("**/__init__.py")):
        if room.parent == PACKAGE:
            continue
        tree = ast.parse(room.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{room} has no docstring"
        assert len(tree.body) == 1, f"{room} holds more than its docstring"
