"""Truth: what `ctypes.CDLL` and Python's import said of real wheels beside real torches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.extension_broken import judge
from torchkit.machine.facts import Companion, Extension, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

SITE = "/env/lib/python3.11/site-packages"
GONE = "cannot open shared object file: No such file or directory"


def all_judged(
    *extensions: Extension, torch: str | None = "2.13.0+cpu", cuda: str | None = None, **more: Any
) -> tuple[Verdict, ...]:
    facts: dict[str, Any] = {
        "torch_version": Version(torch) if torch else None,
        "torch_cuda": Version(cuda) if cuda else None,
        "torch_build": ("cuda" if cuda else "cpu") if torch else None,
        "companions": (),
        "python_version": Version("3.11.7"),
        "cpu_architecture": "x86_64",
    }
    verdict = judge(extensions=extensions, **(facts | more))
    return verdict if isinstance(verdict, tuple) else (verdict,)


def judged(*extensions: Extension, **changes: Any) -> Verdict:
    (verdict,) = all_judged(*extensions, **changes)
    return verdict


def evidence(verdict: Verdict) -> dict[str, str]:
    return {it.name: it.value for it in verdict.evidence}


def lacking(library: str, *more: str, **told: Any) -> Extension:
    """A file of torchvision, unless told otherwise, that needs libraries which are nowhere."""
    return Extension(
        **{
            "path": f"{SITE}/torchvision/_C.so",
            "package": "torchvision",
            "version": "0.29.2",
            "error": f"{library}: {GONE}",
            "missing_library": library,
            "missing_libraries": (library, *more),
            "uses_torch": True,
            "stable_abi": False,
            **told,
        }
    )


def without_names(*names: str, **told: Any) -> Extension:
    path = f"{SITE}/flash_attn_2_cuda.so"
    return Extension(
        **{
            "path": path,
            "package": "flash-attn",
            "version": "2.8.3",
            "error": f"{path}: undefined symbol: {names[0]}",
            "missing_symbols": names,
            "missing_symbol_count": len(names),
            "missing_of_torch": names,
            "missing_of_torch_count": len(names),
            "other_abi": False,
            "uses_torch": True,
            "stable_abi": False,
            **told,
        }
    )


def fine(package: str = "torchvision", path: str = f"{SITE}/torchvision/image.so") -> Extension:
    return Extension(path, package, "0.28.0", uses_torch=True)


# --- nothing wrong


def test_modules_that_load_are_fine() -> None:
    verdict = judged(fine(), fine("xformers", f"{SITE}/xformers/_C.so"))

    assert verdict.status is Status.OK
    assert verdict.message == (
        "the compiled code of torchvision 0.28.0 and xformers 0.28.0 loads with torch 2.13.0+cpu"
    )


def test_without_modules_there_is_nothing_to_judge() -> None:
    assert judged().applies is False


def test_the_other_abi_is_left_to_its_own_check() -> None:
    verdict = judged(without_names("_ZN3c104failERKSs", other_abi=True))

    assert (verdict.status, verdict.applies) == (Status.SKIP, False)


def test_what_has_to_be_loaded_before_is_said_where_nothing_is_wrong() -> None:
    first = f"{SITE}/transformer_engine/libte.so"

    verdict = judged(fine("te", f"{SITE}/te.so")._replace(loaded_first=(first,)))

    assert verdict.status is Status.OK
    assert verdict.message.endswith(", once their packages have loaded transformer_engine/libte.so")


def test_a_file_that_could_not_be_looked_into_is_not_said_to_load() -> None:
    unreadable = Extension(f"{SITE}/ops/_C.so", "ops", unknown="its names are damaged")

    verdict = judged(fine(), unreadable)

    assert verdict.message == "ops/_C.so: its names are damaged"
    assert (verdict.status, verdict.applies) == (Status.SKIP, True)


# --- another torch


def test_a_cuda_build_beside_a_cpu_torch_names_what_is_missing_and_its_release() -> None:
    missing = ("libc10_cuda.so", "libtorch_cuda.so")
    image = lacking(*missing, path=f"{SITE}/torchvision/image.so")

    verdict = judged(lacking(*missing, built_for_cuda="13.2"), image)

    assert verdict.status is Status.FAIL
    assert verdict.message == "torchvision 0.29.2 does not fit torch 2.13.0+cpu"
    assert evidence(verdict) == {
        "would fail with": f"libc10_cuda.so: {GONE}",
        "found": "torchvision/_C.so and 1 more need libc10_cuda.so and libtorch_cuda.so, "
        "this torch is a CPU build and has neither",
        "built for": "torch 2.15, CUDA 13.2",
    }
    assert verdict.fix == (
        "pip install --force-reinstall --no-deps torchvision==0.28.0 "
        "--index-url https://download.pytorch.org/whl/cpu",
    )


def test_another_version_of_torch_is_named_where_it_is_told_and_no_abi_is_blamed() -> None:
    verdict = judged(
        without_names(
            "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcE",
            "_ZN2at4_ops5foldy4callERKNS_6TensorE",
            built_for_torch="2.6",
        )
    )

    assert verdict.message == "flash-attn 2.8.3 does not fit torch 2.13.0+cpu"
    assert evidence(verdict)["built for"] == "torch 2.6"
    assert "c10::Error::Error(…) and at::_ops::foldy::call(…)" in evidence(verdict)["found"]
    assert "ABI" not in " ".join(evidence(verdict).values())


def test_many_missing_names_are_counted() -> None:
    names = [f"_ZN2at4_ops{len(it)}{it}4callEv" for it in ("one", "three", "seven", "eleven")]

    verdict = judged(without_names(*names, missing_of_torch_count=31))

    assert evidence(verdict)["found"] == (
        "flash_attn_2_cuda.so needs 31 names that this torch does not define: at::_ops::one::call(), "
        "at::_ops::three::call(), at::_ops::seven::call() and 28 more"
    )


def test_a_module_of_the_stable_abi_asks_for_a_newer_torch_not_for_the_same() -> None:
    stable = without_names(
        "torch_new_function_v2_15", stable_abi=True, package="ops", version="1.0"
    )

    verdict = judged(stable, companions=(Companion("ops", "1.0", ">=2.15"),))
    silent = judged(stable)

    assert verdict.message == "ops 1.0 needs a newer torch than 2.13.0+cpu"
    assert verdict.fix == ("pip install 'torch>=2.15'",)
    assert silent.fix == ("install a torch that fits this machine",)


def test_a_cpu_module_beside_rocm_only_names_what_is_missing() -> None:
    verdict = judged(lacking("libtorch_hip.so", package="ops"), torch="2.13.0+cu130", cuda="13.0")

    assert evidence(verdict)["found"] == (
        "torchvision/_C.so needs libtorch_hip.so, this torch does not have it"
    )


# --- another CUDA


def test_another_cuda_major_is_said_as_such() -> None:
    other = lacking("libcudart.so.12", package="gsplat", path=f"{SITE}/gsplat/_C.so")

    beside_cuda = judged(other, torch="2.14.1+cu130", cuda="13.0")
    beside_cpu = judged(other)

    assert beside_cuda.message == (
        "gsplat 0.29.2 is built for CUDA 12, torch 2.14.1+cu130 for CUDA 13.0"
    )
    assert beside_cpu.message == (
        "gsplat 0.29.2 is built for CUDA 12, torch 2.13.0+cpu is a CPU build"
    )
    assert beside_cuda.status is beside_cpu.status is Status.FAIL


@pytest.mark.parametrize(
    ("cuda", "companion", "fix"),
    [
        ("12", None, ["torch==2.13.0+cu126 --index-url https://download.pytorch.org/whl/cu126"]),
        ("13", None, ["torch==2.13.0+cu132 --index-url https://download.pytorch.org/whl/cu132"]),
        ("13", "<2.15.0,>=2.14.0", ["torch==2.14.1+cu132 --index-url"]),
        ("11", None, ["torch==2.7.1+cu118 --index-url https://download.pytorch.org/whl/cu118"]),
    ],
)
def test_a_package_for_cuda_alone_beside_a_cpu_torch_wants_a_cuda_torch(
    cuda: str, companion: str | None, fix: list[str]
) -> None:
    """sgl-kernel and torch-tensorrt: reinstalling them would bring the same files."""
    told = {"package": "sgl-kernel", "version": "0.3.21", "built_for_cuda": cuda}
    known = (Companion("sgl-kernel", "0.3.21", companion),) if companion else ()

    by_cuda = judged(lacking(f"libcudart.so.{cuda}", **told), companions=known)
    by_torch = judged(lacking("libc10_cuda.so", **told), companions=known)

    for verdict in (by_cuda, by_torch):
        assert len(verdict.fix) == len(fix)
        assert all(part in line for part, line in zip(fix, verdict.fix, strict=True))


def test_a_library_of_the_same_cuda_is_missing_not_another_cuda() -> None:
    verdict = judged(
        lacking("libnppicc.so.13", package="torchcodec"), torch="2.14.1+cu130", cuda="13.0"
    )

    assert verdict.message == "torchcodec 0.29.2 needs libnppicc.so.13, which is not there"
    assert "libnppicc.so.13" in verdict.fix[0]


def test_a_module_that_wants_a_driver_is_no_broken_installation() -> None:
    verdict = judged(lacking("libcuda.so.1"), torch="2.14.1+cu130", cuda="13.0")

    assert verdict.status is Status.INFO
    assert "needs the NVIDIA driver" in verdict.message
    assert "pip" not in verdict.fix[0]


# --- another Python, another machine


def test_a_module_of_another_python_is_said_to_be_one() -> None:
    verdict = judged(
        Extension(
            f"{SITE}/ops/_C.cpython-310-x86_64-linux-gnu.so",
            "ops",
            "1.0",
            "No module named 'ops._C'",
            built_for_python="3.10",
        )
    )

    other = judged(
        Extension(
            f"{SITE}/_k2.cpython-39-x86_64-linux-gnu.so",
            "k2",
            "1.23.4",
            "No module named '_k2'",
            built_for_python="3.9",
            built_for_torch="1.13.1",
            built_here=False,
        )
    )

    assert other.fix[0].startswith("pip install --upgrade --no-deps k2")
    assert verdict.message == "ops 1.0 is compiled for Python 3.10, this is Python 3.11.7"
    assert evidence(verdict)["would fail with"] == "No module named 'ops._C'"
    assert verdict.fix == ("pip install --force-reinstall --no-cache-dir --no-deps ops==1.0",)


@pytest.mark.parametrize(
    ("version", "library", "which"),
    [("GLIBCXX_3.4.32", "libstdc++.so.6", "libstdc++"), ("GLIBC_2.38", "libc.so.6", "glibc")],
)
def test_a_system_that_is_too_old_for_a_module_is_told(
    version: str, library: str, which: str
) -> None:
    text = f"/lib/{library}: version `{version}' not found (required by {SITE}/ops/_C.so)"

    verdict = judged(Extension(f"{SITE}/ops/_C.so", "ops", "1.0", text))

    assert verdict.status is Status.FAIL
    assert verdict.message == f"ops 1.0 needs {version}, which this {which} does not have"


def test_a_file_for_another_cpu_is_said_to_be_one() -> None:
    """Where glibc says that the file is not there."""
    told = Extension("/b/_C.so", error=f"/b/_C.so: {GONE}", built_for_machine="aarch64")

    alone = judged(told)
    of_package = judged(told._replace(package="ops", version="1.0"))

    assert alone.message == "/b/_C.so is compiled for aarch64, this Python is x86_64"
    assert alone.fix == ("build /b/_C.so for x86_64",)
    assert of_package.fix == ("pip install --force-reinstall --no-cache-dir --no-deps ops==1.0",)


def test_files_that_are_gone_are_installed_again() -> None:
    gone = [
        Extension(f"{SITE}/ops/{name}", "ops", "1.0", f"{SITE}/ops/{name}: {GONE}")
        for name in ("_C.so", "_D.so")
    ]

    verdict = judged(*gone, fine("ops", f"{SITE}/ops/_E.so"))

    assert verdict.status is Status.FAIL
    assert verdict.message == "ops 1.0 is not whole: ops/_C.so and 1 more are gone"
    assert verdict.fix == ("pip install --force-reinstall --no-cache-dir --no-deps ops==1.0",)


def test_a_damaged_file_is_installed_again() -> None:
    verdict = judged(
        Extension(f"{SITE}/ops/_C.so", "ops", "1.0", f"{SITE}/ops/_C.so: file too short")
    )

    assert verdict.message == "ops 1.0 cannot be loaded: ops/_C.so is damaged"
    assert verdict.fix == ("pip install --force-reinstall --no-cache-dir --no-deps ops==1.0",)


# --- what is no fault


def ffmpeg(number: int, error: bool = True) -> Extension:
    path = f"{SITE}/torchcodec/libtorchcodec_core{number}.so"
    if not error:
        return Extension(path, "torchcodec", "0.7", uses_torch=True)
    return lacking(f"libavutil.so.{number + 52}", path=path, package="torchcodec", version="0.7")


def test_one_of_several_builds_for_ffmpeg_is_enough() -> None:
    follower = lacking(
        "libtorchcodec_core4.so",
        path=f"{SITE}/torchcodec/libtorchcodec_custom_ops4.so",
        package="torchcodec",
    )

    assert judged(ffmpeg(4), follower, ffmpeg(6, error=False)).status is Status.OK
    assert judged(ffmpeg(4), follower, ffmpeg(6)).status is Status.FAIL


def test_a_package_whose_other_files_load_is_told_that_it_lacks_ffmpeg() -> None:
    """torchcodec 0.17 decodes images without FFmpeg; its VideoDecoder raises an OSError."""
    images = Extension(f"{SITE}/torchcodec/libtorchcodec_image.so", "torchcodec", "0.7")

    verdict = judged(ffmpeg(4), ffmpeg(6), images)

    assert verdict.status is Status.INFO
    assert verdict.message == (
        "a part of torchcodec 0.7 cannot be loaded: it needs FFmpeg's libavutil.so.56 or .58, "
        "which is not there"
    )
    assert verdict.fix[0] == "sudo apt install ffmpeg"
    assert evidence(verdict)["found"] == (
        "torchcodec/libtorchcodec_core4.so needs libavutil.so.56; "
        "1 more file cannot be loaded either"
    )


def test_ffmpeg_is_not_the_cure_where_names_of_torch_are_missing_too() -> None:
    """TorchCodec 0.2 beside torch 2.13: with FFmpeg it says `undefined symbol` instead."""
    names = ("_ZN3c105ErrorC2ENS_14SourceLocationE",)
    told = {"missing_of_torch": names, "missing_of_torch_count": 1, "version": "0.2.0"}

    verdict = judged(ffmpeg(4)._replace(**told), ffmpeg(6)._replace(**told))

    assert verdict.message == "torchcodec 0.2.0 does not fit torch 2.13.0+cpu"
    assert evidence(verdict) == {
        "would fail with": f"libavutil.so.56: {GONE}",
        "found": "torchcodec/libtorchcodec_core4.so needs c10::Error::Error(…), which this torch "
        "does not define; and libavutil.so.56; 1 more file cannot be loaded either",
        "built for": "torch 2.6",
    }
    assert verdict.fix == (
        "pip install --force-reinstall --no-deps torchcodec==0.17.0 "
        "--index-url https://download.pytorch.org/whl/cpu",
    )


def test_a_package_none_of_whose_files_finds_ffmpeg_is_told_to_install_it() -> None:
    verdict = judged(ffmpeg(4), ffmpeg(6))

    assert verdict.message.startswith("torchcodec 0.7 needs FFmpeg's libavutil.so.56 or .58")
    assert verdict.fix[0] == "sudo apt install ffmpeg"


def test_what_follows_from_another_file_is_not_what_is_quoted() -> None:
    follower = lacking("_C_base.so", path=f"{SITE}/torchvision/_A.so")
    base = lacking("libc10_cuda.so", path=f"{SITE}/torchvision/_C_base.so")

    verdict = judged(follower, base)

    assert evidence(verdict)["would fail with"] == f"libc10_cuda.so: {GONE}"
    assert evidence(verdict)["found"] == (
        "torchvision/_C_base.so needs libc10_cuda.so, this torch is a CPU build and does not "
        "have it; 1 more file cannot be loaded either"
    )


def test_every_ffmpeg_that_would_do_is_named() -> None:
    verdict = judged(ffmpeg(4), ffmpeg(5), ffmpeg(6))

    assert verdict.message == (
        "torchcodec 0.7 needs FFmpeg's libavutil.so.56, .57 or .58, which is not there"
    )


def test_torchao_goes_on_without_its_code_so_that_is_a_warning() -> None:
    verdict = judged(lacking("libcudart.so.12", package="torchao", version="0.9.0"))

    assert verdict.status is Status.WARN
    assert verdict.message.endswith("; torchao goes on without that code, more slowly")
    assert verdict.brief == "kernels of torchao cannot be loaded"


def test_xformers_is_imported_without_its_code_so_that_is_a_warning_too() -> None:
    verdict = judged(lacking("libcudart.so.12", package="xformers", version="0.0.35"))

    assert verdict.status is Status.WARN
    assert verdict.brief == "kernels of xformers cannot be loaded"


def test_a_library_beside_a_module_is_done_without_but_not_the_module_beside_a_library() -> None:
    """As OpenMM's plugin for OpenCL beside the module `_openmmtorch`."""
    plugin = lacking("libOpenCL.so.1", path=f"{SITE}/ops/libOpenCLPlugin.so", package="ops")
    module = lacking("libopenblas.so.0", path=f"{SITE}/ops/_C.so", package="ops")

    assert judged(plugin, fine("ops", f"{SITE}/ops/_C.so")).status is Status.OK
    assert judged(module, fine("ops", f"{SITE}/ops/libops.so")).status is Status.FAIL


