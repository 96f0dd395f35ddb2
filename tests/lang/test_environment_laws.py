"""Whatever stands in a declaration, the answer is a declaration or a mistake with a place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.lang.evaluate import attempt
from kindling.lang.inputs import EvaluationInputs
from kindling.lang.prelude import wrappers
from kindling.operator.definitions.environment import DEPENDENCY_TYPES
from kindling.operator.model import Environment, read_environment
from kindling.operator.rules import problems

_PARTS = ("secret", "ingress", "http_get", "grpc", "tcp", *DEPENDENCY_TYPES)
_WORDS = st.sampled_from(
    [
        *("", "a", "A", "redis", "1", "80", "1Gi", "a.b", "/x", "a b", "-", "\n", "\0", "ä"),
        *("type", "name", "value", "valueFrom", "env", "cpu", "requests", "port", "image", "host"),
        *("secretKeyRef", "fieldRef", "healthCheck", "resources", "enabled", "metadata", "spec"),
        *("deployment", "service", "dependencies", "ingress", "items", "kind", "List", "http"),
    ]
)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 70000), st.floats(allow_nan=False), _WORDS
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=3)
    ),
    max_leaves=6,
)


def outcome(text: str, files: dict[str, str] | None = None) -> ConfigError | list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (files or {}).items():
            (Path(folder) / name).write_text(content)
        main = Path(folder) / "Kindlingfile"
        main.write_text(text)
        result = attempt(main, EvaluationInputs(environment={}))
        if result.declarations is None:
            assert isinstance(result.error, ConfigError)
            return result.error
        return [json.loads(one.manifest) for one in result.declarations.environments]


def check(found: ConfigError | list[dict[str, Any]]) -> None:
    if isinstance(found, ConfigError):
        assert "bug in kindling" not in found.render(), found.render()
        assert found.message.startswith("Kindlingfile:1:"), found.render()
        return
    for manifest in found:
        environment = read_environment(manifest)
        assert isinstance(environment, Environment)
        assert [one for one in problems(environment) if one.blocking] == []


@st.composite
def calls(draw: st.DrawFn, name: str, deep: bool = True) -> str:
    """A call with any values for some of its parameters."""
    said = {}
    for parameter in wrappers()[name].parameters:
        if parameter.default == "" or draw(st.integers(0, 3)) == 0:
            if deep and draw(st.integers(0, 3)) == 0:
                inner = draw(st.sampled_from(_PARTS).flatmap(lambda part: calls(part, deep=False)))
                said[parameter.name] = draw(st.sampled_from((inner, f"[{inner}]")))
            else:
                said[parameter.name] = repr(draw(_VALUES))
    return f"{name}({', '.join(f'{key} = {value}' for key, value in said.items())})"


@given(st.sampled_from(("service", "dse", *_PARTS)).flatmap(calls))
@settings(max_examples=150, deadline=None)
def test_any_call_is_a_declaration_or_a_mistake(call: str) -> None:
    check(outcome(call))


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest with anything in one or two places of it."""
    made: dict[str, Any] = {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": "DevStagingEnvironment",
        "metadata": {"name": "shop"},
        "spec": {
            "deployment": {"image": "shop", "port": 80, "env": [{"name": "A", "value": "b"}]},
            "service": {"port": 80},
            "ingress": {"enabled": True, "host": "a.b"},
            "dependencies": [{"type": "redis"}],
        },
    }
    for _ in range(draw(st.integers(1, 2))):
        value: Any = made
        while True:
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))
            key = draw(st.sampled_from(keys)) if keys else None
            inside = value[key] if key is not None else None
            if isinstance(inside, dict | list) and inside and draw(st.booleans()):
                value = inside
                continue
            if key is not None and key not in ("apiVersion", "kind"):
                value[key] = draw(_VALUES)
            break
    return made


@given(manifests(), st.sampled_from(('k8s_yaml("x.yaml")', 'dse("shop", file = "x.yaml")')))
@settings(max_examples=150, deadline=None)
def test_any_manifest_is_a_declaration_or_a_mistake(manifest: dict[str, Any], call: str) -> None:
    check(outcome(call, {"x.yaml": json.dumps(manifest)}))
