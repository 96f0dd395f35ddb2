"""Names that the registry makes up."""

from __future__ import annotations

import secrets

__all__ = ["generated_name"]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no digits like letters, so that no words come out (k8s.io/apimachinery rand)."""


def generated_name(prefix: str) -> str:
    """A name from a `generateName`: the prefix, cut to 58 characters, and five random ones."""
    return prefix[:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
