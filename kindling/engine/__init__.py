"""The engine: joins language, graph, store and executors into a session.

It decides nothing that `graph` can decide and prints nothing: it turns what happens into events for
the scheduler, the scheduler's commands into work, and both into notices for whoever listens.
"""
