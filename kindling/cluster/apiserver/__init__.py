"""The API over HTTP: credentials, routing, printing, discovery and streams."""
