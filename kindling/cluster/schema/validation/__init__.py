"""What the API server refuses in built-in kinds, by group.

Paths, order and wording follow `pkg/apis/*/validation` of k8s.io/kubernetes at v1.32. The checks
are those that people meet; fields of volume sources of single vendors, for one, are not looked at.
"""
