"""Which of several programs is meant, and the messages when that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

from kindling.sync.runtimes.build import SAY_IT, CannotTellError

__all__ = ["choose", "foreign", "missing"]


def choose(what: str, names: Sequence[str], runs: str, place: str) -> str:
    """The only name, or the one that runs in the container."""
    unique = sorted(set(names))
    if len(unique) == 1:
        return unique[0]
    if runs in unique:
        return runs
    if not unique:
        raise CannotTellError(f"{place}: no {what} was found to build.", hint=SAY_IT)
    raise CannotTellError(
        f"{place}: there are several {what}s [{', '.join(unique)}], and none is called"
        f" `{runs}` as the program in the container.",
        hint=SAY_IT,
    )


def missing(language: str, wanted: str) -> CannotTellError:
    return CannotTellError(
        f"The source folder has no {wanted}, so what {language} builds there cannot be told.",
        hint=SAY_IT,
    )


def foreign(language: str, place: str) -> CannotTellError:
    return CannotTellError(
        f"{place}: {language} does not build for another processor than this machine's by itself.",
        hint=f"{SAY_IT} Or rebuild the image.",
    )
