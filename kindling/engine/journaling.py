"""The journal of a session: every event and what the scheduler answered, so that it can be
replayed."""

from __future__ import annotations

from kindling.errors import StoreError
from kindling.graph.codec import command_to_json, event_to_json
from kindling.graph.event import Command, Event
from kindling.store.journal import Journal

__all__ = ["JournalWriter"]


class JournalWriter:
    """Appends one row per event to the store's journal.

    A row that cannot be written is the end of the journal: with a gap it would replay to something
    else, and a full disk is no reason to end the session.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ended = False

    def write(self, event: Event, commands: tuple[Command, ...]) -> StoreError | None:
        """Add what happened and what followed from it; the error that ended the journal just
        now."""
        if self._ended:
            return None
        row = {"event": event_to_json(event), "commands": [command_to_json(c) for c in commands]}
        try:
            self._journal.append("step", row, at=event.at)
        except StoreError as error:
            self._ended = True
            return error
        return None

    def close(self) -> None:
        """The session is over."""
        self._journal.close()
