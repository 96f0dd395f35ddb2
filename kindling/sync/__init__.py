"""Files into running containers: what to carry, how a process takes it up, and the way back.

Decisions here are pure: what differs between two trees, which runtime a container runs and how it
reloads, what a pod template looks like while a session has it. Whoever reads disks and talks to
containers stands above.
"""
