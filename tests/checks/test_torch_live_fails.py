"""Truth: what children of CPython 3.11 with torch 2.13 and 2.14 ended with; torch's own messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torchkit.checks.torch_live_fails import judge
from torchkit.machine.facts import Library, LiveTrial, Unknown
from torchkit.report import WOULD_FAIL_WITH, Finding, Status, Verdict
from torchkit.versions import Version

CUDART = "libcudart.so.13: cannot open shared object file: No such file or directory"
NO_KERNEL = (
    "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device"
)


def verdicts(**changes: Any) -> tuple[Verdict, ...]:
    facts: dict[str, Any] = {
        "live_outcome": "works",
        "live_stage": "leaving Python",
        "live_error": None,
        "live_signal": None,
        "live_stack": (),
        "live_output": (),
        "live_trials": (LiveTrial("cpu", True),),
        "live_torch": {"version": "2.13.0+cpu", "file": "/site/torch/__init__.py"},
        "live_import_ms": 1402,
        "live_warnings": (),
        "torch_version": Version("2.13.0+cpu"),
        "torch_path": "/site/torch",
        "torch_problems": (),
        "torch_shadows": (),
        "shadowed_libraries": (),
        "python_executable": "/venv/bin/python",
    }
    judged = judge(**(facts | changes))
    return judged if isinstance(judged, tuple) else (judged,)


def judged(**changes: Any) -> Verdict:
    (verdict,) = verdicts(**changes)
    return verdict


def import_failed(error: str, **changes: Any) -> Verdict:
    return judged(
        live_outcome="import failed", live_stage="importing torch", live_error=error, **changes
    )


def would_fail_with(verdict: Verdict) -> str:
    return next(it.value for it in verdict.evidence if it.name == WOULD_FAIL_WITH)


def test_all_well_is_one_line() -> None:
    verdict = judged()

    assert verdict.status is Status.OK
    assert verdict.message == "torch 2.13.0+cpu imports in 1.4 s, multiplies right on cpu"


def test_every_device_that_computes_is_named() -> None:
    trials = (LiveTrial("cpu", True), LiveTrial("cuda:0", True), LiveTrial("nccl", True))

    assert judged(live_trials=trials).message.endswith("multiplies right on cpu and cuda:0")


def test_warnings_do_not_harm_and_are_shown() -> None:
    verdict = judged(live_warnings=("UserWarning: Failed to initialize NumPy",))

    assert verdict.status is Status.OK
    assert verdict.evidence[0].value == "UserWarning: Failed to initialize NumPy"


# --- importing


def test_an_error_that_no_file_foretold_is_told_as_it_is() -> None:
    error = "AttributeError: module 'sympy' has no attribute 'core'"

    verdict = import_failed(error, live_stack=("/site/sympy/__init__.py:3 in <module>",))

    assert verdict.status is Status.FAIL
    assert would_fail_with(verdict) == error
    assert verdict.part_of == ""
    assert "/site/sympy/__init__.py:3 in <module>" in [it.value for it in verdict.evidence]
    assert "give no sign of it" in verdict.evidence[-1].value
    assert verdict.fix[0].startswith("/venv/bin/python -c 'import torch'")


@pytest.mark.parametrize(
    ("problem", "library", "check"),
    [
        (CUDART, None, "torch-import-fails"),
        ("/lib/libm.so.6: version `GLIBC_2.38' not found (required by a)", None, "glibc-too-old"),
        ("/lib/a: version `GLIBCXX_3.4.32' not found", None, "libstdcxx-too-old"),
        ("/lib/a: version `CXXABI_1.3.15' not found", None, "libstdcxx-too-old"),
        ("b: undefined symbol: __nvJitLinkCreate", "__nvJitLinkCreate", "library-shadowed"),
    ],
)
def test_an_error_that_was_foretold_is_left_to_the_check_that_explains_it(
    problem: str, library: str | None, check: str
) -> None:
    shadowed = (Library("b", "/a", "LD_LIBRARY_PATH", "/b", library),)

    verdict = import_failed(
        f"ImportError: {problem}", torch_problems=(problem,), shadowed_libraries=shadowed
    )

    assert verdict.part_of == check


def test_another_error_than_the_foretold_one_is_told_beside_it() -> None:
    verdict = import_failed(f"ImportError: {CUDART}", torch_problems=("libcublas.so.13: cannot",))

    assert verdict.part_of == ""
    assert verdict.evidence[-1].value == "they foretell another error: libcublas.so.13: cannot"


@pytest.mark.parametrize(
    ("file", "shadow"), [("/w/torch.py", "/w/torch.py"), ("/w/torch/__init__.py", "/w/torch")]
)
def test_a_torch_of_the_users_own_is_left_to_torch_shadowed(file: str, shadow: str) -> None:
    verdict = import_failed(
        "AttributeError: module 'torch' has no attribute 'Tensor'",
        live_torch={"file": file},
        torch_shadows=(shadow,),
    )

    assert verdict.part_of == "torch-shadowed"


@pytest.mark.parametrize(
    ("module", "fix"),
    [("typing_extensions", "pip install typing-extensions"), ("torchgen", "/venv/bin/python")],
)
def test_a_module_that_is_missing_is_installed_unless_it_is_torchs_own(
    module: str, fix: str
) -> None:
    verdict = import_failed(f"ModuleNotFoundError: No module named '{module}'")

    assert verdict.fix[0].startswith(fix)


def test_no_torch_is_for_torch_missing_to_say() -> None:
    verdict = import_failed("ModuleNotFoundError: No module named 'torch'", torch_version=None)

    assert (verdict.status, verdict.applies) == (Status.SKIP, False)


# --- a death, a hang


@pytest.mark.parametrize(
    ("signal", "error", "message", "fix"),
    [
        ("SIGSEGV", "Segmentation fault", "dies of SIGSEGV while importing torch", "-X faulthandler"),
        ("SIGILL", "Illegal instruction", "dies of SIGILL", "that this processor lacks"),
        ("SIGKILL", "Killed", "dies of SIGKILL", "out of memory"),
        (None, "Python ended with status 3", "ends Python while importing torch", "-X faulthandler"),
    ],
)  # fmt: skip
def test_a_death_names_signal_stage_and_words(
    signal: str | None, error: str, message: str, fix: str
) -> None:
    verdict = judged(
        live_outcome="died", live_stage="importing torch", live_signal=signal, live_error=error
    )

    assert verdict.status is Status.FAIL
    assert f"torch 2.13.0+cpu {message}" in verdict.message
    assert would_fail_with(verdict) == error
    assert fix in verdict.fix[0]


def test_the_death_of_a_torch_of_the_users_own_is_left_to_torch_shadowed() -> None:
    verdict = judged(live_outcome="died", live_stage="importing torch", torch_shadows=("/w/torch",))

    assert verdict.part_of == "torch-shadowed"


def test_a_hang_of_the_driver_is_sought_in_the_driver() -> None:
    verdict = judged(
        live_outcome="hung",
        live_stage="asking CUDA for its devices",
        live_error="torch in a child did not answer within 120 s",
        live_stack=("/site/torch/cuda/__init__.py:228 in is_available",),
    )

    assert verdict.status is Status.FAIL
    assert verdict.message == "torch 2.13.0+cpu hangs while asking CUDA for its devices"
    assert "dmesg" in verdict.fix[0]
    assert {"/site/torch/cuda/__init__.py:228 in is_available"} <= {
        it.value for it in verdict.evidence
    }


@pytest.mark.parametrize("stage", ["leaving Python", "joining by gloo", "joining by NCCL"])
@pytest.mark.parametrize("outcome", ["died", "hung"])
def test_what_happens_after_all_was_computed_is_a_warning(stage: str, outcome: str) -> None:
    verdict = judged(
        live_outcome=outcome, live_stage=stage, live_signal="SIGABRT", live_error="Aborted"
    )

    assert verdict.status is Status.WARN
    assert "computes, but " in verdict.message


def test_a_python_that_does_not_get_so_far_is_a_warning() -> None:
    verdict = judged(live_outcome="no answer", live_error="Python ended with status 0")

    assert verdict.status is Status.WARN
    assert verdict.message.startswith("/venv/bin/python ended before it ran anything")


# --- what is wrong around it

GONE = "in this child: the current folder does not exist"
LIMIT = "in this child: no more than 400000 KiB may be mapped (ulimit -v)"
SEGMENT = "ImportError: libtorch_cpu.so: failed to map segment from shared object"
MKL = "Intel oneMKL FATAL ERROR: Cannot load /site/torch/lib/libtorch_cpu.so."
BAD_ALLOC = (
    "terminate called after throwing an instance of 'std::bad_alloc' what():  std::bad_alloc"
)


@pytest.mark.parametrize(
    ("outcome", "error", "output", "fix"),
    [
        ("import failed", SEGMENT, LIMIT, "ulimit -v unlimited"),
        ("died", BAD_ALLOC, LIMIT, "ulimit -v unlimited"),
        ("import failed", "MemoryError", LIMIT, "ulimit -v unlimited"),
        ("died", MKL, GONE, "cd "),
        ("import failed", SEGMENT, "", "findmnt -T /site/torch "),
        ("import failed", SEGMENT.replace("lib", "/nx/lib"), "", "findmnt -T /nx/libtorch_cpu.so "),
    ],
)
def test_what_no_other_torch_would_cure_is_not_cured_by_another_torch(
    outcome: str, error: str, output: str, fix: str
) -> None:
    verdict = judged(
        live_outcome=outcome, live_stage="importing torch", live_error=error, live_output=(output,)
    )

    assert verdict.status is Status.FAIL
    assert len(verdict.fix) == 1
    assert verdict.fix[0].startswith(fix)
    assert [it.name for it in verdict.evidence][-1] == "because"
    assert output not in [it.value for it in verdict.evidence if it.name == "written"]


@pytest.mark.parametrize(
    "error",
    [
        CUDART,
        "ImportError: libgomp.so.1: cannot allocate memory in static TLS block",
        "AttributeError: module 'sympy' has no attribute 'core'",
    ],
)
def test_a_limit_that_has_no_part_in_the_error_is_not_blamed(error: str) -> None:
    verdict = import_failed(error, live_output=(LIMIT,))

    assert "because" not in [it.name for it in verdict.evidence]
    assert "import torch" in verdict.fix[0]


# --- what was computed


@pytest.mark.parametrize(
    ("what", "error", "status", "part_of"),
    [
        ("cuda:1", NO_KERNEL, Status.FAIL, "gpu-unsupported"),
        ("cuda:1", "Wrong: a product came out wrong on cuda:1", Status.FAIL, ""),
        ("cuda:1", "torch.OutOfMemoryError: CUDA out of memory. Tried", Status.WARN, ""),
        ("cudnn", "RuntimeError: cuDNN version incompatibility", Status.FAIL, "library-shadowed"),
        ("gloo", "RuntimeError: Unable to find address for: lo", Status.WARN, ""),
        ("nccl", "torch.distributed.DistBackendError: NCCL error", Status.WARN, ""),
        ("cpu", "RuntimeError: could not create a primitive", Status.FAIL, ""),
    ],
)
def test_what_did_not_work_is_named_with_its_error(
    what: str, error: str, status: Status, part_of: str
) -> None:
    trials = (LiveTrial("cpu", what != "cpu"), LiveTrial(what, False, error, name="NVIDIA A100"))

    found = verdicts(live_outcome="trial failed", live_trials=trials[what == "cpu" :])

    (verdict,) = found
    assert (verdict.status, verdict.part_of) == (status, part_of)
    assert would_fail_with(verdict) == error
    assert verdict.fix


def test_each_of_several_failures_is_a_finding() -> None:
    trials = tuple(LiveTrial(f"cuda:{number}", False, NO_KERNEL) for number in range(2))

    assert len(verdicts(live_outcome="trial failed", live_trials=trials)) == 2


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    not_asked = finding("torch-live-fails", live_outcome=None)
    unknown = finding("torch-live-fails", live_outcome=Unknown("cannot run torch in a child"))

    assert (not_asked.status, not_asked.verdict.applies) == (Status.SKIP, False)
    assert "--live" in not_asked.verdict.message
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
