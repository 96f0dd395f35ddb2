"""What a launcher says when something cannot be made, in the words that users know from runc."""

from __future__ import annotations

import errno
import os

__all__ = ["Refusal", "reason_of"]


class Refusal(Exception):  # noqa: N818 - it is the name of what is said
    """The message and reason of a `StartError`, on its way to the cluster's process."""

    def __init__(self, message: str, reason: str = "RunContainerError") -> None:
        super().__init__(message)
        self.reason = reason


def reason_of(error: OSError) -> str:
    """`no such file or directory`, as Go words the error."""
    return os.strerror(error.errno or errno.EIO).lower()
