"""Connections into the pods' network."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl

from kindling.cluster.runtime.protocol import Runtime

__all__ = ["dial", "dial_text", "open_stream"]


async def dial(runtime: Runtime, host: str, port: int, sandbox: str = "") -> socket.socket:
    """A connected TCP socket, inside a sandbox's network or the node's. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    if host == "localhost":
        host = "127.0.0.1"
    family = socket.AF_INET
    try:
        if ipaddress.ip_address(host.strip("[]")).version == 6:
            family = socket.AF_INET6
        target = (host.strip("[]"), port)
    except ValueError:
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        target = (str(found[0][4][0]), port)
    connection = runtime.open_socket(family, socket.SOCK_STREAM, sandbox)
    try:
        connection.setblocking(False)
        await loop.sock_connect(connection, target)
    except BaseException:
        connection.close()
        raise
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


async def open_stream(
    runtime: Runtime, host: str, port: int, *, sandbox: str = "", tls: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As `dial`, with streams on it; `tls` believes any certificate, as probes do."""
    connection = await dial(runtime, host, port, sandbox)
    try:
        if not tls:
            return await asyncio.open_connection(sock=connection)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return await asyncio.open_connection(sock=connection, ssl=context, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def dial_text(host: str, port: int, error: OSError) -> str:
    """A refused connection in the words that users of Kubernetes know."""
    if error.errno is None:
        return f"dial tcp {host}:{port}: {error}"
    return f"dial tcp {host}:{port}: connect: {os.strerror(error.errno).lower()}"
