"""What people read: whole pages, and what holds for every page."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

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
    Verdict,
    could_not_look,
    does_not_apply,
    fail,
    info,
    ok,
    warn,
)

PIPE = Style()
ANSI = re.compile(r"\x1b\[[\d;]*m")


def text(report: Report, style: Style = PIPE, *, quiet: bool = False) -> str:
    return render(report, Format.TEXT, style=style, quiet=quiet)


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


# --- whole pages


def test_a_broken_machine_at_80_columns(broken: Report) -> None:
    page = text(broken, Style(80))

    assert page == (
        """\
2 problems, 1 warning: torchvision cannot load, and the driver is too old for
this torch

FAIL  extension-broken: torchvision 0.29.2 does not fit torch 2.13.0+cpu
      would fail with  libc10_cuda.so: cannot open shared object file: No such
                       file or directory
      found            torchvision/_C.so needs libc10_cuda.so and
                       libtorch_cuda.so; this torch is a CPU build and has
                       neither  (torchvision/_C.so)
      fix              pip install torchvision==0.28.0
                       the release that goes with torch 2.13
FAIL  driver-too-old: driver 470.57.02 cannot run CUDA 12.4, which needs
      525.60.13 or newer
      would fail with  The NVIDIA driver on your system is too old (found
                       version 11040)
      found            470.57.02  (/proc/driver/nvidia/version)
      needed           525.60.13  (CUDA 12.4 release notes)
      fix              update the NVIDIA driver
      or               install a torch build for CUDA 11.8
WARN  shm-small: /dev/shm holds 64 MiB; one batch of 64 images of [3, 224, 224]
      needs 74 MiB
      fix              docker run --shm-size=1g …
                       torchkit shm-check says how much
INFO  torch-cpu-build: this torch is a CPU build beside a GPU
      GPU              NVIDIA A100

torch     2.13.0+cpu · C++11 ABI new · Python 3.11.7 (.venv)
driver    470.57.02 · NVIDIA A100 (8.0, 40 GiB)
build     gcc 12.2.0 · nvcc 13.0.88 (takes gcc up to 15) · cmake 3.25.1
system    Debian 12 · glibc 2.36 · container · 8 CPUs, 32 GiB

libtorch for this machine
          https://download.pytorch.org/libtorch/cu118/libtorch-shared-with-deps-2.7.1%2Bcu118.zip
          CUDA 11.8: the newest this driver runs · new ABI, as gcc 12 builds
          cmake -S . -B build -DCMAKE_PREFIX_PATH=/opt/libtorch \\
            -DCMAKE_CXX_FLAGS='-O3 -march=native' -DCMAKE_BUILD_TYPE=Release

could not look: gpu-unsupported (nvidia-smi did not answer within 5 s)
2 checks fine, 1 does not apply here
"""
    )


def test_a_machine_that_is_well(well: Report) -> None:
    page = text(well)

    assert page == (
        """\
all well: 21 checks fine, 9 do not apply here

torch     2.13.0+cpu · C++11 ABI new · Python 3.11.7 (.venv)
driver    470.57.02 · NVIDIA A100 (8.0, 40 GiB)
build     gcc 12.2.0 · nvcc 13.0.88 (takes gcc up to 15) · cmake 3.25.1
system    Debian 12 · glibc 2.36 · container · 8 CPUs, 32 GiB
"""
    )


def test_layers_of_a_model(model: Report) -> None:
    page = text(model)

    assert page == (
        """\
USNet · [20, 1, 256, 256] float32 · eval · ran for real on the CPU

  layer    type               output              params    share
  USNet    USNet              [20, 2]             123458  100.0 %
  ├─ stem  Sequential         [20, 16, 128, 128]     208    0.2 %
  │  └─ 0  Conv2d 1→16 k3 s2  [20, 16, 128, 128]     160
  └─ head  Linear 64→2        [20, 2]                130    0.1 %

picture   /tmp/out dir/net.svg
"""
    )


def test_the_same_layers_where_only_ascii_can_be_written(model: Report) -> None:
    page = text(model, Style(unicode=False))

    assert page == (
        """\
