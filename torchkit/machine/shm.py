"""/dev/shm: how large it is and how much of it is free.

Workers of a DataLoader hand their batches over through it.
"""

from __future__ import annotations

from torchkit.machine.facts import Unknown, Value
from torchkit.system import System

SHM_FOLDER = "/dev/shm"

NO_LIMIT = Unknown("/dev/shm is mounted without a limit, it may take all memory")


def shm_facts(system: System) -> dict[str, Value]:
    """Total and free bytes of /dev/shm; None where the machine has none (macOS, Windows)."""
    size = system.file_system(SHM_FOLDER) if system.platform == "linux" else None
    if size is None or isinstance(size, Unknown):
        return {"shm_total_bytes": size, "shm_free_bytes": size}
    if size.f_blocks == 0:  # mounted with size=0: https://docs.kernel.org/filesystems/tmpfs.html
        return dict.fromkeys(("shm_total_bytes", "shm_free_bytes"), NO_LIMIT)
    return {
        "shm_total_bytes": size.f_blocks * size.f_frsize,
        "shm_free_bytes": size.f_bavail * size.f_frsize,
    }
