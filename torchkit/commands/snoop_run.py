"""`torchkit snoop`: run a script untouched, and when it breaks say which tensor is the trouble.

The script's stdout is its own, and so is its exit status; the report goes to stderr and, where
`--report` says so, to a file. torch is loaded by the script alone, unless operations are watched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from torchkit.errors import BadInput
from torchkit.report import Report
from torchkit.tracing.run import Ended, run_module, run_script
from torchkit.tracing.shadowing import at_home

ENGINES = ("torchkit", "torchsnooper")

_TARGET = re.compile(r"[^:\s]+(?:\.py)?:[A-Za-z_][\w.]*(?:\(.*\))?", re.DOTALL)


class Question(NamedTuple):
    """What the command line asks of snoop, option by option."""

    what: Sequence[str] = ()
    is_module: bool = False
    cuda_sync: bool = False
    nan: bool = False
    inf: bool = False
    inplace: bool = False
    exact: bool = False
    functions: Sequence[str] = ()
    calls: int = 3
    depth: int = 0
    engine: str = "torchkit"
    inputs: Sequence[str] = ()
    batch_size: int = 1
    no_batch: bool = False
    dtype: str | None = None
    device: str = "cpu"
    backward: bool = False


class Snooped(NamedTuple):
    """How the script ended: its own status, and the report where there is something to say.

    `words` are what Python itself would have written, where that is not to be left out; where
    `words_are_all`, the report says nothing more to somebody who reads them.
    """

    status: int
    report: Report | None
    words: str = ""
    words_are_all: bool = False


def names_a_target(text: str) -> bool:
    """Whether this is `model.py:Net` or `package.module:Net`, and no script."""
    return _TARGET.fullmatch(text) is not None and not Path(text).exists()


def run(question: Question) -> Snooped:
    """Run it. Raises BadInput where there is nothing to run, or options do not go together."""
    _check(question)
    if question.cuda_sync:
        os.environ["CUDA_LAUNCH_BLOCKING"] = "1"
    watch = watch_of(question)
    ended = _run(question, watch)
    with at_home():
        _keep_source(ended)
        return _snooped(question, ended, watch)


def _snooped(question: Question, ended: Ended, watch: AbstractContextManager[Any]) -> Snooped:
    trace = trace_of(question, watch)
    if ended.error is None:
        return Snooped(ended.status, _handled_report(ended) or trace or came_in_report(watch))
    if isinstance(ended.error, KeyboardInterrupt):
        return Snooped(ended.status, trace, _interrupted(ended.error))
    told = told_by(ended, watch)
    report = with_trace(told.report, trace)
    return told._replace(report=report, words_are_all=told.words_are_all and trace is None)


def _interrupted(error: KeyboardInterrupt) -> str:
    from torchkit.commands.snoop import pythons_words

    return pythons_words(error)


def told_by(ended: Ended, watch: AbstractContextManager[Any], *, by_hook: bool = True) -> Snooped:
    """What is said of an exception: by what watched the operations, or of the exception itself."""
    report = _watched_report(ended, watch)
    if report is not None:
        return Snooped(ended.status, report)
    try:
        from torchkit.commands.snoop import told_of

        report, words = told_of(ended, by_hook=by_hook)
        exactly = getattr(watch, "operands_of", None)
        called = exactly(ended.error) if exactly is not None else None
        if called is not None:
            from torchkit.commands.snoop_exact import with_exact

            report = with_exact(report, called)
    except Exception:  # noqa: BLE001 - the script's exception must not be hidden by one of ours
        return Snooped(ended.status, None, _pythons_words(ended))
    return Snooped(ended.status, report, words.text, words.is_all)


def _pythons_words(ended: Ended) -> str:
    import traceback

    if ended.error is None:
        return ""
    return "".join(traceback.format_exception(type(ended.error), ended.error, ended.traceback))


def _handled_report(ended: Ended) -> Report | None:
    """On what the script was handling when it ended itself; only where torch had a part in it."""
    if ended.status == 0 or not isinstance(ended.handled, Exception):
        return None
    from torchkit.commands.snoop import report_of
    from torchkit.tracing.postmortem import examine

    if not examine(ended.handled).is_torchs:
        return None
    return report_of(Ended(ended.status, ended.handled))


def _keep_source(ended: Ended) -> None:
    """The script as it was run: it may have been edited, or deleted, in the meantime."""
    if ended.source is None:
        return
    import io
    import linecache
    import tokenize

    file, source = ended.source
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = io.TextIOWrapper(io.BytesIO(source), encoding).read()
    except (SyntaxError, ValueError, LookupError):
        return
    lines = [f"{line}\n" for line in text.split("\n")]
    linecache.cache[file] = (len(source), None, lines, file)


def _run(question: Question, watch: AbstractContextManager[Any]) -> Ended:
    name, *arguments = question.what
    if question.is_module:
        return run_module(name, arguments, watch)
    if names_a_target(name):
        from torchkit.commands.snoop_target import run_target

        return run_target(name, question, watch)
    return run_script(name, arguments, watch)


def _check(question: Question) -> None:
    if not question.what:
        raise BadInput("there is nothing to run", hint="torchkit snoop train.py --epochs 1")
    check_options(question)
    is_target = not question.is_module and names_a_target(question.what[0])
    if (question.inputs or question.backward) and not is_target:
        raise BadInput(
            "--input and --backward are for a model such as model.py:Net, not for a script",
            hint="torchkit snoop model.py:Net --input 3,224,224 --backward",
        )
    if is_target and len(question.what) > 1:
        raise BadInput(
            f"{question.what[1]!r} is one argument too many for {question.what[0]}",
            hint="torchkit snoop model.py:Net --input 3,224,224",
        )


def check_options(question: Question) -> None:
    """Raises BadInput for options that do not go together."""
    if question.engine not in ENGINES:
        raise BadInput(
            f"--engine {question.engine!r} is not known", hint=f"choose {' or '.join(ENGINES)}"
        )
    if question.engine == "torchsnooper" and not question.functions:
        raise BadInput(
            "--engine torchsnooper traces functions, and none is named",
            hint="torchkit snoop --engine torchsnooper --function train_step train.py",
        )
    if question.calls < 1 or question.depth < 0:
        raise BadInput("--calls is 1 or more and --depth 0 or more", hint="e.g. --calls 3")
    ways = [
        name
        for name, is_on in (
            ("--nan", question.nan or question.inf),
            ("--inplace", question.inplace),
            ("--exact", question.exact),
            ("--function", bool(question.functions)),
        )
        if is_on
    ]
    if len(ways) > 1:
        raise BadInput(f"{' and '.join(ways)} are both given", hint="one at a time")


# --- what watches


def watch_of(question: Question) -> AbstractContextManager[Any]:
    """What watches the operations or functions."""
    if question.functions:
        return _follower(question)
    if not (question.nan or question.inf or question.inplace or question.exact):
        return nullcontext()
    from torchkit.model.presence import need_torch

    need_torch()  # a mode has to be there before the script is
    if question.exact:
        from torchkit.tracing.exact import Exact

        return Exact()
    if question.inplace:
        from torchkit.tracing.inplace import Recorder

        return Recorder()
    from torchkit.tracing.nan import Hunter

    return Hunter(inf=question.inf)


def _follower(question: Question) -> AbstractContextManager[Any]:
    if question.engine == "torchsnooper":
        from torchkit.tracing.classic import ClassicFollower

        return ClassicFollower(question.functions, calls=question.calls)
    from torchkit.commands.snoop_lines import Teller
    from torchkit.tracing.lines import Follower

    return Follower(question.functions, calls=question.calls, depth=question.depth, tell=Teller())


def trace_of(question: Question, watch: AbstractContextManager[Any]) -> Report | None:
    """The report on functions that were followed; None where none were to be."""
    if not question.functions:
        return None
    from torchkit.commands.snoop_lines import trace_report

    return trace_report(watch, question.functions)


def _watched_report(ended: Ended, watch: AbstractContextManager[Any]) -> Report | None:
    """What the watcher has to say of the end; None where it is an exception of the script's own."""
    found = getattr(ended.error, "found", None)
    if found is not None and type(ended.error).__name__ == "StopAtFirst":
        from torchkit.commands.snoop_nan import report_of as nan_report

        return nan_report(found)
    called = getattr(ended.error, "called", None)
    if called is not None and type(ended.error).__name__ == "StopAtMixed":
        from torchkit.commands.snoop_exact import report_on_mixed

        return report_on_mixed(called)
    both = getattr(watch, "both", None)
    if both is None or ended.error is None:
        return None
    from torchkit.commands.snoop_inplace import report_of as inplace_report

    return inplace_report(ended, both)


def came_in_report(watch: AbstractContextManager[Any]) -> Report | None:
    """On NaN that no operation made, after an end without an exception; None where there was none."""
    found = getattr(watch, "came_in", None)
    if found is None:
        return None
    from torchkit.commands.snoop_nan import came_in_report as report_on

    return report_on(found)


def with_trace(report: Report | None, trace: Report | None) -> Report | None:
    """The report on the end, with the trace that led there."""
    if trace is None or report is None:
        return report or trace
    import dataclasses

    return dataclasses.replace(report, tables=(*report.tables, *trace.tables))