USNet, [20, 1, 256, 256] float32, eval, ran for real on the CPU

  layer    type                output              params    share
  USNet    USNet               [20, 2]             123458  100.0 %
  |- stem  Sequential          [20, 16, 128, 128]     208    0.2 %
  |  `- 0  Conv2d 1->16 k3 s2  [20, 16, 128, 128]     160
  `- head  Linear 64->2        [20, 2]                130    0.1 %

picture   /tmp/out dir/net.svg
"""
    )


def test_a_failure_is_two_lines() -> None:
    report = Report(
        "summary",
        failure=Failure(
            "model.py has no class named 'Net'; it defines USNet",
            "write the target as model.py:USNet",
        ),
    )

    page = text(report)

    assert page == (
        "error  model.py has no class named 'Net'; it defines USNet\n"
        "fix    write the target as model.py:USNet\n"
    )


def test_colour_marks_the_status_and_dims_the_source() -> None:
    finding = Finding("x", "a", fail("broken", evidence=[Evidence("found", "1", "nvcc")]))

    page = text(Report("env", findings=(finding,)), Style(80, colour=True))

    assert page == (
        "\x1b[1m1 problem: broken\x1b[0m\n"
        "\n"
        "\x1b[1;31mFAIL  \x1b[0m\x1b[1mx\x1b[0m: broken\n"
        "      \x1b[2mfound  \x1b[0m1  \x1b[2m(nvcc)\x1b[0m\n"
    )


# --- the first line


def finding(number: int, verdict: Verdict) -> Finding:
    return Finding(f"check-{number}", "area", verdict)


@pytest.mark.parametrize(
    ("verdicts", "first"),
    [
        ([fail("m", brief="a breaks")], "1 problem: a breaks"),
        ([fail("the message")], "1 problem: the message"),
        ([warn("w", brief="b is small"), ok("o")], "1 warning: b is small"),
        (
            [fail("m", brief=clause) for clause in "abc"],
            "3 problems: a, b, and c",
        ),
        (
            [fail("m", brief=clause) for clause in "abcde"],
            "5 problems: a, b, and 3 more",
        ),
        (
            [Verdict(Status.CRASH, "KeyError: 'x'"), warn("w")],
            "1 crashed check, 1 warning: KeyError: 'x'",
        ),
        ([ok("o"), info("i")], "all well: 1 check fine"),
        ([info("i", brief="an old ABI")], "1 note: an old ABI"),
        (
            [ok("o"), could_not_look("no answer"), does_not_apply("no GPU")],
            "nothing wrong found: 1 check fine, 1 could not look, 1 does not apply here",
        ),
        (
            [does_not_apply("no GPU")],
            "nothing wrong found: 0 checks fine, 1 does not apply here",
        ),
    ],
)
def test_the_first_line_is_the_verdict(verdicts: list[Verdict], first: str) -> None:
    report = Report("env", findings=tuple(map(finding, range(9), verdicts)))

    assert text(report).splitlines()[0] == first


def test_a_headline_of_the_command_is_taken_as_it_is() -> None:
    report = Report("shm-check", headline="fits: 625 MiB", findings=(finding(1, ok("fine")),))

    assert text(report) == "fits: 625 MiB\n\n1 check fine\n"


def test_checks_blind_for_the_same_reason_share_a_line() -> None:
    blind = could_not_look("nvidia-smi did not answer within 5 s")
    report = Report("env", findings=(finding(1, blind), finding(2, blind), finding(3, ok("o"))))

    assert text(report).splitlines()[-1] == (
        "could not look: check-1, check-2 (nvidia-smi did not answer within 5 s)"
    )


# --- quiet


def test_quiet_says_nothing_where_all_is_well(well: Report, model: Report) -> None:
    assert text(well, quiet=True) == ""
    assert text(model, quiet=True) == ""


def test_quiet_leaves_what_is_wrong(broken: Report) -> None:
    words = [line.split()[0] for line in text(broken, quiet=True).splitlines() if line[0] != " "]

    assert words == ["FAIL", "FAIL", "WARN"]


# --- what holds for every page


def test_a_pipe_gets_no_codes_and_every_value_whole(any_report: Report) -> None:
    lines = text(any_report).splitlines()

    assert not any("\x1b" in line for line in lines)
    for item in any_report.findings:
        if item.status in {Status.OK, Status.SKIP}:
            continue
        assert any(f"{item.id}: {item.verdict.message}" in line for line in lines)
        for evidence in item.verdict.evidence:
            assert any(evidence.value in line for line in lines)
        for fix in item.verdict.fix:
            assert any(fix in line for line in lines)
    for artifact in any_report.artifacts:
        for part in (artifact.url, artifact.path, *artifact.why, *artifact.commands):
            assert part is None or any(part in line for line in lines)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_line_is_longer_than_the_terminal_only_for_one_word(
    any_report: Report, width: int
) -> None:
    paths = {artifact.path for artifact in any_report.artifacts}

    for line in text(any_report, Style(width)).splitlines():
        if columns(line) <= width or line.strip() in paths:
            continue
        content = re.sub(r"^ *(\S+( \S+){0,2} {2,})?", "", line).removesuffix(" \\")
        assert len(re.sub(r"'[^']*'|\[[\d, ]*\]", "x", content).split()) == 1, line


@pytest.mark.parametrize("width", [30, 80, 200, None])
def test_colour_adds_codes_and_changes_no_letter(any_report: Report, width: int | None) -> None:
    plain = text(any_report, Style(width))
    coloured = text(any_report, Style(width, colour=True))

    assert "\x1b[" in coloured
    assert [line.rstrip() for line in ANSI.sub("", coloured).splitlines()] == plain.splitlines()


@pytest.mark.parametrize("width", [30, 80, None])
def test_no_line_ends_in_blanks_and_no_block_is_empty(
    any_report: Report, width: int | None
) -> None:
    page = text(any_report, Style(width))

    assert not re.search(r"[ \t]$", page, re.MULTILINE)
    assert "\n\n\n" not in page
    assert page.endswith("\n")
    assert not page.endswith("\n\n")


@pytest.mark.parametrize("width", [20, 80, None])
def test_a_page_can_be_written_in_ascii(any_report: Report, width: int | None) -> None:
    text(any_report, Style(width, unicode=False)).encode("ascii")


# --- commands


def test_a_wrapped_command_is_one_command_to_a_shell() -> None:
    import shlex

    command = (
        "cmake -S . -B build -DCMAKE_CXX_FLAGS='-O3 -march=native' "
        '-DCMAKE_PREFIX_PATH="/opt/my libtorch" -DCMAKE_BUILD_TYPE=Release'
    )
    report = Report("env", artifacts=(Artifact("libtorch", "libtorch", commands=(command,)),))

    page = text(report, Style(40))

    pasted = page.split("\n", 1)[1]
    assert len(pasted.splitlines()) > 3
    assert shlex.split(pasted.replace("\\\n", "")) == shlex.split(command)


@pytest.mark.parametrize(
    "fix",
    [
        "make sure that python 3.11 is the first on PATH, then update the driver",
        "python 3.12 or older has wheels of this torch, which this interpreter can install",
        "docker containers get 64 MiB of shared memory unless they are told otherwise",
        "source code of this extension has to be built again for the installed torch",
        "set up the toolchain again, and build the extension with the compiler it names",
    ],
)
def test_a_sentence_is_not_taken_for_a_command(fix: str) -> None:
    report = Report("env", findings=(finding(1, fail("m", fix=[fix])),))

    assert "\\" not in text(report, Style(40))


@pytest.mark.parametrize(
    "fix",
    [
        "python -m pip install --force-reinstall torchvision==0.28.0 torchaudio==2.13.0",
        "/opt/conda/bin/pip install --force-reinstall torchvision==0.28.0 torchaudio==2.13",
        "sudo apt-get install --no-install-recommends gcc-12 g++-12 cuda-toolkit-12-4",
        "CC=gcc-12 CXX=g++-12 pip install --no-build-isolation --no-binary :all: flash-attn",
        "export LD_LIBRARY_PATH=/opt/conda/lib/python3.11/site-packages/torch/lib:/usr/lib",
        "uv pip install --reinstall torchvision==0.28.0 torchaudio==2.13.0 triton==3.5.0",
    ],
)
def test_a_command_goes_on_with_a_backslash(fix: str) -> None:
    report = Report("env", findings=(finding(1, fail("m", fix=[fix])),))

    assert " \\\n" in text(report, Style(40))


def test_a_fix_with_its_own_or_gets_no_second_one() -> None:
    verdict = fail("m", fix=["update it", "or install another", "remove it"])

    page = text(Report("env", findings=(finding(1, verdict),)))

    assert page.splitlines()[-3:] == [
        "      fix  update it",
        "           or install another",
        "      or   remove it",
    ]


def test_many_reasons_for_an_artifact_stand_one_on_a_line() -> None:
    why = tuple(f"reason {number} of those that speak for it" for number in range(5))
    report = Report("env", artifacts=(Artifact("libtorch", "libtorch", why=why),))

    assert text(report).splitlines()[1:] == [f"          {reason}" for reason in why]


# --- tables


def test_a_pipe_gets_every_cell_whole_however_wide() -> None:
    path = "/very/long" * 50
    rows = ({"path": path, "why": "x " * 100 + "end"}, {"path": None, "why": None})
    report = Report("env", tables=(Table("files", ("path", "why"), rows),))

    assert path + "  " + "x " * 100 + "end" in text(report)


def test_a_table_too_wide_for_the_terminal_wraps_its_cells() -> None:
    rows = (
        {"name": "libcudart.so.12", "why": "found by RUNPATH before the copy that torch brings"},
    )
    report = Report("env", tables=(Table("files", ("name", "why"), rows),))

    assert text(report, Style(44)) == (
        """\
  name             why
  libcudart.so.12  found by RUNPATH before
                   the copy that torch
                   brings
