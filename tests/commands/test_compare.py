"""`torchkit env --compare`: saved machines with one thing changed, so that the answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from torchkit.commands.traits import PASSED_OVER, SHOWN_ONLY
from torchkit.knowledge.meanings import meanings
from torchkit.machine.facts import GLOSSARY

HERE = Path(__file__).parent.parent
NODE: dict[str, Any] = json.loads((HERE / "machines" / "h100-node.json").read_text())["facts"]
SCHEMA = json.loads((HERE.parent / "torchkit" / "render" / "report.schema.json").read_text())
OLD_DRIVER = {"driver_version": "535.54.03", "driver_cuda": "12.2"}

Save = Callable[..., list[Path]]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves nodes, each with its changes, as node0.json, node1.json …"""

    def write(*changes: Mapping[str, Any]) -> list[Path]:
        paths = []
        for number, change in enumerate(changes):
            path = tmp_path / f"node{number}.json"
            path.write_text(
                json.dumps({"schema": 1, "command": "env", "facts": {**NODE, **change}})
            )
            paths.append(path)
        return paths

    return write


@pytest.fixture
def compared(cli: Any, save: Save) -> Callable[..., Any]:
    """How `--compare` ends for nodes with these changes."""

    def run(*changes: Mapping[str, Any], options: tuple[str, ...] = (), **how: Any) -> Any:
        first, *others = save(*changes)
        return cli("env", "--facts", first, "--compare", *others, *options, **how)

    return run


def test_equal_machines_agree(compared: Any) -> None:
    ended = compared({}, {}, {})

    assert ended.code == 0
    assert ended.stdout.startswith("all 3 machines agree on ")
    assert ended.stdout.count("\n") == 1


def test_what_always_differs_is_no_difference(compared: Any) -> None:
    other = {
        "shm_free_bytes": 1,
        "memory_total_bytes": NODE["memory_total_bytes"] + 50_000_000,
        "python_executable": "/home/bob/env/bin/python",
        "python_prefix": "/home/bob/env",
        "torch_path": "/home/bob/env/lib/torch",
    }

    assert compared({}, other).stdout.startswith("node0 and node1 agree on ")


def test_the_odd_one_out_is_named_in_the_first_line(compared: Any) -> None:
    ended = compared(*[{}] * 7, OLD_DRIVER)

    assert ended.code == 0
    assert ended.stdout.splitlines()[0] == (
        "node7 differs from 7 others: driver 535.54.03 instead of 580.82.07"
    )
    assert "driver 535.54.03 on node7, 580.82.07 on node0-6" in ended.stdout


def test_a_warning_counts_with_strict(compared: Any) -> None:
    assert compared({}, OLD_DRIVER, options=("--strict",)).code == 1


def test_two_machines_are_told_as_one_against_the_other(compared: Any) -> None:
    ended = compared(OLD_DRIVER, {})

    assert ended.stdout.splitlines()[0] == (
        "node0 differs from node1: driver 535.54.03 instead of 580.82.07"
    )


def test_a_tie_is_told_as_groups(compared: Any) -> None:
    ended = compared(OLD_DRIVER, OLD_DRIVER, {}, {})

    first = ended.stdout.splitlines()[0]
    assert first.startswith("all 4 machines differ in 1 fact: driver ")
    assert "535.54.03 on node0, node1" in first
    assert "580.82.07 on node2, node3" in first


def test_small_differences_are_shown_and_no_warning(compared: Any) -> None:
    ended = compared({}, {"cmake_version": "4.0"}, options=("--strict",))

    assert ended.code == 0
    assert ended.stdout.splitlines()[0] == (
        "node0 and node1 agree in all that matters; 1 small difference: cmake"
    )
    assert "cmake  3.28.3  4.0" in ended.stdout


