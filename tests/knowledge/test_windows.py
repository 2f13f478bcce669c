"""Windows of versions, at their edges."""

from __future__ import annotations

import pytest

from torchkit.knowledge.compat import (
    torch_compile_refused_from,
    torch_compile_support,
    window,
    windows,
)
from torchkit.versions import Version


@pytest.mark.parametrize(
    ("name", "torch", "other", "covered"),
    [
        ("numpy2", "2.2.2+cu121", "2.0.0", True),
        ("numpy2", "2.2.2", "1.26.4", False),
        ("numpy2", "2.3.0", "2.1.0", False),
        ("numpy2", "2.3.0a0+ebedce2", "2.0.0", False),  # counts as 2.3.0
        ("numpy2", "1.0.0", "2.0.0rc1", True),
        ("numpy2-windows", "2.4.0", "2.0.0", True),
        ("numpy2-windows", "2.4.1", "2.0.0", False),
        ("setuptools82", "1.8.0", "82.0.0", True),
        ("setuptools82", "1.7.1", "82.0.0", False),
        ("setuptools82", "2.1.2", "82.0.1", True),
        ("setuptools82", "2.1.2", "81.0.0", False),
        ("setuptools82", "2.2.0", "82.0.0", False),
        ("setuptools70", "2.1.2", "69.5.1", False),
        ("setuptools70", "2.1.2", "70.0.0", True),
        ("setuptools70", "2.1.2", "70.3.0", True),
        ("setuptools70", "2.1.2", "71.0.0", False),
        ("setuptools-undeclared", "2.4.1", "3.12.0", True),
        ("setuptools-undeclared", "2.5.0", "3.12.0", False),
        ("execstack", "1.9.1", "2.41", False),
        ("execstack", "1.10.0", "2.41", True),
        ("execstack", "1.12.1+cu113", "2.41", True),
        ("execstack", "1.12.1", "2.40", False),
        ("execstack", "1.13.0", "2.42", False),
        ("nvjitlink", "2.5.0", "12.1", True),
        ("nvjitlink", "2.5.0", "12.4", False),
        ("nvjitlink", "2.5.1", "12.1", False),
    ],
)
def test_a_window_ends_where_the_breakage_does(
    name: str, torch: str, other: str, covered: bool
) -> None:
    assert window(name).covers(Version(torch), Version(other)) is covered


def test_every_window_quotes_what_the_user_meets() -> None:
    for row in windows():
        assert row.symptom
        assert row.torch_from is not None or row.torch_until is not None
        assert row.other_from is not None or row.other_until is not None
        assert set(row.os) <= {"linux", "macos", "windows"}


def test_a_window_we_do_not_have_is_our_bug() -> None:
    with pytest.raises(ValueError, match="no window 'numpy3'"):
        window("numpy3")


# torch/_dynamo/eval_frame.py of those wheels
@pytest.mark.parametrize(
    ("torch", "refused"),
    [
        ("1.13.1", None),
        ("2.0.1", "3.11"),
        ("2.1.0", "3.12"),
        ("2.3.1", "3.12"),
        ("2.4.0", "3.13"),
        ("2.5.1", "3.13"),
        ("2.6.0+cpu", "3.14"),
        ("2.7.1", "3.14"),
        ("2.9.0", "3.14"),
        ("2.10.0", "3.15"),
        ("2.13.0+cpu", "3.15"),
        ("2.15.0", "3.16"),
        ("2.16.0", None),
        ("2.15.0.dev20260801", None),
    ],
)
def test_torch_compile_refuses_a_python_that_is_too_new(torch: str, refused: str | None) -> None:
    found = torch_compile_refused_from(Version(torch))

    assert (None if found is None else str(found)) == refused


def test_torch_compile_takes_builds_without_the_gil_from_2_8_on() -> None:
    before, after = (torch_compile_support(Version(torch)) for torch in ("2.6.0", "2.8.0"))

    assert before is not None
    assert before.free_threaded_from is None
    assert after is not None
    assert str(after.free_threaded_from) == "3.13.3"
