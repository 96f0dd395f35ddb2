"""`$(NAME)` in env values, commands and arguments.

The rules are those of k8s.io/kubernetes `third_party/forked/golang/expansion`: an unknown name
stays as it was written, `$$` is a literal dollar, and a lone `$` stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["expand", "references"]

_MARK = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        return values[name] if name in values else found[0]

    return _MARK.sub(replace, text)


def references(text: str) -> frozenset[str]:
    """The names that `text` refers to."""
    return frozenset(found[1] for found in _MARK.finditer(text) if found[1] is not None)