def test_code_for_cuda_beside_code_for_the_cpu_that_loads_is_a_part() -> None:
    """As sphericart-torch 2.0.4, whose import takes the library for CUDA only where it loads."""
    told: dict[str, Any] = {"package": "sphericart-torch", "version": "2.0.4"}
    stream = lacking("libnvrtc.so.12", path=f"{SITE}/sphericart/lib_cuda_stream.so", **told)
    cpu = Extension(f"{SITE}/sphericart/lib.so", uses_torch=True, **told)

    beside_cpu = judged(stream, cpu)
    beside_cuda = judged(stream, cpu, torch="2.14.1+cu130", cuda="13.0")
    alone = judged(stream, torch="2.14.1+cu130", cuda="13.0")

    assert (beside_cpu.status, beside_cpu.fix) == (Status.INFO, ())
    assert beside_cuda.status is Status.WARN
    assert "a part of sphericart-torch 2.0.4" in beside_cuda.message
    assert alone.status is Status.FAIL


def test_what_other_files_need_is_no_mere_part() -> None:
    """As torchaudio 2.8 for CUDA 12 beside CUDA 13: its import loads libtorchaudio.so."""
    told: dict[str, Any] = {"package": "torchaudio", "version": "2.8.0"}
    base = lacking("libcudart.so.12", path=f"{SITE}/torchaudio/lib/libtorchaudio.so", **told)
    follower = lacking("libtorchaudio.so", path=f"{SITE}/torchaudio/lib/_torchaudio.so", **told)
    loading = Extension(f"{SITE}/torchaudio/lib/_decoder.so", uses_torch=True, **told)

    verdict = judged(base, follower, loading, torch="2.14.1+cu130", cuda="13.0")

    assert verdict.status is Status.FAIL
    assert evidence(verdict)["would fail with"] == f"libcudart.so.12: {GONE}"


