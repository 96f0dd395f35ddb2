"""What is carried where sources are not: the last good build, and where it belongs over there.

A place is never changed under those who bring: what lands on another one is another artefact, so
that whoever was served from the old one is to be served anew.
"""

from __future__ import annotations

import asyncio

from kindling.sync.notices import Built
from kindling.sync.protocol import Link
from kindling.sync.session.artefact import Artefact
from kindling.sync.session.beginning import Beginning, destination_of, landing_place
from kindling.sync.session.building import Builder
from kindling.sync.template.patch import CONTROL_FOLDER

__all__ = ["ASIDE", "Workshop"]

ASIDE = f"{CONTROL_FOLDER}/program"
"""What the supervising agent runs in the place of the program, where it is there."""


class Workshop:
    """Builds, and keeps what came of it. `artefact` is None before the first good build."""

    def __init__(self, builder: Builder, beginning: Beginning) -> None:
        self.artefact: Artefact | None = None
        self._builder = builder
        self._beginning = beginning
        self._place = beginning.place
        """Where it lands; None: it could not be looked for yet."""
        self._making = asyncio.Lock()
        """Held while it becomes another one."""

    async def make(self) -> tuple[Built, tuple[str, ...]]:
        """Build; the places that are another thing now. A build that fails changes nothing."""
        async with self._making:
            built = await self._builder.build()
            output = self._builder.output
            if not built.ok or output is None:
                return built, ()
            if self.artefact is None:
                place = self._place
                if place is None:
                    place = destination_of(self._beginning.source)
                self.artefact = self._empty(place)
            return built, await self.artefact.read(output)

    @property
    def lands(self) -> str | None:
        """The place that it lands on; None before the first good build."""
        return None if self.artefact is None else self.artefact.place

    async def aside(self) -> str | None:
        """Let it land where the supervisor runs it from, since the program may not be replaced: the
        place where it landed until now. None: it does already, or the supervisor runs another."""
        place = ASIDE.strip("/")
        if not self._beginning.replaces:
            return None
        async with self._making:
            made = self.artefact
            if made is None or made.place == place:
                # Another container was as quick.
                return None
            await self._move(place)
            return made.place

    async def settle_place(self, link: Link) -> None:
        """Find out where it belongs, before it is brought for the first time.

        Raises:
            ClusterError: The container cannot be asked.
        """
        found = self._beginning
        if self._place is not None or self.artefact is None:
            return
        destination = destination_of(found.source)
        place = await landing_place(found.detection, found.strategy, found.seen, destination, link)
        async with self._making:
            # Unless another container has said it meanwhile.
            if self._place is None:
                await self._move(place)

    async def _move(self, place: str) -> None:
        """It lands on this one. For whoever has `_making`."""
        output = self._builder.output
        assert output is not None
        moved = self._empty(place)
        await moved.read(output)
        self.artefact, self._place = moved, place

    def _empty(self, place: str) -> Artefact:
        return Artefact(place, folder=self._builder.job.folder, making=self._making)
