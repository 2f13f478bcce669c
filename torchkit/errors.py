"""The errors a user can put right. Standard library only.

Everything else stays a traceback: it is our bug, and hiding it costs the user an evening.
"""

from __future__ import annotations


class TorchkitError(Exception):
    """Something the user can put right: shown as two lines on stderr, exit code 2.

    `message` says what is wrong, with found and needed; `hint` says what to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(TorchkitError):  # noqa: N818 - it is what the user gave, not an accident
    """An option, expression or file that cannot be used as it is."""


class BadTarget(TorchkitError):  # noqa: N818 - same
    """A TARGET that is not there, or that fails while it is imported or made."""
