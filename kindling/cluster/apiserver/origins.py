"""Keeping web pages out: an API on loopback is in reach of every page that a browser shows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.model.status import ApiError

__all__ = ["Origins"]

_HOSTS = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


class Origins:
    """Refuses requests under a name that is not ours, which is how a page that rebinds its DNS name
    to 127.0.0.1 arrives, and those that a page of another origin makes."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = frozenset((*_HOSTS, *hosts))

    def check(self, exchange: Exchange) -> None:
        """Raises `ApiError` 403."""
        host = exchange.headers.get("host", "")
        if not self._ours(_bare(host)):
            raise _refused("the request is for a host that is not this server")
        origin = exchange.headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise _refused("requests from pages of another origin are not served")
        if exchange.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
            raise _refused("requests from pages of another origin are not served")

    def _ours(self, host: str) -> bool:
        if host in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


def _bare(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _refused(why: str) -> ApiError:
    return ApiError(403, "Forbidden", f"forbidden: {why}")
