"""Custom kinds: structural schemas and what is done with them (apiextensions-apiserver `pkg`)."""
