"""What all checks have in common: their pages, their imports, what the runner makes of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from torchkit import checks
from torchkit.machine.facts import ASKED_FOR, GLOSSARY, Facts, Unknown
from torchkit.report import Status

HERE = Path(__file__).parent
FOLDER = Path(checks.__file__).parent
HEADINGS = ["## What it looks at", "## Why it matters", "## What to do", "## References"]

PROMISED = {
    "torch-missing", "torch-import-fails", "torch-shadowed", "torch-cpu-build",
    "python-unsupported", "driver-missing", "driver-too-old", "driver-mismatch",
    "gpu-unsupported", "cuda-toolkit-mismatch", "host-compiler-too-new", "host-compiler-too-old",
    "glibc-too-old", "libstdcxx-too-old", "library-shadowed", "nvidia-package-mismatch",
    "companion-mismatch", "numpy-mismatch", "setuptools-mismatch", "shm-small", "shm-missing",
    "shm-full", "shm-insufficient", "fd-limit", "inode-limit", "memory-limit",
    "requirement-unmet", "extension-broken", "extension-abi", "extension-arch", "libtorch-abi",
    "libtorch-cuda", "libtorch-glibc", "libtorch-compiler", "machines-differ",
}  # fmt: skip
"""Ids that users and scripts rely on."""

every_check = pytest.mark.parametrize("check_id", checks.check_ids())


def source(check_id: str) -> Path:
    return FOLDER / f"{check_id.replace('-', '_')}.py"


def test_no_promised_id_is_lost() -> None:
    assert set(checks.check_ids()) >= PROMISED


@every_check
def test_a_page_has_its_sections_in_order(check_id: str) -> None:
    page = checks.load(check_id).page

    assert re.findall(r"(?m)^## .+$", page) == HEADINGS
    for section in re.split(r"(?m)^## .+$", page)[1:]:
        assert section.strip()


@every_check
def test_a_page_begins_with_the_fault_in_one_sentence_and_ends_with_an_address(
    check_id: str,
) -> None:
    check = checks.load(check_id)

    assert check.page.splitlines()[0].endswith(".")
    assert check.page.splitlines()[1] == ""
    assert check.reference.startswith("https://")


def needs_what_is_asked_for(check_id: str) -> bool:
    """Whether it judges what only an option of the command line has looked at."""
    return any(GLOSSARY[name].probe in ASKED_FOR for name in checks.load(check_id).facts)


@every_check
def test_a_check_judges_and_reads_nothing(check_id: str) -> None:
    """It knows the report, the knowledge and the glossary; no system, no file, no torch."""
    tree = ast.parse(source(check_id).read_text("utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    ours = {name for name in imported if name.startswith("torchkit")}
    assert ours <= {
        "torchkit.advice.around_torch",
        "torchkit.advice.cmake_cuda",
        "torchkit.advice.forward",
        "torchkit.advice.forward.facts",
        "torchkit.advice.libtorch",
        "torchkit.advice.libtorch_toolkit",
        "torchkit.advice.extension_cures",
        "torchkit.advice.extensions",
        "torchkit.advice.lines",
        "torchkit.advice.shared_memory",
        "torchkit.advice.symbol_names",
        "torchkit.dataset.predict",
        "torchkit.errors",
        "torchkit.knowledge.compat",
        "torchkit.knowledge.meanings",
        "torchkit.knowledge.shared_memory",
        "torchkit.machine.facts",
        "torchkit.report",
        "torchkit.requirements",
        "torchkit.units",
        "torchkit.versions",
    }
    assert not imported & {
        "torch",
        "os",
        "sys",
        "subprocess",
        "pathlib",
        "platform",
        "io",
        "socket",
    }
    assert not called & {"open", "print", "exec", "eval", "__import__"}


@every_check
def test_a_check_has_a_test_of_its_own(check_id: str) -> None:
    assert (HERE / f"test_{check_id.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("check_id", checks.automatic_ids())
def test_the_parameters_of_a_check_are_facts(check_id: str) -> None:
    assert set(checks.load(check_id).facts) <= set(GLOSSARY)


@pytest.mark.parametrize(
    "check_id", [it for it in checks.automatic_ids() if not needs_what_is_asked_for(it)]
)
def test_a_check_that_is_told_nothing_could_not_look(check_id: str) -> None:
    (nothing,) = checks.run_check(checks.load(check_id), Facts())
    (unknown,) = checks.run_check(
        checks.load(check_id), Facts(dict.fromkeys(GLOSSARY, Unknown("nobody answers")))
    )

    assert nothing.status is unknown.status is Status.SKIP
    assert nothing.verdict.applies
    assert "nobody answers" in unknown.verdict.message


@pytest.mark.parametrize(
    "check_id", [it for it in checks.automatic_ids() if needs_what_is_asked_for(it)]
)
def test_a_check_of_what_was_not_asked_for_does_not_apply(check_id: str) -> None:
    (found,) = checks.run_check(checks.load(check_id), Facts())

    assert found.status is Status.SKIP
    assert not found.verdict.applies


@pytest.mark.parametrize("check_id", checks.automatic_ids())
def test_a_machine_that_has_nothing_has_nothing_wrong(check_id: str) -> None:
    (found,) = checks.run_check(checks.load(check_id), Facts(dict.fromkeys(GLOSSARY)))

    assert found.status in (Status.OK, Status.INFO, Status.SKIP)


def test_a_check_that_breaks_is_a_finding_and_the_others_still_run() -> None:
    def judge(torch_version: object) -> None:
        raise ZeroDivisionError("by our own fault")

    judge.__annotations__["torch_version"] = "Version | None"
    broken = checks.Check("broken", "torch", "A page.", judge)  # type: ignore[arg-type]

    (found,) = checks.run_check(broken, Facts({"torch_version": None}))

    assert found.status is Status.CRASH
    assert "ZeroDivisionError" in found.verdict.message


def test_the_worst_comes_first_and_equals_keep_their_order() -> None:
    facts = Facts({"torch_version": None, "torch_dependents": ("torchvision", "torchaudio")})

    found = checks.run_checks(facts, ["shm-small", "driver-too-old", "torch-missing"])

    assert [it.id for it in found] == ["torch-missing", "shm-small", "driver-too-old"]


def test_an_unknown_id_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        checks.load("no-such-check")