def test_a_library_that_is_missing_tells_more_than_a_name() -> None:
    """torch-npu 2.14: `import torch_npu` says libhccl.so, which its libtorch_npu.so needs."""
    profiler = without_names(
        "aclAppLog", path=f"{SITE}/torch_npu/lib/libnpu_profiler.so", missing_of_torch=()
    )
    base = lacking("libhccl.so", path=f"{SITE}/torch_npu/lib/libtorch_npu.so")
    pair = [it._replace(package="torch-npu", version="2.14.0") for it in (profiler, base)]

    verdict = judged(*pair)

    assert evidence(verdict)["would fail with"] == f"libhccl.so: {GONE}"


# --- a build for each torch


def builds(*releases: str, loads: str = "", pattern: str = "vesin/torch-{}/lib/libv.so") -> Any:
    """Files of a package that has one for each torch, of which those for `loads` load."""
    made = []
    for release in releases:
        path = f"/envs/torch-2.13/lib/python3.11/site-packages/{pattern.format(release)}"
        error = f"{path}: undefined symbol: _ZN5torch3newEv"
        told = {"path": path, "error": error, "package": "vesin-torch", "version": "0.6.2"}
        one = without_names("_ZN5torch3newEv", **told)
        if release == loads:
            one = Extension(path, "vesin-torch", "0.6.2", uses_torch=True)
        made.append(one)
    return made


