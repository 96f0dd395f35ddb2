"""The cluster as seen over the wire: contexts, requests, watches, logs, exec, port-forwards.

The only room that imports `kubernetes` (and the `aiohttp` beneath it), and only inside functions:
the import takes some 400 ms, which nobody should pay who talks to no cluster. Objects are the JSON
that the API server speaks. Nothing here knows what a node is, and nothing here ever runs `kubectl`.
"""
