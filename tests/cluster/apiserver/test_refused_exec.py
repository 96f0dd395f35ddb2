"""A program that a runtime cannot start is told where clients expect the end of a command."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.pods import _refuse_exec
from kindling.cluster.model.status import ApiError, bad_request

_NOT_FOUND = ApiError(500, "InternalError", 'exec: "x": executable file not found in $PATH')


async def _refused(error: ApiError, *offered: str) -> list[dict[str, Any]]:
    """What the client of a WebSocket gets."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"subprotocols": list(offered)}
    exchange = SimpleNamespace(scope=scope, receive=receive, send=send)
    await _refuse_exec(cast(Exchange, exchange), error)
    return sent


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_a_program_that_is_missing_is_a_commands_end(protocol: str) -> None:
    accepted, told, closed = await _refused(_NOT_FOUND, protocol)
    assert accepted["subprotocol"] == protocol
    assert told["bytes"][:1] == b"\3"
    assert json.loads(told["bytes"][1:])["message"] == _NOT_FOUND.message
    assert closed["type"] == "websocket.close"


async def test_a_container_that_is_missing_is_an_answer_of_http_but_for_v5() -> None:
    missing = bad_request("container x is not valid for pod y")
    with pytest.raises(ApiError, match="not valid"):
        await _refused(missing, "v4.channel.k8s.io")
    with pytest.raises(ApiError, match="executable"):
        await _refused(_NOT_FOUND, "channel.k8s.io")
    assert (await _refused(missing, "v5.channel.k8s.io"))[0]["subprotocol"] == "v5.channel.k8s.io"
