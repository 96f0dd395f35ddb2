"""The cluster's DNS server: our own names from the API, all others from this machine's
resolvers."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog

from kindling.cluster.model.api import Api
from kindling.cluster.network.names import DOMAIN, Sought, lookup, reverse
from kindling.cluster.runtime.protocol import Runtime

if TYPE_CHECKING:
    import dns.message
    import dns.rdatatype

__all__ = ["DnsServer", "resolvers"]

_log = structlog.get_logger("kindling.cluster.dns")
_TTL = 5
"""Seconds; short, since pods come and go."""
_PATIENCE = 4.0
_DATAGRAM = 1232
_DEPTH = 8


def resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The name servers that this machine uses; none where the file cannot be read."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                found.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
    return tuple(found)


class DnsServer:
    """Answers on UDP and TCP at `address`, port 53 of the node's network."""

    def __init__(
        self, api: Api, runtime: Runtime, address: str, upstream: Sequence[str] | None = None
    ) -> None:
        self._api = api
        self._runtime = runtime
        self._address = address
        self._upstream = resolvers() if upstream is None else tuple(upstream)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled. Raises `OSError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        sockets = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = self._runtime.open_socket(socket.AF_INET, kind)
            sockets.append(sock)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((self._address, 53))
            except OSError:
                for one in sockets:
                    one.close()
                raise
        # The library costs some 80 ms to import: not while the cluster starts.
        await asyncio.to_thread(__import__, "dns.message")
        datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), sock=sockets[0]
        )
        server = await asyncio.start_server(self._stream, sock=sockets[1])
        try:
            await asyncio.Event().wait()
        finally:
            datagrams.close()
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, data: bytes, reply: Any) -> None:
        """Answer one query in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._take(data, reply), name="dns query")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, data: bytes, reply: Any) -> None:
        answer = await self.answer(data, _DATAGRAM)
        if answer is not None:
            reply(answer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(30):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(length)
                answer = await self.answer(data, 65535)
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return  # the client is done, or silent for too long
        finally:
            writer.close()

    async def answer(self, data: bytes, limit: int) -> bytes | None:
        """The answer to a query of any kind; None for what is no query."""
        import dns.exception
        import dns.flags
        import dns.message
        import dns.rcode

        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR:
            return None
        if query.opcode() != 0 or len(query.question) != 1:
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.NOTIMP)
            return response.to_wire()
        own = self._own(query)
        if own is None:
            return await self._forward(data, query, limit)
        try:
            return own.to_wire(max_size=limit)
        except dns.exception.TooBig:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            return short.to_wire()

    def _own(self, query: dns.message.Message) -> dns.message.Message | None:
        import dns.flags
        import dns.message
        import dns.rcode
        import dns.rdataclass
        import dns.rdatatype
        import dns.reversename

        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        if question.rdtype == dns.rdatatype.PTR:
            try:
                address = dns.reversename.to_address(question.name)
            except Exception:
                return None
            found = reverse(self._api, str(address))
            if not found:
                return None
            self._add(response, name, "PTR", found + ".")
            return response
        sought = {dns.rdatatype.A: Sought.A, dns.rdatatype.SRV: Sought.SRV}.get(
            question.rdtype, Sought.OTHER
        )
        known = lookup(self._api, name, sought)
        for _ in range(_DEPTH):
            if known is None or not known.alias:
                break
            self._add(response, name, "CNAME", known.alias.rstrip(".") + ".")
            name = known.alias.rstrip(".")
            known = lookup(self._api, name, sought)
        if known is None:
            # The end of an alias outside the cluster: the client's resolver follows it.
            return response if response.answer else None
        if not known.exists and not response.answer:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if sought is Sought.A:
            self._add(response, name, "A", *known.addresses)
        elif sought is Sought.SRV:
            share = max(1, 100 // max(1, len(known.targets)))
            values = (f"0 {share} {port} {target}." for port, target in known.targets)
            self._add(response, name, "SRV", *values)
        if not response.answer:
            self._add(
                response,
                DOMAIN,
                "SOA",
                f"ns.dns.{DOMAIN}. hostmaster.{DOMAIN}. 1 7200 1800 86400 {_TTL}",
                authority=True,
            )
        return response

    def _add(
        self,
        response: dns.message.Message,
        name: str,
        rdtype: str,
        *values: str,
        authority: bool = False,
    ) -> None:
        import dns.rrset

        if values:
            made = dns.rrset.from_text(name + ".", _TTL, "IN", rdtype, *values)
            (response.authority if authority else response.answer).append(made)

    async def _forward(self, data: bytes, query: dns.message.Message, limit: int) -> bytes:
        import dns.message
        import dns.rcode

        for server in self._upstream:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_PATIENCE):
                    if limit > _DATAGRAM:
                        return await _ask_stream(server, data)
                    return await _ask(server, data)
        response = dns.message.make_response(query)
        # Without any resolver, outside names do not exist: at once, rather than after time-outs.
        response.set_rcode(dns.rcode.SERVFAIL if self._upstream else dns.rcode.NXDOMAIN)
        return response.to_wire()


async def _ask(server: str, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    got: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Reply(got, data[:2]), remote_addr=(server, 53)
    )
    try:
        transport.sendto(data)
        return await got
    finally:
        transport.close()


async def _ask_stream(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack("!H", len(data)) + data)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()


class _Reply(asyncio.DatagramProtocol):
    """Waits for the answer with the query's number."""

    def __init__(self, got: asyncio.Future[bytes], number: bytes) -> None:
        self._got = got
        self._number = number

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002
        if data[:2] == self._number and not self._got.done():
            self._got.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._got.done():
            self._got.set_exception(exc)


class _Datagrams(asyncio.DatagramProtocol):
    """Queries by UDP."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        transport = self._transport
        if transport is not None:
            self._server.take(data, lambda answer: transport.sendto(answer, addr))

    def error_received(self, exc: Exception) -> None:
        """A client went away before its answer came."""
