"""The line format of the package torchsnooper, for functions chosen by name.

Its tracer is told which code objects to follow while the script runs, so nothing is edited.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from torchkit.errors import BadInput
from torchkit.tracing.lines import Follower, qualified
from torchkit.tracing.stand_in import lend_pkg_resources, take_back_pkg_resources


def import_torchsnooper() -> Any:
    """The package, also beside a setuptools without `pkg_resources`. Raises BadInput without it."""
    lend_pkg_resources()
    try:
        import torchsnooper  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise BadInput(
            f"--engine torchsnooper needs the package: {error}", hint="pip install torchsnooper"
        ) from None
    finally:
        take_back_pkg_resources()
    return torchsnooper


class ClassicFollower:
    """A context in which functions whose names match are traced by torchsnooper, to stderr."""

    def __init__(self, globs: Sequence[str], *, calls: int) -> None:
        package = import_torchsnooper()
        import pysnooper.tracer  # type: ignore[import-untyped, unused-ignore]

        self.tracer = package.snoop(color=_may_colour())
        self.thread_state = pysnooper.tracer.thread_global
        self.chooser = Follower(globs, calls=calls, depth=0, tell=lambda _: None)
        self.calls = calls

    @property
    def matched(self) -> set[str]:
        """Names of functions that were traced."""
        return self.chooser.matched

    def __enter__(self) -> ClassicFollower:
        self.before = sys.gettrace()
        self.before_threads = getattr(threading, "gettrace", lambda: None)()  # from Python 3.10 on
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.gettrace() == self._trace:  # else the script has put another one there
            sys.settrace(self.before)
        threading.settrace(self.before_threads)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event != "call" or not self.chooser.wants(frame.f_code):
            return None
        code = frame.f_code
        if self.chooser.counts.get(code, 0) >= self.calls:
            return None
        self.chooser.counts[code] = self.chooser.counts.get(code, 0) + 1
        self.chooser.matched.add(qualified(frame))
        self.thread_state.__dict__.setdefault("depth", -1)
        self.tracer.target_codes.add(code)
        self.tracer.target_frames.add(frame)
        return self.tracer.trace(frame, event, argument)


def _may_colour() -> bool:
    """Whether somebody reads stderr on a terminal, and wants colours."""
    stream = sys.stderr
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
