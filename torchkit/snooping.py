"""Says what snoop has seen: on stderr, and in a file of each rank and process.

Of a script from the command line, of its children, and of code that calls `torchkit.snoop`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torchkit.errors import TorchkitError
from torchkit.tracing.workers import THREAD

if TYPE_CHECKING:
    from torchkit.commands.snoop_run import Question, Snooped
    from torchkit.report import Report
    from torchkit.tracing.workers import Workers


def run_and_tell(question: Question, file: Path | None) -> int:
    """Run a script, with its children followed, and say how it ended; its exit status."""
    from torchkit.commands.snoop_run import run
    from torchkit.tracing.shadowing import at_home

    file = Path.cwd() / file if file is not None else None  # a script may change the directory
    workers = follow_children(file)
    ended = run(question)
    with at_home():
        tell(ended, file, process=_own_name(workers))
    return ended.status


def follow_children(file: Path | None, *, folder: str = "") -> Workers:
    """Have exceptions in threads, processes and workers told, too."""
    from torchkit.tracing.workers import Workers

    def say(error: BaseException, process: str) -> None:
        from contextlib import nullcontext

        from torchkit.commands.snoop_run import told_by
        from torchkit.tracing.run import Ended
        from torchkit.tracing.shadowing import at_home

        is_thread = process.startswith(THREAD)  # a process of multiprocessing tells it itself
        with at_home():
            ended = told_by(Ended(1, error), nullcontext(), by_hook=False)
            tell(ended if is_thread else ended._replace(words=""), file, process=process)

    arguments = {"report": str(file)} if file is not None else {}
    workers = Workers(say, arguments=arguments, folder=folder)
    workers.install()
    return workers


def begin_child(*, report: str = "", folder: str = "") -> None:
    """In a child of the script that started anew: follow it as its parent is followed."""
    follow_children(Path(report) if report else None, folder=folder)


def _own_name(workers: Workers) -> str:
    """Nothing for the script itself; a child that it forked comes by here as well."""
    return "" if os.getpid() == workers.process else f"process {os.getpid()}"


# --- what is said, and where


def tell(ended: Snooped, file: Path | None = None, *, process: str = "") -> None:
    """Write a report to stderr, where somebody may be reading, and to a file in its own format.

    `process` names the thread or child that it is of. Raises TorchkitError where the file cannot be
    written.
    """
    from torchkit.streams import write

    rank = os.environ.get("RANK", "")
    report = _of_process(ended.report, rank, process) if ended.report is not None else None
    text = f"Exception in {process}:\n{ended.words}" if process and ended.words else ended.words
    if report is not None and not ended.words_are_all:
        text = "\n".join(filter(None, (text, _as_text(report))))
    if text and sys.stderr is not None:
        with contextlib.suppress(TorchkitError, ValueError):  # a closed stderr changes nothing
            write(text, sys.stderr)
    if report is not None and file is not None:
        _write_file(report, file_of(file, rank, process))


def _as_text(report: Report) -> str:
    from torchkit.render import Format, Style, render

    return render(report, Format.TEXT, style=Style.of(sys.stderr, os.environ))


def _write_file(report: Report, file: Path) -> None:
    from torchkit.render import Format, Style, render
    from torchkit.streams import write_report

    plain = Style(width=None, colour=False, unicode=True)
    if file.suffix.lower() in (".html", ".htm"):
        from torchkit.commands.snoop_source import with_source
        from torchkit.render.html import page

        write_report(page(with_source(report)), file)
        return
    formats = {".json": Format.JSON, ".md": Format.MARKDOWN}
    format = formats.get(file.suffix.lower(), Format.TEXT)
    write_report(render(report, format, style=plain), file)


def _of_process(report: Report, rank: str, process: str) -> Report:
    """The report, with whose it is in its first line."""
    import dataclasses

    whose = ", ".join(filter(None, (f"rank {rank}" if rank else "", process)))
    if not whose or not report.headline:
        return report
    return dataclasses.replace(report, headline=f"{whose}: {report.headline}")


def file_of(file: Path, rank: str, process: str) -> Path:
    """`r.json`, `r.rank0.json`, `r.rank0.Process-1.json`: each rank and process has its own."""
    parts = [f"rank{rank}" if rank else "", re.sub(r"[^\w-]+", "-", process).strip("-")]
    name = ".".join(filter(None, (file.stem, *parts)))
    return file.with_name(f"{name}{file.suffix}")
