"""The folder that something is built in: where temporary files go, and gone afterwards.

It is never the current one, and nothing of a build is left when it ends, fails or is interrupted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from torchkit.errors import BadInput
from torchkit.system import System

NEEDED_BYTES = 64 * 1024**2
"""The build folder takes 3 MiB, and the compiler's temporary files some ten."""


def absolute(system: System, path: Path) -> Path:
    """CMake finds nothing by a relative CMAKE_PREFIX_PATH, and we work in another folder."""
    return (system.working_folder() or Path()) / path


def build_place(system: System) -> Path:
    """The folder for temporary files, as TMPDIR says. Raises BadInput where it is of no use."""
    named = next((name for name in ("TMPDIR", "TEMP", "TMP") if system.environ.get(name)), None)
    if named is not None:
        place = absolute(system, Path(system.environ[named]))
    elif system.platform == "win32":
        place = Path(system.environ.get("LOCALAPPDATA", "C:/Windows")) / "Temp"
    else:
        place = Path("/tmp")
    said = f"{named}={system.environ[named]}" if named else f"the temporary folder {place}"
    told = system.file_system(place)
    if isinstance(told, os.statvfs_result):
        free_bytes = told.f_bavail * told.f_frsize
        if told.f_blocks and free_bytes < NEEDED_BYTES:
            raise _no_place(
                f"{said} has {free_bytes // 1024**2} MiB free, a trial build needs"
                f" {NEEDED_BYTES // 1024**2} MiB"
            )
        if told.f_flag & getattr(os, "ST_NOEXEC", 0):
            raise _no_place(f"{said} lies on a file system where no program may run (noexec)")
    return place


def _no_place(message: str) -> BadInput:
    return BadInput(message, hint="name another folder: TMPDIR=/var/tmp torchkit env --probe …")


@contextlib.contextmanager
def build_folder(system: System, place: Path) -> Iterator[Path]:
    """A folder of our own, removed whatever happens. Raises BadInput where none can be made."""
    import tempfile

    try:
        folder = Path(tempfile.mkdtemp(prefix="torchkit-trial-", dir=system.path(place)))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _no_place(f"cannot build in the temporary folder {place}: {reason}") from None
    try:
        (folder / "tmp").mkdir()
        (folder / "build").mkdir()
        yield folder
    finally:
        try:
            _remove(folder)
        except BaseException:  # the user is impatient; this takes no second
            _remove(folder)
            raise


def _remove(folder: Path) -> None:
    import shutil

    for inside, folders, files in os.walk(folder):
        for name in (
            *folders,
            *(files if os.name == "nt" else ()),
        ):  # there a file's own mode counts
            with contextlib.suppress(OSError):
                (Path(inside) / name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
