"""What names, labels, annotations, finalizers and owners may look like, kind by kind.

The rules and words follow k8s.io/apimachinery `pkg/api/validation` and `pkg/util/validation`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import Cause

__all__ = [
    "generated_name",
    "label_value",
    "metadata_causes",
    "metadata_update_causes",
    "qualified",
]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"

_SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'example.com', regex used for"
    f" validation is '{_SUBDOMAIN}')"
)
_LABEL_SAID = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must"
    " start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for"
    f" validation is '{_LABEL}')"
)
_DNS1035_SAID = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an"
    " alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123',"
    f" regex used for validation is '{_DNS1035}')"
)
_QUALIFIED_SAID = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    f" validation is '{_QUALIFIED}')"
)
_VALUE_SAID = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    f" '12345', regex used for validation is '{_VALUE}')"
)

_MOST_ANNOTATIONS = 256 * 1024
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_FREE_FINALIZERS = frozenset({"apiextensions.k8s.io", "apiregistration.k8s.io"})
"""Groups of other servers, which do not ask for a prefix."""

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no digits like letters, so that no words come out (k8s.io/apimachinery rand)."""


def generated_name(prefix: str) -> str:
    """A name from a `generateName`: the prefix, cut to 58 characters, and five random ones."""
    return prefix[:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def _subdomain(name: str) -> list[str]:
    told = []
    if len(name) > 253:
        told.append("must be no more than 253 characters")
    if not re.fullmatch(_SUBDOMAIN, name):
        told.append(_SUBDOMAIN_SAID)
    return told


def _label(name: str) -> list[str]:
    told = []
    if len(name) > 63:
        told.append("must be no more than 63 characters")
    if not re.fullmatch(_LABEL, name):
        told.append(_LABEL_SAID)
    return told


def _dns1035(name: str) -> list[str]:
    told = []
    if len(name) > 63:
        told.append("must be no more than 63 characters")
    if not re.fullmatch(_DNS1035, name):
        told.append(_DNS1035_SAID)
    return told


def _path_segment(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{sign}'" for sign in ("/", "%") if sign in name]


_RULES: Mapping[str, Callable[[str], list[str]]] = {
    "namespaces": _label,
    "services": _dns1035,
    "clusterroles.rbac.authorization.k8s.io": _path_segment,
    "clusterrolebindings.rbac.authorization.k8s.io": _path_segment,
    "roles.rbac.authorization.k8s.io": _path_segment,
    "rolebindings.rbac.authorization.k8s.io": _path_segment,
    "apiservices.apiregistration.k8s.io": _path_segment,
}


def qualified(name: str) -> list[str]:
    """What is wrong with a label key, an annotation key or a condition type."""
    prefix, slash, rest = name.rpartition("/")
    told = []
    if name.count("/") > 1:
        return [
            "a qualified name " + _QUALIFIED_SAID + " with an optional DNS subdomain prefix and"
            " '/' (e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            told.append("prefix part must be non-empty")
        else:
            told.extend("prefix part " + said for said in _subdomain(prefix))
    if not rest:
        told.append("name part must be non-empty")
    elif len(rest) > 63:
        told.append("name part must be no more than 63 characters")
    if not re.fullmatch(_QUALIFIED, rest):
        told.append("name part " + _QUALIFIED_SAID)
    return told


def label_value(value: str) -> list[str]:
    told = []
    if len(value) > 63:
        told.append("must be no more than 63 characters")
    if not re.fullmatch(_VALUE, value):
        told.append(_VALUE_SAID)
    return told


def _bad(field: str, value: Any, said: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {said}", field)


def metadata_causes(resource: ResourceType, metadata: Obj) -> list[Cause]:
    """What is wrong with the metadata of an object that is complete otherwise."""
    causes: list[Cause] = []
    rule = _RULES.get(resource.key, _subdomain)
    prefix = metadata.get("generateName")
    if prefix:
        # A prefix may end in a dash, which a name may not.
        causes.extend(
            _bad("metadata.generateName", prefix, said)
            for said in rule(prefix[:-1] + "a" if prefix.endswith("-") else prefix)
        )
    name = metadata.get("name")
    if not name:
        said = "Required value: name or generateName is required"
        causes.append(Cause("FieldValueRequired", said, "metadata.name"))
    else:
        causes.extend(_bad("metadata.name", name, said) for said in rule(name))
    for key, value in (metadata.get("labels") or {}).items():
        causes.extend(_bad("metadata.labels", key, said) for said in qualified(key))
        causes.extend(_bad("metadata.labels", value, said) for said in label_value(str(value)))
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        causes.extend(_bad("metadata.annotations", key, s) for s in qualified(key.lower()))
    size = sum(len(key) + len(str(value)) for key, value in annotations.items())
    if size > _MOST_ANNOTATIONS:
        said = f"Too long: may not be more than {_MOST_ANNOTATIONS} bytes"
        causes.append(Cause("FieldValueTooLong", said, "metadata.annotations"))
    causes.extend(_owner_causes(metadata.get("ownerReferences") or []))
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        field = f"metadata.finalizers[{index}]"
        told = [_bad(field, finalizer, said) for said in qualified(finalizer)]
        plain = "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
        if not told and plain and not resource.custom and resource.group not in _FREE_FINALIZERS:
            said = "name is neither a standard finalizer name nor is it fully qualified"
            told = [_bad(field, finalizer, said)]
        causes.extend(told)
    return causes


def _owner_causes(references: list[Obj]) -> list[Cause]:
    causes: list[Cause] = []
    controllers = []
    for reference in references:
        for key, said in (
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ):
            if not reference.get(key):
                told = said if key == "apiVersion" else f"{key} {said}"
                causes.append(_bad(f"metadata.ownerReferences.{key}", "", told))
        if reference.get("controller"):
            controllers.append(f"{reference.get('kind')}/{reference.get('name')}")
    if len(controllers) > 1:
        shown = f'"{controllers[0]}" and "{controllers[1]}"'
        said = (
            "Only one reference can have Controller set to true. Found"
            f' "true" in references for {shown}'
        )
        causes.append(
            Cause("FieldValueInvalid", f"Invalid value: {said}", "metadata.ownerReferences")
        )
    return causes


def metadata_update_causes(metadata: Obj, before: Obj) -> list[Cause]:
    """What an update may not change."""
    causes = []
    for field in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"):
        if metadata.get(field) != before.get(field):
            causes.append(_bad(f"metadata.{field}", metadata.get(field), "field is immutable"))
    if before.get("deletionTimestamp"):
        known = before.get("finalizers") or []
        new = sorted(set(metadata.get("finalizers") or ()) - set(known))
        if new:
            shown = ", ".join(f'"{name}"' for name in new)
            said = (
                "Forbidden: no new finalizers can be added if the object is being deleted, found"
                f" new finalizers []string{{{shown}}}"
            )
            causes.append(Cause("FieldValueForbidden", said, "metadata.finalizers"))
    return causes
