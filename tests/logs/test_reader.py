"""Logs as terminals, runners and launchers leave them: the problem in them is found all the same."""

from __future__ import annotations

import base64
import io
import json
import random

import pytest

from torchkit.logs.problems import Told, told
from torchkit.logs.reader import SHORT_LOG, read_log, read_text

MESSAGE = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x92 and 64x10)"
ID = "matmul-shape-mismatch"
SAID = "the layer takes 64 features, it is given 92"

TRACEBACK = f"""Traceback (most recent call last):
  File "/home/user/train.py", line 31, in forward
    return self.fc(x)
           ^^^^^^^^^^
  File "/opt/env/torch/nn/modules/linear.py", line 125, in forward
    return F.linear(input, self.weight, self.bias)
{MESSAGE}
"""


def ids(found: Told) -> list[str]:
    return [met.problem.id for met in found.problems]


def wrapped(text: str, width: int) -> str:
    return "\n".join(
        line[at : at + width] for line in text.split("\n") for at in range(0, len(line) or 1, width)
    )


def each_line(text: str, before: str = "", after: str = "") -> str:
    return "".join(f"{before}{line}{after}\n" for line in text.splitlines())


def boxed(text: str, width: int = 58) -> str:
    lines = wrapped(text, width).split("\n")
    sides = "".join(f"│ {line:<{width}} │\n" for line in lines)
    return f"╭{'─' * (width + 2)}╮\n{sides}╰{'─' * (width + 2)}╯\n"


