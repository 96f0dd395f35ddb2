"""Every builtin by its public name."""

from __future__ import annotations

from kindling.lang.native import (
    absent,
    arguments,
    backing,
    charts,
    commands,
    environment,
    environments,
    files,
    images,
    kubernetes,
    live_update,
    local,
    parts,
    settings,
    speech,
)
from kindling.lang.session import Native

__all__ = ["NATIVES"]

NATIVES: dict[str, Native] = {
    **absent.NATIVES,
    **arguments.NATIVES,
    **backing.NATIVES,
    **charts.NATIVES,
    **commands.NATIVES,
    **environment.NATIVES,
    **environments.NATIVES,
    **files.NATIVES,
    **images.NATIVES,
    **kubernetes.NATIVES,
    **live_update.NATIVES,
    **local.NATIVES,
    **parts.NATIVES,
    **settings.NATIVES,
    **speech.NATIVES,
}
"""`NATIVES["os.getenv"]` is what the wrapper `_os_getenv` calls as `_native_os_getenv`."""
