"""The one call of the gRPC health protocol that a probe makes: `grpc.health.v1.Health/Check`.

Protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md; its two messages have one
field each, so they are written here by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse

from kindling.cluster.node.dial import dial_text, open_stream
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["GrpcError", "check"]

_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_UNIMPLEMENTED = "12"


class GrpcError(Exception):
    """Not healthy, or not to be asked; the text is what the kubelet reports."""


async def check(runtime: Runtime, host: str, port: int, service: str) -> None:
    """Return when the service says that it serves. Raises `GrpcError`."""
    try:
        reader, writer = await open_stream(runtime, host, port)
    except OSError as error:
        raise GrpcError(
            f'error: failed to connect service at "{host}:{port}": {dial_text(host, port, error)}'
        ) from error
    try:
        code, text, body = await _call(reader, writer, f"{host}:{port}", service)
    except OSError as error:
        raise GrpcError(f"error: health rpc probe failed: {error}") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if code == _UNIMPLEMENTED:
        raise GrpcError(
            "this server does not implement the grpc health protocol (grpc.health.v1.Health):"
            f" {text}"
        )
    if code != "0":
        raise GrpcError(f"error: health rpc probe failed: code = {code or '?'} desc = {text}")
    state = _state(body)
    if state != "SERVING":
        raise GrpcError(f'service unhealthy (responded with "{state}")')


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> tuple[str, str, bytes]:
    """The status code and message of the call, and the body of its answer."""
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions

    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    )
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    head = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/1.32"),
        ("te", "trailers"),
    )
    connection.send_headers(stream, head)
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    connection.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    writer.write(connection.data_to_send())
    await writer.drain()
    fields: dict[str, str] = {}
    body = b""
    while data := await reader.read(65536):
        try:
            events = connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise ConnectionError(f"not HTTP/2: {error}") from error
        for event in events:
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                fields |= {str(key): str(value) for key, value in event.headers or ()}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            elif isinstance(event, h2.events.StreamEnded):
                return (
                    fields.get("grpc-status", ""),
                    urllib.parse.unquote(fields.get("grpc-message", "")),
                    body,
                )
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise ConnectionError("the server reset the stream")
        if out := connection.data_to_send():
            writer.write(out)
            await writer.drain()
    raise ConnectionError("EOF")


def _state(body: bytes) -> str:
    """Field 1 of a HealthCheckResponse behind the five bytes of gRPC's prefix."""
    message = body[5:]
    number = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    return _STATES.get(number, str(number))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
