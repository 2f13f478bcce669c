"""Truth: the table of pairs in torchvision's README, METADATA of the wheels, and loading them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.companion_mismatch import judge
from torchkit.machine.facts import Companion, Extension, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version


def judged(torch: str, *companions: Companion, **changes: Any) -> Verdict:
    verdicts = all_judged(torch, *companions, **changes)
    assert len(verdicts) == 1
    return verdicts[0]


def all_judged(torch: str, *companions: Companion, **changes: Any) -> tuple[Verdict, ...]:
    cuda = {"cu1": "12.4", "cu2": None}.get(torch.partition("+")[2][:3])
    facts: dict[str, Any] = {
        "torch_cuda": Version(cuda) if cuda else None,
        "torch_build": "cuda" if cuda else "cpu",
        "triton_version": None,
        "torch_requires": (),
        "extensions": Unknown("not looked at"),
    }
    verdict = judge(torch_version=Version(torch), companions=companions, **(facts | changes))
    return verdict if isinstance(verdict, tuple) else (verdict,)


def vision(version: str, asks: str | None = None, cuda: str | None = None) -> Companion:
    return Companion("torchvision", version, asks, cuda=cuda)


def test_the_pair_of_one_release_is_fine() -> None:
    verdict = judged("2.6.0+cu124", vision("0.21.0+cu124", "==2.6.0", "12.4"))

    assert verdict.status is Status.OK


def test_a_pin_on_another_torch_fails_with_torchvisions_own_error() -> None:
    verdict = judged("2.6.0+cu124", vision("0.20.1+cu124", "==2.5.1", "12.4"))

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == "RuntimeError: operator torchvision::nms does not exist"
    assert verdict.fix == (
        "pip install --force-reinstall --no-deps torchvision==0.21.0 "
        "--index-url https://download.pytorch.org/whl/cu124",
    )


def test_a_newer_torch_of_the_same_series_meets_only_the_pin_that_allows_it() -> None:
    assert judged("2.5.1+cpu", vision("0.20.1+cpu", "==2.5.1", "cpu")).status is Status.OK
    assert judged("2.5.0+cpu", vision("0.20.1+cpu", "==2.5.1", "cpu")).status is Status.FAIL


def test_an_unpinned_torchvision_needs_its_own_torch_or_a_newer_one() -> None:
    older = judged("2.13.0+cpu", vision("0.29.2+cpu", ">=2.14.0", "cpu"))
    newer = judged("2.15.0+cpu", vision("0.29.1+cpu", ">=2.14.0", "cpu"))

    assert older.status is Status.FAIL
    assert newer.status is Status.OK


def test_the_table_of_releases_speaks_where_the_metadata_is_silent() -> None:
    assert judged("2.6.0+cpu", vision("0.20.1+cpu", None, "cpu")).status is Status.FAIL
    assert judged("2.6.0+cpu", vision("0.21.0+cpu", None, "cpu")).status is Status.OK


def test_torchvision_pins_torch_up_to_0_29_0_and_no_longer_from_0_29_1_on() -> None:
    assert judged("2.15.0+cpu", vision("0.29.0+cpu", None, "cpu")).status is Status.FAIL
    assert judged("2.15.0+cpu", vision("0.29.1+cpu", None, "cpu")).status is Status.OK


def test_a_cuda_build_beside_a_cpu_torch_fails() -> None:
    assert judged("2.6.0+cpu", vision("0.21.0+cu124", "==2.6.0", "12.4")).status is Status.FAIL


def test_a_cpu_build_beside_a_cuda_torch_is_a_warning() -> None:
    verdict = judged("2.6.0+cu124", vision("0.21.0+cpu", "==2.6.0", "cpu"))

    assert verdict.status is Status.WARN
    assert "Could not run 'torchvision::nms'" in verdict.evidence[0].value


@pytest.mark.parametrize(("cuda", "status"), [("12.1", Status.OK), ("11.8", Status.FAIL)])
def test_the_cuda_major_is_the_edge(cuda: str, status: Status) -> None:
    assert judged("2.6.0+cu124", vision("0.21.0", "==2.6.0", cuda)).status is status


def test_rocm_and_a_mac_have_no_cuda_to_compare() -> None:
    rocm = judged("2.13.0+rocm7.1", vision("0.28.0+rocm7.1", "==2.13.0"), torch_build="rocm")
    unknown = judged(
        "2.13.0+rocm7.1", vision("0.28.0", "==2.13.0", "13.0"), torch_build=Unknown("not told")
    )
    mac = judged("2.13.0", vision("0.28.0", "==2.13.0"))

    assert rocm.status is unknown.status is mac.status is Status.OK


def test_two_that_do_not_fit_are_cured_by_one_line() -> None:
    audio = Companion("torchaudio", "2.5.1+cu124", "==2.5.1", cuda="12.4")

    verdict = judged("2.6.0+cu124", vision("0.20.1+cu124", "==2.5.1", "12.4"), audio)

    assert "(and torchaudio)" in verdict.message
    assert len(verdict.fix) == 1
    assert "torchvision==0.21.0 torchaudio==2.6.0" in verdict.fix[0]


def test_xformers_for_another_torch_fails_before_it_had_the_stable_abi() -> None:
    old = Companion("xformers", "0.0.28.post3", "==2.5.1", "2.5.1+cu124", "12.4")

    verdict = judged("2.6.0+cu124", old)

    assert verdict.status is Status.FAIL
    assert "pip install" not in verdict.fix[0]  # it would replace torch


def test_xformers_with_the_stable_abi_runs_with_a_newer_torch_and_no_older_one() -> None:
    stable = Companion("xformers", "0.0.35", ">=2.10", "2.10.0+cu128", "12.8")

    first = Companion("xformers", "0.0.34", ">=2.10", "2.10.0+cu128", "12.8")

    assert judged("2.11.0+cu128", stable).status is Status.OK
    assert judged("2.11.0+cu128", first).status is Status.OK
    assert judged("2.9.1+cu128", stable).status is Status.FAIL


def test_a_wheel_tag_for_another_torch_fails() -> None:
    tagged = Companion("flash-attn", "2.7.4+cu12torch2.6cxx11abiFALSE", None, "2.6", "12")

    assert judged("2.7.1+cu126", tagged).status is Status.FAIL
    assert judged("2.6.0+cu124", tagged).status is Status.OK


def test_a_metadata_conflict_of_a_package_without_compiled_code_is_a_warning() -> None:
    assert judged("2.6.0+cpu", Companion("torchdata", "0.9.0", "<2.6")).status is Status.WARN


def test_a_requirement_that_cannot_be_read_is_passed_over() -> None:
    assert judged("2.6.0+cpu", Companion("torchdata", "0.9.0", "=?=2")).status is Status.OK


def test_a_nightly_fits_what_pins_that_nightly() -> None:
    nightly = "2.16.0.dev20261120"

    fits = judged(f"{nightly}+cpu", vision("0.30.0.dev20261120+cpu", f"=={nightly}", "cpu"))
    other = judged(f"{nightly}+cpu", vision("0.31.0+cpu", "==2.16.0", "cpu"))

    assert fits.status is Status.OK
    assert other.status is Status.FAIL


def test_nvidias_build_of_a_release_counts_as_that_release() -> None:
    nvidia = "2.6.0a0+ecf3bae40a.nv25.1"

    assert judged(nvidia, Companion("torchao", "0.9.0", ">=2.6")).status is Status.OK
    assert judged(nvidia, Companion("torchao", "0.9.0", ">=2.7")).status is Status.WARN


@pytest.mark.parametrize(("triton", "status"), [("3.1.0", Status.OK), ("3.2.0", Status.WARN)])
def test_triton_is_the_one_that_torch_pins(triton: str, status: Status) -> None:
    verdict = judged(
        "2.5.1+cu124",
        vision("0.20.1+cu124", "==2.5.1", "12.4"),
        triton_version=Version(triton),
        torch_requires=("triton==3.1.0",),
    )

    assert verdict.status is status
    assert verdict.fix in ((), ("pip install 'triton==3.1.0'",))


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    none = finding("companion-mismatch", torch_version=Version("2.6.0"), companions=())
    unknown = finding(
        "companion-mismatch", torch_version=Version("2.6.0"), companions=Unknown("unreadable")
    )
    alone = finding(
        "companion-mismatch",
        torch_version=Version("2.6.0"),
        companions=(vision("0.20.1", "==2.5.1"),),
    )

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.FAIL


def test_the_worst_of_several_troubles_is_named() -> None:
    both = Companion("xformers", "0.0.34", "==2.10.0", "2.10.0+cu128", "12.8")

    verdict = judged("2.13.0+cpu", both)

    assert verdict.status is Status.FAIL
    assert "CUDA 12.8" in verdict.message


def test_torchtext_ended_before_todays_torch() -> None:
    last = Companion("torchtext", "0.18.0+cpu", ">=2.3.0", None, "cpu")

    verdict = judged("2.13.0+cpu", last)

    assert verdict.status is Status.FAIL
    assert verdict.fix == ("pip uninstall -y torchtext   its last release is for torch 2.3",)
    assert judged("2.3.1+cpu", last).status is Status.OK


def test_a_triton_that_torch_pins_and_that_is_missing_is_a_warning() -> None:
    verdict = judged("2.14.1+cu130", torch_requires=("triton~=3.8.0",))

    assert verdict.status is Status.WARN
    assert verdict.fix == ("pip install 'triton~=3.8.0'",)


# --- what its compiled code shows


def code(package: str = "torchvision", **told: Any) -> Extension:
    return Extension("/site/torchvision/_C.so", package, uses_torch=True, **told)


BROKEN = {
    "error": "libc10_cuda.so: cannot open shared object file: No such file or directory",
    "missing_library": "libc10_cuda.so",
}


def test_what_the_loader_proves_is_part_of_that_finding() -> None:
    companion = vision("0.21.0+cu124", "==2.6.0", "12.4")

    (broken,) = all_judged("2.6.0+cpu", companion, extensions=(code(**BROKEN),))
    (other_abi,) = all_judged(
        "2.7.0+cpu",
        vision("0.21.0", "==2.6.0"),
        extensions=(
            code(
                error="x: undefined symbol: y",
                missing_symbols=("y",),
                missing_of_torch=("y",),
                missing_strings=("y",),
                other_abi=True,
            ),
        ),
    )

    assert (broken.status, broken.part_of) == (Status.FAIL, "extension-broken")
    assert (other_abi.status, other_abi.part_of) == (Status.FAIL, "extension-abi")


def test_a_companion_for_cuda_alone_beside_a_cpu_torch_wants_a_cuda_torch() -> None:
    xformers = Companion("xformers", "0.0.35", ">=2.10", "2.10.0+cu128", "12.8")

    (verdict,) = all_judged("2.13.0+cpu", xformers)

    assert verdict.fix == (
        "pip install --force-reinstall torch==2.13.0+cu126 "
        "--index-url https://download.pytorch.org/whl/cu126",
        "then pip install --force-reinstall --no-deps xformers "
        "--index-url https://download.pytorch.org/whl/cu126",
    )


def test_torchcodec_goes_with_its_own_torch_until_it_goes_with_every_later_one() -> None:
    """The table in torchcodec's README; its metadata asks for no torch."""
    (old,) = all_judged("2.13.0+cpu", Companion("torchcodec", "0.2.0"))
    (right,) = all_judged("2.6.0+cpu", Companion("torchcodec", "0.2.0"))
    (later,) = all_judged("2.15.0+cpu", Companion("torchcodec", "0.12.0"))
    (newer,) = all_judged("2.10.0+cpu", Companion("torchcodec", "0.12.0"))

    assert old.message == "torchcodec 0.2.0 belongs to torch 2.6.0, here is 2.13.0+cpu"
    assert right.status is later.status is Status.OK
    assert newer.status is Status.FAIL


