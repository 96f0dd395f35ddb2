"""Folders for what sessions build, gone with their sessions.

Beside each lies who has it, so that the next session removes what one left that was killed, and
nothing of one that lives, here or on another machine that shares the folder.
"""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path

from kindling.sync.workload.liveness import Holder, Life, begin_life, end_life, here, life_of

__all__ = ["make_scratch", "remove_scratch"]

_ENDING = ".json"


def make_scratch(folder: Path, name: str) -> Path:
    """A new folder in `folder`, from which goes what dead sessions left there."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    made = folder / f"{name.replace('/', '_')}-{secrets.token_hex(3)}"
    begin_life(made.name)
    about = json.dumps(asdict(here(str(folder.absolute()))))
    _about(made).write_text(about, encoding="utf-8")
    made.mkdir()
    return made


def remove_scratch(made: Path) -> None:
    """Remove it. What cannot be removed now is the next session's to remove."""
    end_life(made.name)
    shutil.rmtree(made, ignore_errors=True)
    if not made.exists():
        _about(made).unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    for found in sorted(folder.iterdir()):
        if found.is_dir() and not found.is_symlink() and not _about(found).exists():
            # It is of the time when nobody noted who has one.
            remove_scratch(found)
        elif found.name.endswith(_ENDING) and _is_dead(found):
            remove_scratch(found.with_name(found.name.removesuffix(_ENDING)))


def _is_dead(about: Path) -> bool:
    try:
        holder = Holder(**json.loads(about.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # It is being written, or somebody removes it.
        return False
    return life_of(holder, about.name.removesuffix(_ENDING)) is Life.DEAD


def _about(made: Path) -> Path:
    return made.with_name(made.name + _ENDING)
