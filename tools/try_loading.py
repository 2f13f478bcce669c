"""Run by a Python that has torch: what the real loader says of files, once torch is imported.

    PYTHON -I try_loading.py < questions.json > answers.json

Standard library and torch only. A question is `["load", PATH, FIRST…]`, answered by `ctypes.CDLL`
after it was tried with those named first, or `["import", FOLDER, MODULE]`, with the folder in front
of `sys.path`. The answer is null where that works, the text of the exception, or how the process
died. Each is tried in a fork of its own, so that none finds what another one left in the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import sys

import torch  # noqa: F401 - what a user's program has done before it imports an extension

LIMIT_S = 120
"""How long one try may take; the initialisers of libraries run in it."""


def attempt(question: list[str]) -> str | None:
    """Do what is asked; the text of what it raises, or None."""
    kind, *arguments = question
    try:
        if kind == "load":
            for path in arguments[1:]:
                with contextlib.suppress(OSError):
                    ctypes.CDLL(path)
            ctypes.CDLL(arguments[0])
        else:
            sys.path.insert(0, arguments[0])
            importlib.import_module(arguments[1])
    except OSError as error:
        return str(error)
    except BaseException as error:  # noqa: BLE001 - a package may raise anything, or exit
        return f"{type(error).__name__}: {error}"
    return None


def answer(question: list[str]) -> str | None:
    """Do what is asked in a fork, and tell how that went."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(attempt(question)).encode()[:60_000])
        os._exit(0)  # without Python's clean-up, which belongs to the parent
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], LIMIT_S)
    text = os.read(reading, 1 << 16) if ready else b""
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if text:
        told: str | None = json.loads(text)
        return told
    if not ready:
        return f"(no answer within {LIMIT_S} s)"
    if os.WIFSIGNALED(status):
        return f"(died of {signal.Signals(os.WTERMSIG(status)).name})"
    return f"(ended with exit status {os.WEXITSTATUS(status)})"


def main() -> None:
    """Keep our own stdout apart: what a library prints goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    found = [answer(question) for question in json.load(sys.stdin)]
    with os.fdopen(answers, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
