"""GPU code: which GPU a build of torch has code for, and which GPU a name means. From gpus.toml."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.versions import Version


class ArchList(NamedTuple):
    """The GPU code in the official Linux builds of some series of torch for one CUDA.

    "sm_86" is a cubin, "compute_86" is PTX. `first` and `last` are series, inclusive;
    `architecture` is that of the CPU.
    """

    first: Version
    last: Version
    cuda: Version
    archs: tuple[str, ...]
    source: str
    architecture: str = "x86_64"
    confidence: str = "high"


class _GpuRow(NamedTuple):
    capability: str
    family: str
    names: tuple[str, ...]
    source: str
    data_center: bool = False
    confidence: str = "high"


@functools.cache
def _document() -> rows.Document:
    return rows.load("gpus.toml", "archs", "gpu")


@functools.cache
def _arch_lists() -> tuple[ArchList, ...]:
    identity = ("first", "last", "cuda", "architecture")
    return rows.records(_document(), "archs", ArchList, identity=identity)


def architectures(
    torch_version: Version, torch_cuda: Version, *, architecture: str = "x86_64"
) -> ArchList | None:
    """The GPU code in the official Linux build of this torch for this CUDA; None if not known.

    `architecture` is that of the CPU, `x86_64` or `aarch64`.
    """
    if torch_version.is_prerelease:
        return None
    series = torch_version.release[:2]
    for row in _arch_lists():
        if (
            row.first.release <= series <= row.last.release
            and row.cuda.series == torch_cuda.series
            and row.architecture == architecture
        ):
            return row
    return None


# --- which code runs on which GPU

# patterns are compiled when they are first used, not when this is imported
_ARCH = r"(?:(?P<kind>sm|compute)_(?P<number>\d{2,})|(?P<dotted>\d+\.\d))(?P<suffix>[af]?)"
_CAPABILITY = r"(\d+)\.(\d)"

_INTEGRATED = frozenset({(5, 3), (6, 2), (7, 2), (8, 7), (10, 1), (11, 0)})
"""GPUs of Jetson modules."""

_THOR = frozenset({(10, 1), (11, 0)})
"""One GPU: sm_101 until CUDA 12.9, sm_110 since 13.0."""

_ONE_FOR_ALL = Version("13.2")
"""From this CUDA on, code for desktop GPUs runs on those of Jetson modules too."""


class _Code(NamedTuple):
    """One entry of an architecture list, taken apart."""

    capability: tuple[int, int]
    suffix: str
    is_cubin: bool


def serves(arch: str, capability: str, *, cuda: Version | None = None) -> bool:
    """Whether code for `arch` runs on a GPU of this compute capability.

    `arch` is written as torch and nvcc write it ("sm_86", "compute_80", "sm_90a", "sm_37+PTX") or
    as in TORCH_CUDA_ARCH_LIST ("8.6", "8.6+PTX"). Anything else, as ROCm's "gfx90a", serves none.
    `cuda` is the CUDA of the build; it counts for the GPUs of Jetson modules only.

    A cubin runs on the same major with the same or a higher minor, PTX on anything newer; with
    the suffix "a" either runs on that capability alone, with "f" on its family, the same major
    with the same or a higher minor (`ptxas --help` of CUDA 13.0, and
    https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/compute-capabilities.html).
    Jetson modules run no cubin of another GPU before CUDA 13.2, and no other GPU runs theirs
    (DEVICE_REQUIREMENT in torch/cuda/__init__.py of 2.14.1). See `doubtfully_served_by`.
    """
    return _serving(arch, capability, cuda) is not None


def served_by(archs: Iterable[str], capability: str, *, cuda: Version | None = None) -> str | None:
    """The entry of an architecture list that such a GPU runs, a cubin rather than PTX.

    Among several the one with the highest capability, as the driver takes it. `cuda` as in
    `serves`.
    """
    found = [
        (code, arch) for arch in archs if (code := _serving(arch, capability, cuda)) is not None
    ]
    if not found:
        return None
    return max(found, key=lambda item: (item[0].is_cubin, item[0].capability))[1]


def doubtfully_served_by(
    archs: Iterable[str], capability: str, *, cuda: Version | None = None
) -> str | None:
    """The desktop cubin that a Jetson GPU may or may not run; None where there is no such doubt.

    Before CUDA 13.2 NVIDIA says that it does not run; users report both
    (https://github.com/jax-ml/jax/pull/40492 fails,
    https://github.com/bitsandbytes-foundation/bitsandbytes/pull/1941 runs): a case for a warning.
    """
    archs = tuple(archs)
    if served_by(archs, capability, cuda=cuda) is not None:
        return None
    if _capability(capability) not in _INTEGRATED:
        return None
    return served_by(archs, capability, cuda=_ONE_FOR_ALL)


def _serving(arch: str, capability: str, cuda: Version | None) -> _Code | None:
    wanted = _capability(capability)
    if wanted is None:
        return None
    one_for_all = cuda is not None and cuda >= _ONE_FOR_ALL
    return next((code for code in _codes(arch) if _runs(code, wanted, one_for_all)), None)


def _runs(code: _Code, wanted: tuple[int, int], one_for_all: bool) -> bool:
    if code.suffix == "a" or code.capability == wanted:
        return code.capability == wanted
    if not code.is_cubin and not code.suffix:
        return wanted >= code.capability
    if {code.capability, wanted} == _THOR:
        return True
    if code.capability in _INTEGRATED or (wanted in _INTEGRATED and not one_for_all):
        return False
    return _is_same_major_up(code.capability, wanted)


def _is_same_major_up(have: tuple[int, int], wanted: tuple[int, int]) -> bool:
    return have[0] == wanted[0] and have[1] <= wanted[1]


def _capability(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(_CAPABILITY, text.strip())
    return (int(match[1]), int(match[2])) if match else None


@functools.lru_cache(maxsize=256)
def _codes(arch: str) -> tuple[_Code, ...]:
    """What an entry stands for, the cubin first: "8.6+PTX" is a cubin and PTX."""
    name, plus, addition = arch.strip().partition("+")
    match = re.fullmatch(_ARCH, name)
    if match is None or (plus and addition != "PTX"):
        return ()
    if match["dotted"] is not None:
        major, minor = match["dotted"].split(".")
    else:
        major, minor = match["number"][:-1], match["number"][-1]
    capability = (int(major), int(minor))
    is_cubin = match["kind"] != "compute"
    first = _Code(capability, match["suffix"], is_cubin)
    if plus and is_cubin:
        return (first, _Code(capability, match["suffix"], is_cubin=False))
    return (first,)


# --- which GPU a name means

_BESIDE_THE_POINT = r"""(?xi)\b(?:
        nvidia | tesla | gpu | laptop | super | ti | d | generation | edition
      | with\ max-q\ design | max-q | workstation | sff(?=\ edition) | developer\ kit
      | collectors | \d+\ ?gb? | pcie | sxm\d? | hbm\d\w* | nvl\d* | dgxs | fhhl
      | mig\ \d+g\.\d+gb\S*
    )\b | \(nvgpu\) | \((?:r|tm)\)
"""


@functools.cache
def _gpus() -> Mapping[str, _GpuRow]:
    found: dict[str, _GpuRow] = {}
    for row in rows.records(
        _document(), "gpu", _GpuRow, identity=("capability", "family", "data_center")
    ):
        for name in row.names:
            if found.setdefault(_plain(name), row) is not row:
                raise ValueError(f"gpus.toml: the GPU {name} has two capabilities")
    return found


def _plain(name: str) -> str:
    words = re.split(r"[\s-]+", re.sub(_BESIDE_THE_POINT, " ", name))
    return " ".join(words).strip().casefold()


def gpu_capability(name: str) -> str | None:
    """The compute capability of a GPU by its marketing name ("8.6"); None when we are not sure."""
    row = _gpus().get(_plain(name))
    return None if row is None else row.capability


def is_data_center_gpu(name: str) -> bool:
    """Whether this is a GPU for data centres, as far as we know.

    NVIDIA's forward-compatibility packages (a newer libcuda over an older kernel driver) work
    there: https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html.
    """
    row = _gpus().get(_plain(name))
    return row is not None and row.data_center