DGL = "dgl/graphbolt/libgraphbolt_pytorch_{}.so"


def test_builds_for_other_torchs_do_no_harm_beside_the_one_for_this() -> None:
    """vesin-torch 0.6.2 and its kin take the one of this torch's folder, and work."""
    assert judged(*builds("2.3", "2.12", "2.13", loads="2.13")).status is Status.OK
    patches = builds("2.1.0", "2.13.0", "2.13.1", loads="2.13.0", pattern=DGL)
    assert judged(*patches).status is Status.OK


def test_the_build_for_this_torch_is_judged_though_another_loads() -> None:
    verdict = judged(*builds("2.12", "2.13", "2.14", loads="2.12"))

    assert verdict.status is Status.FAIL
    assert "torch-2.13/" in evidence(verdict)["would fail with"]


def test_the_builds_that_there_are_are_told_where_none_is_for_this_torch() -> None:
    verdict = judged(*builds("2.0.0", "2.2.1", "2.10.0", pattern=DGL))

    assert verdict.status is Status.FAIL
    assert verdict.message == (
        "vesin-torch 0.6.2 has builds for torch 2.0.0 to 2.10.0, none for torch 2.13.0+cpu"
    )
    assert "would fail with" not in evidence(verdict)  # the package says so in words of its own
    assert evidence(verdict)["found"] == "2.0.0, 2.2.1 and 2.10.0"


