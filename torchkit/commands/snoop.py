"""The report of `torchkit snoop` on an exception: expression, operands, cause and cure, frames.

An exception that torch has no part in is told in Python's own words, which nobody should miss.
Running the script is `snoop_run.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from torchkit.commands.snoop_paths import shown_path
from torchkit.knowledge.problems import Problem, problems
from torchkit.logs.problems import Met, told
from torchkit.logs.reader import read_text
from torchkit.report import Evidence, Finding, Json, ListedLine, Listing, Report, Table, fail
from torchkit.tracing.judging import Reason
from torchkit.tracing.postmortem import (
    Frame,
    PostMortem,
    examine,
    linked,
    traceback_of,
)
from torchkit.tracing.reasons import reason
from torchkit.tracing.run import Ended, without_ours
from torchkit.tracing.workers import examined, is_text_alone

UNKNOWN = "exception"
"""Id of an exception that the catalogue does not know."""

MOST_TOLD = 4
"""So many exceptions of a chain or group are explained."""


class PythonsWords(NamedTuple):
    """What Python itself would have written to stderr; `is_all`: a report would add nothing."""

    text: str
    is_all: bool


class _Explained(NamedTuple):
    """One exception of those that belong together, and what is known of it."""

    seen: PostMortem
    how: str
    met: Met | None
    said: Reason

    @property
    def is_worth_telling(self) -> bool:
        """Whether more can be said of it than Python does."""
        if self.met is not None or self.said.cause:
            return True
        return bool(self.seen.operands) and not self.seen.is_pythons


def report_of(ended: Ended) -> Report:
    """The report on the exception that ended it."""
    if ended.error is None:
        raise ValueError("it ended well")
    return _report_on(_chain(ended.error))


def report_on(seen: PostMortem) -> Report:
    """The report on what was seen of an exception."""
    return _report_on([_explained(seen, "raised")])


def told_of(ended: Ended, *, by_hook: bool = True) -> tuple[Report, PythonsWords]:
    """The report on the exception that ended it, and what Python itself would say.

    Of the latter nothing where a report says all of it. With `by_hook` a hook that the script has
    put into `sys.excepthook` is called, as Python would, and what it writes is its own.
    """
    if ended.error is None:
        raise ValueError("it ended well")
    chain = _chain(ended.error)
    telling = [it for it in chain if it.is_worth_telling]
    is_explained = any(it.how != "context" for it in telling)
    is_hooked = by_hook and has_hook()
    text = "" if is_explained and not is_hooked else pythons_words(ended.error, by_hook=by_hook)
    return _report_on(chain), PythonsWords(text, is_all=not telling)


def has_hook() -> bool:
    """Whether the script has a hook of its own for exceptions; torch.distributed's only adds the rank."""
    home = str(getattr(sys.excepthook, "__module__", ""))
    return sys.excepthook is not sys.__excepthook__ and not home.startswith("torch.")


def pythons_words(error: BaseException, *, by_hook: bool = True) -> str:
    """What Python would write about an exception; "" where the script's own hook has been called."""
    if not (by_hook and has_hook()):
        return traceback_of(error)
    try:
        sys.excepthook(type(error), error, without_ours(error.__traceback__))
    except Exception as other:  # noqa: BLE001 - a hook of the script's; Python tells both
        words = ("Error in sys.excepthook:\n", traceback_of(other))
        return "".join((*words, "\nOriginal exception was:\n", traceback_of(error)))
    return ""


def _chain(error: BaseException) -> list[_Explained]:
    return [
        _explained(_seen(it.error), it.how) for it in linked(error) if not is_text_alone(it.error)
    ]


def _seen(error: BaseException) -> PostMortem:
    try:
        seen: PostMortem = examined(error)
    except Exception:  # noqa: BLE001 - what a child left behind may be anything
        return examine(error)
    return seen


def _explained(seen: PostMortem, how: str) -> _Explained:
    """What is known of it. The user's exception is never hidden by one of ours."""
    met: Met | None
    try:
        met = _known(seen)
    except Exception:  # noqa: BLE001 - a text that the catalogue cannot be held against
        met = None
    try:
        said = reason(seen)
    except Exception:  # noqa: BLE001 - operands that no judge has thought of
        said = Reason(seen.operands)
    return _Explained(seen, how, met, said)


def _known(seen: PostMortem) -> Met | None:
    """What the catalogue says of the message."""
    found = told(read_text(seen.text or seen.title))
    return found.problems[0] if found.problems else None


def _report_on(chain: Sequence[_Explained]) -> Report:
    shown = [it for it in chain if it.is_worth_telling][:MOST_TOLD] or chain[-1:]
    last = chain[-1].seen
    frames = _whole_way(shown[0].seen.frames, last.frames)
    several = len(shown) > 1
    return Report(
        "snoop",
        findings=tuple(_finding(it, chain, several=several) for it in shown),
        tables=(_frames_table(frames),),
        views=_scope_view(frames),
        listings=tuple(listing for it in shown for listing in _listings(it.seen)),
        headline=shown[0].seen.title if len(shown) == 1 else last.title,
    )


