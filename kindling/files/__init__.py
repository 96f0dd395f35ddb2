"""The files of a project: which of them count, what they hold, and that they changed.

Ignore patterns, manifests of trees, the stat cache and watching. The only importer of watchdog.
Nothing here knows nodes, keys or clusters: it turns file sets into entries and events into batches
of paths.
"""
