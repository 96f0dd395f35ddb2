"""The graph: nodes, edges, keys, the scheduler, and what can be said about them.

Everything here is pure: plain values in, plain values out. No await, no clock, no disk, no process.
That is what makes a session replayable and the scheduler testable against an oracle.
"""
