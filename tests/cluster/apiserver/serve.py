"""An API server on loopback over a registry in a temporary folder, for the tests of this room."""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kindling.cluster.apiserver.app import ApiServer
from kindling.cluster.apiserver.serving import Serving, loopback_socket
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.streams import NodeStreams
from kindling.cluster.pki.authority import Authority
from kindling.cluster.pki.tokens import Tokens
from kindling.cluster.registry.registry import Registry
from kindling.cluster.storage.database import ObjectStore

KUBECTL = shutil.which("kubectl")


def schemas() -> Schemas:
    try:
        from kindling.cluster.schema.catalog import Catalog
    except ImportError:
        from kindling.cluster.registry.permissive import PermissiveSchemas

        return PermissiveSchemas()
    return Catalog()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server and how to reach it."""

    folder: Path
    port: int
    api: Registry
    app: ApiServer
    authority: Authority
    tokens: Tokens
    environment: dict[str, str] = field(default_factory=dict)
    """For kubectl."""

    @property
    def kubeconfig(self) -> Path:
        path = self.folder / "kubeconfig"
        if not path.exists():
            server = f"https://127.0.0.1:{self.port}"
            cluster = {"server": server, "certificate-authority": self.authority.ca_certificate}
            user = {"token": self.tokens.admin}
            config: dict[str, Any] = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "k", "cluster": {k: str(v) for k, v in cluster.items()}}],
                "users": [{"name": "k", "user": user}],
                "contexts": [{"name": "k", "context": {"cluster": "k", "user": "k"}}],
                "current-context": "k",
            }
            path.write_text(yaml.safe_dump(config))
        return path

    async def kubectl(self, *args: str, stdin: str = "", code: int = 0) -> str:
        """What kubectl prints on both outputs; its exit code must be `code`."""
        assert KUBECTL is not None
        env = {
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.folder),
            "PATH": "/usr/bin:/bin:/usr/local/bin",
            **self.environment,
        }
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            *args,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        except BaseException:
            if process.returncode is None:
                process.kill()
            raise
        text = out.decode()
        assert process.returncode == code, text
        return text

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: dict[str, str] | None = None,
        *,
        token: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers, body."""
        import aiohttp

        sent = {"authorization": f"Bearer {token or self.tokens.admin}"} | (headers or {})
        if token == "":
            del sent["authorization"]
        connector = aiohttp.TCPConnector(ssl=self.authority.client_context())
        async with (
            aiohttp.ClientSession(connector=connector, auto_decompress=True) as session,
            session.request(
                method, f"https://127.0.0.1:{self.port}{path}", data=_stream(body), headers=sent
            ) as answer,
        ):
            found = {key.lower(): value for key, value in answer.headers.items()}
            return answer.status, found, await answer.read()

    async def namespace(self, name: str = "default") -> None:
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.api.create(builtin("namespaces"), obj)


def _stream(body: bytes | str) -> io.BytesIO | None:
    return io.BytesIO(body.encode() if isinstance(body, str) else body) if body else None


def _memory_folder() -> tempfile.TemporaryDirectory[str]:
    """On a disk in memory where there is one: what is on trial is not how long fsync takes."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)


@asynccontextmanager
async def serving(folder: Path, streams: NodeStreams | None = None) -> AsyncIterator[Cluster]:
    authority = Authority(folder / "pki")
    tokens = Tokens(folder / "pki")
    catalog = schemas()
    place = _memory_folder()
    api = Registry(ObjectStore(Path(place.name) / "objects.db"), catalog)
    await api.start()
    app = ApiServer(api, catalog, tokens=tokens, streams=streams)
    server = Serving(app, [loopback_socket()], tls=authority.server_context())
    await server.start()
    try:
        cluster = Cluster(folder, server.ports[0], api, app, authority, tokens)
        if api.get(builtin("namespaces"), "default") is None:
            await cluster.namespace()
        yield cluster
    finally:
        await server.close()
        await api.close()
        place.cleanup()
