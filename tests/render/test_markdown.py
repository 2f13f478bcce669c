"""Markdown, read back by a Markdown parser."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from torchkit.render import Format, Style, render
from torchkit.report import (
    Artifact,
    Evidence,
    Failure,
    Finding,
    Report,
    Status,
    Table,
    could_not_look,
    fail,
    ok,
)

markdown_it = pytest.importorskip("markdown_it", reason="the Markdown parser that rich brings")

PIPE = Style()


def markdown(report: Report, *, quiet: bool = False, redact: bool = False) -> str:
    return render(report, Format.MARKDOWN, style=PIPE, quiet=quiet, redact=redact)


def shown(page: str) -> str:
    """The page as HTML."""
    parser = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return str(parser.render(page))


def codes(page: str) -> list[str]:
    """Contents of all code on the page."""
    return [
        html.unescape(text) for text in re.findall(r"<code[^>]*>(.*?)</code>", shown(page), re.S)
    ]


def words(page: str) -> str:
    """What a reader sees of the page."""
    text = re.sub(r"<!--.*?-->|<[^>]+>", "", shown(page), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def test_a_finding_with_evidence_and_fixes() -> None:
    verdict = fail(
        "torchvision 0.29.2 does not fit torch 2.13.0+cpu",
        evidence=[Evidence("found", "libc10_cuda.so", "torchvision/_C.so")],
        fix=["pip install torchvision==0.28.0      the one for torch 2.13", "remove it"],
    )
    finding = Finding("extension-broken", "packages", verdict, "https://pytorch.org/a_b")

    page = markdown(Report("env", findings=(finding,), facts={"torch_cuda": None}))

    assert re.sub(r"torchkit \d+\.\S+,", "torchkit VERSION,", page) == (
        """\
**torchkit env**: 1 problem: torchvision 0.29.2 does not fit torch 2.13.0+cpu

- **FAIL** `extension-broken`: torchvision 0.29.2 does not fit torch 2.13.0+cpu
  - found: `libc10_cuda.so` (torchvision/\\_C.so)
  - fix: `pip install torchvision==0.28.0` the one for torch 2.13
  - or: remove it
  - see <https://pytorch.org/a_b>

<details><summary>facts</summary>

| name | value |
| --- | --- |
| torch_cuda | none |

</details>

