"""How a checkpoint's names became others than the model's: prefixes, wrappers, parts, order.

Only a renaming is found that makes keys meet whose shapes are equal. No torch here.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torchkit.model.keys import Key, Shape
from torchkit.model.renaming import (
    WRAPPERS,
    Renaming,
    Step,
    adds,
    exchanges,
    removes,
    replaces,
    unwraps,
)

OLD_NAMES = {
    "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var", "moving_var": "running_var",
}  # fmt: skip
"""Last parts of a key by which TensorFlow and the first BERT checkpoints call a norm's tensors."""


def find_renaming(wanted: Sequence[Key], given: Sequence[Key]) -> Renaming | None:
    """The simplest renaming under which clearly more keys fit; None where there is none."""
    model = {key.name: key.shape for key in wanted if key.dtype}
    file = [key for key in given if key.dtype]
    fit = _fit(file, model)
    if not file or fit.fitting in (len(model), len(file)):
        return None
    best = Renaming()
    best = _with_prefix(model, file) or best
    for improve in (_with_old_names, _with_parts, _by_order):
        better = improve(best, model, file)
        if better is not None and _is_certain(better, best, model, file):
            best = better
    return best if best.steps or best.table else None


def _is_certain(
    better: Renaming, before: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]
) -> bool:
    """More keys fit, no other key stops fitting, and of those that meet most have equal shapes."""
    now, then = _fit(better.apply(file), model), _fit(before.apply(file), model)
    gained = now.fitting - then.fitting
    return gained > 0 and gained > now.differing - then.differing


@dataclass(frozen=True)
class _Fit:
    meeting: int
    fitting: int

    @property
    def differing(self) -> int:
        return self.meeting - self.fitting


def _fit(keys: Iterable[Key], model: Mapping[str, Shape | None]) -> _Fit:
    meeting = [key for key in keys if key.name in model]
    return _Fit(len(meeting), sum(_same(model[key.name], key.shape) for key in meeting))


def _same(wanted: Shape | None, given: Shape | None) -> bool:
    return wanted is None or given is None or wanted == given


# --- prefixes and wrappers


MOST_PREFIXES = 12
"""So many of the prefixes that most keys share are tried on each side."""

SAMPLE = 200
"""Pairs of prefixes are judged by so many keys first."""


def _with_prefix(model: Mapping[str, Shape | None], file: Sequence[Key]) -> Renaming | None:
    best, score = None, _score(file, model)
    for renaming in _most_promising(_prefix_renamings(model, file), model, file):
        complete = _left_out(renaming, model, file)
        this = _score(complete.apply(file), model)
        if this > score and _is_clear(complete, model, file):
            best, score = complete, this
    return best


def _is_clear(better: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]) -> bool:
    """A good part of the smaller side fits by it, or nearly all of many names meet."""
    now, then = _fit(better.apply(file), model), _fit(file, model)
    smaller = min(len(model), len(file))
    gained = now.fitting - then.fitting
    if smaller >= MANY and gained and now.meeting - then.meeting >= 0.8 * smaller:
        return True
    return 4 * gained >= smaller and _is_certain(better, Renaming(), model, file)


MANY = 12
"""So many names do not meet by chance, even where their shapes differ."""


def _prefix_renamings(model: Mapping[str, Shape | None], file: Sequence[Key]) -> Iterable[Renaming]:
    """What could be: prefixes to remove and to add, wrappers to take out; the simplest first."""
    names = [key.name for key in file]
    smaller = min(len(model), len(names))
    ours, theirs = _prefixes(model, smaller), _prefixes(names, smaller)
    yield from (Renaming((removes(it),)) for it in theirs)
    yield from (Renaming((adds(it),)) for it in ours)
    wrappers = [it for it in WRAPPERS if any(f".{it}." in f".{name}" for name in names)]
    if any(f".{it}." in name for it in wrappers for name in names):  # where no prefix reaches
        unwrapping = Renaming(tuple(unwraps(it) for it in wrappers))
        yield unwrapping
        bare = _prefixes((key.name for key in unwrapping.apply(file)), smaller)
        yield from (Renaming((*unwrapping.steps, removes(it))) for it in bare)
    yield from (Renaming((exchanges(old, new),)) for old in theirs for new in ours if old != new)


def _most_promising(
    renamings: Iterable[Renaming], model: Mapping[str, Shape | None], file: Sequence[Key]
) -> list[Renaming]:
    sample = file[:: max(len(file) // SAMPLE, 1)]
    scored = [(_score(renaming.apply(sample), model), renaming) for renaming in renamings]
    scored.sort(key=lambda it: it[0], reverse=True)
    return [renaming for score, renaming in scored[:MOST_PREFIXES] if score[1]]


def _left_out(
    renaming: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]
) -> Renaming:
    """Keys without the prefix that is removed are left out, unless they fit as they are."""
    prefix = renaming.steps[0].removed
    if not prefix.endswith("."):
        return renaming
    others = [key for key in file if not key.name.startswith(prefix)]
    if not others or any(key.name in model for key in renaming.apply(others)):
        return renaming
    return Renaming(renaming.steps, keeps=prefix)


def _score(keys: Sequence[Key], model: Mapping[str, Shape | None]) -> tuple[int, int]:
    fit = _fit(keys, model)
    return fit.fitting, fit.meeting


def _prefixes(names: Iterable[str], smaller: int) -> list[str]:
    """Beginnings that so many names have that they could be all of the other side's, short first."""
    counts: Counter[str] = Counter()
    for name in names:
        end = name.find(".")
        while end >= 0:
            counts[name[: end + 1]] += 1
            end = name.find(".", end + 1)
    common = [(count, prefix) for prefix, count in counts.items() if 3 * count >= smaller]
    common.sort(key=lambda it: (-it[0], len(it[1])))
    return [prefix for _, prefix in common[:MOST_PREFIXES]]


# --- parts of a name


def _left_over(
    renaming: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]
) -> tuple[dict[str, Shape | None], list[Key]]:
    """What of the model is still missing, and what of the file is unexpected."""
    renamed = renaming.apply(file)
    there = {key.name for key in renamed}
    missing = {name: shape for name, shape in model.items() if name not in there}
    return missing, [key for key in renamed if key.name not in model]


