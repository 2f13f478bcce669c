"""Truth: CUDA's programming guide (binary and PTX compatibility) and the lists in real wheels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.extension_arch import judge
from torchkit.machine.facts import Extension, Gpu, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", "12.0")
A100 = Gpu("NVIDIA A100-SXM4-80GB", "8.0")
V100 = Gpu("Tesla V100-SXM2-16GB", "7.0")
SITE = "/venv/lib/python3.11/site-packages"

# vllm-flash-attn 2.6.2, xformers 0.0.33.post1 and torchao 0.14.1 from PyPI
VLLM_FLASH_ATTN = Extension(
    f"{SITE}/vllm_flash_attn_2_cuda.so", "vllm-flash-attn", "2.6.2", archs=("sm_80", "sm_90")
)
XFORMERS = (
    Extension(
        f"{SITE}/xformers/_C.so",
        "xformers",
        "0.0.33.post1",
        archs=("sm_75", "sm_80", "sm_90a", "compute_80"),
    ),
    Extension(
        f"{SITE}/xformers/flash_attn_3/_C.so",
        "xformers",
        "0.0.33.post1",
        archs=("sm_80", "sm_90a", "compute_80"),
    ),
)
TORCHAO = (
    Extension(f"{SITE}/torchao/_C.abi3.so", "torchao", "0.14.1", archs=("sm_80", "sm_86")),
    Extension(f"{SITE}/torchao/_C_cutlass_90a.abi3.so", "torchao", "0.14.1", archs=("sm_90a",)),
    Extension(f"{SITE}/torchao/_C_cutlass_100a.abi3.so", "torchao", "0.14.1", archs=("sm_100a",)),
)


def judged(*extensions: Extension, **changes: Any) -> tuple[Verdict, ...]:
    facts: dict[str, Any] = {
        "extensions": extensions,
        "gpus": (RTX_5090,),
        "torch_cuda": Version("12.8"),
        "driver_cuda": Version("12.8"),
        "nvcc_version": Version("12.8"),
    }
    told = judge(**(facts | changes))
    return told if isinstance(told, tuple) else (told,)


def fused(archs: str, **changes: Any) -> Extension:
    return Extension("/x/fused.so", "fused", "1.0", archs=tuple(archs.split()))._replace(**changes)


def test_an_extension_that_ends_at_sm_90_does_not_run_on_blackwell() -> None:
    (verdict,) = judged(VLLM_FLASH_ATTN)

    assert verdict.status is Status.FAIL
    assert "vllm-flash-attn 2.6.2 has no code for NVIDIA GeForce RTX 5090" in verdict.message
    assert "no kernel image is available" in verdict.evidence[0].value
    assert verdict.evidence[1].value == "sm_80 sm_90"


def test_the_cure_compiles_this_release_for_this_gpu() -> None:
    (verdict,) = judged(VLLM_FLASH_ATTN)

    line = verdict.fix[0]
    assert line.startswith('TORCH_CUDA_ARCH_LIST="12.0+PTX" pip install ')
    for part in ("--no-build-isolation", "--force-reinstall", "--no-deps", "--no-binary"):
        assert part in line
    assert "vllm-flash-attn==2.6.2" in line


@pytest.mark.parametrize(
    ("archs", "capability", "runs"),
    [
        ("sm_120", "12.0", True),
        ("sm_120", "12.1", True),
        ("sm_121", "12.0", False),
        ("sm_80", "8.9", True),
        ("sm_86", "8.0", False),
        ("sm_90", "10.0", False),
        ("sm_90a", "9.0", True),
        ("sm_90a", "12.0", False),
        ("sm_100f", "10.3", True),
        ("sm_100f", "12.0", False),
        ("compute_80", "12.0", True),
        ("compute_90a", "12.0", False),
        ("compute_120", "8.9", False),
    ],
)
def test_code_runs_where_nvidia_says_it_does(archs: str, capability: str, runs: bool) -> None:
    (verdict,) = judged(fused(archs), gpus=(Gpu("the GPU", capability),))

    assert (verdict.status is Status.OK) is runs


def test_the_files_of_a_package_are_judged_together() -> None:
    (on_hopper,) = judged(*TORCHAO[1:], gpus=(Gpu("NVIDIA H100", "9.0"),))
    (on_blackwell,) = judged(*XFORMERS)

    assert on_hopper.status is Status.OK
    assert on_blackwell.status is Status.OK


def test_a_file_beside_others_that_lacks_the_gpu_is_worth_a_note() -> None:
    (verdict,) = judged(*TORCHAO, gpus=(Gpu("NVIDIA H100", "9.0"),))

    assert verdict.status is Status.INFO
    assert verdict.message.endswith("NVIDIA H100: torchao/_C.abi3.so")


def test_a_package_that_has_a_way_without_its_kernels_is_a_warning() -> None:
    (verdict,) = judged(*TORCHAO)

    assert verdict.status is Status.WARN


def test_kernels_for_one_kind_of_gpu_alone_are_nothing_to_put_right() -> None:
    """torchao 0.18: _C_cutlass_90a.abi3.so and _C_mxfp8, which it takes on Hopper or Blackwell."""
    (verdict,) = judged(*TORCHAO[1:])

    assert (verdict.status, verdict.fix) == (Status.INFO, ())
    assert verdict.message == (
        "the kernels of torchao 0.14.1 are for GPUs of one kind alone, NVIDIA GeForce RTX 5090 "
        "is another"
    )


def test_a_package_that_came_compiled_is_not_compiled_first() -> None:
    (verdict,) = judged(VLLM_FLASH_ATTN._replace(built_here=False))

    assert verdict.fix[0].startswith("take a newer release of vllm-flash-attn")
    assert 'sources: TORCH_CUDA_ARCH_LIST="12.0+PTX" pip install' in verdict.fix[1]


def test_each_package_is_a_finding_of_its_own() -> None:
    verdicts = judged(VLLM_FLASH_ATTN, fused("sm_70"), *XFORMERS)

    assert [it.status for it in verdicts] == [Status.FAIL, Status.FAIL]
    assert "vllm-flash-attn" in verdicts[0].message
    assert "fused 1.0" in verdicts[1].message


def test_of_several_gpus_the_one_that_is_not_served_is_named() -> None:
    (verdict,) = judged(VLLM_FLASH_ATTN, gpus=(A100, V100))

    assert verdict.status is Status.WARN
    assert "no code for Tesla V100-SXM2-16GB" in verdict.message
    assert "runs on NVIDIA A100-SXM4-80GB" in verdict.message
    assert 'TORCH_CUDA_ARCH_LIST="7.0;8.0+PTX"' in verdict.fix[0]
    assert verdict.fix[-1].endswith("CUDA_VISIBLE_DEVICES=0")


def test_desktop_code_on_a_jetson_is_doubtful_not_broken() -> None:
    orin = (Gpu("Orin", "8.7"),)

    (before,) = judged(fused("sm_80 sm_86"), gpus=orin)
    (since,) = judged(fused("sm_80 sm_86", built_for_cuda="13.2"), gpus=orin)

    assert before.status is Status.WARN
    assert since.status is Status.OK


def test_ptx_newer_than_the_drivers_cuda_is_refused() -> None:
    newer = fused("compute_80", built_for_cuda="12.9")
    as_new = fused("compute_80", built_for_cuda="12.8")
    untold = fused("compute_80")

    (refused,) = judged(newer)
    (taken,) = judged(as_new)
    (unsure,) = judged(untold)

    assert refused.status is Status.FAIL
    assert "unsupported toolchain" in refused.evidence[0].value
    assert taken.status is unsure.status is Status.OK


def test_ptx_of_a_major_alone_is_given_the_benefit_of_the_doubt() -> None:
    same_major = fused("compute_80", built_for_cuda="12")
    next_major = fused("compute_80", built_for_cuda="13")

    assert judged(same_major)[0].status is Status.OK
    assert judged(next_major)[0].status is Status.FAIL


def test_a_toolkit_that_does_not_know_the_gpu_cannot_build_for_it() -> None:
    (with_older,) = judged(VLLM_FLASH_ATTN, nvcc_version=Version("12.4"))
    (with_none,) = judged(VLLM_FLASH_ATTN, nvcc_version=None)

    assert "needs a CUDA toolkit of 12.8 or newer; nvcc here is 12.4" in with_older.fix[1]
    assert "there is no nvcc" in with_none.fix[1]


def test_torchs_own_companions_come_from_its_index() -> None:
    vision = Extension(f"{SITE}/torchvision/_C.so", "torchvision", "0.20.1", archs=("sm_90",))

    (verdict,) = judged(vision)

    assert verdict.fix == ("install a torch that fits this machine",)


def test_packages_that_choose_their_gpus_by_release_are_built_in_their_newest() -> None:
    flash = Extension("/x/flash_attn_2_cuda.so", "flash-attn", "2.5.8", archs=("sm_80", "sm_90"))

    (verdict,) = judged(flash)

    assert verdict.fix[0].startswith("FLASH_ATTENTION_FORCE_BUILD=TRUE pip install")
    assert re.search(r" flash-attn$", verdict.fix[0])


def test_a_source_tree_is_built_where_it_is() -> None:
    (verdict,) = judged(fused("sm_80", origin="/home/me/fused"))

    assert verdict.fix[0].endswith("pip install --no-build-isolation --no-deps -e /home/me/fused")


def test_a_file_of_no_package_is_named_by_its_path() -> None:
    (verdict,) = judged(Extension("/x/build/fused.so", archs=("sm_80",)))

    assert verdict.status is Status.FAIL
    assert verdict.fix[0] == 'build /x/build/fused.so again with TORCH_CUDA_ARCH_LIST="12.0+PTX"'


@pytest.mark.parametrize(
    "extension",
    [
        Extension(f"{SITE}/torchvision/image.so", "torchvision", "0.20.1"),
        fused("sm_80", error="libcudart.so.12: cannot open shared object file"),
        fused("gfx90a"),
    ],
    ids=["without GPU code", "broken anyway", "for AMD"],
)
def test_what_has_no_code_to_judge_is_left_alone(extension: Extension) -> None:
    (verdict,) = judged(extension)

    assert verdict.status is Status.SKIP
    assert not verdict.applies


def test_a_gpu_known_by_name_alone_is_judged_by_its_name() -> None:
    (named,) = judged(VLLM_FLASH_ATTN, gpus=(Gpu("NVIDIA GeForce RTX 5090"),))
    (nameless,) = judged(VLLM_FLASH_ATTN, gpus=(Gpu("NVIDIA Graphics Device"),))

    assert named.status is Status.FAIL
    assert (nameless.status, nameless.applies) == (Status.SKIP, True)


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    none = finding("extension-arch", extensions=(VLLM_FLASH_ATTN,), gpus=())
    unknown = finding("extension-arch", extensions=(VLLM_FLASH_ATTN,), gpus=Unknown("NVML hung"))
    bare = finding("extension-arch", extensions=(VLLM_FLASH_ATTN,), gpus=(RTX_5090,))

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert bare.status is Status.FAIL
