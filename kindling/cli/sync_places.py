"""Where the records of sync sessions lie: of a project in `.kindling/sync`, outside of one in the
user's data folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kindling.cli.invocation import DEFAULT_FILE, Invocation

__all__ = ["own_records", "record_folders"]


def own_records(invocation: Invocation, environment: Mapping[str, str]) -> Path:
    """Where a session that begins here keeps its record."""
    in_project = bool(invocation.file) or (invocation.root / DEFAULT_FILE).is_file()
    if in_project or invocation.state_dir.is_dir():
        return invocation.state_dir / "sync"
    return _of_user(environment)


def record_folders(invocation: Invocation, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Wherever sessions that began here, or in no project, have kept theirs."""
    return tuple(
        dict.fromkeys((invocation.state_dir / "sync", _of_user(environment))),
    )


def _of_user(environment: Mapping[str, str]) -> Path:
    told = environment.get("XDG_DATA_HOME", "")
    # The variable counts on every system, for tests; platformdirs knows the place of each.
    if told:
        return Path(told) / "kindling" / "sync"
    import platformdirs

    return platformdirs.user_data_path("kindling") / "sync"
