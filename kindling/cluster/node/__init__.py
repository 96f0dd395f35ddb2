"""The node: runs the pods that are bound to it, and says how they are."""