<sub>torchkit VERSION, `torchkit env`</sub>
"""
    )


def test_everything_told_can_be_read(any_report: Report) -> None:
    page = markdown(any_report)

    text = words(page)
    for finding in any_report.findings:
        if finding.status not in {Status.OK, Status.SKIP}:
            assert finding.verdict.message in text
            assert all(item.value in codes(page) for item in finding.verdict.evidence)
    for name in any_report.facts:
        assert name in text
    assert text.endswith("torchkit " + any_report.command)


HOSTILE = [
    "a | b",
    "|",
    "`code` and ``more``",
    "`",
    "<b>bold</b> <script>",
    "*star* **two** _under_ __two__",
    "~~gone~~",
    r"back\slash \| \` \\",
    "[link](https://example.com) ![image](x) [a]: b",
    "&amp; &lt; &#124;",
    "# heading",
    "- item",
    "$x$",
    "--- | ---",
    "</details>",
    "<!-- comment",
    "1. one",
    "12) twelve",
    "---",
    "===",
    "::error::x",
    "x" * 10_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=[value[:12] for value in HOSTILE])
def test_no_value_is_taken_for_markdown(value: str) -> None:
    verdict = fail(value, evidence=[Evidence(value, value, value)], fix=[value])
    row = {"a": value, value: value}
    report = Report(
        "env",
        findings=(Finding("x", "a", verdict), Finding("y", "a", could_not_look(value))),
        tables=(Table("t", ("a", value), (row,)),),
        artifacts=(Artifact("k", value, path=value, why=(value,), commands=(value,)),),
        facts={"fact": value, "blind": {"unknown": value}},
    )

    page = markdown(report)

    seen = " ".join(value.split())
    assert codes(page).count(value) >= 5  # evidence, two cells, a path, a fact
    assert words(page).count(seen) >= 11
    rendered = shown(page)
    assert not re.search(r"<(em|del|s|a|img|h1|b|script)\b", rendered)
    assert rendered.count("<li>") == 4
    assert rendered.count("</details>") == 1
    assert rendered.count("<tr>") == 2 + 3


def test_a_value_of_several_lines_is_a_block_inside_its_finding() -> None:
    value = "one | two\n    three ```` four\n\nfive"
    verdict = fail("m", evidence=[Evidence("found", value), Evidence("next", "x")])

    page = markdown(Report("env", findings=(Finding("x", "a", verdict),)))

    assert value + "\n" in codes(page)
    assert shown(page).count("<ul>") == 2


def test_line_breaks_in_a_cell_stay_in_their_row() -> None:
    page = markdown(Report("env", facts={"fact": "one\ntwo | three", "next": 1}))

    assert codes(page)[:2] == ["one", "two | three"]
    assert shown(page).count("<tr>") == 3


def test_the_branches_of_a_tree_keep_their_spaces() -> None:
    names = ("├─ a", "│  └─ b|c", "   └─ `d`", "  two  spaces")
    table = Table("layers", ("layer",), tuple({"layer": name} for name in names))
    report = Report("summary", views=(table,))

    lines = [html.unescape(it) for it in markdown(report).splitlines()]

    drawn = [it for it in lines if "─" in it or "two" in it]
    blank = "\N{NO-BREAK SPACE}"
    assert drawn == [
        f"| `├─{blank}a` |",
        f"| <code>│{blank * 2}└─{blank}b|c</code> |",
        f"| `` {blank * 3}└─{blank}`d` `` |",
        "| `two  spaces` |",
    ]


def test_nobody_is_notified_by_a_message() -> None:
    page = markdown(Report("env", findings=(Finding("x", "a", fail("asked @someone")),)))

    assert "@someone" not in page
    assert "asked @someone" in words(page)


def test_a_fix_that_is_a_sentence_is_no_code() -> None:
    verdict = fail("m", fix=["update the driver", "sudo apt-get install gcc-12"])

    page = markdown(Report("env", findings=(Finding("x", "a", verdict),)))

    assert "fix: update the driver\n" in page
    assert "or: `sudo apt-get install gcc-12`\n" in page


def test_numbers_stand_on_the_right() -> None:
    rows = ({"a": 1, "b": "x"}, {"a": None, "b": "y"})

    page = markdown(Report("env", tables=(Table("t", ("a", "b"), rows),)))

    assert "| ---: | --- |" in page


def test_private_data_goes_unless_it_is_to_stay() -> None:
    report = Report(
        "env",
        findings=(
            Finding(
                "x",
                "a",
                fail("m", evidence=[Evidence("found", "/home/anna/torch", "/Users/bob/x")]),
            ),
        ),
        facts={"token": {"unknown": "hf_abcdefghijklmnopqrstuvwx"}},
    )

    assert "anna" in markdown(report, redact=False)
    redacted = markdown(report, redact=True)
    assert not re.search("anna|bob|hf_abc", redacted)
    assert "`~/torch`" in redacted


def test_quiet_leaves_what_is_wrong(broken: Report, well: Report) -> None:
    page = markdown(broken, quiet=True)

    assert re.findall(r"^- \*\*(\w+)", page, re.MULTILINE) == ["FAIL", "FAIL", "WARN"]
    assert "<details>" not in page
    assert markdown(well, quiet=True) == ""


def test_a_failure_says_what_to_do() -> None:
    page = markdown(Report("env", failure=Failure("no file `a|b`", "check the path")))

    assert "could not answer: no file `a|b` fix: check the path" in words(page)


def test_counts_are_told_once() -> None:
    page = markdown(Report("env", findings=(Finding("x", "a", ok("o")),)))

    assert page.count("1 check fine") == 1


def test_what_another_finding_tells_is_one_line_of_that_one() -> None:
    exact = Finding("extension-broken", "extensions", fail("torchvision cannot be loaded"))
    part = replace(
        fail("torchvision is for torch 2.12", fix=["pip install torch==2.12"]),
        part_of="extension-broken",
    )
    report = Report("env", findings=(exact, Finding("companion-mismatch", "packages", part)))

    page = markdown(report)

    assert page.count("**FAIL**") == 1
    assert "  - also `companion-mismatch`: torchvision is for torch 2.12" in page
    assert "pip install torch==2.12" not in page
