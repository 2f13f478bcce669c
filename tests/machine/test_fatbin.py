"""Truth: the options that nvcc was given, and cuobjdump where there is one.

The files in fat_binaries/ are made by its make.sh, whose `-gencode` options are repeated here.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import struct
import subprocess
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from torchkit.machine import fatbin
from torchkit.machine.fatbin import gpu_archs, parse_gpu_archs, stream_gpu_archs
from torchkit.system import System, Unknown

FILES = Path(__file__).parent / "fat_binaries"
IN_ANY_PART = ("sm_75", "sm_80", "sm_90a", "sm_100f", "sm_120", "compute_120")
IN_MOST_PARTS = ("sm_75", "sm_80", "compute_120")

ENTRY_BYTES = 64
FAT_HEADER = struct.Struct("<IHHQ")
MAGIC = b"\x50\xed\x55\xba\x01\x00\x10\x00"

LIMIT_S = 5.0
"""Generous: the slowest of these takes a tenth of it."""


def archs_in(data: bytes) -> tuple[str, ...] | None | Unknown:
    return parse_gpu_archs(io.BytesIO(data))


def fat_binaries(data: bytes) -> int:
    """Where the section of the linked fat binaries starts."""
    section = ELFFile(io.BytesIO(data)).get_section_by_name(".nv_fatbin")
    return int(section["sh_offset"])


@pytest.fixture(scope="module")
def parts() -> bytes:
    return (FILES / "parts.so").read_bytes()


@pytest.fixture(scope="module")
def without_sections(parts: bytes) -> bytes:
    """The same without its section headers, as the loader takes it all the same."""
    headers_at, headers_end = 40, 58
    return (
        parts[:headers_at] + bytes(8) + parts[headers_at + 8 : headers_end] + bytes(6) + parts[64:]
    )


class OnlyForwards(io.RawIOBase):
    """A stream that cannot seek, and counts what is taken of it."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._inner.read(size)
        self.taken += len(data)
        return data

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")


# --- what is read


def test_cubins_and_ptx_of_all_parts_are_listed_with_their_suffixes() -> None:
    assert gpu_archs(System(), FILES / "parts.so") == IN_ANY_PART


def test_what_few_parts_have_can_be_left_out() -> None:
    assert gpu_archs(System(), FILES / "parts.so", in_most_parts=True) == IN_MOST_PARTS


def test_ptx_alone_is_told() -> None:
    assert gpu_archs(System(), FILES / "ptx.so") == ("compute_80",)


def test_ptx_that_the_driver_would_link_counts_beside_linked_code() -> None:
    assert gpu_archs(System(), FILES / "linked_later.so") == ("sm_80", "compute_90")


def test_a_file_without_gpu_code_has_none() -> None:
    assert gpu_archs(System(), FILES / "nothing.so") is None


def test_code_that_only_an_optimizing_linker_can_use_is_not_guessed_about() -> None:
    found = gpu_archs(System(), FILES / "optimized_later.o")

    assert found == Unknown("its GPU code is of a kind that is not known")


def test_a_file_of_another_byte_order_has_no_gpu_code(parts: bytes) -> None:
    big_endian = parts[:5] + b"\x02" + parts[6:]

    assert archs_in(big_endian) is None


def test_code_for_amd_is_not_taken_for_none(parts: bytes) -> None:
    for_amd = parts.replace(b".nv_fatbin\0", b".a_section\0")
    for_amd = for_amd.replace(b".nvFatBinSegment\0", b".hip_fatbin\0".ljust(17, b"\0"))

    found = archs_in(for_amd)

    assert isinstance(found, Unknown)
    assert "AMD" in found.reason


# --- where sections are not told


def test_without_section_headers_the_constants_are_searched(without_sections: bytes) -> None:
    assert archs_in(without_sections) == IN_ANY_PART


def test_what_looks_like_a_fat_binary_among_the_constants_is_passed_over(
    without_sections: bytes,
) -> None:
    data = bytearray(without_sections)
    gap = data.index(bytes(64), 64)
    data[gap : gap + 8] = MAGIC
    data[gap + 8 : gap + 16] = (2**64 - 1).to_bytes(8, "little")

    assert archs_in(bytes(data)) == IN_ANY_PART


# --- from front to back


def test_a_stream_that_cannot_seek_tells_what_most_parts_have(parts: bytes) -> None:
    assert stream_gpu_archs(OnlyForwards(parts)) == IN_MOST_PARTS  # type: ignore[arg-type]


