"""Faces: listeners of the notices of a session, and the text of plans, reasons and states.

Everything here reads values and writes text. It never decides anything, never reaches into the
graph or the engine to change them, and never raises because of what it was told.
"""
