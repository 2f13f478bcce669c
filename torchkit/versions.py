"""Versions that compare as `packaging` compares them and print as they were read.

`packaging` prints driver 470.57.02 as 470.57.2; the user's own tools print the zero, so do we.
"""

from __future__ import annotations

from packaging.version import InvalidVersion
from packaging.version import Version as _Version

__all__ = ["InvalidVersion", "Version", "as_version"]


class Version(_Version):
    """A PEP 440 version that keeps its text.

    `packaging` 26 derives versions from one another without calling `__init__`; those have no
    text of their own and print as it prints them.
    """

    _text: str | None = None

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text.strip().lstrip("vV")  # "v2.13" is not split at its dots by packaging 26.0

    def __reduce__(self) -> tuple[type[Version], tuple[str]]:
        return (type(self), (str(self),))

    def __str__(self) -> str:
        return super().__str__() if self._text is None else self._text

    def __repr__(self) -> str:
        return f"<Version({str(self)!r})>"

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    @property
    def base(self) -> str:
        """The release without local tag or pre-release: "2.13.0" of "2.13.0+cpu"."""
        return ".".join(str(part) for part in self.release)

    @property
    def series(self) -> str:
        """Major and minor: "2.13" of "2.13.0+cpu"."""
        return f"{self.major}.{self.minor}"


def as_version(text: str | None) -> Version | None:
    """The version in `text`, or None where there is none that can be compared."""
    if text is None:
        return None
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, and Python's refusal of numbers of thousands of digits
        return None
