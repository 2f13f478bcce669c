"""Models with a mistake each, read from `broken_models.txt`.

A model begins with `### name | what is wrong | options`, and `| no cure` where no fix is to be
shown; then its source, whose last class is the model. `# words:` is a fix that is said and not
pasted, `# by hand: old -> new` what a reader makes of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

TEXT = Path(__file__).with_suffix(".txt")


class Broken(NamedTuple):
    """One model. `id` is that of its explanation; `is_cured`: there is a fix, and each cures it."""

    name: str
    id: str
    options: str
    source: str
    is_cured: bool = True
    words: tuple[str, ...] = ()
    by_hand: tuple[tuple[str, str], ...] = ()


def _read(text: str) -> list[Broken]:
    return [_one(*part.split("\n", 1)) for part in text.split("### ")[1:]]


def _one(head: str, rest: str) -> Broken:
    name, identity, options, *more = (it.strip() for it in head.split("|"))
    by_hand = [tuple(it.split(" -> ")) for it in re.findall(r"(?m)^# by hand: (.*)$", rest)]
    return Broken(
        name,
        identity,
        options,
        re.sub(r"(?m)^# (words|by hand): .*\n", "", rest).strip() + "\n",
        is_cured=more != ["no cure"],
        words=tuple(re.findall(r"(?m)^# words: (.*)$", rest)),
        by_hand=tuple((old, new) for old, new in by_hand),
    )


MODELS = _read(TEXT.read_text("utf-8"))