def test_what_is_unknown_is_no_difference_and_listed_apart(compared: Any) -> None:
    ended = compared({}, {"gpus": {"unknown": "nvidia-smi did not answer"}}, {})

    assert ended.stdout.startswith("all 3 machines agree on ")
    assert "not known on node1  gpus" in ended.stdout


def test_a_package_is_compared_by_itself(compared: Any) -> None:
    other = {
        "companions": [],
        "nvidia_packages": {**NODE["nvidia_packages"], "nvidia-nccl-cu13": "2.28.3"},
    }

    ended = compared({}, other, options=("--json",))

    report = json.loads(ended.stdout)
    rows = {row["fact"]: (row["node0"], row["node1"]) for row in report["tables"][0]["rows"]}
    assert rows == {
        "torchvision": ("0.29.1+cu130", "none"),
        "nvidia-nccl": ("2.30.7", "2.28.3"),
    }
    assert report["totals"]["differences"][0] == {
        "fact": "companions",
        "item": "torchvision",
        "values": [
            {"value": None, "machines": ["node1"]},
            {"value": "0.29.1+cu130", "machines": ["node0"]},
        ],
    }


def test_one_library_for_two_cudas_is_one_difference(compared: Any) -> None:
    one = {"nvidia_packages": {"nvidia-nccl-cu12": "2.27.5"}}
    other = {"nvidia_packages": {"nvidia-nccl-cu13": "2.30.7"}}

    assert "nvidia-nccl  2.27.5  2.30.7" in compared(one, other).stdout


def test_what_follows_from_another_torch_is_no_warning_of_its_own(compared: Any) -> None:
    other = json.loads((HERE / "machines" / "rtx-5090-old-torch.json").read_text())["facts"]
    names = ("torch_version", "torch_cuda", "torch_archs", "nvidia_packages", "triton_version")

    ended = compared(
        {}, {name: other[name] for name in names if name in other}, options=("--json",)
    )

    report = json.loads(ended.stdout)
    told = [it["message"].split()[0] for it in report["findings"]]
    assert told == ["torch"]
    assert report["tables"][0]["rows"][-1]["fact"] == "nvidia packages"


def test_an_extension_is_compared_by_whether_it_loads(compared: Any) -> None:
    def loads(home: str, error: str | None) -> dict[str, Any]:
        path = f"/home/{home}/flash_attn_2_cuda.so"
        return {"extensions": [{"path": path, "package": "flash-attn", "error": error}]}

    same = compared(loads("ann", None), loads("bob", None))
    other = compared(loads("ann", None), loads("bob", "/home/bob/x.so: undefined symbol: _ZN3c105"))

    assert " agree on " in same.stdout
    assert other.stdout.splitlines()[0] == (
        "node0 differs from node1: extension flash-attn loads instead of "
        "/home/bob/x.so: undefined symbol: _ZN3c105"
    )


def fixes(ended: Any) -> list[str]:
    return [fix for it in json.loads(ended.stdout)["findings"] for fix in it["fix"]]


@pytest.mark.parametrize("old_is_last", [True, False])
def test_without_a_majority_no_advice_depends_on_the_order_of_files(
    compared: Any, old_is_last: bool
) -> None:
    old = json.loads((HERE / "machines" / "old-cluster.json").read_text())["facts"]
    machines = ({}, old) if old_is_last else (old, {})

    ended = compared(*machines, options=("--json",))

    name = "node1" if old_is_last else "node0"
    assert f"bring the NVIDIA driver of {name} to 580.82.07 or newer" in fixes(ended)
    assert not [it for it in fixes(ended) if "470" in it or "2.4.1" in it or "1.26" in it]


def test_a_machine_without_a_gpu_is_told_to_install_no_driver(compared: Any) -> None:
    no_gpu = {
        "driver_version": None,
        "driver_cuda": None,
        "gpus": [],
        "nvidia_devices_on_bus": 0,
    }

    for machines in (({}, no_gpu), ({}, {}, no_gpu)):
        ended = compared(*machines, options=("--json",))

        assert not [it for it in fixes(ended) if "driver" in it]
        assert "none" in ended.stdout


