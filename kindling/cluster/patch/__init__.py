"""The four patch types and the record of who owns which field. Pure."""
