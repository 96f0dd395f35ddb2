"""What an agent refuses is said with what to do about it."""

from __future__ import annotations

from kindling.sync.agent.frames import Refused
from kindling.sync.transport.trouble import error_of


def test_who_may_not_write_is_named_with_what_to_do() -> None:
    error = error_of([Refused(1, 13, b"srv/app/server", "")], "web/main", 65532)
    assert "Cannot change `/srv/app/server` in web/main: permission denied" in error.message
    assert "runs as user 65532" in error.hint
    assert "Make `/srv/app` that user's in the image (`COPY --chown=65532`)" in error.hint
    error = error_of([Refused(1, 13, b"manager", "")], "web/main", 65532)
    assert "a folder of that user's (`COPY --chown=65532 manager /app/`)" in error.hint
