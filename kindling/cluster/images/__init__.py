"""OCI images: references, pulls, layers, the Dockerfile builder and a registry of our own."""
