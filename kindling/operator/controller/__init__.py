"""The operator at work: it watches environments and runner pools and writes what they say."""
