"""The `kubernetes` package as its users have it, without its annotations.

Those say less than it does: that a body is a model, where dictionaries serve, and that every field
of an answer may be missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ApiException", "client", "config", "dynamic", "informer", "stream", "utils", "watch"]

client: Any = import_module("kubernetes.client")
config: Any = import_module("kubernetes.config")
dynamic: Any = import_module("kubernetes.dynamic")
informer: Any = import_module("kubernetes.informer")
stream: Any = import_module("kubernetes.stream")
utils: Any = import_module("kubernetes.utils")
watch: Any = import_module("kubernetes.watch")
ApiException: Any = client.exceptions.ApiException
