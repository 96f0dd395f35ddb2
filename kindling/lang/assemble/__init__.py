"""From declarations to a graph: what is one resource, which image goes where, what waits for what.

`assembly.assemble` is the only way in. It is pure but for the Dockerfiles that it is handed a
reader for: no cluster, no engine, no process. What it must know of the target comes as
`TargetFacts`.
"""
