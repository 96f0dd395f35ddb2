"""Puts the sync agent of every architecture into the wheel.

The agents are built in a folder of their own, so that nothing is left in the checkout. An editable
install gets none: `kindling.sync.agent.binaries` builds them when they are needed. With
`KINDLING_RELEASE=1` a wheel without one of them is not made; otherwise it is made without, and says
so, for whoever installs from a checkout on a machine that has no compiler.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AgentsHook(BuildHookInterface[Any]):
    """Builds the agents before the wheel is packed."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        # Neither module needs more than the standard library: the build has nothing else.
        sys.path.insert(0, self.root)
        try:
            from kindling.errors import KindlingError
            from kindling.sync.agent.binaries import prebuilt_name
            from kindling.sync.agent.binary import ARCHITECTURES, build
        finally:
            sys.path.remove(self.root)
        self._scratch = tempfile.TemporaryDirectory(prefix="kindling-agents-")
        for architecture in ARCHITECTURES:
            try:
                made = build(Path(self._scratch.name), architecture)
            except KindlingError as error:
                if os.environ.get("KINDLING_RELEASE") == "1":
                    raise SystemExit(error.render()) from error
                self.app.display_warning(f"The wheel goes without an agent. {error.render()}")
            else:
                place = f"kindling/sync/agent/prebuilt/{prebuilt_name(architecture)}"
                build_data["force_include"][str(made)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del build_data, artifact_path
        if version != "editable":
            self._scratch.cleanup()