def test_one_of_several_builds_for_cudas_is_enough() -> None:
    pattern = "ops/_C_cuda{}.so"

    assert judged(*builds("12", "13", loads="13", pattern=pattern)).status is Status.OK
    assert judged(*builds("12", "13", pattern=pattern)).status is Status.FAIL
    numbered = builds("1", "2", loads="2", pattern="ops/_C_{}.so")
    assert judged(*numbered).status is Status.FAIL


# --- who it is, and what to do


def test_each_package_is_a_finding() -> None:
    verdicts = all_judged(lacking("libc10_cuda.so"), without_names("_ZN3c101xEv"), fine("other"))

    assert [it.message.split()[0] for it in verdicts] == ["torchvision", "flash-attn"]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            {"package": "ops", "version": "1.2+cu121"},
            "pip install --force-reinstall --no-cache-dir --no-build-isolation --no-deps "
            "--no-binary ops ops==1.2",
        ),
        (
            {"package": "detectron2", "origin": "git+https://github.com/f/detectron2@abc"},
            "pip install --force-reinstall --no-cache-dir --no-build-isolation --no-deps "
            "'git+https://github.com/f/detectron2@abc'",
        ),
        (
            {"package": "ops", "origin": "/src/my ops"},
            'pip install --no-build-isolation --no-deps -e "/src/my ops"',
        ),
        (
            {"package": None, "path": "/src/build/_C.so"},
            "build /src/build/_C.so again, against torch 2.13.0+cpu",
        ),
        (
            {"package": "flash-attn", "version": "2.8.3"},
            "pip install --force-reinstall --no-deps --no-build-isolation --no-cache-dir flash-attn",
        ),
    ],
)
def test_the_fix_builds_the_package_again_from_where_it_came(
    told: dict[str, Any], line: str
) -> None:
    assert judged(without_names("_ZN3c101xEv", **told)).fix == (line,)


