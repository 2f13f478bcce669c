"""What a log is about: each problem once, the first cause first, what follows from it apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torchkit.knowledge.problems import Problem
from torchkit.logs.matching import Hit, filled
from torchkit.logs.reader import Reading


class Met(NamedTuple):
    """A problem of a log: where it was met first, in which words, how often, with which values."""

    problem: Problem
    number: int
    text: str
    values: Mapping[str, str]
    times: int
    around: str
    others: tuple[Mapping[str, str], ...] = ()

    @property
    def cause(self) -> str:
        """The sentence with the values of this log, where they are all there."""
        for template in (*self.problem.said, self.problem.cause):
            text = filled(template, self.values)
            if text is not None:
                return text
        return self.problem.title

    @property
    def fix(self) -> tuple[str, ...]:
        """The fixes whose values are all there."""
        texts = (filled(template, self.values) for template in self.problem.fix)
        return tuple(text for text in texts if text is not None)


class Told(NamedTuple):
    """What a log is about. `follow` counts what follows from it, by the name of who says it."""

    problems: tuple[Met, ...]
    symptoms: tuple[Met, ...]
    follow: Mapping[str, int]


def told(reading: Reading) -> Told:
    """The problems of a reading in the order they were met, symptoms of others apart."""
    strong = [hit for hit in reading.hits if not hit.weak]
    met = [
        one._replace(times=one.times + reading.more.get(one.problem.id, 0))
        for one in _once(strong or reading.hits)
    ]
    causes = [one for one in met if not one.problem.symptom]
    causes.sort(key=lambda one: one.problem.warning)
    symptoms = [one for one in met if one.problem.symptom]
    if not causes:
        causes, symptoms = symptoms[:1], symptoms[1:]
    follow: dict[str, int] = {}
    for echo in reading.echoes:
        follow[echo.name] = follow.get(echo.name, 0) + 1
    for name in follow:
        follow[name] += reading.more.get(f"echo {name}", 0)
    return Told(tuple(causes), tuple(symptoms), follow)


def _once(hits: Sequence[Hit]) -> list[Met]:
    """Each problem once, with how often it was met; the one with the most values speaks for it."""
    found: dict[str, Met] = {}
    for hit in sorted(hits, key=lambda it: it.line.number):
        before = found.get(hit.problem.id)
        if before is None:
            found[hit.problem.id] = Met(
                hit.problem, hit.line.number, hit.text, hit.values, 1, hit.around, (hit.values,)
            )
            continue
        richer = hit.values if len(hit.values) > len(before.values) else before.values
        others = before.others if hit.values in before.others else (*before.others, hit.values)
        found[hit.problem.id] = before._replace(
            times=before.times + 1, values=richer, others=others[:200]
        )
    return list(found.values())
