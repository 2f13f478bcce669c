"""Rows that are not as they must be are refused, by name."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import pytest

from torchkit.knowledge import rows
from torchkit.versions import Version

GOOD = """
[sources]
wheel = "the official wheel"

[[torch]]
version = "2.0.0"
released = 2023-03-15
python = ["3.8", "3.9"]
has_cpu = true
source = "wheel; https://example.org/notes"
"""


class Row(NamedTuple):
    version: Version
    released: date
    python: tuple[str, ...]
    has_cpu: bool
    source: str
    gcc: int | None = None
    confidence: str = "high"
    weak: tuple[str, ...] = ()


def read(text: str) -> tuple[Row, ...]:
    document = rows.read(text, "made-up.toml", "torch")
    return rows.records(document, "torch", Row, identity=("version",))


def test_a_good_row_is_converted_and_its_sources_are_spelled_out() -> None:
    (row,) = read(GOOD)

    assert row == Row(
        version=Version("2.0.0"),
        released=date(2023, 3, 15),
        python=("3.8", "3.9"),
        has_cpu=True,
        source="the official wheel; https://example.org/notes",
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("has_cpu", "has_gpu", "unknown key has_gpu"),
        ("released = 2023-03-15\n", "", "has no released"),
        ('source = "wheel; https://example.org/notes"\n', "", "has no source"),
        ('"wheel; https://example.org/notes"', '""', "source is ''"),
        ('"wheel; https://example.org/notes"', '" "', "source is ' '"),
        ('"wheel; https', '"whel; https', "source 'whel' is no key"),
        ('"2.0.0"', '"two"', "version is 'two', expected Version"),
        ('"2.0.0"', "2.0", "version is 2.0, expected Version"),
        ("2023-03-15", '"2023-03-15"', "released is '2023-03-15', expected date"),
        ("2023-03-15", "2023-03-15T00:00:00", "expected date"),
        ('["3.8", "3.9"]', '"3.8"', "python is '3.8', expected tuple"),
        ('["3.8", "3.9"]', "[3.8]", "python is"),
        ('["3.8", "3.9"]', "[]", "python is"),
        ("= true", "= 1", "has_cpu is 1, expected bool"),
        ("= true", "= true\ngcc = true", "gcc is True, expected int"),
        ("= true", '= true\ngcc = "9"', "gcc is '9', expected int"),
        ("= true", '= true\nconfidence = "sure"', "confidence is 'sure'"),
        ("= true", '= true\nweak = ["cuda"]', "weak names cuda"),
        ('wheel = "the official wheel"', 'wheel = ""', "[sources] wheel is ''"),
        ("[[torch]]", "[torch]", "not a list of rows"),
        ("[[torch]]", "[[torhc]]", "holds torhc, expected torch"),
        ("[sources]", "[notes]", "holds notes, torch, expected torch"),
    ],
)
def test_a_bad_row_is_refused_with_its_file_and_fault(old: str, new: str, complaint: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD

    with pytest.raises(ValueError, match=r"^made-up\.toml") as caught:
        read(text)

    assert complaint in str(caught.value)


def test_the_row_at_fault_is_named() -> None:
    second = GOOD[GOOD.index("[[torch]]") :].replace("2.0.0", "2.0.1").replace("has_cpu", "has_gpu")

    with pytest.raises(ValueError, match=r"\[\[torch\]\] number 2 \(2\.0\.1\)"):
        read(GOOD + second)


@pytest.mark.parametrize("again", ["2.0.0", "2.0"])
def test_two_rows_with_one_identity_are_refused(again: str) -> None:
    second = GOOD[GOOD.index("[[torch]]") :].replace("2.0.0", again)

    with pytest.raises(ValueError, match="is there twice"):
        read(GOOD + second)


def test_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1"):
        read("[[torch]\n")
