"""No pattern is passed over where it matches, none runs away, however the text is wrapped."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torchkit.knowledge.problems import examples, problems
from torchkit.logs.lines import Line, squeeze
from torchkit.logs.matching import _matches, known_patterns
from torchkit.logs.patterns import compiled, literals
from torchkit.logs.problems import told
from torchkit.logs.reader import read_text
from torchkit.logs.signs import WINDOW, signs_of

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD, BAD = examples()
WIDTHS = (20, 33, 47, 60, 79, 120)
SLOWEST_S = 2.0
"""CPU time of one pattern on 20,000 hostile letters; a pattern that runs away takes minutes."""


def test_a_pattern_that_matches_is_always_seen() -> None:
    patterns, signs = known_patterns()
    texts = [
        squeeze([Line(1, "", line) for line in it.text.split("\n")]).text for it in (*GOOD, *BAD)
    ]

    missed = []
    for text in random.Random(1).sample(texts, min(250, len(texts))):  # noqa: S311 - the same each time is wanted
        lower = text.lower()
        seen = signs.patterns(lower)
        for number, pattern in enumerate(patterns):
            wanted = [it.span() for it in compiled(pattern.source).finditer(text)]
            found = [it.span() for it in _matches(pattern.source, text, lower)]
            if wanted and (number not in seen or found != wanted):
                missed.append((pattern.source, text[:200]))

    assert missed == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("mat1 and mat2 shapes", "mat1andmat2shapes"),
        (r"expected (?P<a>\dD) input \(got", "expected3dinput(got4d"),
        (r"(?:Torch|PyTorch) (?:was|is) not compiled with CUDA", "pytorchisnotcompiledwithcuda"),
        (r"tensors? must be on the same device", "tensormustbeonthesamedevice"),
        ("对 '(?P<symbol>c10\\w+)' 未定义的引用", "对‘c10x’未定义的引用"),  # noqa: RUF001 - as compilers write
        (r"LNK2038[^']{0,80}'RuntimeLibrary", "lnk2038:x'runtimelibrary"),
        ("version '?GLIBC_2.3'? not found", "version`glibc_2.3'notfound"),
    ],
)
def test_letters_stand_for_a_pattern_with_groups_options_and_quotes(
    pattern: str, text: str
) -> None:
    signs = signs_of(["something else altogether", pattern])

    assert signs.patterns(text) == {1}
    assert signs.patterns(text[: WINDOW // 2]) == set()


def wrapped(text: str, width: int) -> str:
    return "\n".join(
        line[at : at + width] for line in text.split("\n") for at in range(0, len(line) or 1, width)
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_every_example_is_recognised_wrapped_at_any_width(width: int) -> None:
    lost = []
    for example in GOOD:
        if any("line \\d" in it for it in problems()[example.of].patterns):
            continue  # it is told by a frame of a traceback, whose code is no longer told from text
        found = told(read_text(wrapped(example.text, width)))
        if [met.problem.id for met in found.problems][:1] != [example.of]:
            lost.append((example.of, example.text[-120:]))

    assert lost == []


def test_no_pattern_runs_away_on_text_made_of_its_own_pieces() -> None:
    random_ = random.Random(2)  # noqa: S311 - the same each time is wanted
    slow = []
    for pattern in known_patterns()[0]:
        pieces = literals(pattern.source) or ("error",)
        for fill in ("1", "a", "[1,", "'", "a::", "/a"):
            text = "".join(
                random_.choice(pieces) + fill * random_.randint(0, 120) for _ in range(200)
            )[:20_000]
            started = time.process_time()
            for _ in _matches(pattern.source, text, text.lower()):
                pass
            spent = time.process_time() - started
            if spent > SLOWEST_S:
                slow.append((pattern.source, fill, spent))

    assert slow == []


MEASURE = """
import sys, time
from torchkit.logs.reader import read_log

class Stream:
    def __init__(self, unit, size):
        self.unit, self.left = unit * (1 + (1 << 20) // len(unit)), size
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return self.unit[:size]

reading = read_log(Stream(sys.argv[1].encode().replace(b"@", b"\\n"), 300_000_000))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024, reading.lines)
"""


@pytest.mark.parametrize(
    "unit",
    [
        "warning: error: something that cannot be is expected@RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x92 and 64x10)@",
        "no end of this line, ",
    ],
    ids=["dense", "one line"],
)
def test_three_hundred_megabytes_are_read_in_bounded_memory(unit: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, unit],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert int(done.stdout.split()[0]) < 150


def test_the_catalogue_is_of_words_that_hold_letters() -> None:
    _, signs = known_patterns()

    assert len(signs.pieces) < 20, "each costs a search of every block: give patterns more letters"
    assert all(re.search(r"[^a-z]", it) or len(it) > 7 for it in signs.pieces)