def test_a_gpu_without_a_driver_is_told_to_get_one(compared: Any) -> None:
    lost = {"driver_version": None, "driver_cuda": None, "gpus": []}

    ended = compared({}, {}, lost, options=("--json",))

    assert "bring the NVIDIA driver of node2 to 580.82.07" in fixes(ended)


def test_the_first_line_counts_what_is_to_be_put_right(compared: Any) -> None:
    ended = compared({}, {"gcc_version": "9.1", **OLD_DRIVER})
    small = compared({}, {"gcc_version": "9.1"})

    assert ended.stdout.splitlines()[0].endswith("driver 580.82.07 instead of 535.54.03")
    assert small.stdout.splitlines()[0] == (
        "node0 and node1 agree in all that matters; 1 small difference: gcc"
    )


def test_values_that_stand_in_the_table_are_not_listed_again(compared: Any) -> None:
    ended = compared({}, {}, OLD_DRIVER)

    assert ended.stdout.count("580.82.07") == 4  # headline, finding, fix and table


def test_packages_that_follow_from_torch_are_one_row_for_many_machines_too(compared: Any) -> None:
    none: dict[str, Any] = {"torch_version": "2.4.1", "nvidia_packages": {}}
    others = ({"cmake_version": f"3.{n}"} for n in range(4))

    ended = compared({}, none, *others, options=("--json",))

    rows = {row["fact"]: row for row in json.loads(ended.stdout)["tables"][0]["rows"]}
    assert rows["nvidia packages"]["others"] == "17 differ as torch does"
    assert not [name for name in rows if name.startswith("nvidia-")]


def test_a_column_for_what_most_have_is_there_only_if_some_have_it(compared: Any) -> None:
    ended = compared(*({"cmake_version": f"3.{n}"} for n in range(4)), options=("--json",))

    assert json.loads(ended.stdout)["tables"][0]["columns"] == ["fact", "values"]


def test_markdown_names_no_file_and_holds_no_records(compared: Any) -> None:
    hidden = compared({}, {}, OLD_DRIVER, options=("--format", "markdown"))
    shown = compared({}, {}, OLD_DRIVER, options=("--format", "markdown", "--no-redact"))

    assert "node" not in hidden.stdout
    assert "machine C" in hidden.stdout
    assert "node2" in shown.stdout
    assert "535.54.03" in shown.stdout
    assert '"values"' not in shown.stdout


def test_many_machines_stay_short(compared: Any) -> None:
    changes = [{} for _ in range(60)]
    changes[7], changes[33] = OLD_DRIVER, {"numpy_version": "1.26.4"}
    changes[40], changes[41] = {"gpus": NODE["gpus"][:7]}, {"shm_total_bytes": 64 * 1024**2}

    ended = compared(*changes)

    assert ended.stdout.splitlines()[0].startswith(
        "node7, node33, node40, node41 differ from 56 others: "
    )
    assert len(ended.stdout.splitlines()) < 40
    assert max(map(len, ended.stdout.splitlines())) < 250


@pytest.mark.parametrize("format", ["text", "markdown", "github", "json"])
def test_every_format_names_the_machine_that_differs(compared: Any, format: str) -> None:
    ended = compared({}, {}, OLD_DRIVER, options=("--format", format))

    assert ("machine C" if format == "markdown" else "node2") in ended.stdout
    assert "535.54.03" in ended.stdout
    if format == "json":
        report = json.loads(ended.stdout)
        jsonschema.validate(report, SCHEMA)
        assert report["totals"]["groups"] == [["node0", "node1"], ["node2"]]


