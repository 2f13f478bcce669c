"""A pickle is described and never obeyed; what would cost time or memory has an end."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import hostile_pickles
import pytest

from torchkit.model.files import read
from torchkit.model.files.described import Global, Made, Pairs
from torchkit.model.files.pickles import pickle_of

ROOT = Path(__file__).resolve().parents[3]
NAMES = tuple(hostile_pickles.run(Path("mark")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["zip", "plain"])
def test_a_hostile_pickle_is_described(tmp_path: Path, name: str, way: str) -> None:
    data, wanted = hostile_pickles.run(tmp_path / "mark")[name]
    path = tmp_path / "model.pt"
    hostile_pickles.zipped(path, data) if way == "zip" else path.write_bytes(data)

    contents = read(path)

    assert wanted in contents.dangerous
    assert not (tmp_path / "mark").exists()


AUDIT = """
import sys
from pathlib import Path
from torchkit.model.files import read
paths = sorted(Path(sys.argv[1]).iterdir())
import _compat_pickle, io  # what reading itself imports
from torchkit.model.files import legacy, onnx, opening, safetensors, torch_zip, zips
read(paths[0]), read(paths[-1])
events = []
sys.addaudithook(lambda event, args: events.append(f"{event} {args[:1]}"))
for path in paths:
    read(path)
print("\\n".join(it for it in events if not it.startswith(("open ", "builtins.id "))))
"""


def test_nothing_is_imported_called_or_started_while_they_are_read(tmp_path: Path) -> None:
    """Truth: Python's own audit events, which import, exec, os.system and Popen all raise."""
    for name, (data, _) in hostile_pickles.run(tmp_path / "mark").items():
        hostile_pickles.zipped(tmp_path / f"zip {name}.pt", data)
        (tmp_path / f"plain {name}.pt").write_bytes(data)

    done = subprocess.run(
        [sys.executable, "-c", AUDIT, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.strip() == ""


def test_one_of_the_hostile_pickles_really_runs_under_pickle_itself(tmp_path: Path) -> None:
    """Or the tests above would prove nothing."""
    mark = tmp_path / "mark"
    data, _ = hostile_pickles.run(mark)["posix"]

    pickle.loads(data)  # noqa: S301 - it makes an empty file in the test's own folder

    assert mark.exists()


@pytest.mark.parametrize("name", hostile_pickles.BOMBS)
def test_a_bomb_ends_soon(tmp_path: Path, name: str) -> None:
    path = hostile_pickles.zipped(tmp_path / "bomb.pt", hostile_pickles.BOMBS[name])
    before = time.process_time()

    contents = read(path)

    assert time.process_time() - before < 3  # 1 s alone on its machine
    assert contents.file_bytes == path.stat().st_size
    assert all(len(text) < 200 for text in contents.others)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x/data.pkl", "w") as member,
    ):
        for _ in range(200):
            member.write(b"N0" * (1 << 19))

    contents = read(path)

    assert "more than 64 MiB" in contents.damage


def test_a_pickle_inside_a_pickle_is_read_too(tmp_path: Path) -> None:
    inner = hostile_pickles.HEAD + hostile_pickles.call("os", "system", "true") + b"."
    outer = (
        hostile_pickles.HEAD + b"ctorch.storage\n_load_from_bytes\n"
        b"(B" + len(inner).to_bytes(4, "little") + inner + b"tR."
    )
    path = tmp_path / "nested.pt"
    path.write_bytes(outer)

    contents = read(path)

    assert contents.dangerous == ("os.system",)


def test_a_class_that_is_not_called_is_code_and_no_danger(tmp_path: Path) -> None:
    data = (
        hostile_pickles.HEAD
        + b"cmymodels.net\nNet\n)\x81}"
        + hostile_pickles.text("a")
        + b"K\x01sb."
    )

    contents = read(hostile_pickles.zipped(tmp_path / "model.pt", data))

    assert (contents.dangerous, contents.code) == ((), ("mymodels.net.Net",))


VALUES = [
    None, True, False, 0, 255, 65_536, -1, 2**40, -(2**70), 1.5, "", "text", "ü" * 300, b"bytes",
    (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2]],
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=[str(number) for number in range(len(VALUES))])
def test_plain_values_are_those_of_pickle_itself(value: object, protocol: int) -> None:
    found = pickle_of(pickle.dumps(value, protocol=protocol)).root

    is_called = isinstance(value, bytes) and protocol < 3  # _codecs.encode gives them
    assert found == value
    assert is_called or type(found) is type(value)


@pytest.mark.parametrize("protocol", range(6))
def test_dictionaries_keep_their_order_and_shared_values_are_one(protocol: int) -> None:
    shared = [1]
    value = {"a": shared, 2: {"b": shared}, (1, 2): None}

    root = pickle_of(pickle.dumps(value, protocol=protocol)).root

    assert isinstance(root, Pairs)
    pairs = list(root.pairs())
    assert [key for key, _ in pairs] == list(value)
    assert pairs[0][1] is next(iter(pairs[1][1].pairs()))[1]


@pytest.mark.parametrize("protocol", range(6))
def test_an_object_is_its_class_and_its_state(protocol: int) -> None:
    error = io.UnsupportedOperation("no")  # a class of Python's own, made by a call

    root = pickle_of(pickle.dumps(error, protocol=protocol)).root

    assert isinstance(root, Made)
    assert isinstance(root.callee, Global)
    assert root.name == "io.UnsupportedOperation"


def test_what_was_read_before_the_end_is_kept() -> None:
    data = pickle.dumps({f"key{number}": number for number in range(100)}, protocol=2)

    cut = pickle_of(data[:-200])

    assert cut.damage == "its pickle is cut off"
    assert isinstance(cut.root, Pairs)
    assert list(cut.root.pairs())[:2] == [("key0", 0), ("key1", 1)]


def test_a_text_longer_than_a_chunk_is_stepped_over() -> None:
    value = {"long": "a" * 1_000_000, "after": 7}

    root = pickle_of(pickle.dumps(value, protocol=2)).root

    assert list(root.pairs())[1] == ("after", 7)
