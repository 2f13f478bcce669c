"""`torchkit explain` as its users see it: logs, messages, pages, formats, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import torchkit
from torchkit import checks
from torchkit.knowledge.problems import problems

ROOT = Path(__file__).resolve().parent.parent
MESSAGE = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x92 and 64x10)"


def explain(
    *arguments: str, given: str | bytes | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a pipe."""
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run(
        [sys.executable, "-m", "torchkit", "explain", *arguments],
        input=b"" if data is None else data,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environ},
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def test_the_first_line_is_the_answer_with_its_id_and_values() -> None:
    done = explain("--no-env", given=f"noise\n{MESSAGE}\n")

    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0] == "matmul-shape-mismatch: the layer takes 64 features, it is given 92"
    assert lines[1] == ""
    assert lines[2] == f"  line 2  {MESSAGE}"
    assert lines[3].startswith("  fix     nn.Linear(92, 10)")


def test_a_message_is_taken_as_an_argument_in_quotes_or_without() -> None:
    quoted, loose = explain("--no-env", MESSAGE), explain("--no-env", *MESSAGE.split())

    assert quoted.stdout == loose.stdout
    assert quoted.stdout.startswith("matmul-shape-mismatch: ")


def test_a_file_is_read_and_what_follows_is_counted() -> None:
    done = explain("tests/logs/link.log", "--no-env")

    assert done.stdout.startswith("link-cxx11-abi: ")
    assert "(2 times)" in done.stdout
    assert done.stdout.endswith("4 later errors  follow from it (collect2, make)\n")


def test_nothing_recognised_is_said_with_the_last_error_and_exit_one() -> None:
    done = explain("--no-env", given="fine\nFrobnicationError: out of order\nfine\n")

    assert done.returncode == 1
    assert done.stdout.startswith(
        "nothing in 3 lines is known to torchkit, though there is an error"
    )
    assert "  line 2  FrobnicationError: out of order\n" in done.stdout


def test_a_log_without_an_error_is_not_called_one() -> None:
    done = explain("--no-env", given="epoch 1\nepoch 2\n")

    assert done.returncode == 1
    assert done.stdout.startswith("nothing in 2 lines is known to torchkit\n")
    assert "error" not in done.stdout.partition("\n")[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-id"], "no file and no id"),
        (["driver-too-odd"], "driver-too-old"),
        (["tests"], "is a folder"),
        (["--facts", "x.json", "--no-env", "-"], "both given"),
        (["--list", "frobnicate"], "frobnicate"),
        (["README.md", "LICENSE"], "cat README.md LICENSE | torchkit explain"),
    ],
)
def test_what_cannot_be_used_is_exit_two_with_a_hint(arguments: list[str], words: str) -> None:
    done = explain(*arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_log_is_nothing_recognised() -> None:
    done = explain(given="")

    assert done.returncode == 1
    assert done.stdout.startswith("there is nothing to read")


CHAIN = f"""Traceback (most recent call last):
  File "a.py", line 3, in f
    g()
{MESSAGE}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 9, in <module>
    h()
RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.
"""


@pytest.mark.parametrize(
    "joint",
    [
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    ],
)
def test_the_root_of_a_chain_of_exceptions_comes_first(joint: str) -> None:
    chain = CHAIN.replace(
        "During handling of the above exception, another exception occurred:", joint
    )

    done = explain("--no-env", given=chain)

    assert done.stdout.startswith("matmul-shape-mismatch: ")
    assert done.stdout.splitlines()[0].endswith("; then numpy-requires-grad")


def test_what_a_worker_of_a_dataloader_met_is_told_not_the_worker() -> None:
    log = f"""Traceback (most recent call last):
  File "train.py", line 3, in <module>
    for batch in loader:
RuntimeError: Caught RuntimeError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/env/torch/utils/data/_utils/worker.py", line 351, in _worker_loop
    data = fetcher.fetch(index)
{MESSAGE}
"""

    found = torchkit.explain(log, no_env=True).findings

    assert [it.id for it in found] == ["matmul-shape-mismatch"]


def test_the_same_problem_of_many_ranks_is_one_with_a_count() -> None:
    log = "".join(f"[rank{rank}]: {MESSAGE}\n" for rank in range(64))

    done = explain("--no-env", given=log)

    assert done.stdout.count("matmul-shape-mismatch") == 1
    assert "(64 times)" in done.stdout


def test_json_follows_the_schema() -> None:
    schema = json.loads((ROOT / "torchkit" / "render" / "report.schema.json").read_text())

    for arguments in (["--no-env", "tests/logs/link.log"], ["tests/logs/link.log"], ["--list"]):
        data = json.loads(explain(*arguments, "--json").stdout)
        jsonschema.validate(data, schema)

    found = json.loads(explain("--no-env", "--json", "tests/logs/link.log").stdout)
    assert found["totals"] == {"lines": 9, "problems": 1, "later": 4}
    assert found["findings"][0]["evidence"][0]["name"] == "line 4"


def test_github_gets_an_annotation_for_each_problem() -> None:
    done = explain("--no-env", "--format", "github", given=CHAIN)

    lines = done.stdout.splitlines()
    assert lines[0].startswith("::notice title=matmul-shape-mismatch::the layer takes 64 features")
    assert lines[1].startswith("::notice title=numpy-requires-grad::")


def test_markdown_quotes_the_line() -> None:
    done = explain("--no-env", "--format", "markdown", given=MESSAGE)

    assert f"  - line 1: `{MESSAGE}`" in done.stdout


@pytest.mark.parametrize("name", sorted({*problems(), *checks.check_ids()}))
def test_every_problem_and_check_has_a_page(name: str) -> None:
    from torchkit.commands.explain_pages import page

    report = page(name)

    assert report is not None
    assert report.headline.startswith(f"{name}: ")
    rows = report.tables[0].rows
    texts = [str(row["value"]) for row in rows]
    assert all(texts)
    assert not any(text.startswith(("or ", "or, ")) for text in texts)
    assert len(set(texts)) == len(texts)


def test_the_page_of_a_problem_shows_what_it_looks_like_and_what_to_do() -> None:
    done = explain("matmul-shape-mismatch")

    assert done.returncode == 0
    headings = [line.split("  ")[0] for line in done.stdout.splitlines()[2:]]
    assert headings[:2] == ["message", "why"]
    assert "fix" in headings
    assert "link" in headings


def test_the_list_is_searched_by_words() -> None:
    everything, some = explain("--list"), explain("--list", "shared", "memory")

    assert len(everything.stdout.splitlines()) > len(problems())
    assert "shm-insufficient" in some.stdout
    assert "matmul-shape-mismatch" not in some.stdout


def test_python_users_get_the_report_of_a_text_or_an_exception() -> None:
    result = torchkit.explain(MESSAGE, no_env=True)

    assert result.findings[0].id == "matmul-shape-mismatch"
    assert str(result).startswith("matmul-shape-mismatch: the layer takes 64 features")

    error = RuntimeError(MESSAGE.partition(": ")[2])
    assert torchkit.explain(error, no_env=True).findings[0].id == "matmul-shape-mismatch"

    with pytest.raises(torchkit.TorchkitError):
        torchkit.explain(3)  # type: ignore[arg-type]


def test_a_first_fix_does_not_begin_with_or() -> None:
    result = torchkit.explain("ERROR: No matching distribution found for torch==1.7.1", no_env=True)

    fix = result.findings[0].verdict.fix
    assert fix
    assert not any(text.startswith(("or ", "or, ")) for text in fix)
