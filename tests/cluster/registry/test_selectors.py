"""Selectors as the API server reads them, and its words for those it cannot read."""

from __future__ import annotations

import pytest

from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.selectors import parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "n": "5", "empty": "", "in": "x"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app", True),
        ("!app", False),
        ("!other", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app!=web", False),
        ("other!=web", True),
        ("app in (a, web)", True),
        ("app notin (a,web)", False),
        ("other notin (a)", True),
        ("other in (a)", False),
        ("n>4", True),
        ("n<5", False),
        ("app>1", False),
        ("empty=", True),
        ("empty in ()", True),
        ("app=", False),
        ("empty in (x,,y)", True),
        ("in=x", True),
        ("in in (in,x)", True),
    ],
)
def test_labels_match(text: str, matches: bool) -> None:
    assert parse_labels(text).matches({"metadata": {"labels": LABELS}}) is matches


_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    " validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==b,", "found '', expected: identifier after ','"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt'"
            " operators, the value must be an integer",
        ),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("-x=1", f'unable to parse requirement: <nil>: Invalid value: "-x": {_NAME_RULE}'),
        (
            "/x=1",
            'unable to parse requirement: <nil>: Invalid value: "/x": prefix part must be'
            " non-empty",
        ),
    ],
)
def test_labels_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_labels(text)
    assert (caught.value.code, caught.value.message) == (400, message)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        (",", True),
        ("a.b=c", True),
        ("a.b==c", True),
        ("a.b!=c", False),
        ("a.x=", True),
        ("a.x!=y", True),
        (r"odd=1\,2\=3\\", True),
        ("a.b=c,flag=true", True),
    ],
)
def test_fields_match(text: str, matches: bool) -> None:
    obj = {"a": {"b": "c"}, "odd": "1,2=3\\", "flag": True}
    assert parse_fields(text).matches(obj) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b", "invalid selector: 'a.b'; can't understand 'a.b'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=b\x", r"invalid field selector: invalid escape sequence: \x"),
    ],
)
def test_fields_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_fields(text)
    assert (caught.value.code, caught.value.message) == (400, message)
