"""Pools of CI runners: the objects of one pool."""
