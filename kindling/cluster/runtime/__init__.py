"""Processes as containers: namespaces, root file systems, limits, and plain processes without
them."""