def _with_old_names(
    before: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]
) -> Renaming | None:
    missing, strange = _left_over(before, model, file)
    if not missing:
        return None
    used = Counter(key.name.rpartition(".")[2] for key in strange)
    steps = [replaces(old, new) for old, new in OLD_NAMES.items() if used[old]]
    return Renaming((*before.steps, *steps), keeps=before.keeps) if steps else None


MOST_PARTS = 8
"""More parts that are renamed than these are no rule."""


def _with_parts(
    before: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]
) -> Renaming | None:
    """Parts that were renamed throughout: `layer` for `layers`, `norm1` for `bn1`."""
    now = before
    for _ in range(MOST_PARTS):
        missing, strange = _left_over(now, model, file)
        step = _best_part(missing, strange)
        if step is None:
            break
        longer = Renaming((*now.steps, step), keeps=now.keeps)
        if not _is_certain(longer, now, model, file):
            break
        now = longer
    return now if now is not before else None


def _best_part(missing: Mapping[str, Shape | None], strange: Sequence[Key]) -> Step | None:
    """The renamed part that most keys have, if nothing else could stand in its place.

    `bn1` is `norm1` rather than `norm2`: numbers in a name tell.
    """
    holes: dict[tuple[str, str], list[str]] = {}
    for name in missing:
        for before, part, after in _with_a_hole(name):
            holes.setdefault((before, after), []).append(part)
    votes: Counter[tuple[str, str]] = Counter()
    for key in strange:
        for before, part, after in _with_a_hole(key.name):
            for new in holes.get((before, after), ())[:MOST_PARTS]:
                shape = missing[f"{before}{new}{after}"]
                if _is_a_word(part) and _is_a_word(new) and _same(shape, key.shape):
                    votes[part, new] += 1
    numbered = {
        pair: count for pair, count in votes.items() if _number(pair[0]) == _number(pair[1])
    }
    for group in (numbered, votes):
        for (old, new), count in sorted(group.items(), key=lambda it: -it[1]):
            rivals = [
                n for (a, b), n in group.items() if (a == old) != (b == new) and 2 * n >= count
            ]
            if not rivals:
                return replaces(old, new)
    return None


def _is_a_word(part: str) -> bool:
    return re.fullmatch(r"\w+", part) is not None and not part.isdigit()


def _number(part: str) -> str:
    return re.sub(r"\D", "", part)


def _with_a_hole(name: str) -> Iterable[tuple[str, str, str]]:
    start = 0
    while start >= 0:
        end = name.find(".", start)
        stop = len(name) if end < 0 else end
        yield name[:start], name[start:stop], name[stop:]
        start = end + 1 if end >= 0 else -1


# --- order


MOST_TABLED = 40
"""More keys than these without a rule are not written out."""


def _by_order(
    before: Renaming, model: Mapping[str, Shape | None], file: Sequence[Key]
) -> Renaming | None:
    """What is left over on both sides: the same shapes in the same order between the same others.

    A file that sorts its names has no order to tell by.
    """
    missing, strange = _left_over(before, model, file)
    if not missing or len(missing) != len(strange) or not _is_in_order(file):
        return None
    ours = [(name.rpartition(".")[2], shape) for name, shape in missing.items()]
    theirs = [(key.name.rpartition(".")[2], key.shape) for key in strange]
    if ours != theirs or any(shape is None for _, shape in ours):
        return None
    pairs = {key.name: name for key, name in zip(strange, missing, strict=True)}
    table = Renaming(before.steps, pairs, before.keeps)
    there = {key.name: None for key in table.apply(file) if key.name in model}
    if list(there) != [name for name in model if name in there]:
        return None
    by_rule = _as_rule(pairs, before)
    if by_rule is not None and by_rule.apply(file) == table.apply(file):
        return by_rule
    return table if len(pairs) <= MOST_TABLED else None


def _as_rule(pairs: Mapping[str, str], before: Renaming) -> Renaming | None:
    """`query` is always `q_proj`: parts for parts, where a part always becomes the same."""
    rule: dict[str, str] = {}
    for old, new in pairs.items():
        one, other = old.split("."), new.split(".")
        if len(one) != len(other):
            return None
        for part, becomes in zip(one, other, strict=True):
            if part != becomes and (
                not (_is_a_word(part) and _is_a_word(becomes))
                or rule.setdefault(part, becomes) != becomes
            ):
                return None
    steps = tuple(replaces(old, new) for old, new in rule.items())
    return (
        Renaming((*before.steps, *steps), keeps=before.keeps) if len(steps) <= MOST_PARTS else None
    )


def _is_in_order(file: Sequence[Key]) -> bool:
    """Whether the file's names are not merely sorted, so that their order is the model's."""
    names = [key.name for key in file]
    return names != sorted(names) and _weights_first(names) >= 0


def _weights_first(names: Sequence[str]) -> int:
    """How often a weight comes right before the bias of the same module, less how often after."""
    found = 0
    for one, other in itertools.pairwise(names):
        module, _, last = one.rpartition(".")
        if other.rpartition(".")[0] == module:
            found += {("weight", "bias"): 1, ("bias", "weight"): -1}.get(
                (last, other.rpartition(".")[2]), 0
            )
    return found
