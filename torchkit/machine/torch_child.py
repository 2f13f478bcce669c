"""What torch itself says and does, asked in a child: versions, devices, libraries really loaded.

A broken torch crashes, hangs, prints, or ends its process; in a child (`ask_torch.py`) each of
these is a fact, with the stage that was reached. The child works in the user's own folder and
environment, so it meets what a script there meets. Nothing here judges.
"""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torchkit.machine.facts import GLOSSARY, LiveTrial, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.system import Answer, System, TimedOut, Unknown

LIMIT_S = 120.0
"""An import over a cold network file system takes a minute, so may code for a GPU that the driver
has to compile."""

ANSWERS_LIMIT_BYTES = 1024**2
TAIL_BYTES = 64 * 1024
"""How much of what the child writes to standard error is kept: its last lines and a stack."""

LINES = 6
LINE_LENGTH = 300

_ODD = "in this child: "
"""So begin lines of the child itself: what is odd about where it runs, which is no error yet."""

_SCRIPT = Path(__file__).with_name("ask_torch.py")  # not imported: it is for the child alone
_NAMES = tuple(fact.name for fact in GLOSSARY.values() if fact.probe == "torch_child")
_FRAME = re.compile(r'\s+File "([^"<]+)", line (\d+) in (.+)')
_DUMP = re.compile(r"^(Fatal Python error: |Timeout \(\d+:\d+:\d+)", re.MULTILINE)


class Told(NamedTuple):
    """What the child wrote down, put together."""

    stages: tuple[str, ...]
    torch: dict[str, str]
    trials: tuple[LiveTrial, ...]
    warnings: tuple[str, ...]
    one: dict[str, Any]  # what is told once: error, stack, import_ms, cuda, libraries, done


def live_facts(
    system: System,
    interpreter: Interpreter,
    facts: Mapping[str, Value],
    *,
    limit_s: float = LIMIT_S,
) -> dict[str, Value]:
    """Import and try the torch of `interpreter` in a child, for at most `limit_s` seconds.

    Every fact of the glossary that is this probe's; all of them `Unknown` where no child could be
    started. `facts` are those read from files: a library that was loaded is called as it is there.
    """
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix="torchkit-") as folder:
            path = Path(folder) / "answers"
            path.touch()
            answer = _ask(system, interpreter, path, limit_s)
            with path.open("rb") as file:
                told = _read(file.read(ANSWERS_LIMIT_BYTES))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return dict.fromkeys(_NAMES, Unknown(f"no temporary folder for the answers: {reason}"))
    if isinstance(answer, Unknown) and not isinstance(answer, TimedOut):
        return dict.fromkeys(_NAMES, answer)
    return _as_facts(system, told, answer, facts)


