"""`torchkit shm-check` as a user meets it: its options, its outputs, with torch and without."""

from __future__ import annotations

import json
import random
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from installs import (
    Environment,
    Outcome,
    assert_follows_schema,
    assert_no_traceback,
    make_environment,
    run,
)

import torchkit
from torchkit.commands.shm_check import judgement
from torchkit.commands.shm_check import run as run_command
from torchkit.commands.shm_workload import Question, from_samples
from torchkit.errors import BadInput, TorchkitError
from torchkit.machine.facts import Facts
from torchkit.machine.shm import shm_facts
from torchkit.render import Format, Style, render
from torchkit.report import Status
from torchkit.system import System

ROOT = Path(__file__).resolve().parent.parent
Cli = Callable[..., Any]

IMAGES = ("--sample", "3,224,224", "--batch-size", "64", "--workers", "8")

linux = pytest.mark.skipif(
    sys.platform != "linux" or not Path("/dev/shm").is_dir(), reason="needs /dev/shm"
)

TOTALS = {
    "shm_total_bytes", "shm_free_bytes", "usable_bytes", "sample_bytes", "batch_bytes",
    "predicted_peak_bytes", "predicted_bound_bytes", "fits", "max_workers",
    "recommended_shm_bytes", "open_files_needed", "inodes_needed",
}  # fmt: skip


class Other(System):
    """Another operating system."""

    def __init__(self, root: Path, platform: str) -> None:
        super().__init__(root=root, environ={})
        self._platform = platform

    @property
    def platform(self) -> str:
        return self._platform


# --- what is said


@linux
def test_the_json_follows_the_schema_and_has_the_numbers_that_are_promised(cli: Cli) -> None:
    ended = cli("shm-check", *IMAGES, "--json")

    report = json.loads(ended.stdout)
    assert_follows_schema(report)
    assert set(report["totals"]) >= TOTALS
    assert report["totals"]["sample_bytes"] == 3 * 224 * 224 * 4
    assert report["totals"]["batch_bytes"] == 64 * 3 * 224 * 224 * 4
    assert report["totals"]["shm_total_bytes"] == report["facts"]["shm_total_bytes"] > 0


@linux
def test_a_note_tells_what_only_later_epochs_may_need() -> None:
    """One worker, prefetch 1, batches of 1 MiB: 2 at once, at most 3, and 4 from the next epoch on."""
    question = Question(samples=("262144",), workers=1, prefetch=1)
    size = 3 * 1024**2 + 11 * 4096
    planned = from_samples(question, has_accelerator=False)
    facts = Facts({"shm_state": "writable", "shm_total_bytes": size, "shm_free_bytes": size})

    def notes(facts: Facts) -> list[str]:
        report = judgement(planned, facts)
        assert (report.totals["fits"], report.status) == ("yes", "ok")
        assert "epoch" not in report.headline
        return [str(row["value"]) for row in report.tables[0].rows]

    (note,) = notes(facts)
    assert note.startswith("a very fast dataset may need 4.1 MiB from the second epoch on, unless")
    assert notes(facts.with_values({"shm_free_bytes": 2 * size})) == []


def test_the_first_line_is_the_answer(cli: Cli) -> None:
    fitting = cli("shm-check", "--sample", "8", "--workers", "1")
    failing = cli("shm-check", "--sample", "1000000000", "--batch-size", "1000", "--workers", "1")

    assert fitting.stdout.startswith("fits: 1 worker needs at most ")
    assert failing.stdout.startswith("does not fit: 1 worker needs ")
    assert (fitting.code, failing.code) == (0, 1)


@linux
def test_quiet_says_nothing_where_all_is_well(cli: Cli) -> None:
    assert cli("shm-check", "--sample", "8", "--quiet").stdout == ""


@linux
@pytest.mark.parametrize("name", ["text", "markdown", "github", "json"])
def test_every_format_names_what_does_not_fit(cli: Cli, name: str) -> None:
    ended = cli("shm-check", "--sample", "1000000000", "--batch-size", "1000", "--format", name)

    assert ended.code == 1
    assert "shm-insufficient" in ended.stdout
    assert "2 workers need " in ended.stdout


@linux
def test_without_arguments_the_machine_is_shown(cli: Cli) -> None:
    ended = cli("shm-check", "--json")

    report = json.loads(ended.stdout)
    assert_follows_schema(report)
    assert [table["name"] for table in report["tables"]] == ["machine", "holders", "largest_batch"]
    assert report["totals"]["usable_bytes"] <= report["totals"]["shm_total_bytes"]


