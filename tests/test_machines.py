"""Whole machines, each with its story: what is found there, that the fix cures it, how it reads."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from torchkit import checks
from torchkit.commands import env
from torchkit.knowledge.compat import architectures, companion_for, torch_release
from torchkit.machine.facts import GLOSSARY, Companion, Extension, Facts, Install
from torchkit.render import Format, Style, render
from torchkit.render.redact import Private, redact_report
from torchkit.report import WOULD_FAIL_WITH, Finding, Report, Status
from torchkit.versions import Version

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in (HERE / "machines").glob("*.json"))
every_machine = pytest.mark.parametrize("name", NAMES)

BAD = (Status.FAIL, Status.WARN, Status.CRASH)

PUBLISHED = """
os_name glibc_version libstdcxx_glibcxx python_version python_executable is_container
is_wsl torch_version torch_path torch_cuda torch_cxx11_abi torch_archs torch_glibc_needed
torch_cmake_prefix driver_version driver_cuda gpus cuda_home nvcc_version gcc_version clang_version
cmake_version shm_total_bytes shm_free_bytes memory_limit_bytes cpu_limit
"""
"""The facts whose names everybody may rely on; the file of a stranger holds no others."""


@functools.cache
def story(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HERE / "machines" / f"{name}.json").read_text("utf-8"))
    return data


@functools.cache
def report(name: str) -> Report:
    return env.run(facts=HERE / "machines" / f"{name}.json")


def ids(findings: tuple[Finding, ...]) -> list[str]:
    return sorted(finding.id for finding in findings)


# --- what is found


@every_machine
def test_a_machine_has_the_troubles_of_its_story_and_no_other(name: str) -> None:
    expected = {status: sorted(found) for status, found in story(name)["expect"].items()}

    found = {
        status.value: ids(report(name).of(status))
        for status in (Status.FAIL, Status.WARN, Status.CRASH, Status.INFO)
        if report(name).of(status)
    }

    assert found == expected


@every_machine
def test_a_story_of_a_healthy_machine_expects_nothing_bad(name: str) -> None:
    is_healthy = "healthy" in story(name)["story"]

    assert not (is_healthy and set(story(name)["expect"]) - {"info"})


@every_machine
def test_the_facts_of_a_machine_are_in_the_glossary_and_survive_a_round_trip(name: str) -> None:
    given = story(name)["facts"]

    back = Facts.from_json(given, where=name).to_json()

    assert not set(given) - set(GLOSSARY)
    assert json.loads(json.dumps(back)) == {
        key: [_whole(key, item) for item in value] if isinstance(value, list) else value
        for key, value in given.items()
    }


def _whole(fact: str, item: Any) -> Any:
    """A record with the keys that a machine's file may leave out."""
    if fact == "shadowed_libraries":
        return {"missing": None, "needed_by": None, **item}
    return item


@pytest.mark.parametrize("name", ["contract-healthy", "contract-old-cluster"])
def test_the_published_facts_alone_are_enough_for_the_verdict(name: str) -> None:
    assert set(story(name)["facts"]) <= set(PUBLISHED.split())
    assert not report(name).of(Status.CRASH)


@pytest.mark.parametrize(
    "name", ["h100-node", "old-cluster", "centos7-glibc", "torchvision-other-build"]
)
def test_no_check_breaks_when_one_fact_is_unknown_or_none(name: str) -> None:
    given = story(name)["facts"]

    for lost in given:
        for value in (None, {"unknown": "not told"}):
            facts = Facts.from_json({**given, lost: value}, where=name)
            findings = checks.run_checks(facts, checks.automatic_ids())

            assert not [it for it in findings if it.status is Status.CRASH], (lost, value)


# --- what a finding carries


@every_machine
def test_whatever_fails_quotes_the_error_the_user_would_meet(name: str) -> None:
    for finding in report(name).of(Status.FAIL):
        quoted = [it.value for it in finding.verdict.evidence if it.name == WOULD_FAIL_WITH]

        assert len(quoted) == 1
        assert quoted[0]


@every_machine
def test_whatever_is_bad_has_a_fix_a_brief_and_a_page(name: str) -> None:
    for finding in report(name).of(*BAD):
        assert finding.verdict.fix
        assert 0 < len(finding.verdict.brief) <= 80
        assert finding.reference.startswith("https://")


@every_machine
def test_words_shown_to_users_follow_the_style(name: str) -> None:
    shown = report(name).of(*BAD, Status.INFO)
    texts = [text for it in shown for text in (it.verdict.message, *it.verdict.fix)]

    for text in texts:
        assert not text.endswith((".", "!")), text
        assert "None" not in text, text
        assert "please" not in text.lower(), text


# --- the fix cures

PIP = re.compile(
    r"pip install (?P<options>(?:--\S+ )*)(?P<packages>(?:[\w-]+==\S+ ?)+)(?P<rest>.*)"
)


def pip_lines(finding: Finding) -> Iterator[tuple[dict[str, str], str]]:
    """Packages with their versions, and the variant that the index is for ("" for PyPI's)."""
    for text in finding.verdict.fix:
        match = PIP.search(text)
        if match:
            pairs = (part.split("==") for part in match["packages"].split())
            index = re.search(
                r"--index-url https://download\.pytorch\.org/whl/(\w+)", match["rest"]
            )
            yield dict(pairs), index[1] if index else ""


