"""DevStagingEnvironments and runner pools as pure functions: what must stand, and how it stands.

A declared environment goes in, the objects that it needs come out; live children go in, a status
comes out. No cluster, no disk, no clock: time and randomness are handed in. Whoever watches the
cluster and writes to it lives elsewhere and decides nothing.
"""
