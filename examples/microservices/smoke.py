"""Order a kettle and see it shipped, through the gateway. Usage: smoke.py ADDRESS"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.request import Request, urlopen

SECONDS = 60


def ask(address: str, content: object = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    with urlopen(Request(address, data=data), timeout=10) as answer:
        return json.loads(answer.read())


def patient(address: str, until: float, content: object = None) -> Any:
    """The answer's content. Until `until`, a port-forward is still being opened, and a Service may
    lead to a pod that was just replaced, which is the gateway's 502."""
    while True:
        try:
            return ask(address, content)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def main() -> None:
    address = sys.argv[1].rstrip("/")
    until = time.monotonic() + SECONDS
    before = patient(f"{address}/stock", until)["kettle"]
    order = patient(f"{address}/orders", until, {"item": "kettle"})
    left = patient(f"{address}/stock", until)["kettle"]
    assert left == before - 1, f"{left} kettles are left of {before}"
    while True:
        [found] = [one for one in patient(f"{address}/orders", until) if one["id"] == order["id"]]
        if found["state"] == "shipped":
            break
        assert time.monotonic() < until, f"order {order['id']} is still {found['state']}"
        time.sleep(0.2)
    print(f"order {order['id']} is shipped, {left} kettles are left")


if __name__ == "__main__":
    main()
