"""What shm-check shows of a machine: its shared memory, what limits it, who holds it."""

from __future__ import annotations

import mmap

from torchkit.checks.shm_full import described
from torchkit.commands.shm_workload import free_of_shm, usable
from torchkit.dataset.predict import largest_batch
from torchkit.dataset.sample import Sample
from torchkit.knowledge.shared_memory import full_message
from torchkit.machine.facts import Facts, ShmHolder
from torchkit.report import Json, Table
from torchkit.units import readable

IMAGE = (3, 224, 224)
WORKERS = (1, 2, 4, 8, 16)
PREFETCH = 2
HOLDERS = 5
"""So many holders are shown; JSON has all."""


def overview(facts: Facts) -> Table:
    """The machine in a few lines."""
    rows = [("/dev/shm", _shm(facts)), ("memory", _memory(facts)), ("limits", _limits(facts))]
    for holder in (facts.known("shm_holders") or ())[:HOLDERS]:
        rows.append(("held", described(holder)))
    if facts.known("shm_unseen_processes"):
        rows.append(
            ("not seen", f"files of {facts.known('shm_unseen_processes')} processes of others")
        )
    rows.append(("runs in", _where(facts)))
    message = full_message(facts.known("torch_version"))
    torch = facts.known("torch_version")
    who = f"torch {torch}" if torch is not None else "the newest torch"
    rows.append(("when full", f"{who} says: {message.text}"))
    return Table(
        "machine",
        ("area", "value"),
        tuple({"area": area, "value": text} for area, text in rows if text),
    )


def _shm(facts: Facts) -> str:
    total, free = facts.known("shm_total_bytes"), facts.known("shm_free_bytes")
    state = facts.known("shm_state")
    if state == "missing":
        return "is not there"
    parts = []
    if isinstance(total, int) and isinstance(free, int):
        parts.append(f"{readable(total)}, {readable(free)} free")
    else:
        parts.append("without a limit of its own")
    parts.append(facts.known("shm_kind") or "")
    inodes = facts.known("shm_inodes_free")
    parts.append(f"{inodes:,} more files" if isinstance(inodes, int) else "")
    parts.append(state if state != "writable" else "")
    return " · ".join(part for part in parts if part)


def _memory(facts: Facts) -> str:
    head, limit = facts.known("memory_headroom_bytes"), facts.known("memory_limit_bytes")
    available = facts.known("memory_available_bytes")
    parts = []
    if head is not None:
        of = f" of {readable(limit)}" if limit is not None else ""
        parts.append(f"the memory limit leaves {readable(head)}{of}, shared memory counts in it")
    if available is not None:
        parts.append(f"{readable(available)} available on the machine")
    return " · ".join(parts)


def _limits(facts: Facts) -> str:
    files, size = facts.known("open_files_limit"), facts.known("file_size_limit_bytes")
    free, (left, by) = free_of_shm(facts), usable(facts)
    first = by if left is not None and left < free else "/dev/shm"
    parts = [f"{first} ends first, at {readable(min(free, left) if left is not None else free)}"]
    parts.append(f"{files:,} open files" if isinstance(files, int) else "")
    parts.append(f"files of at most {readable(size)}" if isinstance(size, int) else "")
    return " · ".join(part for part in parts if part)


def _where(facts: Facts) -> str:
    runtime, service = facts.known("container_runtime"), facts.known("job_service")
    names = {"container": "a container", None: ""}
    place = names.get(runtime, f"{runtime} container" if runtime else "")
    return " · ".join(part for part in (place, service or "") if part)


def holders_table(facts: Facts) -> Table:
    """Every holder, for JSON."""
    rows = tuple(holder._asdict() for holder in facts.known("shm_holders") or ())
    return Table("holders", ShmHolder._fields, rows)


def batches_table(facts: Facts) -> Table:
    """The largest batch of images that fits, by the number of workers."""
    free, (left, _) = free_of_shm(facts), usable(facts)
    most = free if left is None else min(free, left)
    rows: list[dict[str, Json]] = []
    for workers in WORKERS:
        row: dict[str, Json] = {"workers": workers, "prefetch": PREFETCH}
        for dtype in ("float32", "uint8"):
            row[f"{dtype}_images"] = largest_batch(
                Sample(IMAGE, dtype).bytes, most,
                workers=workers, prefetch=PREFETCH, page_bytes=mmap.PAGESIZE,
            )  # fmt: skip
        rows.append(row)
    return Table("largest_batch", tuple(rows[0]), tuple(rows))
