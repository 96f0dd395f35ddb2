"""A workload while a session has it: taken with a record, followed pod by pod, and given back.

records    what the way back needs, one file per session, written before anything is touched
liveness   whether the process that has a session still lives
finding    the workload that a word on the command line means
argv       the container's own command, from wherever it can be learnt
agents     the ConfigMap that holds the agent, and a copy of the record for other machines
taking     record, ConfigMap, patch, in this order; the refusal of a second session
hold       the session's pods as they come and go
choosing   which containers of which pods those are, and what is waited for (pure)
renewing   after a deployment of one's own changed the template during the session
restoring  the way back: at the end, after a crash, from another machine
replacing  pods made fresh one by one, where no template does it
"""
