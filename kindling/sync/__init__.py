"""Files into running containers: what to carry, how a process takes it up, and the way back.

Pure decisions lie in rooms of their own: what differs between two trees (`trees`), what a change of
files means (`rules`), which runtime a container runs and how it reloads (`runtimes`), what a pod
template looks like while a session has it (`template`). Above them stand those who reach out: the
local files (`source`), the way into a container (`transport`), the workload and the way back
(`workload`), and the session that joins them (`session`). `protocol` is what these are to each
other, `notices` what a session tells.
"""
