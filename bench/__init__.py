"""Benchmarks: kindling beside its peers, on the same input, in one run.

`bench/run` prints one table. Everything that is measured is a whole process as a person would start
it, unless the table says otherwise. Nothing here is a test: figures depend on the machine.
"""
