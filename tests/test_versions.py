"""Versions that keep their text: compared by packaging, printed as they were read."""

from __future__ import annotations

import copy
import pickle

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version as Plain

from torchkit.versions import Version, as_version

TEXTS = [
    "2.13.0",
    "2.13.0+cpu",
    "2.6.0a0+ecf3bae40a.nv25.01",
    "2.9.0a0+git1a2b3c4",
    "2.10.0.dev20251025+cu130",
    "1.0rc1",
    "470.57.02",
    "2.13.0A0",
    "v2.13",
    "0.4.1.post2",
    "1!2.0",
]
SPECIFIERS = ["==2.13.*", "==2.13.0", "~=2.13.0", ">2.12", ">=2.13,<3", "!=2.12.*", "===2.13.0+cpu"]


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.startswith("v")])
def test_a_version_prints_as_it_was_read(text: str) -> None:
    assert str(Version(text)) == text
    assert repr(Version(text)) == f"<Version('{text}')>"


def test_a_leading_v_and_blanks_are_not_part_of_it() -> None:
    assert str(Version(" v2.13 ")) == "2.13"


@pytest.mark.parametrize("specifier", SPECIFIERS)
@pytest.mark.parametrize("text", TEXTS)
def test_specifiers_judge_it_as_they_judge_packaging_s_own(text: str, specifier: str) -> None:
    wanted = SpecifierSet(specifier)

    answer = wanted.contains(Version(text), prereleases=True)

    assert answer == wanted.contains(Plain(text), prereleases=True)


@pytest.mark.parametrize("left", TEXTS)
@pytest.mark.parametrize("right", TEXTS)
def test_order_equality_and_hash_are_packaging_s(left: str, right: str) -> None:
    ours, theirs = (Version(left), Version(right)), (Plain(left), Plain(right))

    assert (ours[0] < ours[1], ours[0] == ours[1]) == (
        theirs[0] < theirs[1],
        theirs[0] == theirs[1],
    )
    assert ours[0] == theirs[0]
    assert hash(ours[0]) == hash(theirs[0])


@pytest.mark.parametrize("text", TEXTS)
def test_what_packaging_derives_from_it_can_be_printed(text: str) -> None:
    version = Version(text)

    assert Plain(version.public) == Plain(Plain(text).public)
    assert Plain(version.base_version) == Plain(Plain(text).base_version)
    if hasattr(version, "__replace__"):  # packaging 26, which specifiers there use
        assert Plain(str(version.__replace__(local=None))) == Plain(Plain(text).public)


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda version: pickle.loads(pickle.dumps(version))],  # noqa: S301 - our own bytes
)
def test_a_copy_keeps_the_text(copied: object) -> None:
    assert callable(copied)

    assert str(copied(Version("470.57.02"))) == "470.57.02"


def test_base_and_series_leave_out_what_follows_the_release() -> None:
    version = Version("2.6.0a0+ecf3bae40a.nv25.01")

    assert (version.base, version.series) == ("2.6.0", "2.6")


@pytest.mark.parametrize(
    "text", [None, "", "none", "2.x", "master", "9" * 5000 + ".1", "2.0-dirty"]
)
def test_what_is_no_version_is_none(text: str | None) -> None:
    assert as_version(text) is None