def after(given: dict[str, Any], packages: dict[str, str], variant: str) -> Facts:
    """The machine after such a line, as pip would leave it."""
    facts = Facts.from_json(given, where="machine")
    values = {key: facts[key] for key in given}
    torch = packages.get("torch") or given["torch_version"]
    public = torch.partition("+")[0]
    if "torch" in packages:
        values |= torch_of(public, variant, given.get("cpu_architecture") or "x86_64")
    if isinstance(values.get("companions"), tuple):
        values["companions"] = tuple(
            Companion(
                one.name,
                f"{packages[one.name].partition('+')[0]}+{variant}",
                f"=={public}",
                cuda="cpu" if variant == "cpu" else f"{variant[2:4]}.{variant[4:]}",
            )
            if one.name in packages
            else one
            for one in values["companions"]
        )
    if isinstance(values.get("extensions"), tuple):  # a release made for this torch loads
        values["extensions"] = tuple(
            Extension(one.path, one.package, packages[one.package])
            if packages.get(one.package or "", "").partition("+")[0]
            in companion_for(one.package or "", Version(public))
            else one
            for one in values["extensions"]
        )
    return Facts(values)


def torch_of(public: str, variant: str, architecture: str) -> dict[str, Any]:
    release = torch_release(Version(public))
    assert release is not None, f"torch {public} was never released"
    assert variant in ("cpu", *release.cuda_variants), f"there is no torch {public} for {variant}"
    cuda = None if variant == "cpu" else Version(f"{variant[2:4]}.{variant[4:]}")
    listed = (
        None if cuda is None else architectures(release.version, cuda, architecture=architecture)
    )
    version = f"{public}+{variant}"
    return {
        "torch_version": Version(version),
        "torch_cuda": cuda,
        "torch_build": "cpu" if cuda is None else "cuda",
        "torch_archs": listed.archs if listed else None,
        "torch_glibc_needed": release.glibc_needed,
        "torch_glibcxx_needed": release.glibcxx_needed,
        "torch_cxxabi_needed": release.cxxabi_needed,
        "torch_requires": (),
        "torch_problems": (),
        "torch_installs": (Install("/env/torch", version, "pip"),),
    }


NAMES_A_BUILD = {
    (name, finding.id, number)
    for name in NAMES
    for finding in report(name).of(*BAD)
    for number, _ in enumerate(pip_lines(finding))
}


def test_enough_fixes_name_a_build_for_the_next_test_to_mean_something() -> None:
    assert len(NAMES_A_BUILD) >= 14
    assert {check for _, check, _ in NAMES_A_BUILD} >= {
        "driver-too-old",
        "gpu-unsupported",
        "torch-cpu-build",
        "torch-missing",
        "glibc-too-old",
        "companion-mismatch",
        "torch-import-fails",
    }


@pytest.mark.parametrize(("name", "check_id", "number"), sorted(NAMES_A_BUILD))
def test_the_build_that_a_fix_names_cures_and_breaks_nothing_else(
    name: str, check_id: str, number: int
) -> None:
    (finding,) = (it for it in report(name).of(*BAD) if it.id == check_id)
    packages, variant = list(pip_lines(finding))[number]

    cured = checks.run_checks(
        after(story(name)["facts"], packages, variant), checks.automatic_ids()
    )

    bad = {it.id for it in cured if it.status in BAD}
    assert check_id not in bad
    assert not bad - {it.id for it in report(name).of(*BAD)}


@every_machine
def test_fixes_of_one_machine_name_one_torch(name: str) -> None:
    builds = {
        (packages["torch"], variant)
        for finding in report(name).of(*BAD, Status.INFO)
        for packages, variant in pip_lines(finding)
        if "torch" in packages and "force-reinstall" not in " ".join(finding.verdict.fix)
    }

    assert len(builds) <= 1


# --- how it reads


def written(name: str, format: Format, style: Style) -> str:
    """The report as everybody's machine writes it: no name of this one is redacted."""
    clean = redact_report(report(name), private=Private()) if format is Format.MARKDOWN else None
    return render(clean or report(name), format, style=style, redact=False)


@every_machine
def test_text_in_a_pipe(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.txt", written(name, Format.TEXT, Style()))


@every_machine
def test_text_on_a_terminal_of_80_columns(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.terminal.txt", written(name, Format.TEXT, Style(width=80)))


@every_machine
def test_markdown(name: str, golden: Callable[[str, str], None]) -> None:
    text = written(name, Format.MARKDOWN, Style())

    golden(f"{name}.md", text)
    assert "/home/ana" not in text


@every_machine
def test_github(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.github.txt", written(name, Format.GITHUB, Style()))


@functools.cache
def schema() -> dict[str, Any]:
    path = HERE.parent / "torchkit" / "render" / "report.schema.json"
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return data


@every_machine
def test_json(name: str, golden: Callable[[str, str], None]) -> None:
    data = json.loads(written(name, Format.JSON, Style()))

    jsonschema.validate(data, schema())
    assert data["exit_code"] == (1 if "fail" in story(name)["expect"] else 0)
    data["torchkit"] = "0"
    golden(f"{name}.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def test_no_golden_file_is_left_over(request: pytest.FixtureRequest) -> None:
    kinds = ("txt", "terminal.txt", "md", "github.txt", "json")
    known = {f"{name}.{kind}" for name in NAMES for kind in kinds}

    assert {path.name for path in (HERE / "golden").iterdir() if path.is_file()} <= known


def test_the_command_line_says_of_a_saved_machine_what_the_golden_file_says(
    cli: Callable[..., Any],
) -> None:
    path = HERE / "machines" / "old-cluster.json"

    piped, shown = cli("env", "--facts", path), cli("env", "--facts", path, terminal=True)

    assert piped.code == shown.code == 1
    assert piped.stdout == (HERE / "golden" / "old-cluster.txt").read_text("utf-8")
    assert shown.stdout == (HERE / "golden" / "old-cluster.terminal.txt").read_text("utf-8")
    assert piped.stderr == shown.stderr == ""