ODD_LOGS = {
    "as it is": TRACEBACK,
    "the message alone": MESSAGE,
    "without an end": TRACEBACK.rstrip("\n"),
    "carriage returns of Windows": TRACEBACK.replace("\n", "\r\n"),
    "behind a progress bar": "\r".join(f" {it}%|{'█' * it}| {it}/100" for it in range(100)) + "\r" + TRACEBACK,
    "colours": each_line(TRACEBACK, "\x1b[31m\x1b[1m", "\x1b[0m"),
    "a colour in a word": TRACEBACK.replace("shapes", "sha\x1b[1;31mpes\x1b[0m"),
    "a box of rich": boxed(TRACEBACK),
    "a narrow box of rich": boxed(TRACEBACK, 30),
    "pytest": "    def test_net():\n>       net(torch.zeros(2, 92))\n\n" + each_line(TRACEBACK, "E   "),
    "torchrun since 2.1": each_line(TRACEBACK, "[rank0]: "),
    "torchrun's tee": each_line(TRACEBACK, "[default3]:"),
    "srun -l": each_line(TRACEBACK, " 0: "),
    "mpirun --tag-output": each_line(TRACEBACK, "[1,0]<stderr>:"),
    "Ray": each_line(TRACEBACK, "\x1b[36m(RayTrainWorker pid=4242, ip=10.0.0.7)\x1b[0m "),
    "an older Ray": each_line(TRACEBACK, "(train_fn pid=4242) "),
    "docker compose": each_line(TRACEBACK, "trainer-1  | "),
    "docker build": each_line(TRACEBACK, "#12 3.456 "),
    "GitHub Actions": each_line(TRACEBACK, "2026-01-30T10:11:12.1234567Z "),
    "GitHub's own mark": each_line(TRACEBACK, "2026-01-30T10:11:12.1234567Z ##[error]"),
    "containerd": each_line(TRACEBACK, "2026-01-30T10:11:12.123456789Z stderr F "),
    "MSBuild": each_line(TRACEBACK, "1>"),
    "logging": each_line(TRACEBACK, "2026-01-30 10:11:12,345 - trainer.loop - ERROR - "),
    "loguru": each_line(TRACEBACK, "2026-01-30 10:11:12.345 | ERROR    | train:main:31 - "),
    "an indented log": each_line(TRACEBACK, " " * 24),
    "tabs before it": each_line(TRACEBACK, "\t\t"),
    "quoted in a mail": each_line(TRACEBACK, "> "),
    "a group of exceptions": "  + Exception Group Traceback (most recent call last):\n  +-+---------------- 1 ----------------\n" + each_line(TRACEBACK, "    | ") + "    +------------------------------------\n",
    "json lines of docker": "".join(json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-01-30T10:11:12.123456789Z"}) + "\n" for line in TRACEBACK.splitlines()),
    "a json line that holds all of it": json.dumps({"level": "error", "msg": "failed", "exc_info": TRACEBACK}) + "\n",
    "json in json": json.dumps({"log": json.dumps({"error": {"stack": TRACEBACK}}) + "\n"}) + "\n",
    "json that is cut off": json.dumps({"level": "error", "exc_info": TRACEBACK})[:-1] + "\n",
    "the repr of a text": f"worker failed: {TRACEBACK!r}\n",
    "NUL bytes": TRACEBACK.replace(" ", " \0"),
    "no-break spaces": TRACEBACK.replace(" ", "\u00a0"),
    "a mark at the start": "\ufeff" + TRACEBACK,
    "a narrow terminal": wrapped(TRACEBACK, 23),
    "Jupyter": f"""---------------------------------------------------------------------------
RuntimeError                              Traceback (most recent call last)
Cell In[3], line 2
      1 net = Net()
----> 2 net(torch.zeros(32, 92))

File ~/env/torch/nn/modules/module.py:1501, in Module._call_impl(self, *args, **kwargs)
   1496 # If we don't have any hooks, we want to skip the rest of the logic
-> 1501     return forward_call(*args, **kwargs)
   1502 # Do not call functions when jit is used

{MESSAGE}
""",
    "an older IPython": f"""<ipython-input-3-0123456789ab> in <module>
      1 net = Net()
----> 2 net(torch.zeros(32, 92))

/opt/env/torch/nn/modules/module.py in _call_impl(self, *input, **kwargs)
    720         else:
--> 722             result = self.forward(*input, **kwargs)

{MESSAGE}
""",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_LOGS)
def test_the_problem_of_an_odd_log_is_found_with_its_values(name: str) -> None:
    found = told(read_text(ODD_LOGS[name]))

    assert ids(found) == [ID]
    assert found.problems[0].cause == SAID


@pytest.mark.parametrize("name", ODD_LOGS)
def test_the_same_in_the_middle_of_a_long_log(name: str) -> None:
    lines = "".join(f"epoch {it}: loss {it / 7:.3f}, accuracy {it % 97} %\n" for it in range(3000))

    found = told(read_text(f"{lines}{ODD_LOGS[name]}\n{lines}"))

    assert ids(found) == [ID]
    assert found.problems[0].cause == SAID


ENCODINGS = {
    "utf-16 with its mark": TRACEBACK.encode("utf-16"),
    "utf-16-le": TRACEBACK.encode("utf-16-le"),
    "utf-16-be": TRACEBACK.encode("utf-16-be"),
    "utf-16-le with its mark": b"\xff\xfe" + TRACEBACK.encode("utf-16-le"),
    "utf-16-be with its mark": b"\xfe\xff" + TRACEBACK.encode("utf-16-be"),
    "latin-1": ("é à ü ß\n" + TRACEBACK).encode("latin-1"),
    "half utf-16, as >> of PowerShell makes it": b"begun\r\n" + TRACEBACK.encode("utf-16-le"),
    "a torn letter": b"\xe2\x94\n" + TRACEBACK.encode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_problem_is_found_in_every_encoding(name: str) -> None:
    found = told(read_log(io.BytesIO(ENCODINGS[name])))

    assert ids(found) == [ID]
    assert found.problems[0].cause == SAID


def test_a_german_linker_is_read_in_the_encodings_it_writes() -> None:
    text = "main.cpp:(.text+0x2a): Warnung: nicht definierter Verweis auf »c10::detail::torchCheckFail(char const*, char const*, unsigned int, std::__cxx11::basic_string<char> const&)«\n"

    found = [ids(told(read_log(io.BytesIO(text.encode(it))))) for it in ("utf-8", "latin-1")]

    assert found[0] == found[1] != []


def test_a_chinese_linker_is_read_in_the_encodings_it_writes() -> None:
    text = "main.cpp:(.text+0x2a): 对‘c10::detail::torchCheckFail(char const*, std::__cxx11::basic_string<char> const&)’未定义的引用\n"  # noqa: RUF001 - as compilers write

    found = [ids(told(read_log(io.BytesIO(text.encode(it))))) for it in ("utf-8", "gb18030")]

    assert found[0] == found[1] != []


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\0" * 5000, b"\xff\xfe", b"\r\r\r", b"{", b"\\n" * 9]
)
def test_what_says_nothing_yields_nothing(data: bytes) -> None:
    reading = read_log(io.BytesIO(data))

    assert reading.hits == ()
    assert reading.last_error is None


def test_binary_garbage_yields_nothing_and_hides_nothing() -> None:
    garbage = random.Random(3).randbytes(2_000_000)  # noqa: S311 - the same each time is wanted

    assert ids(told(read_log(io.BytesIO(garbage)))) == []
    assert ids(told(read_log(io.BytesIO(garbage + b"\n" + TRACEBACK.encode() + garbage)))) == [ID]


@pytest.mark.parametrize("place", [0, 4_000, 16_380, 500_000, 999_000, 1_048_560, 2_097_100])
def test_a_message_anywhere_in_a_line_of_millions_of_letters_is_found(place: int) -> None:
    letters = base64.b64encode(random.Random(5).randbytes(1_800_000)).decode()  # noqa: S311 - the same each time is wanted

    found = told(read_text(f"{letters[:place]} {MESSAGE} {letters[place:]}"))

    assert ids(found) == [ID]
    assert found.problems[0].number == 1


def test_a_message_across_the_ends_of_blocks_is_found() -> None:
    line = "epoch 17: loss 0.123, accuracy 64 %\n"
    size = 1 << 20

    for back in (3, 40, 90, 200, 400):
        before = (line * (size // len(line) + 1))[: size - back] + "\n"
        found = told(read_text(before + TRACEBACK + line * 100))

        assert ids(found) == [ID], back
        assert found.problems[0].number == before.count("\n") + 7


def test_the_number_is_that_of_the_line_also_behind_bars_and_on_windows() -> None:
    bars = "\r".join(f" {it}%" for it in range(90)) + "\n"

    found = told(read_text((bars * 400 + TRACEBACK).replace("\n", "\r\n")))

    assert found.problems[0].number == 407


def test_ranks_that_write_at_once_are_read_apart() -> None:
    lines = TRACEBACK.splitlines()
    other = TRACEBACK.replace("92", "17").splitlines()
    mixed = "".join(
        f"[rank0]: {one}\n[rank1]: {two}\n" for one, two in zip(lines, other, strict=True)
    )
    torn = "".join(
        f"[rank{rank}]: {part}\n"
        for part in ("RuntimeError: mat1 and mat2 shapes", "cannot be multiplied (32x92 and 64x10)")
        for rank in range(4)
    )

    found, of_torn = told(read_text(mixed)), told(read_text(torn))

    assert ids(found) == [ID]
    assert found.problems[0].times == 2
    assert ids(of_torn) == [ID]
    assert of_torn.problems[0].times == 4


def test_a_message_in_the_code_of_a_raise_is_not_one_that_was_raised() -> None:
    text = f"""Traceback (most recent call last):
  File "net.py", line 3, in forward
    raise {MESSAGE.replace(": ", "('")}')
MyError: no

net.py:12: MyError
"""

    assert ids(told(read_text(text))) == []


def test_a_problem_met_often_is_told_once_and_counted() -> None:
    noise = "".join(f"step {it}: loss {it / 9:.4f}\n" for it in range(50))

    found = told(read_text((noise + TRACEBACK) * 700))

    assert ids(found) == [ID]
    assert found.problems[0].times == 700
    assert found.problems[0].number == 57


def test_what_is_around_is_as_good_in_a_long_log_as_in_a_short_one() -> None:
    filler = "".join(f"step {it}: loss {it / 9:.4f}\n" for it in range(SHORT_LOG * 3))

    assert ids(told(read_text(filler + MESSAGE + "\n" + filler))) == [ID]


def test_an_error_that_is_not_known_is_shown() -> None:
    filler = "".join(f"step {it}: loss {it / 9:.4f}\n" for it in range(5000))

    reading = read_text(f"{filler}FrobnicationError: the frobnicator is out of order\n{filler}")

    assert reading.hits == ()
    assert reading.last_error is not None
    assert reading.last_error.number == 5001
    assert "out of order" in reading.last_error.text
