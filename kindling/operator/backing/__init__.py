"""The fifteen kinds of backing service that an environment may depend on."""
