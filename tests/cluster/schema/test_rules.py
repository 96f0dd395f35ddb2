"""Rules in CEL."""

from __future__ import annotations

import pytest

from kindling.cluster.schema.custom import cel
from kindling.cluster.schema.custom.rules import unenforced_rules
from tests.cluster.schema.widgets import Widgets, definition

SPEC = """
type: object
properties:
  min: {type: integer}
  max: {type: integer, maximum: 100}
  name: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: name is fixed}]}
  kind-of: {type: string}
  size: {type: string}
  until: {type: string, format: date-time}
  items:
    type: array
    items:
      type: object
      properties: {v: {type: integer}}
      x-kubernetes-validations: [{rule: self.v > 0}]
x-kubernetes-validations:
- {rule: "!has(self.max) || self.min <= self.max", message: min is above max}
- rule: "!has(self.min) || self.min != 13"
  messageExpression: "'not ' + string(self.min)"
  reason: FieldValueForbidden
  fieldPath: .min
- {rule: "!has(self.kind__dash__of) || self.kind__dash__of.lowerAscii() == 'a'", message: kind}
- {rule: "!has(self.size) || quantity(self.size).isLessThan(quantity('1Gi'))", message: too big}
- {rule: "!has(self.until) || self.until > timestamp('2024-01-01T00:00:00Z')", message: past}
"""


@pytest.fixture(scope="module")
def widgets() -> Widgets:
    return Widgets(SPEC)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{min: 1, max: 2}", []),
        ("{min: 3, max: 2}", ['spec: Invalid value: "object": min is above max']),
        ("{min: 13}", ["spec.min: Forbidden: not 13"]),
        ("{kind-of: A}", []),
        ("{kind-of: b}", ['spec: Invalid value: "object": kind']),
        ("{size: 2Gi}", ['spec: Invalid value: "object": too big']),
        ("{until: '2023-01-01T00:00:00Z'}", ['spec: Invalid value: "object": past']),
        (
            "{items: [{v: 1}, {v: 0}]}",
            ['spec.items[1]: Invalid value: "object": failed rule: self.v > 0'],
        ),
        (
            "{min: 200, max: 101}",
            [
                "spec.max: Invalid value: 101: spec.max in body should be less than or equal to"
                " 100",
                'spec: Invalid value: "object": min is above max',
            ],
        ),
        (
            "{min: x}",
            [
                'spec.min: Invalid value: "string": spec.min in body must be of type integer:'
                ' "string"',
                '<nil>: Invalid value: "null": some validation rules were not checked because the'
                " object was invalid; correct the existing errors to complete validation",
            ],
        ),
    ],
)
def test_rules(spec: str, expected: list[str], widgets: Widgets) -> None:
    assert widgets.faults(spec) == expected


def test_a_rule_about_change_is_asked_only_of_changes(widgets: Widgets) -> None:
    assert widgets.faults("{name: b}") == []
    assert widgets.faults("{name: b}", before="{name: a}") == [
        'spec.name: Invalid value: "string": name is fixed'
    ]
    assert widgets.faults("{name: b, min: 1}", before="{min: 1}") == []


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("self.split(',')", ["a", "b"]),
        ("self.replace(',', '-')", "a-b"),
        ("self.indexOf('b')", 2),
        ("self.substring(2)", "b"),
        ("self.find('[b-z]')", "b"),
        ("['x', 'y'].join('+')", "x+y"),
        ("[3, 1].isSorted()", False),
        ("[3, 1].sum()", 4),
        ("[3, 1].min()", 1),
        ("isIP('10.0.0.1') && !isIP('x')", True),
        ("cidr('10.0.0.0/8').containsIP('10.1.1.1')", True),
        ("url('https://a.b:8/c').getHostname()", "a.b"),
        ("isQuantity('1Gi')", True),
        ("quantity('2').compareTo(quantity('1'))", 1),
    ],
)
def test_the_functions_that_kubernetes_adds(expression: str, result: object) -> None:
    program = cel.rule(expression)
    assert program is not None
    assert cel.evaluate(program, {"self": "a,b"}) == result


def test_what_is_beyond_the_evaluator_is_known_and_not_enforced() -> None:
    assert cel.unsupported("self.?a.orValue(1) > 0") == ".?"
    assert cel.unsupported("authorizer.group('x').check('y').allowed()") != ""
    assert cel.unsupported("self.all(x, x.size() < 3)") == ""
    assert (
        Widgets(
            "{type: object, x-kubernetes-validations: [{rule: 'self.?a.orValue(1) > 5'}]}"
        ).faults("{}")
        == []
    )


def test_a_definition_tells_which_of_its_rules_are_not_enforced() -> None:
    spec = "{type: object, x-kubernetes-validations: [{rule: 'true'}, {rule: 'self.?a == self'}]}"
    assert unenforced_rules(definition(spec)) == (
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[1]: not"
        " enforced here, since it needs `.?`",
    )
