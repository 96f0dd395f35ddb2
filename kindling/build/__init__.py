"""Images: how they are built, named, found again and carried to a cluster.

The only room that imports `docker`. It knows engines, registries and build contexts; it knows
nothing of nodes, keys or sessions. Blocking libraries run in threads here, so that callers only
await.
"""