@linux
def test_env_and_shm_check_judge_the_size_alike(cli: Cli) -> None:
    def small(*arguments: str) -> dict[str, Any]:
        report = json.loads(cli(*arguments, "--json").stdout)
        return next(it for it in report["findings"] if it["id"] == "shm-small")

    assert small("env", "--only", "shm-small") == small("shm-check")


# --- other systems


@pytest.mark.parametrize(
    ("platform", "words"),
    [("darwin", "macOS has no /dev/shm"), ("win32", "WinError 1455")],
)
@pytest.mark.parametrize(
    "question", [Question(), Question(samples=("3,8",), batch_size=4), Question(need="8G")]
)
def test_other_systems_have_no_limit_to_pass(
    tmp_path: Path, platform: str, words: str, question: Question
) -> None:
    report = run_command(question, Other(tmp_path, platform))
    text = render(report, Format.TEXT, style=Style(width=80, colour=False, unicode=True))

    assert report.exit_code(strict=True) == 0
    assert words in " ".join(text.split())
    if question.samples:
        assert report.totals["batch_bytes"] == 4 * 3 * 8 * 4 or report.totals["fits"] == "yes"


# --- options that do not go together


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workers", "2"], "--workers needs a dataset or --sample"),
        (["--sample", "3,x"], "is no shape"),
        (["--sample", "3:float12"], "which is none"),
        (["--sample", "3", "--batch-size", "0"], "--batch-size 0 is not possible"),
        (["--sample", "3", "--workers", "-1"], "--workers -1 is not possible"),
        (["--sample", "3", "--strategy", "magic"], "--strategy 'magic' is not known"),
        (["--need", "much"], "is no size"),
        (["--need", "8G", "--sample", "3"], "--need only asks"),
        (["--measure"], "--measure runs a DataLoader, and none is named"),
        (["data.py:d", "--sample", "3"], "a dataset and --sample are both given"),
        (["nothing.py:d", "--timeout", "0"], "--timeout is more than 0 seconds"),
        (["--timeout", "5"], "--timeout limits how long a dataset may run, and none is named"),
        (["--sample", "3", "--timeout", "5"], "--timeout limits how long a dataset may run"),
        (["d.py:d", "--measure", "--workers", "0"], "--workers 0 leaves none"),
        (["--sample", "3", "--workers", "0", "--prefetch", "2"], "--workers 0 leaves none"),
    ],
)
def test_wrong_usage_is_told_in_two_lines(cli: Cli, arguments: list[str], words: str) -> None:
    ended = cli("shm-check", *arguments)

    assert ended.code == 2
    assert ended.stdout == ""
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2


# --- without torch


