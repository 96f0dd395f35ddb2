"""The agent in the container: what it speaks, how it is built, and how a big file travels as a
difference.

`source/` is the agent itself, freestanding C; PROTOCOL.md is what both sides keep to. `protocol` is
the codec, pure; `delta` finds what two versions of a file have in common, pure as well; `binary`
builds the agent with the machine's C compiler. Nothing here knows clusters: who starts the agent
and joins its standard input and output to these frames lives above.
"""
