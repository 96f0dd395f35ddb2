"""Who we are to the API server: the kubeconfig's user made into TLS settings and a header.

What is said plainly is read by `kindling.kube.access`; `kubernetes` reads the many other ways in
which a kubeconfig can say it. Two things are done here instead: exec plugins are run with a time
limit and their complaints are shown, and private keys, which Python's TLS can only read from files,
stay on disk no longer than it takes to read them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kindling.errors import ClusterError
from kindling.kube.access import Access, plain_access
from kindling.kube.contexts import KubeContext
from kindling.kube.errors import AuthenticationError

__all__ = ["Credentials", "load_credentials"]

_PLUGIN_LIMIT = 60.0
_RENEW_BEFORE = timedelta(minutes=2)
_REREAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection needs.

    `renew_at` is when to load them anew, in seconds of the epoch. `fingerprint` tells connections
    apart: with another one, new connections must be made; the authorization may change alone.
    """

    access: Access
    server: str
    renew_at: float = float("inf")
    fingerprint: str = field(default="", repr=False)


async def load_credentials(
    raw: Mapping[str, Any], context: KubeContext, environment: Mapping[str, str], now: float
) -> Credentials:
    """The credentials of `context` in the merged kubeconfig `raw`.

    Raises:
        ClusterError: The kubeconfig is incomplete, a file it names is missing, or a plugin failed.
    """
    user = dict(_entry(raw, "users", context.user).get("user") or {})
    cluster = dict(_entry(raw, "clusters", context.cluster).get("cluster") or {})
    if not cluster.get("server"):
        raise ClusterError(f"The kubeconfig's cluster `{context.cluster}` has no `server`")
    renew_at = float("inf")
    if isinstance(plugin := user.pop("exec", None), dict):
        status = await _run_plugin(plugin, cluster, environment)
        user.update(_answered(status))
        renew_at = _expiry(status)
    elif user.get("tokenFile"):
        # A file that is rewritten as tokens rotate beats a token that was copied once.
        user.pop("token", None)
        renew_at = now + _REREAD_SECONDS
    elif user.get("auth-provider"):
        renew_at = now + _REREAD_SECONDS
    access = await asyncio.to_thread(plain_access, cluster, user)
    return Credentials(
        access or await _unusual(cluster, user, context),
        str(cluster["server"]).rstrip("/"),
        renew_at,
        _print_of(cluster, user),
    )


async def _unusual(
    cluster: Mapping[str, Any], user: Mapping[str, Any], context: KubeContext
) -> Access:
    """What `kubernetes` makes of it, or says is wrong with it."""
    # The import takes so long that file events and terminals would notice it on the loop.
    kube_config = await asyncio.to_thread(_import)
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTClientObject

    document = {
        "contexts": [
            {"name": context.name, "context": {"cluster": context.cluster, "user": context.user}}
        ],
        "clusters": [{"name": context.cluster, "cluster": cluster}],
        "users": [{"name": context.user, "user": user}],
    }
    configuration = Configuration()
    configuration.connection_pool_maxsize = 0
    if "disable_strict_ssl_verification" in vars(configuration):
        # Python 3.13 refuses authorities without key identifiers, such as many clusters make.
        configuration.disable_strict_ssl_verification = True
    with tempfile.TemporaryDirectory(prefix="kindling-") as folder:
        try:
            loader = kube_config.KubeConfigLoader(
                document,
                active_context=context.name,
                config_base_path="",
                temp_file_path=folder,
            )
            async with asyncio.timeout(_PLUGIN_LIMIT):
                await loader.load_and_set(configuration)
            return Access(
                RESTClientObject(configuration).ssl_context,
                str(configuration.api_key.get("BearerToken") or "").strip(),
                str(configuration.tls_server_name or ""),
                str(configuration.proxy or ""),
            )
        except (kube_config.ConfigException, OSError, ValueError, KeyError, TimeoutError) as error:
            raise ClusterError(
                f"The kubeconfig's context `{context.name}` cannot be used: "
                f"{str(error) or type(error).__name__}",
                details=[f"cluster `{context.cluster}`, user `{context.user}`"],
            ) from error
        finally:
            # It remembers files by content and would next time name files that are gone.
            kube_config._cleanup_temp_files()


def _import() -> Any:
    from kubernetes.aio.config import kube_config

    return kube_config


async def _run_plugin(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], environment: Mapping[str, str]
) -> Mapping[str, Any]:
    command = str(plugin.get("command") or "")
    version = str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1")
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {
            key: cluster[key]
            for key in ("server", "certificate-authority-data", "insecure-skip-tls-verify")
            if key in cluster
        }
    request = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    env = {
        **environment,
        **{str(item["name"]): str(item["value"]) for item in plugin.get("env") or ()},
        "KUBERNETES_EXEC_INFO": json.dumps(request),
    }
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *(str(argument) for argument in plugin.get("args") or ()),
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise AuthenticationError(
            f"The kubeconfig's login program `{command}` cannot be run: {error.strerror}",
            hint=str(plugin.get("installHint") or ""),
        ) from error
    try:
        async with asyncio.timeout(_PLUGIN_LIMIT):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise AuthenticationError(
            f"The kubeconfig's login program `{command}` did not end within {_PLUGIN_LIMIT:.0f} s",
            hint="Run it by hand: it may be waiting for a login",
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise AuthenticationError(
            f"The kubeconfig's login program `{command}` exited with {process.returncode}",
            details=stderr.decode("utf-8", "replace").strip().splitlines()[-5:],
            hint="Log in again as your cluster asks for it",
        )
    try:
        status = json.loads(stdout)["status"]
    except (ValueError, KeyError, TypeError):
        status = None
    if not isinstance(status, dict):
        raise AuthenticationError(
            f"The kubeconfig's login program `{command}` printed no ExecCredential with a status"
        )
    return status


def _answered(status: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    if status.get("token"):
        found["token"] = str(status["token"])
    if status.get("clientCertificateData") and status.get("clientKeyData"):
        for name, key in (("certificate", "Certificate"), ("key", "Key")):
            pem = str(status[f"client{key}Data"])
            found[f"client-{name}-data"] = base64.b64encode(pem.encode()).decode()
    return found


def _expiry(status: Mapping[str, Any]) -> float:
    text = str(status.get("expirationTimestamp") or "")
    if not text:
        return float("inf")
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return float("inf")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _RENEW_BEFORE).timestamp()


def _print_of(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> str:
    bound = {key: value for key, value in user.items() if key.startswith("client-")}
    text = json.dumps([cluster, bound], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(raw: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    for entry in raw.get(section) or ():
        if entry.get("name") == name:
            return entry if isinstance(entry, dict) else {}
    return {}
