"""Who a request comes from, as certificates and tokens tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ADMIN", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as the API knows one.

    For a service account `namespace`, `service_account` and `uid` say which, and `pod` and
    `pod_uid`, `secret` and `secret_uid` the pod or secret that the token is bound to, so that it
    ends with that. `expires_at` is in seconds since the epoch, 0 for credentials that a session
    does not outlive.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    namespace: str = ""
    service_account: str = ""
    pod: str = ""
    pod_uid: str = ""
    audiences: tuple[str, ...] = ()
    expires_at: float = 0.0
    secret: str = ""
    secret_uid: str = ""


ADMIN = Identity("kubernetes-admin", ("system:masters", "system:authenticated"))
"""The owner of the cluster, under the name that kubeadm gives to theirs."""
