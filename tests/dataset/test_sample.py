"""Truth: sizes of torch's dtypes, and docker's documented way to write a size."""

from __future__ import annotations

import pytest

from torchkit.dataset.sample import ALIASES, ITEM_BYTES, parse_sample, parse_size
from torchkit.errors import BadInput


@pytest.mark.parametrize(
    ("text", "shape", "dtype", "size"),
    [
        ("3,224,224", (3, 224, 224), "float32", 602_112),
        ("3,224,224:uint8", (3, 224, 224), "uint8", 150_528),
        (" 3 x 224 x 224 : torch.float16 ", (3, 224, 224), "float16", 301_056),
        ("(3, 4)", (3, 4), "float32", 48),
        ("[5,]", (5,), "float32", 20),
        (":int64", (), "int64", 8),
        (":long", (), "int64", 8),
        ("128:cdouble", (128,), "complex128", 2048),
        ("0,3", (0, 3), "float32", 0),
    ],
)
def test_a_sample_is_a_shape_and_a_dtype(
    text: str, shape: tuple[int, ...], dtype: str, size: int
) -> None:
    sample = parse_sample(text)

    assert (sample.shape, sample.dtype, sample.bytes) == (shape, dtype, size)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no shape"), ("3,a", "is no shape"), ("3,-1", "is no shape"),
        ("3,,4", "is no shape"), ("3.5", "is no shape"), ("3,4:", "dtype"), ("3,4:int24", "'int24'"),
        ("999999999,999999999,999999999", "larger than any memory"), ("٣,٤", "is no shape"),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused_with_an_example(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        parse_sample(text)

    assert refused.value.hint


def test_a_batch_of_it_reads_like_torch_writes_it() -> None:
    assert parse_sample("3,8:uint8").batched(64) == "uint8 [64, 3, 8]"
    assert parse_sample("3,8:uint8").batched(None) == "uint8 [3, 8]"
    assert parse_sample(":int64").batched(2) == "int64 [2]"


@pytest.mark.torch
def test_every_dtype_has_torchs_size() -> None:
    torch = pytest.importorskip("torch")

    for name, size in ITEM_BYTES.items():
        dtype = getattr(torch, name, None)
        if dtype is not None:
            assert dtype.itemsize == size, name
    for alias, name in ALIASES.items():
        if hasattr(torch, alias) and isinstance(getattr(torch, alias), torch.dtype):
            assert getattr(torch, alias) is getattr(torch, name)
    plain = {
        str(it).removeprefix("torch.") for it in vars(torch).values() if isinstance(it, torch.dtype)
    }
    unusual = {name for name in plain if name.startswith(("q", "uint", "int", "float4", "bits"))}
    assert plain - unusual <= set(ITEM_BYTES)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 * 1024**3), ("8gb", 8 * 1024**3), ("8 GiB", 8 * 1024**3), ("512m", 512 * 1024**2),
        ("1.5G", 3 * 1024**3 // 2), ("64k", 65536), ("100b", 100), ("4096", 4096), ("1t", 1024**4),
    ],
)  # fmt: skip
def test_a_size_is_written_as_docker_takes_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1G", "8X", "G", "1e9", "nan", "9999999999T", "1,5G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--need"):
        parse_size(text)
