"""For tests, ours and users': a workbench for whole projects, and stand-ins for the outside world.

Each stand-in is behind one of the narrow Protocols, and passes the same contract test as the real
thing.
"""
