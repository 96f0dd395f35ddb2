"""How kopf is asked to watch, by what the account may see."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

from kindling.kube.contexts import KubeContext
from kindling.operator.controller.watching import OwnerWatch
from kindling.operator.definitions.environment import KIND


@pytest.mark.parametrize(
    ("namespace", "status", "follows"),
    [("team", 200, True), ("team", 403, False), ("", 403, True)],
)
async def test_who_may_not_list_namespaces_watches_its_own_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str, status: int, follows: bool
) -> None:
    """kopf would go on asking for most of a minute before."""
    asked: asyncio.Queue[bool] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def operator(*, settings: Any, stop_flag: asyncio.Event, **_: Any) -> None:
        loop.call_soon_threadsafe(asked.put_nowait, not settings.scanning.disabled)
        await stop_flag.wait()

    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/api/v1/namespaces"
        return web.json_response({"items": []}, status=status)

    monkeypatch.setattr(kopf, "operator", operator)
    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {"clusters": [{"name": "it", "cluster": {"server": url}}], "users": []}
    (tmp_path / "config").write_text(json.dumps(config))
    watch = OwnerWatch(
        KubeContext("it", "it", url),
        {"KUBECONFIG": str(tmp_path / "config")},
        namespace,
        (KIND,),
        told=lambda _, __: None,
        begun=lambda: None,
        say=print,
    )
    watch.start()
    try:
        async with asyncio.timeout(60):
            assert await asked.get() == follows
    finally:
        await watch.stop()
        await runner.cleanup()