def _finding(one: _Explained, chain: Sequence[_Explained], *, several: bool) -> Finding:
    seen, said = one.seen, one.said
    problem = _problem(one)
    same = one.met if one.met is not None and one.met.problem is problem else None
    cause = said.cause or (same.cause if same is not None else seen.message or seen.error)
    general = same.fix if same is not None and not said.is_all else ()
    fix = said.fix or tuple(it for it in general if fits(seen, it))
    evidence = [
        Evidence("exception", seen.title, shown=several),
        Evidence("expression", seen.expression, shown=False),
        Evidence("file", shown_path(seen.file) if seen.file else "", shown=False),
        Evidence("line", str(seen.line) if seen.line else "", shown=False),
        Evidence("function", seen.function, shown=False),
        Evidence("module", _module(seen)),
        *(Evidence(f"operand {it.name}", it.tensor.text, it.note) for it in said.operands),
        *(Evidence("given", f"{name} = {value}") for name, value in seen.plain),
        *(Evidence("note", note) for note in seen.notes),
        *_around(one, chain),
        Evidence("traceback", chain[-1].seen.traceback, shown=False),
    ]
    verdict = fail(cause, evidence=[it for it in evidence if it.value], fix=fix, brief=seen.title)
    if problem is None:
        return Finding(UNKNOWN, "snoop", verdict)
    return Finding(problem.id, problem.area, verdict, problem.urls[0] if problem.urls else "")


_STAND_IN = (
    r"(?<![\w.'\"])(?:(?P<name>x|y|index|idx|ids|array|model|scores|target|labels|loss|logits|hidden|mask|dim)"
    r"(?=\s=\s|\.[a-z]|\[|[,)])|(?P<script>train\.py))"
)
"""Names that the catalogue writes where it cannot know the user's, as far as they are code."""


def fits(seen: PostMortem, fix: str) -> bool:
    """Whether a fix of the catalogue can be pasted: it names nothing that the expression does not.

    Where the expression is not known, all of them are advice, and are kept.
    """
    if not seen.expression:
        return True
    names = set(re.findall(r"(?<!\.)\b[A-Za-z_]\w*", seen.expression))
    return all(it["name"] in names for it in re.finditer(_STAND_IN, fix))


def _problem(one: _Explained) -> Problem | None:
    """What the catalogue calls it; the operands decide where the message could mean two things."""
    if one.said.id:
        try:
            known = problems().get(one.said.id)
        except Exception:  # noqa: BLE001 - a catalogue that cannot be read hides no exception
            known = None
        if known is not None:
            return known
    return one.met.problem if one.met is not None else None


def _module(seen: PostMortem) -> str:
    if not seen.module_type or not (seen.module or seen.module_path):
        return ""
    return f"{seen.module_path or seen.module}  {seen.module_text}".strip()


def _around(one: _Explained, chain: Sequence[_Explained]) -> list[Evidence]:
    """The other exceptions of the chain, as far as they are not told themselves."""
    found = []
    place = next(n for n, it in enumerate(chain) if it is one)
    for number, it in enumerate(chain):
        if it is one or it.is_worth_telling or it.how == "of a group":
            continue
        name = "before" if number < place else "then"
        name = "beside" if it.how == "in a group" else name
        where = f"{shown_path(it.seen.file)}:{it.seen.line}" if it.seen.file else ""
        found.append(Evidence(name, " · ".join((it.seen.title, *it.seen.notes)), where))
    return found


def _listings(seen: PostMortem) -> tuple[Listing, ...]:
    if not seen.source:
        return ()
    title = f"{shown_path(seen.file)}:{seen.line} in {seen.function}"
    lines = tuple(ListedLine(it.number, it.text, it.start, it.end) for it in seen.source)
    return (Listing(title, lines),)


def _whole_way(inner: Sequence[Frame], outer: Sequence[Frame]) -> Sequence[Frame]:
    """The frames of an exception, and those around the one that caught it, the innermost first."""
    if not inner or inner == outer:
        return outer
    for number, frame in enumerate(outer):
        if (frame.file, frame.function) == (inner[-1].file, inner[-1].function):
            return (*inner, *outer[number + 1 :])
    return inner


_COLUMNS = ("file", "line", "function", "name", "tensor")


def _frames_table(frames: Sequence[Frame]) -> Table:
    rows: list[dict[str, Json]] = []
    for frame in frames:
        place: dict[str, Json] = {
            "file": shown_path(frame.file), "line": frame.line, "function": frame.function,
        }  # fmt: skip
        for it in frame.tensors or (None,):
            rows.append(
                {**place, "name": it.name if it else None, "tensor": it.tensor.text if it else None}
            )
    return Table("frames", _COLUMNS, tuple(rows))


def _once(frames: Sequence[Frame]) -> list[Frame]:
    """Without those that are the same as the one before, as in a recursion."""
    return [it for number, it in enumerate(frames) if number == 0 or it != frames[number - 1]]


def _scope_view(frames: Sequence[Frame]) -> tuple[Table, ...]:
    """Every frame of the user's, as Python lists them; with its tensors, or else its line."""
    rows = tuple(
        {
            "area": f"{shown_path(frame.file)}:{frame.line} {frame.function}",
            "value": " · ".join(f"{it.name} {it.tensor.text}" for it in frame.tensors)
            or frame.code,
        }
        for frame in _once(frames)
    )
    return (Table("also in scope", ("area", "value"), rows),) if rows else ()
