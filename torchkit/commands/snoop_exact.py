"""The reports of `torchkit snoop --exact`: mixed devices, and operands as the failing call had them."""

from __future__ import annotations

import dataclasses
from typing import Any

from torchkit.commands.snoop_nan import listing_of, spot_evidence, where_of
from torchkit.report import Evidence, Finding, Report, fail
from torchkit.tracing.exact import Called

_REFERENCE = "https://docs.pytorch.org/docs/stable/meta.html"


def report_on_mixed(called: Called) -> Report:
    """On tensors of two devices in one operation that torch lets pass."""
    meta = [name for name, it in _named(called) if it.device == "meta"]
    others = [(name, it) for name, it in _named(called) if it.device != "meta"]
    device = next((it.device for _, it in others if it.shape), "cpu")
    headline = f"mixed devices: {called.function} at {where_of(called.spot)}"
    evidence = [
        *spot_evidence(called.spot),
        *(
            Evidence(f"operand {name}", it.text, "has no memory" if it.device == "meta" else "")
            for name, it in _named(called)
        ),
    ]
    text = (
        f"{called.function} is given {' and '.join(meta)} without memory (meta) beside tensors on "
        f"{device}: torch says nothing, and the result is what happened to be in memory"
    )
    fix = [
        f"model.to_empty(device={device!r}), then load_state_dict or initialise it"
        if any("." in name for name in meta)
        else f"torch.empty_like({meta[0]}, device={device!r}), then fill it",
    ]
    verdict = fail(text, evidence=evidence, fix=fix, brief=headline)
    finding = Finding("mixed-devices", "snoop", verdict, _REFERENCE)
    return Report("snoop", findings=(finding,), listings=listing_of(called.spot), headline=headline)


def with_exact(report: Report, called: Called) -> Report:
    """The report on an exception, with the operands that the source has no name for."""
    if not report.findings:
        return report
    first, *others = report.findings
    known = {it.name for it in first.verdict.evidence}
    told = {it.value for it in first.verdict.evidence if it.name.startswith("operand ")}
    more = [
        Evidence(f"operand {name}", it.text, "as the call was given it")
        for name, it in _named(called)
        if f"operand {name}" not in known and not (name.startswith("argument ") and it.text in told)
    ]
    verdict: Any = dataclasses.replace(first.verdict, evidence=(*first.verdict.evidence, *more))
    finding = dataclasses.replace(first, verdict=verdict)
    return dataclasses.replace(report, findings=(finding, *others))


def _named(called: Called) -> list[tuple[str, Any]]:
    return [
        (name or f"argument {number}", it)
        for number, (name, it) in enumerate(zip(called.names, called.operands, strict=True))
    ]
