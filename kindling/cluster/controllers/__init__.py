"""Loops that make what is there equal to what was asked for.

`manager` runs them on shared watches, each with a queue of keys (`work`); `catalog` names them. A
controller is level-triggered: it reads the state as it is, does the next thing and writes what it
saw, so that it may be cut off at any moment. What decides is pure where it can be: `rolling`,
`progress`, `job_rules`, `cron`, `fit`, `backends`, `stateful_pods`, `ranking`.

Everything goes through `Api`. Nothing here knows of processes, images or HTTP.
"""
