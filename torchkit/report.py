"""What every subcommand has to say, as plain data. Standard library only.

A check returns a `Verdict`, the runner makes it a `Finding`, a command gathers a `Report`, a
renderer turns that into text. Nothing here prints, reads or judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Union

from torchkit import __version__

SCHEMA = 1
"""Version of the JSON; it rises when a key changes its meaning or goes."""

Json = Union[None, bool, int, float, str, Sequence["Json"], Mapping[str, "Json"]]  # noqa: UP007 - `|` takes no quoted name


class Status(Enum):
    """How bad a verdict is, mildest first."""

    OK = "ok"  # looked, fine
    INFO = "info"  # worth saying, nothing to do
    SKIP = "skip"  # could not look, or does not apply; the message says why
    WARN = "warn"  # works today, will hurt
    FAIL = "fail"  # broken
    CRASH = "crash"  # the check itself broke: our bug, shown as such


class ExitCode(IntEnum):
    """What the process ends with; the highest one earned wins."""

    OK = 0  # answered; nothing wrong
    FOUND = 1  # answered; something is wrong (a fail; with --strict also a warn)
    UNABLE = 2  # not answered: bad usage, a missing file or package, a crashed check


@dataclass(frozen=True)
class Evidence:
    """One value a verdict rests on: its name, the value as text, and where it was read.

    `shown` is False where people see it elsewhere, in a listing say.
    """

    name: str
    value: str
    source: str = ""
    shown: bool = True


WOULD_FAIL_WITH = "would fail with"
"""Name of the evidence that quotes the error the user would meet."""


@dataclass(frozen=True)
class Verdict:
    """What a check returns.

    `brief` is the clause the first line of the report is made of, e.g. "the driver is too old
    for this torch". `applies` is False where there is nothing to judge on this machine, so that
    a reader can tell "no GPU here" from "could not look". `part_of` is the id of another finding
    that shows the same fault more exactly: where both are there, people are told of it once.
    """

    status: Status
    message: str
    evidence: tuple[Evidence, ...] = ()
    fix: tuple[str, ...] = ()
    brief: str = ""
    applies: bool = True
    part_of: str = ""


def _verdict(
    status: Status, message: str, evidence: Sequence[Evidence], fix: Sequence[str], brief: str
) -> Verdict:
    return Verdict(status, message, tuple(evidence), tuple(fix), brief or message)


def ok(message: str, *, evidence: Sequence[Evidence] = ()) -> Verdict:
    """Looked, and it is fine."""
    return _verdict(Status.OK, message, evidence, (), "")


def info(
    message: str, *, evidence: Sequence[Evidence] = (), fix: Sequence[str] = (), brief: str = ""
) -> Verdict:
    """Worth saying; nothing is wrong."""
    return _verdict(Status.INFO, message, evidence, fix, brief)


def warn(
    message: str, *, evidence: Sequence[Evidence] = (), fix: Sequence[str] = (), brief: str = ""
) -> Verdict:
    """Works today, will hurt."""
    return _verdict(Status.WARN, message, evidence, fix, brief)


def fail(
    message: str, *, evidence: Sequence[Evidence] = (), fix: Sequence[str] = (), brief: str = ""
) -> Verdict:
    """Broken: among `evidence` is the error the user would meet, named `WOULD_FAIL_WITH`."""
    return _verdict(Status.FAIL, message, evidence, fix, brief)


def does_not_apply(reason: str) -> Verdict:
    """There is nothing to judge on this machine."""
    return Verdict(Status.SKIP, reason, applies=False)


def could_not_look(reason: str) -> Verdict:
    """There may be something to judge, but a fact is unknown."""
    return Verdict(Status.SKIP, reason)


@dataclass(frozen=True)
class Finding:
    """A verdict with a name. `id` is the check's name for ever; `area` groups checks."""

    id: str
    area: str
    verdict: Verdict
    reference: str = ""

    @property
    def status(self) -> Status:
        return self.verdict.status


