"""Truth: what `torch` and /proc/self/maps say of torch 2.13.0+cpu and 2.14.1+cu130 on Debian 12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.live_differs import judge
from torchkit.machine.facts import Library, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

TOLD = {
    "version": "2.14.1+cu130",
    "file": "/site/torch/__init__.py",
    "cuda": "13.0",
    "cxx11_abi": "true",
    "archs": "sm_75 sm_80 sm_90",
}


def judged(told: dict[str, str] | None = None, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "live_outcome": "works",
        "live_torch": TOLD | (told or {}),
        "live_libraries": ("/usr/lib/libstdc++.so.6", "/site/nvidia/lib/libnccl.so.2"),
        "torch_version": Version("2.14.1+cu130"),
        "torch_path": "/site/torch",
        "torch_cuda": Version("13.0"),
        "torch_cxx11_abi": True,
        "torch_archs": ("sm_75", "sm_80", "sm_90"),
        "torch_problems": (),
        "libstdcxx_path": "/usr/lib/libstdc++.so.6",
        "shadowed_libraries": (),
    }
    return judge(**(facts | changes))


def test_what_is_as_foretold_is_well() -> None:
    assert judged().status is Status.OK


@pytest.mark.parametrize(
    "changes",
    [
        {"torch_version": Version("2.13.0")},
        {"torch_version": None},
        {"torch_path": "/other/torch"},
        {"torch_cuda": Version("12.8")},
        {"torch_cuda": None},
        {"torch_cxx11_abi": False},
        {"torch_archs": ("sm_75", "sm_80")},
        {"torch_problems": ("libcudart.so.13: cannot open shared object file",)},
        {"libstdcxx_path": "/opt/conda/lib/libstdc++.so.6"},
        {"shadowed_libraries": (Library("libnccl.so.2", "/opt/libnccl.so.2", "ld.so.cache", "/b"),)},
    ],
)  # fmt: skip
def test_each_difference_is_told_with_both_sides(changes: dict[str, Any]) -> None:
    verdict = judged(**changes)

    assert verdict.status is Status.WARN
    assert [it.name for it in verdict.evidence] == ["found", "foretold"]


def test_both_sides_of_a_difference_are_in_the_message() -> None:
    verdict = judged(torch_version=Version("2.13.0"), torch_cuda=None)

    assert verdict.message == (
        "torch is 2.14.1+cu130, its files foretell 2.13.0, and 1 more like it"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"torch_archs": ("compute_90", "sm_75", "sm_80", "sm_90")},
        {"torch_archs": None},
        {"torch_cxx11_abi": None},
        {"torch_version": Unknown("no metadata")},
        {"torch_problems": Unknown("musl")},
        {"libstdcxx_path": None},
        {"live_libraries": None},
        {"shadowed_libraries": (Library("libcudnn_ops.so.9", "/a", "LD_LIBRARY_PATH", "/b"),)},
        {"torch_path": "/site/torch", "live_libraries": ()},
    ],
)
def test_what_one_side_does_not_tell_is_no_difference(changes: dict[str, Any]) -> None:
    assert judged(**changes).status is Status.OK


def test_a_build_without_cuda_tells_none_on_both_sides() -> None:
    told = {name: text for name, text in TOLD.items() if name not in ("cuda", "archs")}

    assert judged(live_torch=told, torch_cuda=None, torch_archs=None).status is Status.OK


def test_a_torch_that_was_not_imported_foretells_nothing() -> None:
    verdict = judged(live_outcome="died", live_torch={"file": "/site/torch/__init__.py"})

    assert (verdict.status, verdict.applies) == (Status.SKIP, False)


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    not_asked = finding("live-differs", live_outcome=None)
    blind = finding("live-differs", live_outcome="works", live_torch=TOLD)

    assert (not_asked.status, not_asked.verdict.applies) == (Status.SKIP, False)
    assert (blind.status, blind.verdict.applies) == (Status.SKIP, True)
