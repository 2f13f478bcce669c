"""These DataLoader workers need more shared memory than there is.

## What it looks at
The size of a batch, as a worker sends it: every storage in a file of its own, in whole pages. How
many batches are made, wait or are in use at once: workers x prefetch, and one in use. What is free
of /dev/shm.

## Why it matters
A worker that cannot write its batch ends the training in the middle of it: with an error, since
torch 2.10, and with a bus error before that. With a collate_fn of your own the batch is lost, and
the program waits for it for ever.

## What to do
Give the container a larger /dev/shm, or send less through it: uint8 in place of float32, fewer
workers, a smaller prefetch_factor.

## References
- https://docs.pytorch.org/docs/stable/data.html
- https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

from torchkit.advice.shared_memory import Place, size_fixes
from torchkit.dataset.predict import Need
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, fail, ok, warn
from torchkit.units import readable

AREA = "system"


def judge(need: Need) -> Verdict:
    load, taken, free = need.load, need.prediction, need.shm_free_bytes
    if load.workers == 0:
        return ok("without workers a DataLoader needs no shared memory")
    peak, bound = need.peak_bytes, need.bound_bytes
    have = f"{readable(free)} of /dev/shm are free"
    if max(peak, need.more_than_bytes or 0) > free:
        return _fails(need, have)
    if need.more_than_bytes is not None or (need.measured_bytes or 0) > taken.bound_bytes:
        return _took_more(need, have)
    if bound > free:
        return _tight(need, have)
    who = f"{workers(need)} {_verb('need', need)}"
    if taken.later_bound_bytes <= free:
        return ok(
            f"{who} at most {readable(max(bound, taken.later_bound_bytes))} of shared memory, {have}"
        )
    return ok(f"{who} {readable(peak)} of shared memory, at times {readable(bound)}; {have}")


def _fails(need: Need, have: str) -> Verdict:
    cut = need.more_than_bytes
    size = readable(need.peak_bytes) if cut is None else f"more than {readable(cut)}"
    message = f"{workers(need)} {_verb('need', need)} {size} of shared memory, {have}"
    evidence = [*_numbers(need), Evidence(WOULD_FAIL_WITH, need.message), *_hang(need)]
    return fail(message, evidence=evidence, fix=_fixes(need), brief=message)


def _took_more(need: Need, have: str) -> Verdict:
    """What a run took, or would have taken, is more than its batches let expect: they may grow."""
    measured, bound = need.measured_bytes or 0, need.prediction.bound_bytes
    if need.more_than_bytes is not None:
        message = (
            f"a run of {workers(need)} took more than the {readable(need.more_than_bytes)} of shared"
            f" memory that it might: batches grow, and how far cannot be told; {have}"
        )
        brief = f"a run took more than the {readable(need.more_than_bytes)} that it might"
    else:
        times = f"{measured / bound:.1f} times" if measured >= 1.1 * bound else "more than"
        message = (
            f"a run of {workers(need)} took {readable(measured)} of shared memory, {times} what its"
            f" batches let expect; {have}, and what later ones take cannot be told"
        )
        brief = f"a run took {times} what its batches let expect"
    return warn(
        message,
        evidence=[*_numbers(need), Evidence("may fail with", need.message), *_hang(need)],
        fix=[
            "torchkit shm-check … --workers 1 --measure   (how much one worker takes)",
            *_fixes(need),
        ],
        brief=brief,
    )


def _tight(need: Need, have: str) -> Verdict:
    taken = need.prediction
    message = (
        f"{workers(need)} usually {_verb('need', need)} {readable(need.peak_bytes)} of shared memory, at"
        f" times {readable(need.bound_bytes)}; {have}"
    )
    fix = _fixes(need)
    later = _of_later_epochs(need)
    if need.load.keeps_last and taken.later_bound_bytes > taken.bound_bytes:
        message += later
        fix = [*_PERSISTENT, *fix]
    return warn(
        message,
        evidence=[*_numbers(need), Evidence("may fail with", need.message), *_hang(need)],
        fix=fix,
        brief=f"{workers(need)} {_verb('fit', need)} tightly into /dev/shm",
    )


_PERSISTENT = (
    "persistent_workers=True in the DataLoader",
    "`del batch` after the loop of an epoch",
)


def _of_later_epochs(need: Need) -> str:
    taken, kept = need.prediction, need.load.kept
    is_sure = taken.later_peak_bytes - taken.semaphore_bytes > need.shm_free_bytes
    what = f"the last {kept + 1} batches stay" if kept else "the last batch stays"
    return (
        f"; from the second epoch on it {'fails' if is_sure else 'may fail'}: {what} until the"
        f" workers end, which makes {readable(taken.later_peak_bytes)}"
    )


def workers(need: Need) -> str:
    """`8 workers`, `2 x 8 workers on 4 ranks`."""
    load = need.load
    many = "1 worker" if load.workers == 1 else f"{load.workers} workers"
    if load.loaders > 1:
        many = f"{load.loaders} loaders of {many}"
    return many + (f" on each of {load.ranks} ranks" if load.ranks > 1 else "")


def _verb(word: str, need: Need) -> str:
    """`1 worker needs`, `2 workers need`."""
    return word + "s" if need.load.workers == need.load.loaders == need.load.ranks == 1 else word


def never_above(need: Need) -> str:
    """The bound, and that of later epochs where it is another one."""
    taken = need.prediction
    text = readable(taken.bound_bytes)
    if taken.later_bound_bytes <= taken.bound_bytes:
        return text
    return f"{text}   {readable(taken.later_bound_bytes)} from the second epoch on"


def _numbers(need: Need) -> list[Evidence]:
    load, taken = need.load, need.prediction
    in_use = "pinned batches lie elsewhere" if load.pins else "one batch in use"
    if load.kept:
        in_use += f", {load.kept} kept"
    found = [
        Evidence("one batch", f"{readable(taken.batch_bytes)}   {need.batch_text}".rstrip()),
        Evidence(
            "usual peak",
            f"{readable(taken.peak_bytes)}   {workers(need)} x prefetch {load.prefetch}, {in_use}",
        ),
        Evidence("never above", never_above(need)),
    ]
    if need.measured_bytes is not None:
        found.append(
            Evidence("measured", f"{readable(need.measured_bytes)}   {need.measured_text}".rstrip())
        )
    if _is_beyond_memory(need):
        found.append(
            Evidence(
                "memory",
                f"{need.memory_limited_by} leaves {readable(need.memory_usable_bytes or 0)}",
            )
        )
    return found


def _is_beyond_memory(need: Need) -> bool:
    """Whether there is no memory for the size that would be recommended: it would be a promise only."""
    left = need.memory_usable_bytes
    return left is not None and need.recommended_bytes - need.used_bytes > left


def _hang(need: Need) -> list[Evidence]:
    if not need.hangs_by:
        return []
    return [Evidence("or", f"it hangs without a word: {need.hangs_by}")]


def _fixes(need: Need) -> list[str]:
    """The size where it is set, and what takes less of it; that first where memory has no such size."""
    place = Place(need.runtime, need.service, need.is_container)
    fixes = list(size_fixes(need.recommended_bytes, place))
    if fixes and "   (" not in fixes[0] and need.runtime in ("docker", "podman"):
        fixes[0] += f"   (this is a {need.runtime} container)"
    return [*_smaller(need), *fixes] if _is_beyond_memory(need) else [*fixes, *_smaller(need)]


def _smaller(need: Need) -> list[str]:
    load = need.load
    found = []
    if need.max_workers:
        if need.max_workers < load.workers:
            found.append(
                f"num_workers={need.max_workers}   (no more fit at prefetch {load.prefetch})"
            )
    elif need.max_workers_at_one:
        found.append(f"num_workers={need.max_workers_at_one}, prefetch_factor=1   (no more fit)")
    else:
        found.append("num_workers=0   (no number of workers fits)")
    if need.uint8_bytes:
        at = "1 worker, prefetch 1" if not need.max_workers else workers(need)
        found.insert(
            0 if not need.max_workers_at_one else len(found),
            "send uint8 batches, and normalise them after they arrive"
            f"   ({readable(need.uint8_bytes)} at {at})",
        )
    return found
