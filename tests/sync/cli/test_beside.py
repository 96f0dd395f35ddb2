"""A destination where the program does not run is remarked upon."""

from __future__ import annotations

import pytest

from kindling.sync.session.beginning import beside
from kindling.sync.session.looking import Seen


@pytest.mark.parametrize(
    ("folder", "argv", "remote"),
    [
        ("/app", ("python", "main.py"), "/app"),
        ("/app/src", ("python", "main.py"), "/app"),
        ("/app", ("python", "main.py"), "/app/src"),
        ("/", ("nginx",), "/usr/share/nginx/html"),
        ("/root", ("python", "/srv/main.py"), "/srv"),
        ("/app", ("python", "main.py"), "/"),
    ],
)
def test_a_destination_that_the_program_may_read_is_not(
    folder: str, argv: tuple[str, ...], remote: str
) -> None:
    assert beside(Seen(argv, folder=folder), [remote]) == ""


@pytest.mark.parametrize("remote", ["/app", "/usr/src/app2"])
def test_one_beside_the_program_is(remote: str) -> None:
    text = beside(Seen(("node", "server.js"), folder="/usr/src/app"), [remote])
    assert text == f"The program runs in `/usr/src/app`, and what is synced lands in `{remote}`"
