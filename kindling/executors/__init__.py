"""Executors: one module per node kind, all behind the Protocol in `protocol`.

An executor may use the rooms below (`build`, `kube`, `files`, `store`, `graph`) and knows nothing
of sessions, the terminal or the Kindlingfile. It never raises to its caller: it returns an outcome.
"""
