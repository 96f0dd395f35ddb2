"""What names, labels, annotations and the like may look like.

Rules and wording follow apimachinery `pkg/util/validation` and `pkg/api/validation` at v0.32. Each
check returns complaints, empty for a good value.
"""

from __future__ import annotations

import re

__all__ = [
    "c_identifier",
    "config_key",
    "dns_label",
    "dns_label_1035",
    "dns_subdomain",
    "env_name",
    "label_value",
    "path_segment",
    "port_name",
    "port_number",
    "qualified_name",
    "wildcard_subdomain",
]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_ENV = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
_KEY = r"[-._a-zA-Z0-9]+"


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def _pattern_complaint(said: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{one}', " for one in examples)
    shown = f"e.g. {shown}" if examples else ""
    return f"{said} ({shown}regex used for validation is '{pattern}')"


def _longest(limit: int) -> str:
    return f"must be no more than {limit} characters"


def dns_label(text: str) -> list[str]:
    """RFC 1123: `web-1`."""
    found = [] if len(text) <= 63 else [_longest(63)]
    if not _fits(_LABEL, text):
        if _fits(_SUBDOMAIN, text):
            return [*found, "must not contain dots"]
        said = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',"
            " and must start and end with an alphanumeric character"
        )
        found.append(_pattern_complaint(said, _LABEL, "my-name", "123-abc"))
    return found


def dns_label_1035(text: str) -> list[str]:
    """RFC 1035: a label that begins with a letter."""
    found = [] if len(text) <= 63 else [_longest(63)]
    if not _fits(_LABEL_1035, text):
        said = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with"
            " an alphabetic character, and end with an alphanumeric character"
        )
        found.append(_pattern_complaint(said, _LABEL_1035, "my-name", "abc-123"))
    return found


def dns_subdomain(text: str) -> list[str]:
    """RFC 1123: labels with dots."""
    found = [] if len(text) <= 253 else [_longest(253)]
    if not _fits(_SUBDOMAIN, text):
        said = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-'"
            " or '.', and must start and end with an alphanumeric character"
        )
        found.append(_pattern_complaint(said, _SUBDOMAIN, "example.com"))
    return found


def wildcard_subdomain(text: str) -> list[str]:
    """`*.example.com`."""
    pattern = rf"\*\.{_SUBDOMAIN}"
    found = [] if len(text) <= 253 else [_longest(253)]
    if not _fits(pattern, text):
        said = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain,"
            " which must consist of lower case alphanumeric characters, '-' or '.' and end with an"
            " alphanumeric character"
        )
        found.append(_pattern_complaint(said, pattern, "*.example.com"))
    return found


def qualified_name(text: str) -> list[str]:
    """The key of a label or annotation: `example.com/name`."""
    prefix, slash, name = text.partition("/")
    found: list[str] = []
    if not slash:
        name = prefix
    elif "/" in name:
        said = (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must"
            " start and end with an alphanumeric character"
        )
        complaint = _pattern_complaint(said, _NAME, "MyName", "my.name", "123-abc")
        return [
            f"{complaint} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    elif not prefix:
        found.append("prefix part must be non-empty")
    else:
        found += [f"prefix part {one}" for one in dns_subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append(f"name part {_longest(63)}")
    if not _fits(_NAME, name):
        said = (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and"
            " end with an alphanumeric character"
        )
        found.append(_pattern_complaint(said, _NAME, "MyName", "my.name", "123-abc"))
    return found


def label_value(text: str) -> list[str]:
    found = [] if len(text) <= 63 else [_longest(63)]
    if not _fits(_VALUE, text):
        said = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_'"
            " or '.', and must start and end with an alphanumeric character"
        )
        found.append(_pattern_complaint(said, _VALUE, "MyValue", "my_value", "12345"))
    return found


def path_segment(text: str) -> list[str]:
    """A name that only has to fit into a URL (roles)."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in text]


def c_identifier(text: str) -> list[str]:
    pattern = "[A-Za-z_][A-Za-z0-9_]*"
    if _fits(pattern, text):
        return []
    said = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of"
        " alphanumeric characters or '_'"
    )
    return [_pattern_complaint(said, pattern, "my_name", "MY_NAME", "MyName")]


def env_name(text: str) -> list[str]:
    """An environment variable. Since 1.32 any printable ASCII but `=` is a good one."""
    if not text:
        return ["environment variable names must be non-empty"]
    if any(not " " <= sign <= "~" or sign == "=" for sign in text):
        said = (
            "a valid environment variable name must consist only of printable ASCII characters"
            " other than '='"
        )
        return [_pattern_complaint(said, "^[ -<>-~]+$")]
    return []


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret, which becomes a file's name."""
    found = [] if len(text) <= 253 else [_longest(253)]
    if not _fits(_KEY, text):
        said = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found.append(_pattern_complaint(said, _KEY, "key.name", "KEY_NAME", "key-name"))
    if text == ".":
        found.append("must not be '.'")
    elif text == "..":
        found.append("must not be '..'")
    elif text.startswith(".."):
        found.append("must not start with '..'")
    return found


def port_name(text: str) -> list[str]:
    """An IANA service name."""
    found: list[str] = []
    if len(text) > 15:
        found.append("must be no more than 15 characters")
    if not _fits("[-a-z0-9]+", text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text[:1] == "-" or text[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def port_number(number: int) -> list[str]:
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]
