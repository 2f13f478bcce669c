"""`torchkit shm-check`: will these DataLoader workers run out of shared memory, and what to set.

Imports no torch: a dataset is run in a child.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from torchkit import checks
from torchkit.advice.shared_memory import memory_fixes, rounded, size_fixes
from torchkit.checks import loader_fails, shm_insufficient
from torchkit.checks.loader_fails import FailedRun
from torchkit.commands.shm_overview import batches_table, holders_table, overview
from torchkit.commands.shm_workload import (
    Planned,
    Question,
    check_options,
    free_of_shm,
    from_look,
    from_samples,
    need_of,
    place_of,
    usable,
    used_of_shm,
)
from torchkit.dataset.predict import MOST_WORKERS, Need, predict
from torchkit.dataset.sample import parse_size
from torchkit.machine.facts import GLOSSARY, Facts
from torchkit.machine.interpreter import own_interpreter
from torchkit.machine.shm_proof import Proof, prove
from torchkit.machine.survey import Asked, survey
from torchkit.report import (
    Evidence,
    Finding,
    Json,
    Report,
    Status,
    Table,
    Verdict,
    could_not_look,
    fail,
    info,
    ok,
)
from torchkit.system import System
from torchkit.units import readable

if TYPE_CHECKING:
    from torchkit.dataset import measure
    from torchkit.dataset.look import Look

MACHINE_CHECKS = ("shm-missing", "shm-full", "shm-small")
WORKLOAD_CHECKS = (
    "shm-insufficient", "memory-limit", "inode-limit", "fd-limit", "file-size-limit",
)  # fmt: skip

_PROBES = ("host", "shm", "shm_limits", "shm_users")
_FACTS = (
    *(fact.name for fact in GLOSSARY.values() if fact.probe in _PROBES),
    "torch_version",
)

_WORDS = {"no": "does not fit", "tight": "tight", "yes": "fits"}


def run(question: Question, system: System) -> Report:
    """The report. Raises TorchkitError for what cannot be answered."""
    check_options(question)
    facts = _facts(system)
    if facts["os_system"] != "linux":
        return _elsewhere(facts, question)
    if question.need is not None:
        return _proof(parse_size(question.need), facts, system)
    if not question.has_workload:
        return _machine(facts)
    return _workload(question, facts, system)


def _facts(system: System) -> Facts:
    return survey(system, own_interpreter(), only=_FACTS, asked=Asked(shm=True))


def _elsewhere(facts: Facts, question: Question) -> Report:
    """macOS and Windows have no /dev/shm, and no limit to look at."""
    name = {"macos": "macOS", "windows": "Windows"}.get(str(facts["os_system"]), "this system")
    text = (
        "batches go through files that are mapped into memory, which only memory limits"
        if name == "macOS"
        else "batches go through the page file: WinError 1455 says that it is too small"
    )
    finding = Finding(
        "shm-missing", "system", info(f"{name} has no /dev/shm to run out of: {text}")
    )
    totals: dict[str, Json] = {}
    if question.samples:
        planned = from_samples(question, has_accelerator=False)
        totals = {
            "shm_total_bytes": None,
            "sample_bytes": planned.sample_bytes,
            "batch_bytes": predict(planned.load).batch_bytes,
            "fits": "yes",
        }
    return Report(
        "shm-check", findings=(finding,), facts=facts.to_json(), totals=totals,
        headline=f"nothing to check: {name} has no /dev/shm",
    )  # fmt: skip


# --- the machine alone


def _machine(facts: Facts) -> Report:
    findings = checks.run_checks(facts, MACHINE_CHECKS)
    free, (left, by) = free_of_shm(facts), usable(facts)
    tables = (overview(facts), holders_table(facts), batches_table(facts))
    headline = ""
    if not [it for it in findings if it.status in (Status.FAIL, Status.WARN, Status.CRASH)]:
        least = by if left is not None and left < free else "/dev/shm"
        most = free if left is None else min(free, left)
        headline = f"{readable(most)} of shared memory can be had, {least} ends first"
    views = (tables[0], _batches_view(tables[2]))
    return Report(
        "shm-check",
        findings=findings,
        tables=tables,
        views=views,
        facts=facts.to_json(),
        totals=_machine_totals(facts),
        headline=headline,
    )


def _batches_view(table: Table) -> Table:
    rows = tuple(
        {
            "workers": row["workers"],
            "largest batch of float32 [3, 224, 224]": row["float32_images"],
            "of uint8": row["uint8_images"],
        }
        for row in table.rows
    )
    return Table("largest batch", tuple(rows[0]), rows)


def _machine_totals(facts: Facts) -> dict[str, Json]:
    free, (left, _) = free_of_shm(facts), usable(facts)
    return {
        "shm_total_bytes": facts.known("shm_total_bytes"),
        "shm_free_bytes": facts.known("shm_free_bytes"),
        "usable_bytes": free if left is None else min(free, left),
    }


# --- so much of it


def _proof(wanted: int, facts: Facts, system: System) -> Report:
    free, (left, _) = free_of_shm(facts), usable(facts)
    most = free if left is None else min(free, left)
    missing = checks.run_checks(facts, ("shm-missing",))
    if any(it.status is Status.FAIL for it in missing):
        findings = missing
    elif wanted > most:
        findings = (_as_finding(_too_much(wanted, facts)),)
    else:
        proof = prove(system, wanted, free_bytes=free, left_bytes=left)
        findings = (_as_finding(_proven(wanted, proof, most)),)
    verdict = findings[0].verdict
    words = {Status.OK: "yes", Status.FAIL: "no"}
    totals = {
        **_machine_totals(facts),
        "needed_bytes": wanted,
        "fits": words.get(verdict.status, "tight"),
    }
    return Report(
        "shm-check", findings=findings, facts=facts.to_json(), totals=totals,
        headline=verdict.brief or verdict.message,
    )  # fmt: skip


def _as_finding(verdict: Verdict) -> Finding:
    check = checks.load("shm-insufficient")
    return Finding(check.id, check.area, verdict, check.reference)


def _too_much(wanted: int, facts: Facts) -> Verdict:
    free, (left, by) = free_of_shm(facts), usable(facts)
    used = used_of_shm(facts)
    fix: list[str] = []
    if wanted > free:
        fix += size_fixes(rounded(wanted + used), place_of(facts))
        which = f"/dev/shm has {readable(free)} free"
    if left is not None and wanted > left:
        also = "and " if fix else ""
        fix += [also + text for text in memory_fixes(wanted - left, by, place_of(facts))]
        which = f"{by} leaves {readable(left)}" if left < free or wanted <= free else which
    message = f"{readable(wanted)} cannot be had: {which}"
    evidence = [Evidence("free of /dev/shm", readable(free))]
    if left is not None:
        evidence.append(Evidence("left of memory", f"{readable(left)} by {by}"))
    return fail(message, evidence=evidence, fix=fix, brief=message)


def _proven(wanted: int, proof: Proof, most: int) -> Verdict:
    got, asked = readable(proof.bytes), readable(wanted)
    if proof.bytes == wanted:
        return ok(f"{asked} can be had: it was taken and given back")
    if proof.is_refused:
        message = (
            f"{asked} cannot be had: {got} could be taken of {readable(most)}, then {proof.reason}"
        )
        fix = ["torchkit shm-check   (says who holds it)"]
        return fail(message, fix=fix, brief=message)
    if proof.bytes:
        return ok(f"{asked} can be had: {got} were taken and given back, {proof.reason}")
    return could_not_look(
        f"{asked} seem to be free, of {readable(most)}, but could not be taken: {proof.reason}"
    )


# --- workers


def _workload(question: Question, facts: Facts, system: System) -> Report:
    if question.target is None:
        planned = from_samples(question, has_accelerator=_has_accelerator(system))
        return judgement(planned, facts)
    return judgement(*_of_dataset(question.target, question, facts, system))


def run_live(question: Question, seen: Look, system: System) -> Report:
    """The report on a DataLoader of the calling program, whose batches were looked at there."""
    check_options(question)
    facts = _facts(system)
    if facts["os_system"] != "linux":
        return _elsewhere(facts, question)
    return judgement(from_look(question, seen), facts)


def judgement(planned: Planned, facts: Facts, measured: measure.Measured | None = None) -> Report:
    """The report on a workload, and on a run of it where there was one."""
    need = need_of(planned, facts, measured)
    findings = _judged(need, facts)
    if measured is not None and measured.trouble:
        findings = checks.worst_first([*findings, _trouble(measured)])
    fits = fit_of(findings)
    notes = (*planned.notes, *_later_note(need, fits))
    return Report(
        "shm-check",
        findings=findings,
        tables=(_numbers(need, notes),),
        views=(_numbers(need, notes, is_view=True),),
        facts=facts.to_json(),
        totals=_totals(need, planned, facts, fits=fits),
        headline=_headline(findings, fits),
    )


def _judged(need: Need, facts: Facts) -> tuple[Finding, ...]:
    found = list(checks.run_checks(facts, ("shm-missing", "shm-full")))
    for check_id in WORKLOAD_CHECKS:
        check = checks.load(check_id)
        verdict = check.judge(need)
        verdicts = verdict if isinstance(verdict, tuple) else (verdict,)
        found += [Finding(check.id, check.area, it, check.reference) for it in verdicts]
    missing = any(it.id == "shm-missing" and it.status is Status.FAIL for it in found)
    if missing:
        found = [
            dataclasses.replace(it, verdict=dataclasses.replace(it.verdict, part_of="shm-missing"))
            if it.id == "shm-insufficient"
            else it
            for it in found
        ]
    return checks.worst_first(found)


def fit_of(findings: tuple[Finding, ...]) -> str:
    """`no`, `tight` or `yes`, by the findings on the workload and on a run of it."""
    judging = (*WORKLOAD_CHECKS, "shm-missing", "loader-fails")
    found = {it.status for it in findings if it.id in judging}
    if Status.FAIL in found:
        return "no"
    return "tight" if Status.WARN in found else "yes"


def _later_note(need: Need, fits: str) -> tuple[str, ...]:
    """Where what is taken in later epochs does not fit, though that of the first does."""
    taken, kept = need.prediction, need.load.kept
    later = taken.later_bound_bytes
    if fits != "yes" or later <= need.shm_free_bytes:
        return ()
    if kept and taken.later_peak_bytes - taken.semaphore_bytes > need.shm_free_bytes:
        return (
            f"from the second epoch on {readable(taken.later_peak_bytes)} are needed, unless"
            f" persistent_workers=True: the {kept + 1} batches that the loop has stay until the workers"
            " of the next epoch end",
        )
    return (
        f"a very fast dataset may need {readable(later)} from the second epoch on, unless"
        " persistent_workers=True: the last batch of an epoch stays until the workers of the next end",
    )


def _headline(findings: tuple[Finding, ...], fits: str) -> str:
    wrong = [it for it in findings if it.status in (Status.FAIL, Status.WARN, Status.CRASH)]
    if wrong and wrong[0].id == "loader-fails":
        return wrong[0].verdict.brief
    told = [it for it in wrong if it.id in (*WORKLOAD_CHECKS, "shm-missing")] or wrong
    if told:
        return f"{_WORDS[fits]}: {told[0].verdict.brief}"
    message = next(it.verdict.message for it in findings if it.id == "shm-insufficient")
    return f"fits: {message}"


def _numbers(need: Need, notes: tuple[str, ...], *, is_view: bool = False) -> Table:
    load, taken = need.load, need.prediction
    rows = [("note", note) for note in notes]
    if is_view and load.workers and shm_insufficient.judge(need).status is Status.OK:
        rows = [
            ("one batch", f"{readable(taken.batch_bytes)}   {need.batch_text}".rstrip()),
            ("usual peak", readable(taken.peak_bytes)),
            ("never above", shm_insufficient.never_above(need)),
            *(
                (("measured", f"{readable(need.measured_bytes)}   {need.measured_text}"),)
                if need.measured_bytes is not None
                else ()
            ),
            ("max workers", _most_workers(need)),
            *rows,
        ]
    return Table(
        "workload", ("area", "value"), tuple({"area": name, "value": text} for name, text in rows)
    )


def _most_workers(need: Need) -> str:
    more = "or more " if need.max_workers >= MOST_WORKERS else ""
    return f"{need.max_workers:,} {more}at prefetch {need.load.prefetch}"


def _totals(need: Need, planned: Planned, facts: Facts, *, fits: str) -> dict[str, Json]:
    taken, left = need.prediction, need.memory_usable_bytes
    free = need.shm_free_bytes
    totals: dict[str, Json] = {
        "shm_total_bytes": facts.known("shm_total_bytes"),
        "shm_free_bytes": facts.known("shm_free_bytes"),
        "usable_bytes": free if left is None else min(free, left),
        "sample_bytes": planned.sample_bytes,
        "batch_bytes": taken.batch_bytes,
        "predicted_peak_bytes": taken.peak_bytes,
        "predicted_bound_bytes": taken.bound_bytes,
        "later_bound_bytes": taken.later_bound_bytes,
        "fits": fits,
        "max_workers": need.max_workers,
        "recommended_shm_bytes": need.recommended_bytes,
        "open_files_needed": taken.open_files,
        "inodes_needed": taken.inodes_bound,
    }
    if need.measured_bytes is not None:
        totals["measured_peak_bytes"] = need.measured_bytes
    return totals


def _has_accelerator(system: System) -> bool:
    return any(system.exists(node) for node in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


# --- a dataset


def _of_dataset(
    target: str, question: Question, facts: Facts, system: System
) -> tuple[Planned, Facts, measure.Measured | None]:
    from torchkit.dataset import look, measure

    wish = {
        "batch_size": question.batch_size,
        "workers": question.workers,
        "prefetch": question.prefetch,
        "pin_memory": question.pin_memory,
    }
    seen = look.look_at(
        target, wish,
        limit_s=question.timeout_s or look.SIZES_LIMIT_S, progress=_progress(system),
    )  # fmt: skip
    planned = from_look(question, seen)
    if not question.measure or not planned.load.workers:
        return planned, facts, None
    left, _ = usable(facts)
    measured = measure.run_loader(
        target, wish, planned.load, seen,
        shm_usable_bytes=free_of_shm(facts), memory_usable_bytes=left,
        limit_s=question.timeout_s or measure.RUN_LIMIT_S, progress=_progress(system),
    )  # fmt: skip
    return from_look(question, seen.with_larger(measured.largest)), facts, measured


def _trouble(measured: measure.Measured) -> Finding:
    """A run that came to no end: a limit was passed, or something else that only workers meet."""
    run = FailedRun(measured.trouble, measured.workers, measured.hangs)
    verdict = loader_fails.judge(run)
    check = checks.load(run.check_id)
    return Finding(check.id, check.area, verdict, check.reference)


_DOING = {
    "import": "importing torch and the dataset",
    "batch-begun": "making batches",
    "run-begun": "running the DataLoader",
}


def _progress(system: System) -> Callable[[str], None] | None:
    if not system.notices:
        return None
    told: set[str] = set()

    def tell(stage: str) -> None:
        if stage in _DOING and stage not in told:
            told.add(stage)
            sys.stderr.write(f"{_DOING[stage]}\n")

    return tell
