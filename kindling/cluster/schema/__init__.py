"""Fields of every kind: shapes, defaults, validation and OpenAPI. Pure."""
