"""Which libtorch this is, by its texts and its name: version, variant, CUDA, debug or release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from torchkit.machine.libtorch_root import Root
from torchkit.versions import Version, as_version

_HEADERS = (
    "include/torch/headeronly/version.h",
    "include/torch/csrc/api/include/torch/version.h",
)
_VARIANT = re.compile(r"cpu|cu\d{2,4}|rocm[\d.]+|xpu")


class Label(NamedTuple):
    """What a libtorch calls itself. `cuda` is "12.6"; None for other builds and where untold."""

    version: str | None = None
    variant: str | None = None
    cuda: str | None = None
    is_debug: bool | None = None


def label_of(root: Root) -> Label:
    """The libtorch's version, with its local tag where one is told."""
    versions = [version for version in _told_versions(root) if version is not None]
    told = versions[0] if versions else None
    tagged = next((it for it in versions if it.local and it.base == _base(told)), told)
    variant = _variant(tagged)
    text = root.text("version.py") or ""
    cuda = _assigned(text, "cuda")
    if variant is None:
        names = {"hip": "rocm", "xpu": "xpu"}
        other = next((names[key] for key in names if _assigned(text, key)), None)
        variant = f"cu{cuda.replace('.', '')}" if cuda else other
    if variant is not None and variant.startswith("cu") and variant[2:]:
        cuda = cuda or f"{variant[2:-1]}.{variant[-1]}"
    return Label(
        str(tagged) if tagged is not None else None,
        variant,
        cuda,
        _is_debug(root, text),
    )


def _base(version: Version | None) -> str | None:
    return None if version is None else version.base


def _told_versions(root: Root) -> Iterator[Version | None]:
    yield as_version(_first_line(root.text("build-version")))
    yield as_version(_assigned(root.text("version.py") or "", "__version__"))
    if root.distribution is not None:
        name, _, rest = root.distribution.removesuffix(".dist-info").partition("-")
        yield as_version(rest) if name == "torch" else None
    cmake = root.text("share/cmake/Torch/TorchConfigVersion.cmake") or ""
    match = re.search(r'PACKAGE_VERSION "([^"]+)"', cmake)
    yield as_version(match[1]) if match else None
    for name in _HEADERS:
        yield _of_header(root.text(name) or "")
    yield _of_name(root.named)


def _first_line(text: str | None) -> str | None:
    lines = (text or "").split()
    return lines[0] if lines else None


def _assigned(text: str, name: str) -> str | None:
    match = re.search(rf"""^{name}\b[^=\n]*=\s*["']([^"'\n]+)["']""", text, re.M)
    return match[1] if match else None


def _of_header(text: str) -> Version | None:
    numbers = [
        re.search(rf"#define\s+TORCH_VERSION_{part}\s+(\d+)", text)
        for part in ("MAJOR", "MINOR", "PATCH")
    ]
    found = [match[1] for match in numbers if match is not None]
    return as_version(".".join(found)) if len(found) == 3 else None


def _of_name(path: str) -> Version | None:
    """By the name of a download: `libtorch-cxx11-abi-shared-with-deps-1.10.2%2Bcu113.zip`."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1].replace("%2B", "+").replace("%2b", "+")
    match = re.match(r"libtorch\b.*?-(\d+\.\d+(?:\.\d+)?(?:\+[\w.]+)?)(?:\.zip|\b)", name)
    return as_version(match[1].removesuffix(".zip")) if match else None


def _variant(version: Version | None) -> str | None:
    match = _VARIANT.match((version.local if version else None) or "")
    return match[0] if match else None


def _is_debug(root: Root, version_text: str) -> bool | None:
    """Windows has a download of either kind, whose programs must be of the same kind."""
    name = re.split(r"[/\\]", root.named.rstrip("/\\"))[-1]
    if "-debug-" in name:
        return True
    match = re.search(r"^debug\s*=\s*(True|False)", version_text, re.M)
    if match is not None:
        return match[1] == "True"
    targets = root.names("share/cmake/Caffe2")
    if "Caffe2Targets-debug.cmake" in targets:
        return True
    return False if "Caffe2Targets-release.cmake" in targets else None
