"""Loops that make what is there equal to what was asked for."""
