"""Logins for image registries out of the pull secrets of a pod and of its service account.

What `docker login` wrote down for the user is looked up by the image room itself.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kindling.cluster.images.protocol import Credentials
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.node.payload import decoded

__all__ = ["credentials_of", "missing_pull_secrets"]

_SECRETS = builtin("secrets")
_ACCOUNTS = builtin("serviceaccounts")


def credentials_of(api: Api, pod: Obj) -> tuple[Credentials, ...]:
    """All that may be tried for the pod's images, the pod's own first."""
    namespace = pod["metadata"]["namespace"]
    found: list[Credentials] = []
    for name in _secret_names(api, pod):
        if secret := api.get(_SECRETS, name, namespace):
            found += _of_secret(secret)
    return tuple(found)


def missing_pull_secrets(api: Api, pod: Obj) -> tuple[str, ...]:
    """The pull secrets that are named and not there."""
    namespace = pod["metadata"]["namespace"]
    return tuple(
        name for name in _secret_names(api, pod) if api.get(_SECRETS, name, namespace) is None
    )


def _secret_names(api: Api, pod: Obj) -> list[str]:
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    refs = list(spec.get("imagePullSecrets") or ())
    account = api.get(_ACCOUNTS, spec.get("serviceAccountName") or "default", namespace)
    refs += (account or {}).get("imagePullSecrets") or ()
    return list(dict.fromkeys(ref["name"] for ref in refs if ref.get("name")))


def _of_secret(secret: Obj) -> Iterator[Credentials]:
    data = decoded(secret)
    try:
        if raw := data.get(".dockerconfigjson"):
            yield from _logins(json.loads(raw))
        elif raw := data.get(".dockercfg"):
            yield from _logins({"auths": json.loads(raw)})
    except ValueError:
        return


def _logins(config: Any) -> Iterator[Credentials]:
    auths = config.get("auths") if isinstance(config, Mapping) else None
    if not isinstance(auths, Mapping):
        return
    for server, entry in auths.items():
        if not isinstance(entry, Mapping):
            continue
        user, password = entry.get("username", ""), entry.get("password", "")
        if not user and (auth := entry.get("auth")):
            try:
                user, _, password = base64.b64decode(auth).decode().partition(":")
            except (binascii.Error, ValueError):
                continue
        if user:
            yield Credentials(server, str(user), str(password).rstrip("\0"))
