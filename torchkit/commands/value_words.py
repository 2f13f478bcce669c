"""Values of facts as people read them in a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from torchkit.machine.facts import Gpu, Value
from torchkit.units import readable


def in_words(fact: str, value: Value) -> str:
    """A value as people read it."""
    if value is None:
        return "no limit" if fact in ("memory_limit_bytes", "cpu_limit") else "none"
    if fact == "torch_cxx11_abi":
        return "new" if value else "old"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if fact.endswith("_bytes"):
        return readable(value)
    if fact == "gpus":
        return _gpus(value)
    if fact == "shadowed_libraries":
        return ", ".join(it.name for it in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(it) for it in value) or "none"
    return str(value)


def _gpus(gpus: Sequence[Gpu]) -> str:
    counts: dict[str, int] = {}
    for gpu in gpus:
        size = f" ({readable(gpu.memory_bytes)})" if gpu.memory_bytes else ""
        counts[gpu.name + size] = counts.get(gpu.name + size, 0) + 1
    return (
        ", ".join(f"{count}x {text}" if count > 1 else text for text, count in counts.items())
        or "none"
    )
