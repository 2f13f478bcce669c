"""A trial build becomes a verdict: what failed, in whose words, why, and how to see it again."""

from __future__ import annotations

from torchkit.checks import load, run_check
from torchkit.checks.build_fails import judge
from torchkit.machine.facts import BuildTrial, Facts
from torchkit.report import WOULD_FAIL_WITH, Status, Verdict

OLD = "undefined reference to `c10::Device::Device(std::__cxx11::basic_string<char> const&)'"
BUILT = BuildTrial(
    "/opt/libtorch", "run", True, version="2.13.0+cpu", tool="cmake",
    configure_s=0.44, compile_s=12.31, link_s=0.65, run_s=0.4, cuda_available=False,
)  # fmt: skip


def failed(stage: str, error: str | None, **values: object) -> BuildTrial:
    return BuildTrial("/opt/libtorch", stage, False, error, **values)  # type: ignore[arg-type]


def judged(*trials: BuildTrial, **changes: str | None) -> tuple[Verdict, ...]:
    home = "/usr/local/cuda-13.0"
    facts = {"cuda_home": home, "cmake_cuda_home": home, "nvcc_path": f"{home}/bin/nvcc"}
    return judge(trials, **(facts | changes))


def only(*trials: BuildTrial) -> Verdict:
    (verdict,) = judged(*trials)
    return verdict


def evidence(verdict: Verdict) -> dict[str, str]:
    return {item.name: item.value for item in verdict.evidence}


def test_a_program_that_runs_is_fine_and_says_how_long_it_took() -> None:
    verdict = only(BUILT)

    assert verdict.status is Status.OK
    assert verdict.message == (
        "a C++ program builds against libtorch 2.13.0+cpu in /opt/libtorch and runs: configured in"
        " 0.4 s, compiled in 12.3 s, linked in 0.7 s, ran in 0.4 s, CUDA not available"
    )


def test_a_program_that_does_not_link_is_told_by_the_linker_with_the_cause_and_the_command() -> (
    None
):
    verdict = only(failed("link", OLD, version="2.6.0+cpu", command="cmake … && bin/trial"))

    assert verdict.status is Status.FAIL
    assert verdict.message == (
        "a C++ program cannot be linked against libtorch 2.6.0+cpu in /opt/libtorch"
    )
    assert evidence(verdict)[WOULD_FAIL_WITH] == OLD
    assert "old C++ ABI" in evidence(verdict)["because"]
    assert evidence(verdict)["to see it again"] == "cmake … && bin/trial"
    assert "cxx11-abi" in verdict.fix[0]
    assert verdict.part_of == "libtorch-abi"


def test_names_that_are_only_in_the_whole_output_count_too() -> None:
    error = f"{OLD}\nand 3 more undefined references"
    output = f"{OLD}\nundefined reference to `c10::UndefinedTensorImpl::_singleton'"

    verdict = only(failed("link", error, output=output))

    assert "different versions" in evidence(verdict)["because"]
    assert verdict.part_of == ""


def test_an_error_that_is_not_known_is_told_without_a_cause_and_a_fix() -> None:
    verdict = only(failed("run", "it died of SIGSEGV (segmentation fault)", run_s=0.02))

    assert verdict.status is Status.FAIL
    assert verdict.message == "a C++ program does not run with the libtorch in /opt/libtorch"
    assert evidence(verdict) == {WOULD_FAIL_WITH: "it died of SIGSEGV (segmentation fault)"}
    assert verdict.fix == ()


def test_the_cuda_of_the_libtorch_is_named_in_the_fix() -> None:
    error = "  Your installed Caffe2 version uses CUDA but I cannot find the CUDA"

    verdict = only(failed("configure", error, version="2.7.0+cu126"))

    assert "install the CUDA toolkit 12.6 and" in verdict.fix[0]


def test_the_step_and_a_compiler_that_builds_by_hand_are_the_source() -> None:
    by_hand = only(failed("compile", "error: no", tool="/usr/bin/g++", compile_s=2.04))
    by_cmake = only(failed("compile", "error: no", tool="cmake"))

    assert by_hand.evidence[0].source == "compile with /usr/bin/g++, after 2.0 s"
    assert by_cmake.evidence[0].source == "compile"


def test_of_several_libtorchs_each_has_its_verdict_and_none_is_part_of_another() -> None:
    verdicts = judged(failed("link", OLD), BUILT)

    assert [it.status for it in verdicts] == [Status.FAIL, Status.OK]
    assert verdicts[0].part_of == ""


def test_a_trial_of_a_saved_machine_may_tell_little() -> None:
    assert only(failed("bake", None)).status is Status.FAIL


def test_without_a_trial_it_does_not_apply() -> None:
    (found,) = run_check(load("build-fails"), Facts({"build_trials": None}))

    assert found.status is Status.SKIP
    assert not found.verdict.applies
    assert "--probe" in found.verdict.message


NO_CUDA = (
    '-- Could NOT find CUDA (missing: CUDA_INCLUDE_DIRS CUDA_CUDART_LIBRARY) (found version "13.0")'
)


def test_a_toolkit_that_cmake_looks_for_elsewhere_is_not_called_incomplete() -> None:
    (verdict,) = judged(
        failed("configure", NO_CUDA, version="2.14.1+cu130"),
        cmake_cuda_home="/usr/local",
        nvcc_path="/usr/local/bin/nvcc",
    )

    assert evidence(verdict)["because"] == (
        "CMake takes /usr/local for the CUDA toolkit, by /usr/local/bin/nvcc; "
        "the toolkit is in /usr/local/cuda-13.0"
    )
    assert "-DCUDA_TOOLKIT_ROOT_DIR=/usr/local/cuda-13.0" in verdict.fix[0]


def test_where_cmake_looks_in_the_right_folder_something_is_missing_there() -> None:
    verdict = only(failed("configure", NO_CUDA, version="2.14.1+cu130"))

    assert "headers or libcudart are missing" in evidence(verdict)["because"]
    assert "install the whole CUDA toolkit 13.0" in verdict.fix[0]