def test_eighty_columns_are_enough(compared: Any) -> None:
    ended = compared({}, OLD_DRIVER, {"numpy_version": "1.26.4"}, terminal=True)

    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_this_machine_takes_part(cli: Any, save: Save) -> None:
    ended = cli("env", "--compare", *save({}))

    assert ended.stdout.startswith("this machine differs from node0: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "is not JSON"),
        ("{}", "has no object named facts"),
        ('{"facts": {}}', "tells nothing of a machine"),
        ('{"facts": {"colour": "red"}}', "tells nothing of a machine"),
        ('{"command": "summary", "facts": {"os_name": "x"}}', "a report of `torchkit summary`"),
        ('{"schema": 2, "facts": {"os_name": "x"}}', "schema 2, this torchkit reads schema 1"),
        ('{"facts": {"os_name": 5}}', "os_name in"),
    ],
)
def test_a_file_that_is_no_saved_machine_is_named(
    cli: Any, save: Save, tmp_path: Path, content: str, words: str
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(content)

    for arguments in (["--compare", *save({}), wrong], ["--compare", wrong]):
        ended = cli("env", *arguments)

        assert ended.code == 2
        assert "wrong.json" in ended.stderr
        assert words in ended.stderr
        assert ended.stdout == ""


def test_another_report_is_refused_wherever_it_is_given(cli: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"

    wrong.write_text('{"schema": 2, "facts": {"os_name": "x"}}')
    newer = cli("env", "--facts", wrong)
    wrong.write_text('{"command": "summary", "facts": {"os_name": "x"}}')
    other = cli("env", "--facts", wrong)

    assert newer.code == other.code == 2
    assert "schema 2, this torchkit reads schema 1" in newer.stderr
    assert "update torchkit" in newer.stderr
    assert "a report of `torchkit summary`" in other.stderr


def test_a_file_given_twice_is_refused_under_either_name(
    cli: Any, save: Save, tmp_path: Path
) -> None:
    (node,) = save({})
    (tmp_path / "link.json").symlink_to(node)

    for arguments in (
        ["--compare", node, node],
        ["--facts", node, "--compare", node],
        ["--compare", node, tmp_path / "link.json"],
    ):
        ended = cli("env", *arguments)

        assert ended.code == 2
        assert "given twice" in ended.stderr


@pytest.mark.parametrize(
    "option",
    [
        ["--require", "torch"],
        ["--only", "shm-small"],
        ["--live"],
        ["--probe"],
        ["--extension", "x.so"],
        ["--libtorch", "x"],
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(
    cli: Any, save: Save, option: list[str]
) -> None:
    ended = cli("env", "--compare", *save({}), *option)

    assert ended.code == 2
    assert f"{option[0]} would have no effect beside --compare, which compares" in ended.stderr


def test_what_was_compared_is_saved_with_the_machine_it_is_about(
    cli: Any, save: Save, tmp_path: Path
) -> None:
    one, other = save({}, OLD_DRIVER)
    saved = tmp_path / "saved.json"

    ended = cli("env", "--facts", one, "--compare", other, "--save", saved)

    assert ended.code == 0
    report = json.loads(saved.read_text())
    assert report["facts"]["driver_version"] == NODE["driver_version"]
    assert report["totals"]["machines"] == ["node0", "node1"]
    assert cli("env", "--facts", one, "--compare", saved).stdout.startswith("node0 and saved agree")


def test_a_file_without_an_option_is_no_machine(cli: Any) -> None:
    ended = cli("env", "node0.json")

    assert ended.code == 2
    assert "'node0.json' belongs to no option" in ended.stderr
    assert "--compare" in ended.stderr


def test_every_fact_is_compared_or_passed_over_for_a_reason() -> None:
    asked_for = {name for name in GLOSSARY if name.startswith("live_")}
    lists = [set(meanings()), set(SHOWN_ONLY), set(PASSED_OVER), asked_for]

    assert set().union(*lists) == set(GLOSSARY)
    assert sum(map(len, lists)) == len(GLOSSARY)
