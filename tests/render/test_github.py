"""Workflow commands, read back as GitHub's runner reads them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from torchkit.render import Format, Style, render
from torchkit.report import (
    Evidence,
    Failure,
    Finding,
    Report,
    Status,
    Verdict,
    could_not_look,
    fail,
    info,
    ok,
    warn,
)

PIPE = Style()

# The runner's own order (actions/runner, ActionCommand.cs): "%" last.
UNESCAPE_DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
UNESCAPE_PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))


def github(report: Report, *, quiet: bool = False) -> str:
    return render(report, Format.GITHUB, style=PIPE, quiet=quiet)


def as_runner_reads(line: str) -> tuple[str, str, str] | None:
    """Command, title and message of a line; None where the runner sees plain text."""
    match = re.fullmatch(r"::(\w+) title=([^:,]*)::(.*)", line)
    if match is None:
        return None
    command, title, message = match.groups()
    for escaped, plain in UNESCAPE_PROPERTY:
        title = title.replace(escaped, plain)
    for escaped, plain in UNESCAPE_DATA:
        message = message.replace(escaped, plain)
    return command, title, message


def test_each_status_has_its_command_and_the_rest_are_silent() -> None:
    verdicts = [
        info("i"),
        warn("w"),
        Verdict(Status.CRASH, "c"),
        fail("f"),
        ok("o"),
        could_not_look("s"),
    ]
    findings = tuple(Finding(f"id-{n}", "a", verdict) for n, verdict in enumerate(verdicts))

    page = github(Report("env", findings=findings))

    assert page.splitlines() == [
        "::error title=id-3::f",
        "::error title=id-2::c",
        "::warning title=id-1::w",
        "::notice title=id-0::i",
        "torchkit env: 1 problem, 1 crashed check, 1 warning: f",
    ]


def test_evidence_and_fix_are_lines_of_the_message() -> None:
    verdict = fail(
        "driver 470 is too old",
        evidence=[Evidence("found", "470", "nvidia-smi"), Evidence("needed", "525")],
        fix=["update the driver", "install another torch"],
    )

    page = github(Report("env", findings=(Finding("driver-too-old", "driver", verdict),)))

    assert as_runner_reads(page.splitlines()[0]) == (
        "error",
        "driver-too-old",
        "driver 470 is too old\nfound: 470 (nvidia-smi)\nneeded: 525\n"
        "fix: update the driver\nor: install another torch",
    )


@pytest.mark.parametrize(
    "message",
    [
        "100 % of 5%0A",
        "two\nlines",
        "::error::x",
        "a,b:c::d",
        "%25%0D%3A",
        "\n::error title=fake::not ours",
        "x" * 10_000,
    ],
)
def test_a_message_comes_back_as_it_was(message: str) -> None:
    page = github(Report("env", findings=(Finding(message, "a", fail(message, brief="b")),)))

    lines = page.splitlines()
    assert as_runner_reads(lines[0]) == ("error", message, message)
    assert len(lines) == 2
    assert as_runner_reads(lines[1]) is None


@pytest.mark.parametrize("headline", ["::error::x", "ok\n::error::x", "##[error]x", "a\r::error::"])
def test_a_headline_is_never_a_command(headline: str) -> None:
    lines = github(Report("env", headline=headline)).splitlines()

    assert len(lines) == 1
    assert not lines[0].lstrip().startswith("::")
    assert "##[" not in lines[0]


def test_a_failure_is_an_error_with_its_hint() -> None:
    page = github(Report("env", failure=Failure("no such file: a.json", "check the path")))

    assert page == "::error title=torchkit env::no such file: a.json%0Acheck the path\n"


def test_quiet_leaves_what_is_wrong(broken: Report, well: Report) -> None:
    commands = [line.split()[0] for line in github(broken, quiet=True).splitlines()]

    assert commands == ["::error", "::error", "::warning"]
    assert github(well, quiet=True) == ""


def test_what_another_finding_tells_is_a_line_of_that_one_so_that_the_counts_agree() -> None:
    exact = Finding("extension-broken", "extensions", fail("torchvision cannot be loaded"))
    part = replace(fail("torchvision is for torch 2.12"), part_of="extension-broken")
    report = Report("env", findings=(exact, Finding("companion-mismatch", "packages", part)))

    *commands, total = github(report).splitlines()

    assert [as_runner_reads(line) for line in commands] == [
        (
            "error",
            "extension-broken",
            "torchvision cannot be loaded\nalso: companion-mismatch: torchvision is for torch 2.12",
        )
    ]
    assert "1 problem" in total


def test_a_part_of_what_is_not_there_stands_for_itself() -> None:
    part = replace(fail("torchvision is for torch 2.12"), part_of="extension-broken")

    page = github(Report("env", findings=(Finding("companion-mismatch", "packages", part),)))

    assert page.count("::error ") == 1