def test_a_compressed_member_of_a_zip_is_read_without_unpacking_it(
    parts: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "libtorch.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("libtorch/lib/libtorch_cuda.so", parts)

    with zipfile.ZipFile(path) as archive, archive.open("libtorch/lib/libtorch_cuda.so") as member:
        found = stream_gpu_archs(member)  # type: ignore[arg-type]

    assert found == IN_MOST_PARTS


def test_a_stream_is_left_as_soon_as_enough_parts_are_known(
    parts: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fatbin, "STREAM_PARTS", 1)
    stream = OnlyForwards(parts + bytes(64 * 1024**2))

    found = stream_gpu_archs(stream)  # type: ignore[arg-type]

    assert found == IN_ANY_PART
    assert stream.taken < 4 * 1024**2


def test_a_stream_is_not_read_beyond_its_limit(parts: bytes) -> None:
    stream = OnlyForwards(_with_one_segment(parts, bytes(64 * 1024**2)))

    found = stream_gpu_archs(stream, limit_bytes=8 * 1024**2)  # type: ignore[arg-type]

    assert isinstance(found, Unknown)
    assert stream.taken <= 10 * 1024**2


# --- few pages


class _Counting(io.BytesIO):
    read_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_of_a_large_file_only_the_headers_are_read(parts: bytes) -> None:
    """The code between two headers is stretched to a mebibyte."""
    start = fat_binaries(parts)
    _, _, header, _ = FAT_HEADER.unpack_from(parts, start)
    entry = bytearray(parts[start + header : start + header + ENTRY_BYTES])
    entry[8:16] = (1024**2).to_bytes(8, "little")
    entry_count = 40
    body = b"".join(bytes(entry) + bytes(1024**2) for _ in range(entry_count))
    fat = FAT_HEADER.pack(0xBA55ED50, 1, 16, len(body)) + body
    file = _Counting(_with_section(parts, fat))

    found = parse_gpu_archs(file)

    assert found == ("sm_75",)
    assert file.read_bytes < 64 * 1024


def _with_section(elf: bytes, content: bytes) -> bytes:
    """The file with other bytes, at its end, as its `.nv_fatbin`."""
    parsed = ELFFile(io.BytesIO(elf))
    index = parsed.get_section_index(".nv_fatbin")
    row = parsed.header["e_shoff"] + index * parsed.header["e_shentsize"]
    data = bytearray(elf)
    place = struct.pack("<QQ", len(elf) + -len(elf) % 8, len(content))
    data[row + 24 : row + 40] = place
    return bytes(data) + bytes(-len(elf) % 8) + content


# --- damaged and hostile files


@pytest.mark.parametrize("count", [0, 3, 63, 64, 4096, 5000, 12000, -1])
def test_a_truncated_file_is_unknown(parts: bytes, count: int) -> None:
    assert isinstance(archs_in(parts[:count]), Unknown)


@pytest.mark.parametrize("name", ["/nowhere/x.so", "/", "/dev/null", "/dev/zero", "a\0b"], ids=repr)
def test_what_is_no_file_is_unknown(name: str) -> None:
    assert isinstance(gpu_archs(System(), name), Unknown)


def entry(*, kind: int = 2, header: int = 64, size: int = 8, arch: int = 80) -> bytes:
    data = bytearray(max(header, 64))
    struct.pack_into("<HHIQ", data, 0, kind, 0x101, header, size)
    struct.pack_into("<I", data, 28, arch)
    return bytes(data)


def fat(body: bytes, *, size: int | None = None, header: int = 16) -> bytes:
    return FAT_HEADER.pack(0xBA55ED50, 1, header, len(body) if size is None else size) + body


HOSTILE: dict[str, bytes] = {
    "an entry of no bytes": fat(entry(header=0, size=0) * 3),
    "an entry that ends behind the file": fat(entry(size=2**64 - 64) + bytes(64)),
    "an entry that wraps around": fat(entry(size=2**64 - 1) + bytes(64)),
    "an entry that ends behind its fat binary": fat(entry(size=4096) + bytes(8)),
    "a header of four gigabytes": fat(entry(header=64) + bytes(8)).replace(
        b"\x40\0\0\0\x08", b"\xff\xff\xff\xff\x08"
    ),
    "a fat binary that ends behind the file": fat(b"", size=2**64 - 17),
    "a fat binary of no bytes": fat(b"", header=0, size=0) * 100,
    "no such architecture": fat(entry(arch=2**32 - 1) + bytes(8)),
    "no fat binary": b"something else" * 100,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_fat_binary_is_told_as_such(parts: bytes, name: str) -> None:
    found = archs_in(_with_section(parts, HOSTILE[name]))

    assert isinstance(found, Unknown)


ENDLESS: dict[str, bytes] = {
    "entries without code": fat(entry(size=0) * 200_000),
    "empty fat binaries": fat(b"") * 500_000,
    "empty fat binaries with gaps": (fat(b"") + bytes(8)) * 500_000,
    "starts of fat binaries": MAGIC[:6] * 2_000_000,
    "zeros": bytes(64 * 1024**2),
}


def _with_one_segment(elf: bytes, content: bytes) -> bytes:
    """An ELF file of one segment, which is constant, and no section headers."""
    segment = struct.pack("<IIQQQQQQ", 1, 4, 120, 0, 0, len(content), len(content), 4096)
    places = (64).to_bytes(8, "little") + bytes(8)
    return elf[:32] + places + elf[48:56] + b"\1\0" + elf[58:60] + bytes(4) + segment + content


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("with_sections", [True, False])
def test_no_file_keeps_us_busy(parts: bytes, name: str, with_sections: bool) -> None:
    content = ENDLESS[name]
    data = _with_section(parts, content) if with_sections else _with_one_segment(parts, content)
    started = time.perf_counter()
    tracemalloc.start()

    try:
        found = archs_in(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found is None or isinstance(found, Unknown)
    assert time.perf_counter() - started < LIMIT_S
    assert peak < 32 * 1024**2


@pytest.mark.parametrize(
    ("field", "words"), [("sections", "its GPU code is damaged"), ("segments", "256 MiB")]
)
def test_ten_sparse_gigabytes_are_given_up(
    parts: bytes, tmp_path: Path, field: str, words: str
) -> None:
    path = tmp_path / "sparse.so"
    size = 10 * 1024**3
    data = bytearray(parts)
    parsed = ELFFile(io.BytesIO(parts))
    if field == "sections":
        index = parsed.get_section_index(".nv_fatbin")
        row = parsed.header["e_shoff"] + index * parsed.header["e_shentsize"]
        struct.pack_into("<QQ", data, row + 24, len(parts), size - len(parts))
    else:
        struct.pack_into("<Q", data, 40, 0)
        struct.pack_into("<HHH", data, 58, 0, 0, 0)
        struct.pack_into("<IIQQQQ", data, 64, 1, 4, len(parts), 0, 0, size - len(parts))
        struct.pack_into("<H", data, 56, 1)
    path.write_bytes(data)
    os.truncate(path, size)
    started = time.perf_counter()

    found = gpu_archs(System(), path)

    assert isinstance(found, Unknown)
    assert words in found.reason
    assert time.perf_counter() - started < LIMIT_S


@pytest.mark.parametrize("read", [parse_gpu_archs, stream_gpu_archs])
def test_random_damage_is_never_an_exception(
    parts: bytes, read: Callable[[io.BytesIO], object]
) -> None:
    chance = random.Random(20261125)  # noqa: S311 - the same damage at every run
    sources = [parts, (FILES / "linked_later.so").read_bytes()]
    answers = set()

    for _ in range(1500):
        data = bytearray(chance.choice(sources))
        start = fat_binaries(bytes(data)) if chance.random() < 0.7 else 0
        for _ in range(chance.choice([1, 1, 2, 8])):
            at = chance.randrange(start, min(start + 8000, len(data)))
            data[at] = chance.choice([0, 1, 255, 1 << chance.randrange(8), chance.randrange(256)])
        answer = read(io.BytesIO(bytes(data[: chance.choice([len(data)] * 9 + [start + 100])])))
        answers.add(type(answer))

    assert answers <= {tuple, Unknown, type(None)}
    assert {tuple, Unknown} <= answers


# --- against nvcc and cuobjdump, where they are

with_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


@with_nvcc
@pytest.mark.parametrize(
    "options",
    [
        ("-gencode", "arch=compute_80,code=[sm_80,compute_80]"),
        ("-gencode", "arch=compute_80,code=[sm_80,sm_89]", "--no-compress"),
        ("-gencode", "arch=compute_90a,code=[sm_90a,compute_90a]", "--compress-mode=speed"),
    ],
    ids=" ".join,
)
def test_what_nvcc_is_asked_for_is_found(options: tuple[str, ...], tmp_path: Path) -> None:
    source, made = tmp_path / "one.cu", tmp_path / "one.o"
    source.write_text("__global__ void one(float *x) { x[threadIdx.x] *= 2; }\n")
    asked = set(re.findall(r"(?:sm|compute)_\d+[af]?", options[1].partition("code=")[2]))
    ended = subprocess.run(
        ["nvcc", "-c", *options, str(source), "-o", str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "nsupported gpu architecture" in ended.stderr:
        pytest.skip(f"this nvcc does not know {' '.join(sorted(asked))}")

    found = gpu_archs(System(), made)

    assert ended.returncode == 0, ended.stderr
    assert isinstance(found, tuple)
    assert set(found) == asked


@pytest.mark.skipif(shutil.which("cuobjdump") is None, reason="needs cuobjdump")
@pytest.mark.parametrize("name", ["parts.so", "ptx.so", "linked_later.so"])
def test_cuobjdump_finds_the_same(name: str) -> None:
    """It lists a cubin of a family (sm_100f) without its suffix."""
    told = set()
    for option in ("--list-elf", "--list-ptx"):
        ended = subprocess.run(
            ["cuobjdump", "-all", option, str(FILES / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        for arch, kind in re.findall(r"\.(sm_\d+[af]?)\.(cubin|ptx)", ended.stdout):
            told.add(arch if kind == "cubin" else arch.replace("sm", "compute"))

    found = gpu_archs(System(), FILES / name)

    assert isinstance(found, tuple)
    assert {arch.rstrip("f") for arch in found} == {arch.rstrip("f") for arch in told}
