"""`torchkit env --all-ranks`: every rank of a job looks, and rank 0 reports.

The others print nothing and end with 0, whatever they found: the launcher would end the whole job
when one of them did not. Their answers, errors among them, are rank 0's to tell.
"""

from __future__ import annotations

import contextlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torchkit.checks import load, worst_first
from torchkit.checks.rank_missing import Missing
from torchkit.checks.rank_missing import judge as judge_missing
from torchkit.commands.comparison import Machine, compare
from torchkit.commands.differences import headline, tables, totals
from torchkit.commands.gates import Gates, refuse_beside
from torchkit.commands.names import Hosts
from torchkit.commands.overview import machine_table
from torchkit.commands.sources import facts_of, save_report
from torchkit.errors import BadInput, TorchkitError
from torchkit.machine.facts import Facts
from torchkit.machine.interruption import noted
from torchkit.machine.launch import Launch, launch_of
from torchkit.machine.probe import LIMIT_S as PROBE_LIMIT_S
from torchkit.machine.rank_files import why_of_no_use
from torchkit.machine.rank_store import IMPORTING, SLOW, SLOW_S
from torchkit.machine.ranks import Gathered, gather, hand_in, notice
from torchkit.machine.torch_child import LIMIT_S as LIVE_LIMIT_S
from torchkit.report import Evidence, Finding, Report, Status, Verdict, info, warn
from torchkit.system import System

if TYPE_CHECKING:
    from torchkit.commands.env import Question

OF_THE_MOMENT = ("shm_free_bytes", "memory_total_bytes", "cuda_visible_devices")
"""Facts that differ between ranks of one machine, and do not change a judgement."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""What every host is called by itself."""

SAID_LENGTH = 500
"""How much of what a rank says is repeated, in characters."""


def run(question: Question, system: System) -> Report | None:
    """Rank 0's report on all ranks; None from the other ranks.

    Raises BadInput where no launcher says which rank this is, and on rank 0 for what it cannot
    look at, and for options: all ranks are given the same, and one is enough to say so.
    """
    launch = launch_of(system.environ, looking_s=_looking_s(question))
    if launch.rank > 0:
        with contextlib.suppress(BadInput):
            _gates(question)
            if launch.address is None:
                _refuse_to_meet_nowhere(launch, system)
            _hand_in(question, launch, System(root=system.root, environ=system.environ))
        return None
    gates = _gates(question)
    _refuse_to_meet_nowhere(launch, system)
    with noted() as interruption:
        facts = _facts(question, system)
        gathered = gather(
            system,
            launch,
            _answer(facts),
            python=_python(question, facts),
            interruption=interruption,
            tell=lambda missing, left_s: _tell(system, missing, left_s),
        )
    report = _report(launch, gathered, gates, hides_hosts=question.hides_hosts)
    if question.save is not None:
        save_report(report, question.save, strict=question.strict)
    return report


def _gates(question: Question) -> Gates:
    """What every rank is judged by. Raises BadInput for an option that cannot be used here."""
    others = {
        "--get": question.get,
        "--list": question.list_checks,
        "--compare": question.compare,
    }
    refuse_beside("--all-ranks", others, because="which reports on all ranks")
    return Gates.of(require=question.require, only=question.only, skip=question.skip)


def _looking_s(question: Question) -> float:
    """How long a rank may look whose torch or compiler hangs, while rank 0's does not."""
    return LIVE_LIMIT_S * question.live + PROBE_LIMIT_S * question.probe


def _refuse_to_meet_nowhere(launch: Launch, system: System) -> None:
    """Raises BadInput where ranks cannot meet, or might meet those of another job."""
    named = system.environ.get("TORCHKIT_RANKS_DIR")
    if named and (problem := why_of_no_use(Path(named))):
        raise BadInput(
            f"TORCHKIT_RANKS_DIR is {named}, which is {problem}",
            hint="name a folder that every rank sees and may write to",
        )
    if launch.world_size > 1 and not named and not launch.has_key:
        raise BadInput(
            "nothing tells this job from another one: neither MASTER_ADDR and MASTER_PORT "
            "nor the number of a job is set",
            hint="name a folder of this job's own that all ranks see: "
            "export TORCHKIT_RANKS_DIR=FOLDER",
        )


# --- one rank


def _facts(question: Question, system: System) -> Facts:
    return facts_of(
        python=question.python, saved=question.saved, asked=question.asked, system=system
    )


def _answer(facts: Facts) -> dict[str, Any]:
    return {"host": platform.node(), "facts": facts.to_json()}


