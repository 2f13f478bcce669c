"""Zips in place. The truth: zipfile of the standard library, and the bytes that went in."""

from __future__ import annotations

import io
import random
import stat
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from torchkit.machine import archive as module
from torchkit.machine.archive import ArchiveSystem, TooMuchError, opened_archive
from torchkit.system import System, Unknown

RANDOM = random.Random(3)  # noqa: S311 - the same bytes at every run
NOISE = RANDOM.randbytes(300_000)
LONG = b"".join(NOISE[at : at + 1000] * 40 for at in range(0, 300_000, 1000))
"""Twelve million bytes of which each part is another, and that compress well."""


def written(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def content(path: Path, name: str) -> bytes:
    with opened_archive(System(), path) as archive:
        assert isinstance(archive, ArchiveSystem)
        with archive.open(name) as file:
            return file.read()


def what_it_is(path: Path) -> str:
    with opened_archive(System(), path) as archive:
        assert isinstance(archive, Unknown)
        return archive.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_from_any_place(tmp_path: Path, method: int) -> None:
    path = written(tmp_path / "a.zip", {"libtorch/lib/long.so": LONG, "b": b"b"}, method=method)

    with opened_archive(System(), path) as archive:
        assert isinstance(archive, ArchiveSystem)
        assert archive.size("/libtorch/lib/long.so") == len(LONG)
        with archive.open("/libtorch/lib/long.so") as file:
            for _ in range(200):
                at, count = RANDOM.randrange(len(LONG) + 10), RANDOM.randrange(9000)
                file.seek(at)
                assert file.read(count) == LONG[at : at + count]
            assert file.seek(-5, io.SEEK_END) == len(LONG) - 5
            assert file.read() == LONG[-5:]
        with archive.open("/libtorch/lib/long.so") as again:
            assert again.read() == LONG


def test_going_back_does_not_inflate_the_whole_member_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INFLATED_LIMIT_BYTES", 3 * len(LONG))
    path = written(tmp_path / "a.zip", {"long": LONG})

    with path.open("rb") as file:
        archive = ArchiveSystem(file, module._members(file), limit_bytes=4 * len(LONG))
        with archive.open("long") as member:
            for _ in range(6):
                member.seek(len(LONG) - 1)
                assert member.read(1) == LONG[-1:]
                member.seek(9_000_000)
                assert member.read(1) == LONG[9_000_000:9_000_001]


def test_it_is_a_system_of_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"torch/lib/a.so": b"1", "torch/version.py": b"x = 1"})

    with opened_archive(System(), path) as archive:
        assert isinstance(archive, ArchiveSystem)
        assert archive.names_in("/torch") == ("lib", "version.py")
        assert archive.names_in("/") == ("torch",)
        assert archive.names_in("/nowhere") == ()
        assert archive.is_folder("/torch/lib")
        assert not archive.is_folder("/torch/lib/a.so")
        assert archive.read_text("/torch/version.py") == "x = 1"
        assert archive.read_text("/torch/other.py") is None
        assert archive.size("/torch/lib") is None


def test_large_archives_have_their_numbers_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zip64, as in a download of more than 4 GiB."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    path = written(tmp_path / "a.zip", {"first": NOISE, "second": LONG[:5000]})

    assert content(path, "first") == NOISE
    assert content(path, "second") == LONG[:5000]


def test_an_archive_that_unpacks_itself(tmp_path: Path) -> None:
    inner = written(tmp_path / "a.zip", {"first": NOISE}).read_bytes()
    path = tmp_path / "a.run"
    path.write_bytes(b"#!/bin/sh\nexit\n" + inner)

    assert content(path, "first") == NOISE


def test_of_two_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"new")

    assert content(path, "a") == zipfile.ZipFile(path).read("a") == b"new"


def test_a_link_is_followed_inside_the_archive_and_not_out_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, target in {
            "lib/a.so": "a.so.1",
            "lib/out.so": "/etc/passwd",
            "lib/round.so": "round.so",
        }.items():
            link = zipfile.ZipInfo(name)
            link.create_system = 3
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
        archive.writestr("lib/a.so.1", b"library")

    assert content(path, "/lib/a.so") == b"library"
    for name in ("/lib/out.so", "/lib/round.so"):
        with pytest.raises(FileNotFoundError):
            content(path, name)


def test_names_that_lead_out_of_the_archive_are_no_members(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"../../etc/passwd": b"x", "/etc/passwd": b"x", "a": b"a"})

    with opened_archive(System(), path) as archive:
        assert isinstance(archive, ArchiveSystem)
        assert set(archive.members) == {"a"}


def test_an_encrypted_member_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"a": b"a"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)

    with pytest.raises(OSError, match="it is encrypted"):
        content(path, "a")


def test_a_method_that_we_do_not_know_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"a": NOISE}, method=zipfile.ZIP_BZIP2)

    with pytest.raises(OSError, match="compressed by method 12"):
        content(path, "a")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>Access denied</html>", "a web page, not a zip"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
        (zlib.compress(NOISE, wbits=31), "compressed by gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        (b"\x7fELF" + bytes(100), "a compiled file"),
        (NOISE, "no zip"),
    ],
)
def test_what_a_file_is_instead(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)

    assert what_it_is(path).startswith(words)


def test_an_unfinished_download_tells_how_much_there_is(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"a": NOISE})
    path.write_bytes(path.read_bytes()[:100_000])

    assert "cut off after 100000 bytes" in what_it_is(path)


def test_a_bomb_is_inflated_up_to_the_limit(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"a": bytes(64 * 1024**2)})

    with path.open("rb") as file:
        archive = ArchiveSystem(file, module._members(file), limit_bytes=1024**2)
        with archive.open("a") as member, pytest.raises(TooMuchError):
            member.read()


def test_a_list_that_lies_about_itself_costs_nothing(tmp_path: Path) -> None:
    """Ten gigabytes, nearly all a hole, that claim to be the list of four billion members."""
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        file.write(b"PK\3\4")
        file.truncate(10 * 1024**3)
        file.seek(0, io.SEEK_END)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFE, 0xFFFE, 0xFFFFFFF0, 0, 0))
    start = time.monotonic()

    words = what_it_is(path)

    assert "claims to have 65534 files" in words
    assert time.monotonic() - start < 1


def test_sizes_that_lie_give_no_more_than_there_is(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {"a": b"abc"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 20 : entry + 28] = struct.pack("<2L", 0xFFFFFFF0, 0xFFFFFFF0)
    path.write_bytes(data)

    assert content(path, "a").startswith(b"abc")


def test_damaged_archives_raise_nothing_but_what_reading_raises(tmp_path: Path) -> None:
    good = written(
        tmp_path / "a.zip", {"libtorch/a": LONG[:20_000], "libtorch/b": b"b"}
    ).read_bytes()
    path = tmp_path / "damaged.zip"
    readable = 0

    for seed in range(2000):
        dice = random.Random(seed)  # noqa: S311 - the same damage at every run
        data = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if seed % 3 == 0:  # where the lists are
            data[-dice.randrange(1, 150)] ^= 1 << dice.randrange(8)
        path.write_bytes(data[: dice.randrange(len(data))] if seed % 5 == 0 else data)
        with opened_archive(System(), path) as archive:
            if isinstance(archive, Unknown):
                assert archive.reason
                continue
            for name in archive.names_in("/libtorch"):
                try:
                    with archive.open(f"/libtorch/{name}") as file:
                        readable += len(file.read()) > 0
                except OSError:
                    pass

    assert readable > 500