@dataclass(frozen=True)
class Table:
    """Rows of data, each a mapping from column to value."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True)
class ListedLine:
    """A line of source. What is between the columns `start` and `end`, from 0, is marked."""

    number: int
    text: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Listing:
    """Some lines of source, and where they stand: `train.py:31 in Net.forward`."""

    title: str
    lines: tuple[ListedLine, ...]


@dataclass(frozen=True)
class Artifact:
    """A file that was written, or an address that is recommended, and why."""

    kind: str
    title: str
    path: str | None = None
    url: str | None = None
    why: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a command could not answer, as the user reads it."""

    message: str
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """Everything a subcommand has to say. `facts` and `totals` are ready for JSON.

    `views` are what people see in place of `tables`, where those are long: JSON has all rows.
    `listings` show people the source that findings speak of.
    """

    command: str
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    views: tuple[Table, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    listings: tuple[Listing, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)
    totals: Mapping[str, Json] = field(default_factory=dict)
    failure: Failure | None = None
    headline: str = ""

    def of(self, *statuses: Status) -> tuple[Finding, ...]:
        """The findings with one of these statuses, in their order."""
        return tuple(finding for finding in self.findings if finding.status in statuses)

    @property
    def shown_tables(self) -> tuple[Table, ...]:
        """The tables as people see them."""
        return self.views or self.tables

    def is_told_by_another(self, finding: Finding) -> bool:
        """Whether the finding it is part of is there, and as bad."""
        return any(
            other.id == finding.verdict.part_of and other.status is finding.status
            for other in self.findings
        )

    @property
    def status(self) -> str:
        """`ok`, `warn`, `fail` or `unable`: the worst there is."""
        if self.failure is not None or self.of(Status.CRASH):
            return "unable"
        if self.of(Status.FAIL):
            return "fail"
        return "warn" if self.of(Status.WARN) else "ok"

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """The process's exit code; with `strict` a warning counts as a failure."""
        status = self.status
        if status == "unable":
            return ExitCode.UNABLE
        if status == "fail" or (strict and status == "warn"):
            return ExitCode.FOUND
        return ExitCode.OK

    def to_dict(self, *, strict: bool = False) -> dict[str, Json]:
        """The JSON of the contract, field by field: renaming an attribute changes no promise.

        Keys that do not apply are left out; findings and facts of `env` are always there.
        """
        data: dict[str, Json] = {
            "schema": SCHEMA,
            "torchkit": __version__,
            "command": self.command,
            "status": self.status,
            "exit_code": int(self.exit_code(strict=strict)),
        }
        if self.headline:
            data["headline"] = self.headline
        if self.failure is not None:
            data["error"] = {"message": self.failure.message, "hint": self.failure.hint}
        if self.facts:
            data["facts"] = dict(self.facts)
        if self.failure is None:
            data["findings"] = [_finding_as_dict(finding) for finding in self.findings]
        if self.tables:
            data["tables"] = [
                {"name": table.name, "columns": list(table.columns), "rows": list(table.rows)}
                for table in self.tables
            ]
        if self.totals:
            data["totals"] = dict(self.totals)
        if self.artifacts:
            data["artifacts"] = [_artifact_as_dict(artifact) for artifact in self.artifacts]
        return data


def _finding_as_dict(finding: Finding) -> dict[str, Json]:
    return {
        "id": finding.id,
        "area": finding.area,
        "status": finding.status.value,
        "applies": finding.verdict.applies,
        "message": finding.verdict.message,
        "evidence": [
            {"name": item.name, "value": item.value, "source": item.source}
            for item in finding.verdict.evidence
        ],
        "fix": list(finding.verdict.fix),
        "reference": finding.reference,
        **({"part_of": finding.verdict.part_of} if finding.verdict.part_of else {}),
    }


def _artifact_as_dict(artifact: Artifact) -> dict[str, Json]:
    data: dict[str, Json] = {"kind": artifact.kind, "title": artifact.title}
    if artifact.path is not None:
        data["path"] = artifact.path
    if artifact.url is not None:
        data["url"] = artifact.url
    if artifact.why:
        data["why"] = list(artifact.why)
    if artifact.commands:
        data["commands"] = list(artifact.commands)
    return data