def _look(question: Question, system: System) -> tuple[dict[str, Any], str]:
    """A rank's answer, and its Python; an error that ends another command is an answer, too."""
    try:
        facts = _facts(question, system)
    except TorchkitError as error:
        return {"host": platform.node(), "error": error.message}, sys.executable
    return _answer(facts), _python(question, facts)


def _python(question: Question, facts: Facts) -> str:
    """The interpreter whose torch carries answers; that of a saved machine is not here."""
    known = None if question.saved is not None else facts.known("python_executable")
    return known or sys.executable


def _hand_in(question: Question, launch: Launch, system: System) -> None:
    answer, python = _look(question, system)
    tried = hand_in(system, launch, answer, python=python)
    if tried is not None:
        ways = f": {'; '.join(tried)}" if tried else ""
        notice(f"rank {launch.rank} found no rank 0 within {2 * launch.limit_s:g} s{ways}")


def _tell(system: System, missing: set[int], left_s: float) -> None:
    if system.notices:
        names = Hosts({}).named(map(str, sorted(missing)))
        notice(f"waiting for {names}, at most {left_s:.0f} s")


# --- all of them


class _Rank(NamedTuple):
    """What a rank said: its facts, or why it has none."""

    host: str
    facts: Facts | None
    error: str = ""
    torch_problem: str = ""


def _read(rank: int, told: Mapping[str, Any]) -> _Rank:
    """A rank's answer, of which nothing is believed: it came from another process."""
    host = _text(told.get("host"))
    problem = _text(told.get("torch_problem"))
    if "error" in told:
        return _Rank(host, None, _text(told["error"]) or "it did not say why", problem)
    data = told.get("facts")
    if not isinstance(data, Mapping):
        return _Rank(host, None, "its answer has no facts", problem)
    try:
        return _Rank(host, Facts.from_json(data, where=f"the answer of rank {rank}"), "", problem)
    except BadInput as error:
        return _Rank(host, None, error.message, problem)


def _text(value: object) -> str:
    return value[:SAID_LENGTH] if isinstance(value, str) else ""


def _report(launch: Launch, gathered: Gathered, gates: Gates, *, hides_hosts: bool) -> Report:
    if hides_hosts:
        gathered = _without_hosts(gathered, launch)
    ranks = {rank: _read(rank, told) for rank, told in sorted(gathered.answers.items())}
    looked = {rank: it.facts for rank, it in ranks.items() if it.facts is not None}
    hosts = Hosts({str(rank): it.host for rank, it in ranks.items()}, hidden=hides_hosts)
    machines = [Machine(str(rank), facts) for rank, facts in looked.items()]
    comparison = compare(machines, named=hosts.named, is_one_job=True)
    missing = [
        *_missing(launch, gathered, hosts),
        *_without_facts(ranks, launch, hosts),
        *_broken_torch(ranks, launch, hosts),
    ]
    judged = _judged(looked, gates, hosts)
    findings = worst_first([*missing, *judged, *comparison.findings])
    own = looked[0]
    return Report(
        "env",
        findings=findings,
        tables=(machine_table(own), *tables(comparison)),
        facts=own.to_json(),
        totals={
            "world_size": launch.world_size,
            "hosts": {} if hides_hosts else dict(hosts.of),
            **totals(comparison),
        },
        headline=_headline(headline(comparison, noun="ranks"), missing, judged, len(looked)),
    )


def _without_hosts(gathered: Gathered, launch: Launch) -> Gathered:
    """What was said of the way to rank 0, without the names of hosts."""
    names = {launch.address[0] if launch.address else "", platform.node()}
    names |= {_text(told.get("host")) for told in gathered.answers.values()}

    def hidden(text: str) -> str:
        for name in sorted(names - {"", *LOOPBACK}, key=len, reverse=True):
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "<host>", text)
        return text

    answers = {
        rank: {
            name: hidden(it) if name in ("error", "torch_problem") and isinstance(it, str) else it
            for name, it in told.items()
        }
        for rank, told in gathered.answers.items()
    }
    ways = tuple(map(hidden, gathered.ways))
    return gathered._replace(answers=answers, ways=ways, trouble=hidden(gathered.trouble))


def _headline(
    compared: str, missing: Sequence[Finding], judged: Sequence[Finding], answers: int
) -> str:
    """Who is missing, who differs, and what is wrong with all or some, in one line."""
    parts = [it.verdict.brief for it in missing if it.status is Status.FAIL]
    parts += [compared] if answers > 1 else []
    troubles = [it for it in judged if it.status in (Status.FAIL, Status.WARN, Status.CRASH)]
    worst = [it for it in troubles if it.status is troubles[0].status]
    if worst:
        noun = "warning" if worst[0].status is Status.WARN else "problem"
        more = f" and {len(worst) - 1} more" if len(worst) > 1 else ""
        parts.append(
            f"{len(worst)} {noun}{'s' if len(worst) > 1 else ''}: "
            f"{worst[0].verdict.brief or worst[0].verdict.message}{more}"
        )
    return "; ".join(parts) or "1 rank: nothing wrong found"


