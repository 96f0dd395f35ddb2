"""What the API server fills in, by group. Each function changes an object that is the caller's own.

The rules follow `defaults.go` of each group in k8s.io/kubernetes v1.32 `pkg/apis`, and what the
registries of `pkg/registry` add before they store. What needs other objects (service accounts,
priority classes, cluster addresses) is admission, and the registry's.
"""
