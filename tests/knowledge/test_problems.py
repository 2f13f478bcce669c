"""The catalogue of problems: sound, and every text in it recognised as what it is."""

from __future__ import annotations

import re

import pytest

from torchkit import checks
from torchkit.knowledge.problems import Example, echoes, examples, possible_causes, problems
from torchkit.logs.patterns import is_bounded, needle
from torchkit.logs.problems import told
from torchkit.logs.reader import read_text

GOOD, BAD = examples()

FEWEST_EXAMPLES, FEWEST_NEAR_MISSES = 3, 2


def label(example: Example) -> str:
    words = re.sub(r"\W+", " ", example.text).split()
    return f"{example.of}: {' '.join(words[-4:])}"


every_problem = pytest.mark.parametrize("problem_id", sorted(problems()))


@every_problem
def test_a_problem_has_a_title_a_cause_and_a_fix_without_values(problem_id: str) -> None:
    problem = problems()[problem_id]

    assert problem.title[0].isupper()
    assert not problem.title.endswith(".")
    assert "{" not in problem.cause
    assert any("{" not in text for text in problem.fix)
    assert all(url.startswith("https://") for url in problem.urls)


@every_problem
def test_its_patterns_are_quick_and_bounded(problem_id: str) -> None:
    problem = problems()[problem_id]

    for pattern in (*problem.patterns, *problem.weak):
        assert needle(pattern)
        assert is_bounded(pattern), pattern
    for pattern in (*problem.near, *problem.unless):
        assert is_bounded(pattern), pattern


@every_problem
def test_what_it_names_is_there(problem_id: str) -> None:
    problem = problems()[problem_id]

    assert set(problem.beats) <= set(problems()) - {problem_id}
    assert set(problem.confirm) <= set(checks.automatic_ids())
    for cause in possible_causes().get(problem_id, ()):
        assert set(cause.confirm) <= set(checks.automatic_ids())


def test_every_possible_cause_is_of_a_problem() -> None:
    assert set(possible_causes()) <= set(problems())


def test_echoes_have_quick_patterns() -> None:
    for echo in echoes():
        for pattern in echo.patterns:
            assert needle(pattern)
            assert is_bounded(pattern), pattern


@every_problem
def test_it_has_examples_and_near_misses(problem_id: str) -> None:
    assert len([it for it in GOOD if it.of == problem_id]) >= FEWEST_EXAMPLES
    assert len([it for it in BAD if it.of == problem_id]) >= FEWEST_NEAR_MISSES


@pytest.mark.parametrize("example", GOOD, ids=label)
def test_an_example_is_recognised_as_its_problem_first_and_alone(example: Example) -> None:
    found = told(read_text(example.text))

    assert [met.problem.id for met in found.problems] == [example.of]


@pytest.mark.parametrize("example", BAD, ids=label)
def test_a_near_miss_is_not_taken_for_it(example: Example) -> None:
    found = told(read_text(example.text))

    assert example.of not in [met.problem.id for met in (*found.problems, *found.symptoms)]


BAD_ADVICE = (
    r"weights_only\s*=\s*False(?!.*trust)",
    r"KMP_DUPLICATE_LIB_OK\s*=\s*TRUE",
    r"allow-unsupported-compiler",
    r"\bdll-?files?\b",
)
"""What cures the message and harms the user."""


@every_problem
def test_no_bad_advice_is_given(problem_id: str) -> None:
    texts = [*problems()[problem_id].fix]
    texts += [text for cause in possible_causes().get(problem_id, ()) for text in cause.fix]

    for text in texts:
        for pattern in BAD_ADVICE:
            assert not re.search(pattern, text, re.IGNORECASE), text
