"""The OpenAPI documents of what is served: version 3 by group and version, version 2 as a whole."""
