"""A sync session: one workload, its containers, and a source tree that they are kept equal to.

order     what is asked of a session, and what a change came to
replica   what one container holds, as far as we know, and how it is made equal
fleet     all replicas: they come and go, each on its own, none delays the others
looking   what runs in a container, read from its first process
effects   whether what was done to a program had an effect (pure)
acting    signals and restarts
building  builds on this machine, one at a time, the latest wins
artefact  what a build made, as a tree to carry
session   all of it together
"""
