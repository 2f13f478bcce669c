"""What a build dies of: every example is explained by its own row, and by no other."""

from __future__ import annotations

import re

import pytest

from torchkit.knowledge.build_errors import STAGES
from torchkit.knowledge.compat import BuildError, build_error, build_errors
from torchkit.knowledge.problems import problems

EXAMPLES = [
    pytest.param(row, example, stage, id=f"{row.id} {number} {stage}")
    for row in build_errors()
    for number, example in enumerate(row.examples, 1)
    for stage in row.stages or STAGES
]


@pytest.mark.parametrize(("row", "example", "stage"), EXAMPLES)
def test_every_example_is_explained_by_its_row_with_nothing_left_to_fill_in(
    row: BuildError, example: str, stage: str
) -> None:
    found = build_error(example, stage=stage)

    assert found is not None
    assert found.id == row.id
    assert not re.search(r"\{\d\}|\{cuda\}", " ".join((found.cause, *found.fix)))


def test_stages_are_those_of_a_trial_and_every_row_cures() -> None:
    for row in build_errors():
        assert set(row.stages) <= set(STAGES)
        assert (row.cause and row.fix) or row.problem in problems()
        assert row.problem in ("", *problems())


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("CMake Warning: Failed to compute shorthash for libnvrtc.so", "configure"),  # harmless
        ("CMake Warning:\n  static library kineto_LIBRARY-NOTFOUND not found.", "configure"),
        ("CMake Warning:\n  library kineto not found.", "configure"),
        (
            "undefined reference to `my::own(std::string const&)'\nundefined reference to `f'",
            "link",
        ),
        ("trial.cpp:4:10: fatal error: boost/any.hpp: No such file or directory", "compile"),
        ("it died of SIGSEGV (segmentation fault)", "run"),
        ("", "link"),
    ],
)
def test_what_is_not_known_is_not_explained(text: str, stage: str) -> None:
    assert build_error(text, stage=stage) is None


def test_one_name_without_a_string_tells_that_it_is_no_matter_of_the_abi() -> None:
    with_string = "undefined reference to `c10::detail::f(std::__cxx11::basic_string<char> const&)'"
    without = "undefined reference to `c10::UndefinedTensorImpl::_singleton'"

    only_strings = build_error(with_string, stage="link")
    both = build_error(f"{with_string}\n{without}", stage="link")

    assert only_strings is not None
    assert only_strings.id == "link-libtorch-old-abi"
    assert both is not None
    assert both.id == "libtorch-mixed"


def test_numbers_of_the_message_and_the_cuda_of_the_libtorch_are_filled_in() -> None:
    standard = build_error("#error C++20 or later compatible compiler is required to use PyTorch", stage="compile")  # fmt: skip
    cuda = build_error("Your installed Caffe2 version uses CUDA but I cannot find the CUDA", stage="configure", cuda="12.6")  # fmt: skip

    assert standard is not None
    assert standard.cause.endswith("before C++20")
    assert cuda is not None
    assert cuda.fix[0].startswith("install the CUDA toolkit 12.6 and")