def test_a_package_that_came_compiled_is_not_to_be_installed_again_as_it_is() -> None:
    compile_it = (
        "or, where the index has its sources: pip install --no-binary ops --no-build-isolation "
        "--force-reinstall --no-deps ops"
    )
    came = without_names("_ZN3c101xEv", package="ops", version="1.2", built_here=False)

    unknown = judged(came)
    older = judged(came, companions=(Companion("ops", "1.2", "<2.13,>=2.10"),))
    newer = judged(came, companions=(Companion("ops", "1.2", ">=2.14"),))

    about_then = "take the ops of about 2026-07, the time of torch 2.13: pip index versions ops"
    assert unknown.fix == (about_then, compile_it)
    assert older.fix == (
        "pip install --upgrade --no-deps ops   if a newer release is built for torch 2.13",
        compile_it,
    )
    assert newer.fix == (about_then, compile_it)


def test_a_file_beside_no_torch_says_so() -> None:
    alone = lacking("libc10.so", package=None, path="/b/_C.so")

    verdict = judged(alone, torch=None)
    told = judged(alone._replace(built_for_torch="2.6"), torch=None)

    assert verdict.message == "/b/_C.so needs torch, which is not installed"
    assert verdict.fix == ("install the torch that /b/_C.so was built against",)
    assert told.fix == ("pip install torch==2.6",)


def test_a_file_that_has_nothing_to_do_with_torch_needs_no_torch() -> None:
    plain = Extension("/b/x.so", error=f"libfoo.so: {GONE}", missing_library="libfoo.so")

    verdict = judged(plain._replace(uses_torch=False), torch=None)

    assert verdict.message == "/b/x.so needs libfoo.so, which is not there"


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    none = finding("extension-broken", extensions=None)
    unknown = finding("extension-broken", extensions=Unknown("musl"))
    alone = finding("extension-broken", extensions=(lacking("libc10_cuda.so"),))

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.FAIL
    assert "this torch" in alone.verdict.message
