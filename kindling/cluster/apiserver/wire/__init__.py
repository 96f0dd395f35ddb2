"""Kubernetes' protobuf, as far as clients insist on it: bodies are read, nothing is written."""