def in_environment(environment: Environment, *arguments: str) -> Outcome:
    """The command line by the Python of an environment."""
    outcome = run(
        [environment.python, "-m", "torchkit", "shm-check", *arguments], cwd=environment.work
    )
    assert_no_traceback(outcome)
    return outcome


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A Python with torchkit and without torch."""
    return make_environment(tmp_path_factory.mktemp("shm").resolve() / "env", torch=False)


@linux
def test_shapes_and_the_machine_need_no_torch(without_torch: Environment) -> None:
    shape = in_environment(without_torch, *IMAGES)
    machine = in_environment(without_torch)

    for outcome in (shape, machine):
        assert outcome.status in (0, 1)
        assert outcome.stderr == ""
    assert "when full  the newest torch says: RuntimeError: unable to allocate" in machine.stdout


@linux
def test_a_dataset_needs_torch_and_says_so(without_torch: Environment) -> None:
    (without_torch.work / "data.py").write_text("dataset = [1, 2, 3]\n")

    outcome = in_environment(without_torch, "data.py:dataset")

    assert outcome.status == 2
    assert "torch cannot be imported: No module named 'torch'" in outcome.stderr


@linux
def test_a_broken_torch_is_told_in_its_own_words(without_torch: Environment) -> None:
    (without_torch.work / "data.py").write_text("dataset = [1, 2, 3]\n")
    package = without_torch.site / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('libcudart.so.13: cannot open')\n")

    outcome = in_environment(without_torch, "data.py:dataset")
    (package / "__init__.py").unlink()
    package.rmdir()

    assert outcome.status == 2
    assert "torch cannot be imported: libcudart.so.13: cannot open" in outcome.stderr


# --- from Python


@linux
def test_a_shape_is_judged_from_python_as_on_the_command_line(cli: Cli) -> None:
    result = torchkit.shm_check(sample="3,224,224", batch_size=64, workers=8)
    said = json.loads(cli("shm-check", *IMAGES, "--json").stdout)

    assert result.totals["predicted_peak_bytes"] == said["totals"]["predicted_peak_bytes"]
    assert result.totals["fits"] in ("yes", "tight", "no")
    assert result.to_dict()["command"] == "shm-check"
    assert str(result).startswith(said["headline"].split(":")[0])
    assert {it.id for it in result.findings} >= {"shm-insufficient", "fd-limit"}
    assert {it.id for it in torchkit.shm_check().findings} >= {"shm-small", "shm-full"}


def a_loader() -> Any:
    """Draws from every generator there is, in a shuffled order of its own."""
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")

    class Noise(torch.utils.data.Dataset):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            drawn = random.random() + numpy.random.rand()  # noqa: S311 - as a dataset does
            return torch.rand(3, 32, 32) + drawn

    generator = torch.Generator().manual_seed(7)
    return torch.utils.data.DataLoader(
        Noise(), batch_size=4, num_workers=2, shuffle=True, generator=generator,
        worker_init_fn=lambda _: pytest.fail("no worker is started"),
    )  # fmt: skip


@linux
@pytest.mark.torch
def test_a_live_loader_is_judged_by_its_batches() -> None:
    loader = a_loader()

    result = torchkit.shm_check(loader)

    assert result.totals["batch_bytes"] == 4 * 3 * 32 * 32 * 4
    assert result.totals["predicted_peak_bytes"] == (2 * 2 + 1) * 49152 + (3 * 2 + 8) * 4096
    assert result.totals["fits"] == "yes"


@linux
@pytest.mark.torch
def test_looking_at_a_live_loader_changes_nothing_of_what_comes_next() -> None:
    import numpy
    import torch

    loader = a_loader()
    threads = torch.get_num_threads(), threading.active_count()

    def next_ones(*, looked: bool) -> list[Any]:
        loader.generator.manual_seed(7)
        random.seed(1)
        numpy.random.seed(1)
        torch.manual_seed(1)
        if looked:
            torchkit.shm_check(loader)
        order = list(loader.batch_sampler)
        drawn = random.random()  # noqa: S311 - what a training would draw next
        return [order, drawn, numpy.random.rand(), torch.rand(1).item()]

    assert next_ones(looked=True) == next_ones(looked=False)
    assert (torch.get_num_threads(), threading.active_count()) == threads
    assert torch.utils.data.get_worker_info() is None


@linux
@pytest.mark.torch
def test_a_dataset_is_judged_with_the_options_it_would_be_given() -> None:
    dataset = a_loader().dataset

    result = torchkit.shm_check(dataset, batch_size=8, workers=1, prefetch=3, hold=1)

    assert result.totals["batch_bytes"] == 8 * 3 * 32 * 32 * 4
    assert result.totals["predicted_peak_bytes"] == (1 * 3 + 1 + 1) * 98304 + (3 + 8) * 4096


@pytest.mark.torch
@pytest.mark.parametrize("data", [3, "data.py:dataset", {"train": 1}, dict])
def test_what_is_no_loader_is_refused(data: Any) -> None:
    pytest.importorskip("torch")

    with pytest.raises(TorchkitError) as raised:
        torchkit.shm_check(data)

    assert raised.value.message.startswith("a DataLoader or a Dataset is needed, and this is ")
    assert raised.value.hint


def test_options_are_refused_from_python_too() -> None:
    with pytest.raises(BadInput):
        torchkit.shm_check(workers=2)


@linux
@pytest.mark.torch
def test_the_examples_are_what_they_say() -> None:
    pytest.importorskip("torch")
    data = runpy.run_path(str(ROOT / "examples" / "data.py"))

    picture, small = (
        torchkit.shm_check(data[name], workers=2).totals for name in ("fast_images", "small_images")
    )

    assert picture["sample_bytes"] - 8 == 4 * (small["sample_bytes"] - 8)
    assert "batches vary from " in str(torchkit.shm_check(data["sentences"]()))
    assert "they are slices of larger ones" in str(torchkit.shm_check(data["cropped"]()))


@linux
def test_facts_of_the_size_are_those_that_env_has() -> None:
    facts = Facts(shm_facts(System()))

    report = torchkit.shm_check().to_dict()

    assert report["facts"]["shm_total_bytes"] == facts["shm_total_bytes"]


@linux
def test_so_much_of_it_can_be_had(cli: Cli) -> None:
    ended = cli("shm-check", "--need", "1M", "--json")

    report = json.loads(ended.stdout)
    assert_follows_schema(report)
    assert (report["totals"]["needed_bytes"], report["totals"]["fits"]) == (1024**2, "yes")
    assert report["findings"][0]["status"] == Status.OK.value
