"""Where in the user's own code something is done, kept cheaply: looked up only when it is told."""

from __future__ import annotations

import ast
import marshal
import sys
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, NamedTuple

from torchkit.tracing.expressions import Place, node_of, place_of, source_of
from torchkit.tracing.postmortem import is_users


class Spot(NamedTuple):
    """An instruction of the user's code."""

    code: CodeType
    instruction: int
    line: int

    def __reduce__(self) -> Any:
        """A process that was forked can tell of it."""
        return _told, (marshal.dumps(self.code), self.instruction, self.line)

    @property
    def place(self) -> Place:
        """The stretch of source."""
        place = place_of(self.code, self.instruction, self.line)
        return place if place.is_exact else _by_executing(self, place)

    @property
    def function(self) -> str:
        """The function it is in: `Net.forward`."""
        name = getattr(self.code, "co_qualname", self.code.co_name)
        return str(name).replace("<locals>.", "")

    @property
    def node(self) -> ast.AST | None:
        """What is done there, as syntax; None where the source cannot be had."""
        place = self.place
        return node_of(place)[0] if place.is_exact else None

    @property
    def narrow(self) -> Place:
        """The stretch of source of what is done, without `return` and `for`."""
        place = self.place
        return node_of(place)[1] if place.is_exact else place

    @property
    def expression(self) -> str:
        """The source of what is done there."""
        return source_of(self.narrow)


def _told(code: bytes, instruction: int, line: int) -> Spot:
    return Spot(marshal.loads(code), instruction, line)  # noqa: S302 - of a process of our own


def _by_executing(spot: Spot, place: Place) -> Place:
    """On Python 3.10 the compiler tells no columns: the package `executing` works them out."""
    if sys.version_info >= (3, 11):
        return place
    try:
        import executing  # type: ignore[import-not-found, unused-ignore]  # only there below 3.11

        like_a_frame = SimpleNamespace(
            f_code=spot.code,
            f_lasti=spot.instruction,
            f_lineno=spot.line,
            f_globals={},
            f_locals={},
        )
        node = executing.Source.executing(like_a_frame).node
        columns = (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
    except Exception:  # noqa: BLE001 - it gives up on unusual code in unusual ways
        return place
    return Place(place.file, columns[0], columns[1], columns[2], columns[3], is_exact=True)


_users: dict[str, bool | None] = {}


def is_users_file(file: str) -> bool | None:
    """Whether a file is the user's own; None of those of torch that call the user's code back."""
    try:
        return _users[file]
    except KeyError:
        known: bool | None = is_users(file)
        path = file.replace("\\", "/")
        if not known and ("/torch/autograd/" in path or "/torch/_functorch/" in path):
            known = None
        _users[file] = known
        return known


_spots: dict[tuple[int, int], Spot] = {}


def spot_of(frame: FrameType) -> Spot:
    """Where a frame is; one object for each instruction, which also keeps its code."""
    code = frame.f_code
    key = (id(code), frame.f_lasti)
    spot = _spots.get(key)
    if spot is None:
        if len(_spots) > 100_000:
            _spots.clear()
        spot = _spots[key] = Spot(code, frame.f_lasti, frame.f_lineno)
    return spot


def here() -> Spot | None:
    """The innermost instruction of the user's own code that is being executed; None in none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_users_file(frame.f_code.co_filename):
            return spot_of(frame)
        frame = frame.f_back
    return None
