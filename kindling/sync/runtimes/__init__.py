"""What a container runs, and how that takes up new files: decided here, done elsewhere.

Everything is pure: bytes of `/proc/1/cmdline` and contents of files come in, values and sentences
go out. `table` is the one list of runtimes, `detect` finds a row of it, `plan` says what follows.
"""
