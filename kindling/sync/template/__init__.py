"""Pod templates: as they were, while a session has them, and the exact way back.

Pure: manifests in, manifests and JSON patches out. Deployments and StatefulSets.
"""
