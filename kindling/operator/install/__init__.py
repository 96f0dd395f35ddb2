"""The operator in the cluster: what it consists of, with which rights, and how it gets there.

`rights` and `manifests` are pure. `applying`, `waiting` and `removal` write and read through the
narrow door of `kindling.kube.protocol`. What a user is told about it is in docs/operator.md.
"""
