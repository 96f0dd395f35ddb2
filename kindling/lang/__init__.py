"""The language: from a Kindlingfile to declarations, and from declarations to a graph.

`evaluate` runs a file and yields `declared` values; `assemble` makes a graph of them. The only room
that imports `starlark`. Evaluation declares and reads; it writes nothing and deploys nothing
(`local()` runs what the user says). Nothing here talks to a cluster or a container engine: what it
must know of them comes in through the Protocols of `inputs`.
"""
