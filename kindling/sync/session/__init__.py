"""A sync session: one workload, its containers, and a source tree that they are kept equal to.

order      what is asked of a session, and what a change came to
session    what others call
beginning  what runs in the containers, and what follows from it; nothing is touched
looking    the first process of a container, read through a link
crew       a session at work: catching up, changes, builds, in step
keeping    containers that come, restart, get lost and drift
watching   programs that end by themselves
task       a change, and what the containers' answers come to (pure)
fleet      all replicas: they come and go, none delays the others
serving    one container: files, commands, the program; and what it answered
replica    what one container holds, as far as we know, and how it is made equal
known      that knowledge, kept up to date (pure)
routes     destinations that are links in the image (pure)
acting     signals and restarts
effects    whether they had an effect (pure)
sourced    the source as what containers should hold
artefact   what a build made, as what they should hold
workshop   the last good build, and where it belongs
building   builds on this machine
latest     never two at once, and the last wish is served
"""
