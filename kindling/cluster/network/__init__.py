"""Service addresses, DNS and ingress, in the node's own network."""
