"""Stub, wrappers, natives and reference describe one and the same language."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from pathlib import Path

import pytest

from kindling.lang.evaluate import evaluate
from kindling.lang.inputs import EvaluationInputs
from kindling.lang.native.table import NATIVES
from kindling.lang.prelude import prelude, wrappers

ROOT = Path(__file__).parent.parent.parent
STUB = ROOT / "kindling" / "builtins" / "kindlingfile.pyi"
NOT_IN_STUB = {
    "type", "str", "set",  # Starlark's own, which annotations need
    "docker_compose", "dc_resource", "local_git_repo",  # absent
}  # fmt: skip


def _functions(body: list[ast.stmt], prefix: str = "") -> dict[str, ast.FunctionDef]:
    found: dict[str, ast.FunctionDef] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found[prefix + node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.update(_functions(node.body, f"{prefix}{node.name}."))
    return found


DESCRIBED = _functions(ast.parse(STUB.read_text()).body)
OFFERED = {
    name: wrapper
    for name, wrapper in wrappers().items()
    if not name.startswith(("kf_", "v1alpha1."))
}


def _signature(args: ast.arguments) -> list[tuple[str, str]]:
    plain = [arg.arg for arg in args.args]
    defaults = [""] * (len(plain) - len(args.defaults)) + [ast.unparse(d) for d in args.defaults]
    out = list(zip(plain, defaults, strict=True))
    out += [(args.vararg.arg, "")] if args.vararg else []
    out += [
        (arg.arg, ast.unparse(default) if default else "")
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    return out + ([(args.kwarg.arg, "")] if args.kwarg else [])


def test_the_stub_names_what_the_wrappers_offer() -> None:
    assert set(OFFERED) - set(DESCRIBED) == NOT_IN_STUB
    assert set(DESCRIBED) <= set(OFFERED)


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_the_stub_has_the_parameters_of_the_wrapper(name: str) -> None:
    wrapper = [(p.name, p.default) for p in OFFERED[name].parameters]
    assert _signature(DESCRIBED[name].args) == wrapper


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_the_stub_describes_every_parameter(name: str) -> None:
    docstring = ast.get_docstring(DESCRIBED[name]) or ""
    assert docstring
    if docstring == "Tilt's; ignored." or "Arguments are ignored" in docstring:
        return
    described = re.findall(r"^(\w+): ", docstring, re.MULTILINE)
    assert described == [parameter for parameter, _ in _signature(DESCRIBED[name].args)]


@pytest.mark.parametrize("name", sorted(NATIVES))
def test_a_native_takes_what_its_wrapper_hands_over(name: str) -> None:
    if name in {"ignored", "absent", "local_resource"}:
        return
    wrapper = wrappers()[name]
    parameters = list(inspect.signature(NATIVES[name]).parameters)[1:]
    assert len(parameters) == len(wrapper.native), wrapper
    for given, taken in zip(wrapper.native, parameters, strict=True):
        simple = re.fullmatch(r"(?:list\()?(\w+)\)?", given)
        if simple:
            assert simple[1] == taken


def test_a_local_resource_crosses_whole() -> None:
    """It crosses as one text; every parameter is in it or beside it."""
    (text,) = [text for name, text in prelude().sources if name == "<resources.star>"]
    body = text.partition("def local_resource(")[2].partition("def test(")[0]
    packed = re.findall(r"(\w+)", body.partition("json.encode([")[2].partition("])")[0])
    named = [parameter.name for parameter in OFFERED["local_resource"].parameters]
    assert sorted([*packed, "links", "readiness_probe"]) == sorted(named)


def test_the_reference_is_fresh() -> None:
    """If not: scripts/kindlingfile-reference."""
    script = runpy.run_path(str(ROOT / "scripts" / "kindlingfile-reference"))
    page = script["render"](STUB.read_text())
    assert (ROOT / "docs" / "kindlingfile.md").read_text() == page


@pytest.mark.parametrize("args", [(), ("triggers",)])
def test_the_example_evaluates(args: tuple[str, ...]) -> None:
    declared = evaluate(ROOT / "Kindlingfile.example", EvaluationInputs(args=args, environment={}))
    assert len(declared.objects) == 3 + len(args)
    assert [environment.name for environment in declared.environments] == ["shop"]
    assert not [str(remark) for remark in declared.remarks]
    assert declared.repeatable
