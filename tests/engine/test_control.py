"""Other processes ask the running session through a socket in `.kindling`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kindling.engine.control import NoSessionError, ask, serve, socket_path


async def echo(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"got": dict(request)}


async def test_a_request_is_answered_and_the_socket_is_private(tmp_path: Path) -> None:
    async with serve(tmp_path, echo):
        assert socket_path(tmp_path).stat().st_mode & 0o077 == 0
        assert await ask(tmp_path, {"ask": "status"}) == {"got": {"ask": "status"}}


async def test_without_a_session_the_error_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(NoSessionError) as caught:
        await ask(tmp_path, {"ask": "status"})
    assert "kindling up" in caught.value.render()


async def test_a_socket_left_behind_by_a_killed_session_is_replaced(tmp_path: Path) -> None:
    socket_path(tmp_path).write_text("left behind")
    async with serve(tmp_path, echo):
        assert await ask(tmp_path, {"n": 1}) == {"got": {"n": 1}}


async def test_a_project_with_a_very_long_path_has_a_socket_too(tmp_path: Path) -> None:
    deep = tmp_path / ("long-" * 20) / ("name-" * 20)
    deep.mkdir(parents=True)
    async with serve(deep, echo):
        assert await ask(deep, {"n": 1}) == {"got": {"n": 1}}
