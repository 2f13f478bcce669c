"""Truth: Python's own words for a module that is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkit.checks.torch_missing import judge
from torchkit.machine.facts import Extension, Install, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(
    version: str | None, dependents: Any, extensions: tuple[Extension, ...] | None = None
) -> Verdict:
    return judge(
        torch_version=Version(version) if version else None,
        torch_dependents=dependents,
        torch_installs=(),
        torch_shadows=(),
        python_executable="/env/bin/python",
        extensions=extensions,
    )


def test_missing_torch_fails_where_a_package_asks_for_it() -> None:
    verdict = judged(None, ("torchvision",))

    assert verdict.status is Status.FAIL
    assert "torchvision asks for it" in verdict.message
    assert verdict.evidence[0].value == "ModuleNotFoundError: No module named 'torch'"


def test_missing_torch_is_only_worth_saying_where_nothing_asks_for_it() -> None:
    assert judged(None, ()).status is Status.INFO
    assert judged(None, Unknown("unreadable")).status is Status.INFO


def test_a_file_that_was_asked_about_asks_for_torch_too() -> None:
    files = (Extension("/b/plain.so", uses_torch=False), Extension("/b/_C.so", uses_torch=True))

    verdict = judged(None, (), files)

    assert verdict.status is Status.INFO
    assert verdict.message.endswith(", and /b/_C.so needs it")
    assert verdict.fix == ("install the torch that /b/_C.so was built against",)


def test_an_installed_torch_is_fine_whoever_asks() -> None:
    assert judged("2.7.0", ("torchvision",)).status is Status.OK


def test_of_many_packages_three_are_named() -> None:
    assert "a, b, c ask for it" in judged(None, tuple("abc")).message
    assert "a, b, c and 2 more ask for it" in judged(None, tuple("abcde")).message


def test_an_unreadable_version_could_not_be_looked_at(finding: Callable[..., Finding]) -> None:
    found = finding("torch-missing", torch_version=Unknown("unreadable"))

    assert (found.status, found.verdict.applies) == (Status.SKIP, True)


def test_the_fix_brings_the_companion_along(machine: Callable[[str], Any]) -> None:
    from torchkit import checks

    (found,) = checks.run_check(checks.load("torch-missing"), machine("torchvision-without-torch"))

    assert "torch==2.14.1+cpu torchvision==0.29.1+cpu" in found.verdict.fix[0]


def test_metadata_without_its_folder_is_a_broken_installation(
    finding: Callable[..., Finding],
) -> None:
    record = Install("/env/lib/python3.11/site-packages/torch-2.13.0.dist-info", "2.13.0", "pip")

    found = finding("torch-missing", torch_version=None, torch_installs=(record,))

    assert found.status is Status.FAIL
    assert found.verdict.fix == ("pip install --force-reinstall torch==2.13.0",)


def test_a_whole_torch_behind_a_shadow_is_not_called_gone(
    finding: Callable[..., Finding],
) -> None:
    record = Install("/env/site-packages/torch-2.13.0.dist-info", "2.13.0", "pip")

    found = finding(
        "torch-missing",
        torch_version=None,
        torch_installs=(record,),
        torch_shadows=("/work/torch.py",),
    )

    assert found.status is Status.SKIP
