"""`--input`: from text and files to tensors, and whether forward takes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - after torch is known to be there

from torchkit.errors import BadInput  # noqa: E402
from torchkit.model.inputs import Inputs, Spec, check, dtype_of, make_inputs, parse  # noqa: E402

pytestmark = pytest.mark.torch


def make(*texts: str, **options: Any) -> Inputs:
    return make_inputs([parse(text) for text in texts], **options)


def only(*texts: str, **options: Any) -> Any:
    (value,) = make(*texts, **options).args
    return value


# --- the text


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1,256,256", Spec(None, (1, 256, 256), None, None)),
        ("128:int64", Spec(None, (128,), "int64", None)),
        ("ids=128:int64", Spec("ids", (128,), "int64", None)),
        (" ids = 128 : int64 ", Spec("ids", (128,), "int64", None)),
        ("(1, 256, 256)", Spec(None, (1, 256, 256), None, None)),
        ("[3,224,224]:half", Spec(None, (3, 224, 224), "half", None)),
        ("(8,)", Spec(None, (8,), None, None)),
        ("scalar:int64", Spec(None, (), "int64", None)),
        ("@batch.pt", Spec(None, None, None, Path("batch.pt"))),
        ("x=@a b=c.npz", Spec("x", None, None, Path("a b=c.npz"))),
        ("@a=b.npz", Spec(None, None, None, Path("a=b.npz"))),
    ],
)
def test_every_form_is_read(text: str, spec: Spec) -> None:
    assert parse(text) == spec


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "empty", "an input is"),
        ("1x256x256", "no shape", "write it as 1,256,256"),
        ("1,,2", "no shape", "an input is"),
        ("1.5", "no shape", "an input is"),
        ("٣", "no shape", "an input is"),
        ("1,-1", "size of -1", "batch dimension"),
        ("0", "size of 0", "batch dimension"),
        ("a-b=3", "'a-b'", "an input is"),
        ("=3", "''", "an input is"),
        ("3:int46", "no dtype 'int46'", "did you mean int64"),
        ("3:qint8", "no dtype 'qint8'", ""),
        ("3:nn", "no dtype 'nn'", ""),
        ("9999999999,9999999999", "more elements", ""),
        ("@", "names no file", "an input is"),
    ],
)
def test_a_text_of_no_form_is_refused_with_the_forms(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse(text)

    assert message in raised.value.message
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float32", torch.float32), ("torch.half", torch.float16), ("bf16", torch.bfloat16),
        ("np.float64", torch.float64), ("f4", torch.float32), ("long", torch.int64),
        ("Int64", torch.int64), ("bool_", torch.bool), ("cfloat", torch.complex64),
        ("u1", torch.uint8), ("double", torch.float64), ("complex128", torch.complex128),
    ],
)  # fmt: skip
def test_dtypes_go_by_the_names_of_torch_and_numpy(name: str, dtype: Any) -> None:
    assert dtype_of(name) is dtype


# --- the tensors


def test_a_batch_dimension_stands_in_front() -> None:
    inputs = make("1,8,8", "ids=4:int64", batch_size=20)

    assert inputs.args[0].shape == (20, 1, 8, 8)
    assert inputs.kwargs["ids"].shape == (20, 4)
    assert inputs.texts == ("[20, 1, 8, 8] float32", "ids=[20, 4] int64")


def test_without_batch_the_shape_is_as_written() -> None:
    assert only("3,5", no_batch=True).shape == (3, 5)
    assert only("scalar", no_batch=True).shape == ()
    assert only("scalar", batch_size=7).shape == (7,)


def test_integers_are_zeros_and_bools_ones() -> None:
    inputs = make("5:int32", "5:bool", "5:uint8")

    assert [it.unique().tolist() for it in inputs.args] == [[0], [True], [0]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64", "complex128"])
def test_floats_and_complex_numbers_are_spread(dtype: str) -> None:
    value = only(f"1000:{dtype}")

    assert value.dtype is getattr(torch, dtype)
    assert 0.9 < value.to(torch.complex128).std().real < 1.1


def test_inputs_are_the_same_each_time_and_leave_torchs_own_numbers_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()

    first, second = only("3,8"), only("3,8")

    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_two_inputs_of_one_shape_differ() -> None:
    first, second = make("8", "8").args

    assert not torch.equal(first, second)


def test_a_dtype_for_all_yields_to_an_inputs_own() -> None:
    inputs = make("4", "4:int64", dtype="float16")

    assert [it.dtype for it in inputs.args] == [torch.float16, torch.int64]


def test_a_terabyte_on_meta_costs_nothing() -> None:
    value = only("1000000,1000000", device="meta")

    assert value.is_meta
    assert value.shape == (1, 1000000, 1000000)


def test_an_input_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(BadInput, match=r"cannot make an input \[1, 10000000, 10000000\] float32"):
        make("10000000,10000000")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused_with_the_reason() -> None:
    with pytest.raises(BadInput, match=r"built for the CPU only|finds no GPU") as raised:
        make("3", device="cuda:0")

    assert "torchkit env" in raised.value.hint


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "mps", "xpu"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")

    with pytest.raises(BadInput):
        make("3", device=device)


def test_an_empty_batch_and_an_input_given_twice_are_refused() -> None:
    with pytest.raises(BadInput, match="batch-size 0"):
        make("3", batch_size=0)
    with pytest.raises(BadInput, match="x twice"):
        make("x=3", "x=4")


# --- files


def test_a_tensor_of_a_file_is_given_as_it_is(tmp_path: Path) -> None:
    torch.save(torch.arange(6).view(2, 3), tmp_path / "x.pt")

    inputs = make(f"@{tmp_path}/x.pt", batch_size=9)

    assert inputs.args[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert inputs.texts == (f"[2, 3] int64 from {tmp_path}/x.pt",)


def test_a_tuple_is_positions_and_a_dict_is_keywords(tmp_path: Path) -> None:
    torch.save((torch.ones(1), [torch.ones(2), 3]), tmp_path / "tuple.pt")
    torch.save({"ids": torch.ones(3), "n": 2}, tmp_path / "dict.pt")

    inputs = make(f"@{tmp_path}/tuple.pt", f"@{tmp_path}/dict.pt")

    assert inputs.args[0].shape == (1,)
    assert inputs.args[1][1] == 3
    assert inputs.kwargs["ids"].shape == (3,)
    assert inputs.kwargs["n"] == 2


def test_with_a_name_the_whole_file_is_one_argument(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "dict.pt")

    inputs = make(f"batch=@{tmp_path}/dict.pt", dtype="float16")

    assert inputs.kwargs["batch"]["a"].dtype is torch.float16


def test_numpy_files_of_every_order_and_kind(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.save(tmp_path / "big.npy", numpy.arange(6, dtype=">i4").reshape(2, 3)[:, ::-1])
    numpy.savez(tmp_path / "named.npz", ids=numpy.zeros(2), mask=numpy.ones(2, bool))
    numpy.savez(tmp_path / "row.npz", numpy.zeros(1), numpy.zeros(2))

    big, named, row = (make(f"@{tmp_path}/{it}") for it in ("big.npy", "named.npz", "row.npz"))

    assert big.args[0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert {key: it.dtype for key, it in named.kwargs.items()} == {
        "ids": torch.float64,
        "mask": torch.bool,
    }
    assert [tuple(it.shape) for it in row.args] == [(1,), (2,)]


@pytest.mark.parametrize(
    ("mode", "channels", "pixel"),
    [
        ("RGB", None, [1.0, 0.0, 0.2]),
        ("L", None, [0.4, 0.4, 0.4]),
        ("L", 1, [0.4]),
        ("I;16", 1, [0.5]),
        ("RGBA", 4, [1.0, 0.0, 0.2, 0.6]),
    ],
)
def test_a_picture_is_floats_from_0_to_1(
    tmp_path: Path, mode: str, channels: int | None, pixel: list[float]
) -> None:
    image = pytest.importorskip("PIL.Image")
    colour = {"RGB": (255, 0, 51), "L": 102, "I;16": 32768, "RGBA": (255, 0, 51, 153)}[mode]
    image.new(mode, (7, 5), colour).save(tmp_path / "image.png")

    value = only(f"@{tmp_path}/image.png", channels=channels)

    assert value.shape == (1, len(pixel), 5, 7)
    assert value[0, :, 2, 3].tolist() == pytest.approx(pixel, abs=1e-4)


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched"),))


def test_a_file_that_would_run_something_is_refused_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Evil()}, "evil.pt")

    with pytest.raises(BadInput, match="not unpickled for safety"):
        make("@evil.pt")

    assert not Path("touched").exists()


def test_files_that_are_no_input_are_refused_with_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numpy = pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Sequential(nn.Linear(2, 3)).state_dict(), "weights.pt")
    torch.save(torch.ones(100), "cut.pt")
    Path("cut.pt").write_bytes(Path("cut.pt").read_bytes()[:200])
    Path("noise.pt").write_bytes(b"\x80\x04noise")
    Path("empty.pt").write_bytes(b"")
    torch.save(3, "number.pt")
    torch.save({1: torch.ones(1)}, "keys.pt")
    numpy.save("text.npy", numpy.array(["a"]))
    numpy.save("objects.npy", numpy.array([{}], dtype=object), allow_pickle=True)
    Path("notes.txt").write_text("1,2", encoding="utf-8")
    wrong = {
        "weights.pt": "holds the weights of a model, 2 tensors",
        "cut.pt": "cut.pt",
        "noise.pt": "noise.pt",
        "empty.pt": "empty.pt",
        "number.pt": "holds a value of type int",
        "keys.pt": "key 1",
        "text.npy": "array of <U1",
        "objects.npy": "objects.npy cannot be read",
        "notes.txt": "unknown ending",
        "gone.pt": "is not there",
        ".": "is a folder",
    }

    for name, message in wrong.items():
        with pytest.raises(BadInput, match=re.escape(message)) as raised:
            make(f"@{name}")
        assert raised.value.hint


# --- whether forward takes them


class Two(nn.Module):
    def forward(self, ids: torch.Tensor, mask: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return ids * mask * scale


class Whatever(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


@pytest.mark.parametrize(
    ("texts", "message", "hint"),
    [
        (["3"], "1 input was given; Two takes forward(ids: torch.Tensor, mask: torch.Tensor, scale: float = 1.0)",
         "--input ids=SHAPE:DTYPE --input mask=SHAPE:DTYPE"),
        (["3", "3", "3", "3"], "4 inputs were given", ""),
        (["ids=3", "mask=3", "maks=3"], "no input 'maks'", "did you mean --input mask="),
        (["ids=3", "3"], "twice", "by name"),
    ],
)  # fmt: skip
def test_inputs_that_forward_does_not_take_are_refused(
    texts: list[str], message: str, hint: str
) -> None:
    with pytest.raises(BadInput) as raised:
        check(Two(), make(*texts))

    assert message in raised.value.message
    assert hint in raised.value.hint


def test_inputs_that_forward_takes_pass() -> None:
    check(Two(), make("3", "3"))
    check(Two(), make("3", "mask=3", "scale=scalar"))
    check(Whatever(), make("3", "3", "anything=3"))
    check(nn.Linear(3, 3), make("3"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_and_scripted_models_say_what_they_take() -> None:
    for model in (torch.compile(Two()), torch.jit.script(Two())):
        with pytest.raises(BadInput, match="ids"):
            check(model, make("3"))
        check(model, make("3", "3"))
