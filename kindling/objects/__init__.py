"""Kubernetes objects as plain values: identity, order, pod templates, image references.

Pure functions over manifests, shared by the language (which groups objects into resources) and by
the cluster client (which applies them). No cluster, no disk.
"""