def test_a_mismatch_of_versions_whose_code_loads_is_a_warning() -> None:
    companion = vision("0.20.1+cpu", "==2.5.1", "cpu")

    (loads,) = all_judged("2.6.0+cpu", companion, extensions=(code(),))
    (one_of_two,) = all_judged("2.6.0+cpu", companion, extensions=(code(), code(unknown="why")))
    (of_another,) = all_judged("2.6.0+cpu", companion, extensions=(code("torchaudio"),))

    assert (loads.status, loads.part_of) == (Status.WARN, "")
    assert loads.message.endswith("it asks for torch==2.5.1; its compiled code loads here")
    assert not any(it.name == "would fail with" for it in loads.evidence)
    assert one_of_two.status is of_another.status is Status.FAIL


def test_torchvision_itself_refuses_another_cuda_major_though_its_code_loads() -> None:
    companion = vision("0.21.0+cu118", "==2.6.0", "11.8")

    (verdict,) = all_judged("2.6.0+cu124", companion, extensions=(code(),))

    assert verdict.status is Status.FAIL
    assert "different CUDA major versions" in verdict.evidence[0].value


def test_a_module_that_only_wants_a_driver_proves_nothing() -> None:
    wants = code(
        error="libcuda.so.1: cannot open shared object file: No such file or directory",
        missing_library="libcuda.so.1",
    )

    (verdict,) = all_judged("2.6.0+cpu", vision("0.20.1", "==2.5.1"), extensions=(wants,))

    assert (verdict.status, verdict.part_of) == (Status.FAIL, "")


def test_what_is_proven_and_what_is_only_told_are_two_findings() -> None:
    audio = Companion("torchaudio", "2.5.1+cpu", "==2.5.1", cuda="cpu")

    proven, told = all_judged(
        "2.6.0+cpu", vision("0.20.1", "==2.5.1"), audio, extensions=(code(**BROKEN),)
    )

    assert (proven.part_of, told.part_of) == ("extension-broken", "")
    assert "torchvision" in proven.message
    assert "torchaudio" in told.message
    assert "torchvision" not in told.message


def test_torchao_without_its_code_is_a_warning_here_as_there() -> None:
    companion = Companion("torchao", "0.9.0", None, cuda="12.4")

    (verdict,) = all_judged("2.6.0+cpu", companion, extensions=(code("torchao", **BROKEN),))

    assert (verdict.status, verdict.part_of) == (Status.WARN, "extension-broken")
