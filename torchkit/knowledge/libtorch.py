"""The official libtorch zips: their addresses and what they need, from libtorch.toml."""

from __future__ import annotations

import functools
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.knowledge.releases import TorchRelease, torch_release
from torchkit.versions import Version

_CPU_NAMES = {"arm64": "aarch64", "AMD64": "x86_64"}


class LibtorchZip(NamedTuple):
    """One download. `abi` is `cxx11` or `pre-cxx11`, and None off Linux, where there is no choice.

    `known_bad` says what is wrong with it, None if nothing we know of.
    """

    version: Version
    variant: str
    url: str
    abi: str | None
    glibc_needed: Version | None
    confidence: str
    notes: tuple[str, ...] = ()
    known_bad: str | None = None


class _ZipRow(NamedTuple):
    os: str
    first: Version
    last: Version
    url: str
    source: str
    architecture: str = "x86_64"
    abi: str | None = None
    debug: bool = False
    variants: tuple[str, ...] = ()
    note: str | None = None
    confidence: str = "high"


class _AbsentRow(NamedTuple):
    os: str
    first: Version
    last: Version
    variant_prefix: str
    source: str
    confidence: str = "high"


class _GlibcRow(NamedTuple):
    abi: str
    first: Version
    last: Version
    glibc: Version
    source: str
    confidence: str = "high"


class _BadRow(NamedTuple):
    version: Version
    variants: tuple[str, ...]
    text: str
    source: str
    confidence: str = "high"


@functools.cache
def _document() -> rows.Document:
    return rows.load("libtorch.toml", "zip", "absent", "glibc", "known_bad")


@functools.cache
def _zips() -> tuple[_ZipRow, ...]:
    identity = ("os", "architecture", "abi", "debug", "first", "variants")
    return rows.records(_document(), "zip", _ZipRow, identity=identity)


@functools.cache
def _absent() -> tuple[_AbsentRow, ...]:
    return rows.records(_document(), "absent", _AbsentRow, identity=("os", "variant_prefix"))


@functools.cache
def _glibc() -> tuple[_GlibcRow, ...]:
    return rows.records(_document(), "glibc", _GlibcRow, identity=("abi", "first"))


@functools.cache
def _bad() -> tuple[_BadRow, ...]:
    return rows.records(_document(), "known_bad", _BadRow, identity=("version",))


def libtorch_variants(version: Version) -> tuple[str, ...]:
    """The Linux builds of a release as they are called in addresses: "cpu", "cu126", "rocm6.4"."""
    release = torch_release(version)
    return () if release is None else _variants(release)


def libtorch_zip(
    version: Version,
    variant: str,
    *,
    os: str,
    architecture: str,
    cxx11: bool = True,
    debug: bool = False,
) -> LibtorchZip | None:
    """The zip of this release and variant; None where there is none, as on Linux for aarch64.

    `os` is `linux`, `windows` or `macos`; `architecture` is `x86_64` or `aarch64`, in anybody's
    spelling; `cxx11` counts on Linux only, `debug` on Windows only. The same file name means the
    old ABI up to 2.6.0 and the new one from 2.8.0 on: `abi` tells. Windows is taken to have the
    CUDA builds of Linux, save what we know it lacks.
    """
    release = torch_release(version)
    if release is None or variant not in _variants(release):
        return None
    architecture = _CPU_NAMES.get(architecture, architecture)
    abi = None if os != "linux" else "cxx11" if cxx11 else "pre-cxx11"
    row = _zip_row(release.version, variant, os=os, architecture=architecture, abi=abi, debug=debug)
    if row is None:
        return None
    glibc = _glibc_row(release.version, abi)
    confidences = [row.confidence]
    if glibc is not None:
        confidences.append(glibc.confidence)
    if variant != "cpu" and "cuda_variants" in release.weak:
        confidences.append(release.confidence)
    return LibtorchZip(
        version=release.version,
        variant=variant,
        url=row.url.format(version=release.version, variant=variant),
        abi=abi,
        glibc_needed=None if glibc is None else glibc.glibc,
        confidence=min(confidences, key=rows.CONFIDENCES.index),
        notes=() if row.note is None else (row.note,),
        known_bad=_known_bad(release.version, variant, os),
    )


def _variants(release: TorchRelease) -> tuple[str, ...]:
    cpu = ("cpu",) if release.cpu_variant else ()
    return (*cpu, *release.cuda_variants, *(f"rocm{rocm}" for rocm in release.rocm_variants))


def _zip_row(
    version: Version, variant: str, *, os: str, architecture: str, abi: str | None, debug: bool
) -> _ZipRow | None:
    if os == "macos" and variant != "cpu":
        return None
    for absent in _absent():
        if (
            absent.os == os
            and variant.startswith(absent.variant_prefix)
            and absent.first <= version <= absent.last
        ):
            return None
    for row in _zips():
        if (
            (row.os, row.architecture, row.abi, row.debug) == (os, architecture, abi, debug)
            and row.first <= version <= row.last
            and (not row.variants or variant in row.variants)
        ):
            return row
    return None


def _glibc_row(version: Version, abi: str | None) -> _GlibcRow | None:
    for row in _glibc():
        if row.abi == abi and row.first <= version <= row.last:
            return row
    return None


def _known_bad(version: Version, variant: str, os: str) -> str | None:
    for row in _bad():
        if os == "linux" and row.version == version and variant in row.variants:
            return row.text
    return None
