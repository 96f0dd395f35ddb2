"""A session that a library closes leaves nothing behind, whatever was under way."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path

import pytest
from aiohttp import web

from kindling.kube.contexts import KubeContext
from kindling.kube.lending import Lent


@pytest.mark.filterwarnings("error")
async def test_a_request_that_was_under_way_when_it_was_closed_ends_well(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    app = web.Application()
    app.router.add_get("/{any}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {"clusters": [{"name": "it", "cluster": {"server": url}}], "users": []}
    (tmp_path / "config").write_text(json.dumps(config))
    lent = Lent(KubeContext("it", "it", url), {"KUBECONFIG": str(tmp_path / "config")})
    session = await lent.open()
    asked = asyncio.create_task(session.request("GET", f"{lent.server}/one"))
    await asyncio.sleep(0)  # it connects
    await session.close()
    async with await asked as response:
        assert await response.text() == "/one"
    with pytest.raises(RuntimeError, match="Session is closed"):
        await session.request("GET", f"{lent.server}/two")
    await lent.close()
    await runner.cleanup()
    gc.collect()
