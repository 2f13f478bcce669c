"""Machines that should be alike differ.

## What it looks at
One fact that several machines tell differently: this machine and saved ones (`torchkit env
--compare FILE...`), or the ranks of one job (`torchrun --nproc-per-node 8 -m torchkit env
--all-ranks`). Versions are compared as far as they matter: Python by its series, numpy and the
driver by their major. Sizes that differ by less than 5 % are the same. Free memory, paths and
whatever else differs between any two machines is left out, and so is what follows from another
difference: a torch for another CUDA brings other nvidia packages.

A fact that one machine does not tell is no difference. It is listed apart.

## Why it matters
The script that runs here dies there, or one node of a job crashes, waits or slows down the others.
Which difference is to blame is seen when all are listed beside each other. Among the ranks of one
job some are known to be fatal: NCCL compares its version on every rank and refuses to start
("Mismatched NCCL version detected"), a CPU build of torch has no NCCL, and no torch is no torch.

## What to do
Make the odd one like the others: the same container image, or the same lock file. Where no kind
has more machines than any other there is no odd one, and no value is recommended: choose one kind.

Under torchrun every rank looks and rank 0 reports; its exit code is the answer. torchrun turns an
exit code other than 0 into its own, after a message of its own about the failed rank. On one host
the ranks meet in the folder for temporary files, else through torch.distributed's store; a rank
whose torch does not work leaves its answer in the current folder, or in TORCHKIT_RANKS_DIR, which
every rank must see. TORCHKIT_RANKS_TIMEOUT_S says how long rank 0 waits, 60 seconds if not set.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torchkit.knowledge.meanings import Meaning, meanings
from torchkit.machine.facts import Value
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, info, warn
from torchkit.versions import Version, as_version

AREA = "machines"


class Side(NamedTuple):
    """A value, in words too, and the machines that have it: folded names, and how many.

    `has_gpu` is False where none of these machines has a GPU, so that none needs a driver.
    """

    value: Value
    words: str
    machines: str
    size: int = 1
    has_gpu: bool = True


class Difference(NamedTuple):
    """A fact, or one item of a fact that lists packages, that is not the same everywhere.

    The first side `is_usual` where more machines are on it than on any other: then it is the one
    to be like. `is_one_job`: the machines work together.
    """

    fact: str
    sides: tuple[Side, ...]
    item: str = ""
    is_usual: bool = False
    is_one_job: bool = False

    @property
    def label(self) -> str:
        """What people call it: `torch`, `driver`, `torchvision`."""
        if self.fact == "extensions":
            return f"extension {self.item}"
        meaning = meanings().get(self.fact)
        return self.item or (meaning.label if meaning else _spelled(self.fact))

    @property
    def concerned(self) -> tuple[Side, ...]:
        """The sides it matters to: a machine without a GPU needs no driver."""
        if self.fact not in ("driver_version", "driver_cuda"):
            return self.sides
        return tuple(side for side in self.sides if side.value is not None or side.has_gpu)


def _spelled(fact: str) -> str:
    """`cmake_version` as people say it."""
    return fact.removesuffix("_version").replace("_", " ")


def judge(difference: Difference) -> Verdict:
    """What the difference means. Facts that meanings.toml does not name mean nothing: info."""
    meaning = meanings().get(difference.fact)
    words = f"{difference.label} {_values(difference)}"
    if meaning is None:
        return info(words)
    if meaning.status == "info":
        return info(f"{words}: {meaning.sentence}", brief=words)
    evidence = [Evidence("means", meaning.sentence)]
    fix = [_fix(meaning, difference)]
    fatal = fatal_in_a_job(difference)
    if fatal:
        return fail(words, evidence=[*evidence, Evidence(WOULD_FAIL_WITH, *fatal)], fix=fix)
    return warn(words, evidence=evidence, fix=fix)


def is_worth_a_finding(difference: Difference) -> bool:
    """Whether it matters: patch releases, a twentieth more memory and another cmake do not."""
    meaning = meanings().get(difference.fact)
    return meaning is not None and _matters(meaning, difference.concerned)


def reference(difference: Difference, of_nccl: str) -> str:
    """The page about it, "" where there is none; `of_nccl` is the one about NCCL's troubles."""
    if difference.item == "nvidia-nccl":
        return of_nccl
    meaning = meanings().get(difference.fact)
    return meaning.see if meaning else ""


MOST_VALUES = 3
"""More values than these are not told in one line."""


