"""The page that the pod serves is the page in `site/`."""

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

EXPECTED = Path("site/index.html").read_bytes()


def fetch(address: str) -> bytes:
    """What is served just now; the error as text while nothing is."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError) as error:
        return str(error).encode()


deadline = time.monotonic() + 60
while (got := fetch(sys.argv[1])) != EXPECTED:
    if time.monotonic() > deadline:
        sys.exit(f"{sys.argv[1]} serves {got!r}")
    time.sleep(0.1)
