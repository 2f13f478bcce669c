"""Asks `truth.py` what DataLoaders really do, and torchkit what it says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from configurations import ALL, Configuration

from torchkit import checks
from torchkit.commands.shm_check import WORKLOAD_CHECKS, fit_of
from torchkit.commands.shm_workload import Planned, Question, from_look, need_of
from torchkit.dataset.guard import Ended
from torchkit.dataset.look import Look, look_from
from torchkit.dataset.predict import Prediction, predict
from torchkit.machine.facts import Facts
from torchkit.report import Finding

HERE = Path(__file__).parent
PLENTY = 256 * 1024**2
PAGE = 4096


class Truth:
    """The process that imported torch once, and runs what it is asked to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HERE / "truth.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.number = 0

    def run(self, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All of them, some at a time; the answers in their order."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {}
        for job in jobs:
            self.number += 1
            asked[self.number] = job
            self.process.stdin.write(json.dumps({**job, "id": self.number}) + "\n")
        self.process.stdin.flush()
        answers = {}
        while len(answers) < len(jobs):
            answer = json.loads(self.process.stdout.readline())
            answers[answer["id"]] = answer
        return [answers[number] for number in asked]

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Case(NamedTuple):
    """A configuration, what we say of it, and what was seen of it."""

    configuration: Configuration
    look: Look
    planned: Planned
    predicted: Prediction
    seen: dict[str, dict[str, Any]]

    def fits(self, free_bytes: int, **facts: Any) -> str:
        """Our verdict where so much is free."""
        return fits(self.planned, free_bytes, **facts)

    @property
    def need(self) -> int:
        """What all of its epochs need: a loop that is slow, or one that fetches ahead."""
        taken = self.predicted
        least = taken.bound_bytes if self.configuration.fetches_ahead else taken.peak_bytes
        later = taken.later_bound_bytes - taken.bound_bytes - self.old_semaphores
        return least + (later if self.configuration.epochs > 1 else 0)

    @property
    def old_semaphores(self) -> int:
        """Bytes that the epoch before may still have, for a moment."""
        later = self.predicted.later_bound_bytes > self.predicted.bound_bytes
        return self.predicted.semaphore_bytes if later else 0

    @property
    def spare(self) -> int:
        return self.old_semaphores if self.configuration.epochs > 1 else 0


def fits(planned: Planned, free_bytes: int, **facts: Any) -> str:
    there = Facts(
        {
            "shm_state": "writable",
            "shm_total_bytes": free_bytes,
            "shm_free_bytes": free_bytes,
            **facts,
        }
    )
    need = need_of(planned, there)
    found = []
    for check_id in WORKLOAD_CHECKS:
        check = checks.load(check_id)
        found.append(Finding(check.id, check.area, check.judge(need)))
    return fit_of(tuple(found))


def looking(name: str) -> dict[str, Any]:
    order = {
        "target": f"{HERE / 'configurations.py'}:c{list(ALL).index(name)}",
        "wish": {},
        "do": "sizes",
        "limit_s": 60,
    }
    return {"do": "trial", "order": order, "size": PLENTY}


def case_of(answer: dict[str, Any], configuration: Configuration) -> Case:
    look = look_from(Ended(tuple(answer["answers"]), 0, ""), "it")
    question = Question(
        target="it", hold=configuration.hold, loaders=configuration.number_of_loaders
    )
    planned = from_look(question, look)
    return Case(configuration, look, planned, predict(planned.load), {})
