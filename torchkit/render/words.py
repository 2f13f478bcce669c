"""Words the renderers share: the headline, the counts, a cell's text, what is a command.

Nothing here knows a format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torchkit.render.legible import one_line
from torchkit.report import Evidence, Finding, Json, Report, Status

WRONG = (Status.FAIL, Status.CRASH, Status.WARN)
"""What is wrong, in the order it is told."""

NAMED_IN_HEADLINE = 3
"""So many problems are named in the first line; the others are counted."""

Parts = dict[str, list[Finding]]
"""Findings by the id of the other one that tells them too; who draws that one takes them out."""

# --- what the report says, in few words


def folded(findings: Sequence[Finding], report: Report) -> tuple[list[Finding], Parts]:
    """The findings that stand for themselves, and those that are a line of one of these."""
    alone: list[Finding] = []
    parts: Parts = {}
    for finding in findings:
        if report.is_told_by_another(finding):
            parts.setdefault(finding.verdict.part_of, []).append(finding)
        else:
            alone.append(finding)
    return alone, parts


def count(number: int, one: str, many: str) -> str:
    """`1 check fine`, `2 checks fine`."""
    return f"{number} {one if number == 1 else many}"


def is_well(report: Report) -> bool:
    """Whether everything was looked at and nothing is wrong."""
    return report.failure is None and not report.of(*WRONG) and not unseen(report)


def headline(report: Report) -> str:
    """The verdict in one line: the report's own, or made from counts and briefs; "" for none."""
    if report.headline:
        return one_line(report.headline)
    if report.of(*WRONG):
        return _troubles(report)
    notes = report.of(Status.INFO)
    if says_counts(report):
        is_sure = is_well(report) and report.of(Status.OK)
        return f"{'all well' if is_sure else 'nothing wrong found'}: {fine(report, blind=True)}"
    return f"{count(len(notes), 'note', 'notes')}: {_clauses(notes)}" if notes else ""


def _troubles(report: Report) -> str:
    groups = {
        status: [it for it in report.of(status) if not report.is_told_by_another(it)]
        for status in WRONG
    }
    names = {
        Status.FAIL: ("problem", "problems"),
        Status.CRASH: ("crashed check", "crashed checks"),
        Status.WARN: ("warning", "warnings"),
    }
    counts = [count(len(group), *names[status]) for status, group in groups.items() if group]
    worst = next(group for group in groups.values() if group)
    return f"{', '.join(counts)}: {_clauses(worst)}"


def _clauses(findings: Sequence[Finding]) -> str:
    clauses = [one_line(item.verdict.brief or item.verdict.message) for item in findings]
    if len(clauses) > NAMED_IN_HEADLINE:
        rest = len(clauses) - NAMED_IN_HEADLINE + 1
        clauses = [*clauses[: NAMED_IN_HEADLINE - 1], f"{rest} more"]
    if len(clauses) == 1:
        return clauses[0]
    return f"{', '.join(clauses[:-1])}, and {clauses[-1]}"


def says_counts(report: Report) -> bool:
    """Whether the headline is made of the counts, so that nobody need repeat them."""
    return not report.headline and not report.of(*WRONG) and bool(fine(report))


def fine(report: Report, *, blind: bool = False) -> str:
    """`18 checks fine, 7 do not apply here`; "" when no check was run.

    `blind` counts also those that could not look, where their reasons are not beside it.
    """
    well = len(report.of(Status.OK))
    skipped = report.of(Status.SKIP)
    unsure = sum(finding.verdict.applies for finding in skipped)
    absent = len(skipped) - unsure
    if not well and not skipped:
        return ""
    parts = [f"{count(well, 'check', 'checks')} fine"]
    parts += [f"{unsure} could not look"] if blind and unsure else []
    parts += [count(absent, "does not apply here", "do not apply here")] if absent else []
    return ", ".join(parts)