"""
    )


def test_a_table_whose_words_do_not_fit_becomes_records() -> None:
    rows = ({"name": "a" * 30, "count": 1}, {"name": "b", "count": 20})
    report = Report("env", tables=(Table("files", ("name", "count"), rows),))

    assert text(report, Style(25)) == (
        f"  name   {'a' * 30}\n  count  1\n\n  name   b\n  count  20\n"
    )


def test_one_very_long_word_is_broken_before_a_table_is_given_up() -> None:
    rows = ({"layer": "Net", "type": "A" * 24}, {"layer": "└─ head", "type": "B"})
    report = Report("env", tables=(Table("layers", ("layer", "type"), rows),))

    assert text(report, Style(32)) == (
        f"  layer    type\n  Net      {'A' * 21}\n           AAA\n  └─ head  B\n"
    )


def test_a_name_in_a_tree_that_is_broken_hangs_below_itself() -> None:
    rows = ({"layer": f"└─ {'a' * 24}", "type": "Linear"},)
    report = Report("env", tables=(Table("layers", ("layer", "type"), rows),))

    assert text(report, Style(30)) == (
        f"  layer                 type\n  └─ {'a' * 17}  Linear\n     {'a' * 7}\n"
    )


def test_several_tables_are_told_apart_by_name() -> None:
    tables = tuple(Table(name, ("a",), ({"a": True},)) for name in ("first", "second"))

    assert text(Report("env", tables=tables)) == "first\n  a\n  yes\n\nsecond\n  a\n  yes\n"


def test_cells_of_every_kind_have_a_text() -> None:
    row = {
        "none": None,
        "flag": False,
        "list": ["a", "b"],
        "shape": [1, 2],
        "unknown": {"unknown": "no answer"},
        "pairs": {"x": 1},
        "records": [{"x": 1}, {"x": 2}],
        "number": 0.5,
    }
    report = Report("env", tables=(Table("t", tuple(row), (row,)),))

    words = text(report).splitlines()[1].split("  ")

    cells = [word.strip() for word in words if word.strip()]
    assert cells == ["no", "a, b", "[1, 2]", "unknown: no answer", "x 1", "x 1; x 2", "0.5"]


def test_tables_without_rows_or_columns_are_left_out() -> None:
    tables = (Table("empty", ("a",), ()), Table("hollow", (), ({},)))

    assert text(Report("env", tables=tables)) == ""


# --- hostile values

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "first\rsecond",
    "a\nFAIL  fake: not ours",
    "tab\there",
    "::error::x",
    "a | b",
    "[red]not markup[/red]",
    "\u202ereversed\u2066",
    "\x9b31m",
    "byte \udcff of a name",
    "",
    "   ",
    "\n\n",
    "x" * 10_000,
    "word " * 2_000,
    "表" * 100,
]


@pytest.mark.parametrize("value", HOSTILE, ids=[repr(value[:12]) for value in HOSTILE])
@pytest.mark.parametrize("width", [20, 80, None])
def test_no_value_reaches_the_terminal_as_a_command(value: str, width: int | None) -> None:
    verdict = fail(value, evidence=[Evidence(value, value, value)], fix=[value, value], brief=value)
    report = Report(
        "env",
        findings=(finding(1, verdict), finding(2, could_not_look(value))),
        tables=(
            Table(value, ("area", "value"), ({"area": value, "value": value},)),
            Table(value, (value, "b"), ({value: value, "b": 1},)),
            Table(value, ("a",), ({"a": 1},)),
        ),
        artifacts=(Artifact("k", value, path=value, url=value, why=(value,), commands=(value,)),),
    )

    for style in (Style(width), Style(width, unicode=False)):
        for page in (
            text(report, style),
            text(Report("env", failure=Failure(value, value)), style),
            text(Report("env", headline=value), style),
        ):
            page.encode("utf-8")
            harmful = [c for c in page if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
            assert harmful == []
            assert not re.search("^FAIL  fake", page, re.MULTILINE)


def test_control_characters_are_shown() -> None:
    verdict = fail("m", evidence=[Evidence("found", "\x1b[31mred\x07 \r \x9b \u202e \udcff")])

    page = text(Report("env", findings=(finding(1, verdict),)))

    assert r"\x1b[31mred\x07 \r \u009b \u202e \udcff" in page


def test_a_value_of_several_lines_hangs_under_its_first() -> None:
    verdict = fail("m", evidence=[Evidence("found", "one\n    two", "gcc")])

    page = text(Report("env", findings=(finding(1, verdict),)))

    assert page.splitlines()[-2:] == ["      found  one", "                 two  (gcc)"]


def test_wide_characters_keep_columns_aligned() -> None:
    rows = ({"a": "表", "b": "x"}, {"a": "ab", "b": "y"})

    page = text(Report("env", tables=(Table("t", ("a", "b"), rows),)))

    assert page.splitlines()[1:] == ["  表  x", "  ab  y"]


def test_a_long_evidence_name_does_not_push_the_others() -> None:
    evidence = [Evidence("self.encoder.layers.0.weight", "a"), Evidence("file", "b")]

    page = text(Report("env", findings=(finding(1, fail("m", evidence=evidence)),)))

    assert page.splitlines()[-2:] == [
        "      self.encoder.layers.0.weight  a",
        "      file  b",
    ]


def test_an_operand_is_called_by_its_name_and_what_is_odd_about_it_stands_behind_an_arrow() -> None:
    evidence = [Evidence("operand x", "float32 [2]", "is on cpu"), Evidence("file", "b")]

    page = text(Report("snoop", findings=(finding(1, fail("m", evidence=evidence)),)))

    assert page.splitlines()[-2:] == ["      x     float32 [2]   ← is on cpu", "      file  b"]


def test_a_report_is_not_changed_by_being_rendered(any_report: Report) -> None:
    before = dataclasses.replace(any_report)

    text(any_report)

    assert any_report == before
