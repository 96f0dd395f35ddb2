"""Ask the running service for its page and its health. Usage: smoke.py ADDRESS"""

import sys
import time
from urllib.error import URLError
from urllib.request import urlopen


def get(address: str, until: float) -> str:
    """The answer's text. A port-forward that is still being opened is given until `until`."""
    while True:
        try:
            with urlopen(address, timeout=5) as answer:
                return answer.read().decode()
        except (URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def main() -> None:
    address = sys.argv[1].rstrip("/")
    until = time.monotonic() + 20
    assert get(f"{address}/healthz", until) == "ok\n"
    page = get(f"{address}/", until)
    assert "</html>" in page, f"this is no page: {page[:80]!r}"
    print(f"{address} serves the page")


if __name__ == "__main__":
    main()