def unseen(report: Report) -> dict[str, tuple[str, ...]]:
    """Why checks could not look, and the ids of those that could not for that reason."""
    reasons: dict[str, tuple[str, ...]] = {}
    for finding in report.of(Status.SKIP):
        if finding.verdict.applies:
            reason = one_line(finding.verdict.message)
            reasons[reason] = (*reasons.get(reason, ()), finding.id)
    return reasons


# --- values


def cell(value: Json) -> str:
    """A value of a table as text: nothing for None, lists as Python writes shapes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if set(value) == {"unknown"}:
            return f"unknown: {value['unknown']}"
        return ", ".join(f"{key} {cell(item)}".strip() for key, item in value.items())
    if isinstance(value, Sequence):
        texts = [cell(item) for item in value]
        if all(isinstance(item, str) for item in value):
            return ", ".join(texts)
        if any(isinstance(item, Mapping) for item in value):
            return "; ".join(texts)
        return f"[{', '.join(texts)}]"
    return str(value)


_QUANTITY = re.compile(r"-?[\d,]+(\.\d+)? ?(%|[kKMGTP]i?B?|B|ms|s)|\d{1,3}(,\d{3})*")


def is_number(value: Json) -> bool:
    """Whether a cell is to stand under the units of the cells above: `128`, `89.1 %`, `61 MiB`."""
    if isinstance(value, str):
        return _QUANTITY.fullmatch(value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# --- what to do

_COMMAND = r"""(\$\ )?
    (sudo\s+(-\w+\s+)?|env\s+(?=\w+=))?
    ([A-Za-z_]\w*=\S*\s+)*
    (
      ([\w.~/-]*/)?(pip3?|pipx|uv|conda|mamba|micromamba|apt|apt-get|dnf|yum|zypper|pacman|brew)
        \s+(-|install|uninstall|remove|add|update|upgrade|pip|python|sync|run|create|list|download|cache)
    | ([\w.~/-]*/)?python[\d.]*\s+(-|\S+\.py\b)
    | (docker|podman|kubectl|git)\s+(-|run|compose|build|pull|exec|clone|checkout|submodule|apply|create)
    | (cmake|gcc|g\+\+|clang\+\+|nvcc|ninja|ldd|readelf|nm|ulimit|rm|ls|cat|chmod|torchrun|unzip|patchelf|execstack)\s+[-./\w~]*[-./~]
    | (export|unset|set)\s+[A-Z_]\w*\b
    | (source|mv|cp|ln)\s+\S*[-/.]\S*(\s|$)
    | (wget|curl)\s+\S*(-|://)
    | torchkit\s+[\w-]+(\s+[-./<]|\s*$)
    | (ldconfig|nvidia-smi|modprobe|update-alternatives|mount)(\s+[-/\w]+)*\s*$
    | (mount|modprobe|update-alternatives|nvidia-smi)\s+-
    )"""
"""What a fix begins with that is to be pasted into a shell; compiled when there is a fix."""


def split_fix(text: str) -> tuple[str, str, str]:
    """A fix as command, gap and remark, which two or more spaces part.

    The command is "" when the fix is a sentence, and all of it is the remark then.
    """
    if re.match(_COMMAND, text, re.VERBOSE) is None:
        return "", "", text
    parts = re.split(r"(\s{2,})", text, maxsplit=1)
    return (parts[0], parts[1], parts[2]) if len(parts) > 1 else (text, "", "")


def labelled(fixes: Sequence[str]) -> list[tuple[str, str]]:
    """Fixes with the word before each: `fix` for the first, `or` for the others.

    None where the text brings its own: "or install …", "then run …".
    """
    first = [("fix", text) for text in fixes[:1]]
    return first + [("" if _OWN_WORD.match(text) else "or", text) for text in fixes[1:]]


_OWN_WORD = re.compile(r"(or|and|then|else|otherwise|also)\b", re.IGNORECASE)


def shown(finding: Finding) -> list[Evidence]:
    """The evidence that people are shown."""
    return [item for item in finding.verdict.evidence if item.shown]
