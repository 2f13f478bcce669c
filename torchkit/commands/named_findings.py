"""Findings of a report on two things, each with the name of the one it is about."""

from __future__ import annotations

import dataclasses

from torchkit.report import Finding


def named(finding: Finding, name: str) -> Finding:
    """The finding, its message and its clause for the first line headed by `name`."""
    verdict = finding.verdict
    return dataclasses.replace(
        finding,
        verdict=dataclasses.replace(
            verdict,
            message=f"{name}: {verdict.message}",
            brief=f"{name}: {verdict.brief}" if verdict.brief else "",
        ),
    )