def _missing(launch: Launch, gathered: Gathered, hosts: Hosts) -> list[Finding]:
    absent = [rank for rank in range(launch.world_size) if rank not in gathered.answers]
    if not absent:
        return []
    missing = Missing(
        hosts.named(map(str, absent)),
        absent[0],
        len(absent),
        launch.world_size,
        gathered.waited_s,
        gathered.ways,
        gathered.stopped,
        launch.has_agent,
        lacks=launch.lacks,
        trouble=gathered.trouble,
    )
    return [_finding("rank-missing", judge_missing(missing))]


def _without_facts(ranks: Mapping[int, _Rank], launch: Launch, hosts: Hosts) -> Iterable[Finding]:
    by_error: dict[str, list[int]] = {}
    for rank, it in ranks.items():
        if it.error:
            by_error.setdefault(it.error, []).append(rank)
    for error, some in by_error.items():
        names = hosts.named(map(str, some))
        missing = Missing(names, some[0], len(some), launch.world_size, 0.0, (), error=error)
        yield _finding("rank-missing", judge_missing(missing))


def _broken_torch(ranks: Mapping[int, _Rank], launch: Launch, hosts: Hosts) -> Iterable[Finding]:
    """Ranks whose torch did not load when their answer was to be handed in through it.

    A torch that was given less than `SLOW_S` to load is not called slow.
    """
    by_problem: dict[str, list[int]] = {}
    for rank, it in ranks.items():
        is_known = it.facts is not None and it.facts.known("torch_version") is None
        if it.torch_problem.startswith(IMPORTING) and not is_known:
            by_problem.setdefault(it.torch_problem, []).append(rank)
    for problem, some in by_problem.items():
        names = hosts.named(map(str, some))
        is_slow = SLOW in problem  # a network file system, say: nothing that is wrong
        if is_slow and launch.limit_s / 3 < SLOW_S:
            continue
        verdict = (info if is_slow else warn)(
            f"{problem} ({names})",
            evidence=[Evidence("on", names), Evidence("found", problem, "a child of that rank")],
            fix=[] if is_slow else ["see what `python -c 'import torch'` says there"],
            brief=f"torch gives trouble on {names}",
        )
        yield _finding("torch-import-fails", verdict)


def _finding(check_id: str, verdict: Verdict) -> Finding:
    check = load(check_id)
    return Finding(check_id, check.area, verdict, check.reference)


def _judged(looked: Mapping[int, Facts], gates: Gates, hosts: Hosts) -> list[Finding]:
    """Every finding once, with the ranks it is about where these are not all.

    A check that is fine or does not apply on some is told only where nothing else is on the others.
    """
    alike: dict[str, list[int]] = {}
    for rank, facts in looked.items():
        data = {name: it for name, it in facts.to_json().items() if name not in OF_THE_MOMENT}
        alike.setdefault(json.dumps(data, sort_keys=True), []).append(rank)
    found: dict[Finding, list[int]] = {}
    for some in alike.values():
        for finding in gates.judge(looked[some[0]]):
            found.setdefault(finding, []).extend(some)
    told = (Status.INFO, Status.WARN, Status.FAIL, Status.CRASH)
    loud = {finding.id for finding in found if finding.status in told}
    quiet: dict[str, Finding] = {}
    result = []
    for finding, some in found.items():
        if finding.status in told:
            result.append(_of(finding, sorted(some), len(looked), hosts))
        elif finding.id not in loud:
            quiet[finding.id] = _weightier(finding, quiet.get(finding.id, finding))
    return [*result, *quiet.values()]


def _of(finding: Finding, ranks: Sequence[int], answers: int, hosts: Hosts) -> Finding:
    if len(ranks) == answers:
        return finding
    names = hosts.named(map(str, ranks))
    verdict = finding.verdict
    return replace(
        finding,
        verdict=replace(
            verdict,
            message=f"{verdict.message} ({names})",
            evidence=(Evidence("on", names), *verdict.evidence),
            brief=f"{verdict.brief or verdict.message} ({names})",
        ),
    )


def _weightier(one: Finding, other: Finding) -> Finding:
    """Of two that are no trouble, the one that says more: could not look, fine, does not apply."""
    order = [
        (it.status is Status.SKIP and it.verdict.applies, it.status is Status.OK)
        for it in (one, other)
    ]
    return one if order[0] >= order[1] else other