def _values(difference: Difference) -> str:
    """`535.54.03 on node7, 550.90.07 on node0-6`: what is odd comes first."""
    first, *others = difference.sides
    is_last = difference.is_usual or len(difference.sides) == 2
    sides = [*others, first] if is_last else [first, *others]
    told = [f"{side.words} on {side.machines}" for side in sides]
    if len(told) > MOST_VALUES:
        usual = told[-1:] if difference.is_usual else []
        kept = told[: MOST_VALUES - 1 - len(usual)]
        rest = len(told) - len(kept) - len(usual)
        told = [*kept, *usual, f"and {rest} other values"]
    return ", ".join(told)


# --- what to do


def _fix(meaning: Meaning, difference: Difference) -> str:
    """Be like most, where most are alike and others have to change; else what is said openly."""
    sides = difference.concerned
    usual = difference.sides[0] if difference.is_usual and difference.sides[0] in sides else None
    if usual is not None:
        form = meaning.fix_none if _is_none(usual.value) else meaning.fix
        where = [side for side in sides if side != usual and _matters(meaning, [usual, side])]
        if meaning.rises:
            where = [side for side in where if _amount(side) < _amount(usual)]
        if meaning.fact == "torch_version":
            where = [side for side in where if side.has_gpu or not _is_one_release(side, usual)]
        if form and where:
            return form.format(item=difference.item, needed=usual.words, where=_named(where))
    return meaning.fix_open.format(item=difference.item, **_order(meaning, sides))


def _order(meaning: Meaning, sides: Sequence[Side]) -> Mapping[str, str]:
    """The words for who has less and who has least; none where values have no order."""
    if not any("{" + name in meaning.fix_open for name in ("lower", "lowest")):
        return {}
    ordered = sorted(sides, key=_amount)
    least, highest = ordered[0], ordered[-1]
    lower = [side for side in ordered[:-1] if _matters(meaning, [side, highest])]
    return {
        "lower": _named(lower or ordered[:-1]),
        "highest": highest.words,
        "lowest": least.machines,
        "least": least.words,
    }


def _named(sides: Sequence[Side]) -> str:
    if len(sides) > MOST_VALUES:
        return "the others"
    return ", ".join(dict.fromkeys(side.machines for side in sides))


def _amount(side: Side) -> tuple[bool, Value]:
    """What puts values in their order: none below all, lists by their length."""
    value = len(side.value) if isinstance(side.value, (tuple, list)) else side.value
    return value is not None, 0 if value is None else value


def _is_one_release(one: Side, other: Side) -> bool:
    """Whether two torches differ as builds only: one for the CPU is right where no GPU is."""
    return None not in (one.value, other.value) and bool(one.value.public == other.value.public)


def _is_none(value: Value) -> bool:
    return value is None or value == ()


# --- what is known to break a job


def fatal_in_a_job(difference: Difference) -> tuple[str, str] | None:
    """The error the ranks of one job would meet, and when; None where none is known.

    Each was seen to happen with torch 2.13 and 2.14, or stands in NCCL's source; two releases of
    torch did work together over gloo.
    """
    if not difference.is_one_job:
        return None
    values = [side.value for side in difference.sides]
    if difference.fact == "torch_version" and None in values:
        return "ModuleNotFoundError: No module named 'torch'", "import torch"
    if difference.fact == "torch_build" and "cpu" in values and "cuda" in values:
        return "RuntimeError: Distributed package doesn't have NCCL built in", WITH_NCCL
    if difference.fact == "nvidia_packages" and difference.item == "nvidia-nccl":
        versions = {as_version(value) for value in values if value is not None}
        codes = {_nccl_code(version) for version in versions if version is not None}
        if len(codes) > 1:
            return "Mismatched NCCL version detected", WITH_NCCL
    return None


WITH_NCCL = "init_process_group with nccl"


def _nccl_code(version: Version) -> tuple[int, int, int]:
    """What initTransportsRank of NCCL's src/init.cc compares: NCCL_VERSION_CODE."""
    return version.major, version.minor, version.micro


# --- when a difference matters


def _matters(meaning: Meaning, sides: Sequence[Side]) -> bool:
    values = [side.value for side in sides]
    if len(values) < 2:
        return False
    return any(value is None for value in values) or _RULES[meaning.matters](values)


_RULES: Mapping[str, Callable[[Sequence[Value]], bool]] = {
    "always": lambda _values: True,
    "series": lambda values: len({value.series for value in values}) > 1,
    "major": lambda values: len({value.major for value in values}) > 1,
    "twice": lambda values: bool(max(values) >= 2 * min(values)),
}
