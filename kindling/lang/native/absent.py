"""Names of Tilt's that mean nothing here, and names that kindling does not have."""

from __future__ import annotations

from typing import NoReturn

from kindling.errors import ConfigError
from kindling.lang.call import Call
from kindling.lang.session import Native

__all__ = ["NATIVES"]

_INSTEAD = {
    "docker_compose": "kindling deploys to Kubernetes only; declare objects with `k8s_yaml`.",
    "dc_resource": "kindling deploys to Kubernetes only; configure workloads with `k8s_resource`.",
    "local_git_repo": "Read what you need with `local('git ...')`.",
    "v1alpha1.extension": "Load a file of your own: `load('./extension/Tiltfile', ...)`.",
    "v1alpha1.extension_repo": "Load a file of your own: `load('./extension/Tiltfile', ...)`.",
    "v1alpha1.cmd": "Use `local_resource`.",
}


def ignored(call: Call, name: object) -> None:
    call.notice_once(str(name), f"`{name}` means nothing to kindling and is ignored")


def absent(call: Call, name: object) -> NoReturn:
    call.name = str(name)
    raise ConfigError(
        f"`{name}` is Tilt's, and kindling does not have it", hint=_INSTEAD.get(str(name), "")
    )


NATIVES: dict[str, Native] = {"ignored": ignored, "absent": absent}
