"""What every child bears: name, labels, owner, and the hash of what it was made from.

Labels and selectors are upstream's, since a selector can never change: a cluster that upstream's
operator has worked on can be taken over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kindling.objects.identity import Manifest, canonical
from kindling.objects.inject import OWNER_LABEL
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.model import Dependency, Environment

__all__ = [
    "CREDENTIALS_ANNOTATION",
    "HASH_ANNOTATION",
    "MANAGER",
    "app_labels",
    "dependency_labels",
    "marked",
    "metadata",
    "owner_reference",
]

HASH_ANNOTATION = f"{GROUP}/spec-hash"
"""Sixteen hexadecimal digits over the whole child, so that whatever changes it is noticed, be it
another field of the environment or another version of this code."""

CREDENTIALS_ANNOTATION = f"{GROUP}/credentials-hash"
"""On pod templates: new credentials make new pods, because variables are read once."""

MANAGER = "devstagingenvironment-operator"


def app_labels(environment: Environment) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": environment.name,
        "app.kubernetes.io/instance": environment.name,
        "app.kubernetes.io/managed-by": MANAGER,
    }


def dependency_labels(environment: Environment, dependency: Dependency) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": environment.child(dependency),
        "app.kubernetes.io/component": dependency.type,
        "app.kubernetes.io/part-of": environment.name,
        "app.kubernetes.io/managed-by": MANAGER,
    }


def metadata(
    environment: Environment,
    name: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The head of a child. It belongs to the project that the environment belongs to."""
    project = {key: environment.labels[key] for key in (OWNER_LABEL,) if key in environment.labels}
    head: dict[str, Any] = {
        "name": name,
        "namespace": environment.namespace,
        "labels": {**labels, **project},
    }
    if annotations:
        head["annotations"] = dict(annotations)
    if environment.uid:
        head["ownerReferences"] = [owner_reference(KIND, environment.name, environment.uid)]
    return head


def owner_reference(kind: str, name: str, uid: str) -> dict[str, Any]:
    """With it the cluster removes a child when its owner is gone."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def marked(child: Manifest, annotation: str = HASH_ANNOTATION, digest: str = "") -> dict[str, Any]:
    """The child with its hash; `digest` stands in for contents that must not be hashed openly."""
    content = {key: value for key, value in child.items() if not (digest and key == "data")}
    text = canonical(content) + digest
    head = dict(child["metadata"])
    told = {annotation: hashlib.sha256(text.encode()).hexdigest()[:16]}
    head["annotations"] = {**head.get("annotations", {}), **told}
    return {**child, "metadata": head}