def _ask(
    system: System, interpreter: Interpreter, path: Path, limit_s: float
) -> Answer | TimedOut | Unknown:
    script = _SCRIPT.read_text(encoding="utf-8")
    return system.run(
        [interpreter.executable, "-c", script, path, f"{limit_s:g}"],
        limit_s=limit_s,
        environ={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONFAULTHANDLER": "1"},
        called="torch in a child",
        tail_bytes=TAIL_BYTES,
    )


# --- what the child wrote down


def _read(data: bytes) -> Told:
    stages: list[str] = []
    torch: dict[str, str] = {}
    trials: list[LiveTrial] = []
    warnings: list[str] = []
    one: dict[str, Any] = {}
    for line in data.decode("ascii", "replace").splitlines():
        said = _literal(line)
        for name, value in said.items():
            if name == "stage":
                stages.append(str(value))
            elif name == "torch":
                torch.update({str(key): str(text) for key, text in dict(value).items()})
            elif name == "trial":
                trials.append(LiveTrial(**value))
            elif name == "warning":
                warnings.append(str(value))
            else:
                one[name] = value
    return Told(tuple(stages), torch, tuple(trials), tuple(dict.fromkeys(warnings)), one)


def _literal(line: str) -> dict[str, Any]:
    """One line; the last may be cut off where the child was killed."""
    try:
        said = ast.literal_eval(line)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


# --- what follows from it


def _as_facts(
    system: System, told: Told, answer: Answer | TimedOut, facts: Mapping[str, Value]
) -> dict[str, Value]:
    said = _own_lines(answer.stderr)
    outcome = _outcome(told, answer)
    stack = _stack(answer.stderr) if outcome in ("died", "hung") else told.one.get("stack")
    libraries = told.one.get("libraries")
    return {
        "live_outcome": outcome,
        "live_stage": told.stages[-1] if told.stages else "starting Python",
        "live_error": _error(outcome, told, answer, [it for it in said if not it.startswith(_ODD)]),
        "live_signal": _signal_name(answer) if outcome == "died" else None,
        "live_stack": tuple(stack or ()),
        "live_output": said,
        "live_warnings": told.warnings,
        "live_import_ms": told.one.get("import_ms"),
        "live_torch": _named_as_elsewhere(system, told.torch, facts),
        "live_cuda_error": told.one.get("cuda"),
        "live_trials": told.trials,
        "live_libraries": None
        if libraries is None
        else _called_as_elsewhere(system, libraries, facts),
    }


def _outcome(told: Told, answer: Answer | TimedOut) -> str:
    if "error" in told.one:
        return "import failed"
    if isinstance(answer, TimedOut):
        return "hung"
    if not told.stages:
        return "no answer" if answer.status >= 0 else "died"
    if answer.status < 0 or not told.one.get("done"):
        return "died"
    return "works" if all(trial.worked for trial in told.trials) else "trial failed"


def _error(outcome: str, told: Told, answer: Answer | TimedOut, said: Sequence[str]) -> str | None:
    """The exception's last line; for a death what was written, since only that tells the reason."""
    if outcome == "import failed":
        return str(told.one["error"])
    if outcome == "trial failed":
        return next((trial.error for trial in told.trials if not trial.worked), None)
    if isinstance(answer, TimedOut):
        return answer.reason
    if outcome == "works":
        return None
    if answer.status < 0:
        spoken = said if -answer.status in _SPOKEN else ()
        return _telling(spoken) or signal.strsignal(-answer.status) or f"signal {-answer.status}"
    status = answer.status if answer.status < 256 else hex(answer.status)  # Windows' own are large
    return _telling(said) or f"Python ended with status {status}"


_SPOKEN = {signal.SIGABRT, getattr(signal, "SIGTRAP", None)}
"""Signals that a library sends to its own process after it wrote why."""


def _telling(lines: Iterable[str]) -> str | None:
    """`terminate called …` is told together with `what(): …`, else the last line."""
    lines = list(lines)
    for index, line in enumerate(lines):
        if line.startswith("terminate called"):
            return " ".join(lines[index : index + 2])
    return lines[-1] if lines else None


def _signal_name(answer: Answer | TimedOut) -> str | None:
    if isinstance(answer, TimedOut) or answer.status >= 0:
        return None
    try:
        return signal.Signals(-answer.status).name
    except ValueError:
        return f"signal {-answer.status}"


def _own_lines(stderr: str) -> tuple[str, ...]:
    """What was written before Python's own report of a crash, as lines that can be shown."""
    own = _DUMP.split(stderr, maxsplit=1)[0]
    lines = [_printable(line) for line in own.splitlines() if _printable(line)]
    odd = [line for line in lines if line.startswith(_ODD)]
    return (*odd, *[line for line in lines if line not in odd][-LINES:])


def _printable(line: str) -> str:
    text = "".join(character if character.isprintable() else " " for character in line)
    return text.strip()[:LINE_LENGTH]


def _stack(stderr: str) -> tuple[str, ...]:
    """Python's frames of the thread that runs our script, by `faulthandler`, the innermost first."""
    for block in re.split(r"\n(?=Thread |Current thread )", stderr):
        if '"<string>"' in block and _DUMP.search(stderr):
            return tuple(_frames(block))[:LINES]
    return ()


def _frames(block: str) -> Iterator[str]:
    for found in _FRAME.finditer(block):
        yield f"{found[1]}:{found[2]} in {found[3]}"


def _named_as_elsewhere(
    system: System, torch: dict[str, str], facts: Mapping[str, Value]
) -> dict[str, str]:
    """Where torch lies, by the name it has among the facts: a path may lead through a link."""
    folder, file = facts.get("torch_path"), Path(torch.get("file", ""))
    if not isinstance(folder, str) or file.name != "__init__.py":
        return torch
    if system.resolve(file.parent) != system.resolve(folder):
        return torch
    return {**torch, "file": str(Path(folder) / file.name)}


def _called_as_elsewhere(
    system: System, paths: Iterable[str], facts: Mapping[str, Value]
) -> tuple[str, ...]:
    """The kernel tells `libstdc++.so.6.0.30`; where the loader's facts say `…/libstdc++.so.6` and
    mean that file, so do we."""
    known = {}
    for path in _paths_in(facts):
        known[str(system.resolve(path))] = path
    return tuple(known.get(path, path) for path in paths)


def _paths_in(facts: Mapping[str, Value]) -> Iterator[str]:
    path = facts.get("libstdcxx_path")
    if isinstance(path, str):
        yield path
    shadowed = facts.get("shadowed_libraries")
    for library in shadowed if isinstance(shadowed, tuple) else ():
        yield library.loser
        yield library.winner
