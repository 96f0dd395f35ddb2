"""When what was saved goes out, and as how many changes.

`kindling.files.debounce` knows bursts: a lone save goes after 10 ms of quiet, a storm is one batch,
nothing is held back for more than 10 s. On top of it stands what editors do to save one file:

    vim      4913 made and removed, `a` renamed to `a~`, `a` written, `a~` removed
    emacs    `a` renamed to `a~`, or `#a#` and `.#a` beside it while it is edited
    JetBrains `a___jb_tmp___` written, `a` renamed to `a___jb_old___`, tmp renamed to `a`
    others   `.a.XXXXXX`, `a.tmp`, `a.tmp.1234.5678`, `.goutputstream-XXXXXX`, `sedXXXXXX` written,
             then renamed to `a`

Between two such steps the tree holds a temporary name, or lacks the file. So a path that is gone,
and a name that looks temporary, wait a little for the other half; a temporary name that came and
went was never a change at all. What really was deleted goes out after that wait.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass

from kindling.files.debounce import Debounce

__all__ = ["Gathered", "Quiet", "is_temporary"]

_GRACE = 0.050
"""How long the second half of an atomic save is waited for; it takes some milliseconds."""
_HELD_MOST = 10.0
_FEW = 8
"""Bursts of so few paths do not make the next wait longer."""

_TEMPORARY = re.compile(
    r"""
      4913                              # vim's probe
    | .*~                               # backups
    | \.\#.* | \#.*\#                   # emacs
    | .*___jb_(?:tmp|old|bak)___        # JetBrains
    | \..*\.sw[a-px]                    # vim's swap files
    | .*\.kate-swp
    | .*\.(?:tmp|temp|bak|orig\.tmp|part|crdownload)
    | .*\.tmp\.?[0-9A-Za-z._-]{1,32}    # `a.tmp.1234.5678`, as tools of Node write
    | \.goutputstream-\w{6}             # GLib
    | sed\w{6}                          # sed -i
    | \.!\d+!.*
    | \..+\.[A-Za-z0-9]{6}              # rsync, mkstemp beside the file, KDE
    | .*-go-tmp-umask
    """,
    re.VERBOSE | re.DOTALL,
)


def is_temporary(path: str) -> bool:
    """Does the name look like one that an editor or tool renames to the real one?

    It only decides how long to wait: a file that keeps such a name is carried like any other.
    """
    return _TEMPORARY.fullmatch(posixpath.basename(path)) is not None


@dataclass(frozen=True, slots=True)
class Gathered:
    """What changed in one burst: paths that are there, paths that are gone, and when it began."""

    changed: tuple[str, ...]
    gone: tuple[str, ...]
    began: float

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted((*self.changed, *self.gone)))


class Quiet:
    """Gathers changed paths until a burst is over. Pure: every moment is given (seconds, of a clock
    that never goes back).

    `known`: does the container have this path, as far as was decided so far? A temporary name that
    came and went is nothing only where it was not there before. `quiet`: how much of it ends a
    burst (seconds), instead of what the burst suggests.
    """

    def __init__(self, known: Callable[[str], bool], quiet: float | None = None) -> None:
        self._known = known
        self._told: set[str] = set()
        """Temporary names that were handed out as there: `known` may hear of them later."""
        self._burst = Debounce(quiet)
        self._most = max(_HELD_MOST, quiet or 0.0)
        self._last = 0.0
        self._seen: dict[str, bool] = {}
        """Path to whether it is there."""
        self._new: set[str] = set()
        """Temporary names that came in this burst, so that their going leaves nothing behind."""

    def began(self, now: float) -> None:
        """What is about to be told began to happen then."""
        self._burst.touch(now)

    def saw(self, path: str, now: float, *, gone: bool = False) -> None:
        """Something happened to `path`, which is there, or gone, as of now."""
        self._burst.touch(now)
        self._last = now
        if is_temporary(path):
            if gone and path not in self._seen and not self._was_there(path):
                # It came and went before anyone looked.
                return
            if not gone and path not in self._seen:
                if not self._was_there(path):
                    self._new.add(path)
            elif gone and path in self._new:
                self._new.discard(path)
                del self._seen[path]
                return
        self._seen[path] = not gone

    def _was_there(self, path: str) -> bool:
        return path in self._told or self._known(path)

    @property
    def due(self) -> float | None:
        """When to take what was gathered if nothing else comes; None when nothing was."""
        due = self._burst.due
        if due is None:
            return None
        if any(not there or is_temporary(path) for path, there in self._seen.items()):
            due = max(due, self._last + _GRACE)
        return min(due, self._burst.first + self._most)

    def take(self, now: float) -> Gathered | None:
        """What was gathered, when it is due; None when it is not, or nothing is left of it."""
        due = self.due
        if due is None or now < due:
            return None
        began = self._burst.first
        # Who saves one file again as soon as its answer is there is no storm with small pauses.
        self._burst.flush(now, calm=len(self._seen) <= _FEW)
        seen, self._seen = self._seen, {}
        self._new.clear()
        for path, there in seen.items():
            if not there:
                self._told.discard(path)
            elif is_temporary(path):
                self._told.add(path)
        if not seen:
            return None
        return Gathered(
            tuple(sorted(path for path, there in seen.items() if there)),
            tuple(sorted(path for path, there in seen.items() if not there)),
            began,
        )
