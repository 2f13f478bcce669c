"""A model and a checkpoint, or two files, as a report: what is missing, unexpected, of another shape.

The judgement on each is the checks'; what torch would do stands in `model/keys.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from torchkit import checks
from torchkit.checks.keys_missing import MissingKeys
from torchkit.checks.keys_missing import judge as judge_missing
from torchkit.checks.keys_unexpected import UnexpectedKeys
from torchkit.checks.keys_unexpected import judge as judge_unexpected
from torchkit.checks.shape_differs import DifferingShapes, ShapePair
from torchkit.checks.shape_differs import judge as judge_shapes
from torchkit.commands.key_folding import fold, told
from torchkit.commands.loading_code import drop_lines, load_line, subscript
from torchkit.model.keys import (
    Key,
    KeyComparison,
    Pair,
    compare_keys,
    error_text,
)
from torchkit.model.rename_search import find_renaming
from torchkit.model.renaming import Renaming
from torchkit.report import Finding, Json, Report, Table, Verdict

MOST_TOLD = 5
"""So many folded names are told in a message; the table has the others."""

MOST_ROWS = 30
"""So many folded rows text shows; JSON has all keys."""

MOST_QUOTED = 8
"""Of more keys than these the error that torch would raise is shortened."""

MOST_GROUPS = 8
"""Of a file with more state dicts than these the largest are tried."""


class _File(NamedTuple):
    """The file; `knows_versions`: whether it is known which versions its modules have, if any."""

    name: str
    path: str
    format: str
    knows_versions: bool


class _Answer(NamedTuple):
    """As the names stand, and, under a renaming where one was found, what is left then."""

    group: str
    given: Sequence[Key]
    now: KeyComparison
    renaming: Renaming | None
    then: KeyComparison


def compare_with_file(
    keys: Sequence[Key],
    entries: Sequence[Key],
    *,
    model: str,
    file: str,
    modules: Sequence[str] = (),
    unsaved: Collection[str] = (),
    versions: Mapping[str, int | None] | None = None,
    path: str = "",
    format: str = "",
) -> Report:
    """Whether `load_state_dict` of a model takes what a file holds.

    `keys` are `state_keys(model)`; `entries` the file's tensors, with the `group` they are in;
    `model` the class's name, which torch's message has. `modules` (`module_paths`) give torch's
    order of unexpected keys, `unsaved` are the buffers with `persistent=False`, `versions` those
    of the state dict's `_metadata`, where they are known. `path` is the file's, for the code that
    loads it, and `format` that of `torchkit.model.files.Contents`.
    """
    answer = _answer(keys, entries, modules, versions)
    source = _File(file, path or file, format, versions is not None or format == "safetensors")
    facts = _Facts(keys, answer, model, source, unsaved)
    differences = _differences(answer)
    return Report(
        "summary",
        findings=checks.worst_first(facts.findings()),
        tables=(Table("keys", KEY_COLUMNS, tuple(differences)),),
        views=(
            _key_view(differences, model, file),
            Table("totals", ("area", "value"), facts.lines()),
        ),
        totals=facts.totals(),
        headline=facts.headline(),
    )


def _answer(
    keys: Sequence[Key],
    entries: Sequence[Key],
    modules: Sequence[str],
    versions: Mapping[str, int | None] | None,
) -> _Answer:
    """Of the state dicts in a file, e.g. model and optimizer, the one that fits best."""
    groups: dict[str, list[Key]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    largest = sorted(groups, key=lambda it: -len(groups[it]))[:MOST_GROUPS] or [""]
    best: _Answer | None = None
    for group in sorted(largest, key=list(groups or [""]).index):
        given = groups.get(group, [])
        now = compare_keys(keys, given, modules=modules, versions=versions)
        renaming = None if now.is_loadable else find_renaming(keys, given)
        renamed = given if renaming is None else renaming.apply(given)
        then = compare_keys(keys, renamed, modules=modules, versions=versions)
        this = _Answer(group, given, now, renaming, then)
        if best is None or len(then.matched) > len(best.then.matched):
            best = this
    assert best is not None  # noqa: S101 - there is at least the empty group
    return best


# --- the findings, the first line, the totals


class _Facts:
    """What the report says, from one answer."""

    def __init__(
        self,
        keys: Sequence[Key],
        answer: _Answer,
        model: str,
        source: _File,
        unsaved: Collection[str],
    ) -> None:
        self.keys, self.answer, self.model = keys, answer, model
        self.source, self.file = source, source.name
        self.unsaved = set(unsaved)
        self.now, self.then, self.renaming = answer.now, answer.then, answer.renaming
        self.kind = _kind(answer)
        fewer = min(len(keys), len(answer.given))
        is_other = not self.kind and 2 * len(self.then.matched) < fewer
        self.strangeness = self._strange_words() if is_other else ""
        """Why this is not the model's checkpoint: too few keys fit. Nothing is advised then."""

    def findings(self) -> list[Finding]:
        """One of each kind; the code that loads the file stands with the first that is wrong."""
        now, then = self.now, self.then
        code = self._code()
        is_explained = bool(now.missing) and (self.renaming is not None or bool(self.kind))
        missing = judge_missing(
            MissingKeys(
                self.model,
                self.file,
                len(now.missing),
                len(self.keys),
                told((key.name for key in now.missing), most=MOST_TOLD),
                self._error(now._replace(unexpected=(), differing=())),
                renaming=self.renaming.words if self.renaming else "",
                origin=self.renaming.origin if self.renaming else "",
                left=_counts(then) if self.renaming else "",
                tied=tuple(key.name for key in now.missing if self._is_tied(key)),
                kind=self.kind or self.strangeness,
                code=code,
            )
        )
        unexpected = judge_unexpected(
            UnexpectedKeys(
                self.model,
                self.file,
                len(now.unexpected),
                len(self.answer.given),
                told((key.name for key in now.unexpected), most=MOST_TOLD),
                self._error(now._replace(missing=(), differing=())),
                unsaved=sum(key.name in self.unsaved for key in now.unexpected),
                is_renamed=is_explained,
                code=() if now.missing else code,
            )
        )
        shapes = judge_shapes(
            DifferingShapes(
                self.model,
                self.file,
                tuple(_shape_pair(pair) for pair in then.differing),
                len(then.matched) + len(then.differing),
                self._error(then._replace(missing=(), unexpected=())),
                code=() if now.missing or now.unexpected else code,
            )
        )
        return [
            _finding("keys-missing", missing),
            _finding("keys-unexpected", unexpected),
            _finding("shape-differs", shapes),
        ]

    def _error(self, comparison: KeyComparison) -> str:
        """torch's own words; of a long list of keys the first ones."""
        shorter = comparison._replace(
            missing=comparison.missing[:MOST_QUOTED],
            unexpected=comparison.unexpected[:MOST_QUOTED],
            differing=comparison.differing[:MOST_QUOTED],
        )
        text = error_text(self.model, shorter)
        more = sum(map(len, comparison)) - sum(map(len, shorter))
        return f"{text.rstrip(' .')}, … and {more} more" if more else text

    def _is_tied(self, key: Key) -> bool:
        here = {pair.name for pair in self.now.matched}
        if key.shared_with is not None and key.shared_with in here:
            return True
        return any(other.shared_with == key.name and other.name in here for other in self.keys)

    def _strange_words(self) -> str:
        after = f" after {self.renaming.words}" if self.renaming is not None else ""
        return (
            "it looks like the checkpoint of another model, or of one with other arguments: only "
            f"{len(self.then.matched)} of {len(self.keys)} keys fit{after}"
        )

    def _code(self) -> tuple[str, ...]:
        """Python that loads the file as far as it goes; none where that makes no sense."""
        then = self.then
        if self.kind or self.strangeness or self.now.is_loadable:
            return ()
        lines = [load_line(self.source.path, self.answer.group, self.source.format)]
        if self.renaming is not None:
            lines += self.renaming.code()
        differing = [pair.name for pair in then.differing]
        lines += drop_lines([*(key.name for key in then.unexpected), *differing])
        left = [key.name for key in then.missing if not self._is_tied(key)]
        load = "model.load_state_dict(state)"
        if then.missing or differing:
            load = "model.load_state_dict(state, strict=False)"
        lines.append(load)
        if left or differing:
            lines.append(
                f"# as initialised, to be trained: {told([*left, *differing], most=MOST_TOLD)}"
            )
        return tuple(line for line in lines if line)

    def headline(self) -> str:
        where = subscript(self.answer.group)
        of = f" of the file's {where}" if where else ""
        if self.now.is_loadable:
            matched = len(self.now.matched)
            words = f"all {matched} keys{of} match" if matched != 1 else f"its only key{of} matches"
            words = words if self.keys else "the model has no keys"
            if self.now.filled:
                only = "" if self.source.knows_versions else "if "
                words += f", {only}torch fills {len(self.now.filled)} in"
            return f"load_state_dict would work: {words}"
        if self.renaming is not None and self.then.is_loadable:
            return f"load_state_dict would work after {self.renaming.words}"
        failing = f"load_state_dict would fail: {_counts(self.now)}"
        if self.kind or self.strangeness:
            return f"{failing}; {(self.kind or self.strangeness).partition(':')[0]}"
        if self.renaming is not None:
            return f"{failing}; after {self.renaming.words}: {_counts(self.then)}"
        return failing

    def totals(self) -> dict[str, Json]:
        now, then = self.now, self.then
        return {
            "model_keys": len(self.keys),
            "file_keys": len(self.answer.given),
            "group": self.answer.group or None,
            "matched": len(now.matched),
            "missing": len(now.missing),
            "unexpected": len(now.unexpected),
            "shapes_differ": len(now.differing),
            "dtypes_differ": len(then.converted),
            "filled_in": len(now.filled),
            "not_compared": len(now.unseen),
            "loads": now.is_loadable,
            "renaming": self.renaming.words if self.renaming else None,
            "loads_renamed": then.is_loadable if self.renaming else None,
        }

    def lines(self) -> tuple[dict[str, Json], ...]:
        """What else there is to say, beside findings and differences."""
        said = []
        if self.answer.group:
            said.append(("state dict", f"torch.load(…){subscript(self.answer.group)}"))
        said.append(
            ("keys", f"{len(self.keys)} in {self.model} · {len(self.answer.given)} in {self.file}")
        )
        said += [("dtypes", text) for text in _dtypes(self.then)]
        if self.then.filled and not (self.kind or self.strangeness):
            names = told((it.name for it in self.then.filled), most=MOST_TOLD)
            unless = (
                ""
                if self.source.knows_versions
                else ("; not so if it was saved by a newer one and the keys were dropped later")
            )
            why = "as for every file that is older than PyTorch 0.4.1 or keeps no versions"
            said.append(("filled in", f"{names}: torch adds them, {why}{unless}"))
        if self.now.unseen:
            said.append(
                (
                    "not compared",
                    f"{told((it.name for it in self.now.unseen), most=MOST_TOLD)}: no tensors",
                )
            )
        return tuple({"area": area, "value": value} for area, value in said)


def _finding(check_id: str, verdict: Verdict) -> Finding:
    check = checks.load(check_id)
    return Finding(check.id, check.area, verdict, check.reference)


def _counts(comparison: KeyComparison) -> str:
    """`2 missing, 1 unexpected, 3 shapes differ`; "" where all is well."""
    shapes = len(comparison.differing)
    return ", ".join(
        filter(
            None,
            [
                f"{len(comparison.missing)} missing" if comparison.missing else "",
                f"{len(comparison.unexpected)} unexpected" if comparison.unexpected else "",
                f"{shapes} shape{' differs' if shapes == 1 else 's differ'}" if shapes else "",
            ],
        )
    )


def _shape_pair(pair: Pair) -> ShapePair:
    return ShapePair(pair.name, pair.wanted.shape or (), pair.given.shape or ())


def _dtypes(comparison: KeyComparison) -> list[str]:
    """`148 tensors are float16 in the file and float32 in the model: they are converted`."""
    kinds: dict[tuple[str, str], int] = {}
    for pair in comparison.converted:
        kind = (pair.given.dtype, pair.wanted.dtype)
        kinds[kind] = kinds.get(kind, 0) + 1
    return [
        f"{count} tensor{' is' if count == 1 else 's are'} {given} in the file and {wanted} in the "
        "model: load_state_dict converts"
        for (given, wanted), count in kinds.items()
    ]


_KINDS = (
    (("lora_A", "lora_B", "lora_embedding_A"), "an adapter (LoRA)", "it holds what was added to a "
     "model; load the model first, then the adapter: peft.PeftModel.from_pretrained(model, folder)"),
    (("qweight", "qzeros"), "weights packed by GPTQ or AWQ", "no float model takes these; load them "
     "with the library that packed them"),
    (("quant_map", "absmax"), "weights packed by bitsandbytes", "no float model takes these; load "
     "them with the library that packed them"),
)  # fmt: skip
"""Last parts, or parts, of the keys of files that hold no model's own weights."""


def _kind(answer: _Answer) -> str:
    """What the file holds, where it is none of a model's weights; "" where it may be.

    peft: tuners/lora/layer.py; AutoGPTQ: nn_modules/qlinear; bitsandbytes: nn/modules.py.
    """
    if not answer.then.missing:
        return ""
    strange = [key.name.split(".") for key in answer.then.unexpected]
    for parts, what, advice in _KINDS:
        count = sum(any(part in name for part in parts) for name in strange)
        if count and 4 * count >= len(strange):
            return f"the file holds {what}: {advice}"
    return ""


# --- tables


KEY_COLUMNS = (
    "key", "status", "file_key", "model_shape", "file_shape", "model_dtype", "file_dtype",
)  # fmt: skip


def _differences(answer: _Answer) -> list[dict[str, Json]]:
    """A row for each key that differs, or fits under another name only."""
    then = answer.then
    old_names = {}
    if answer.renaming is not None:
        old_names = {answer.renaming(key.name): key.name for key in answer.given}
    rows = [_row(key.name, "missing", key, None) for key in then.missing]
    rows += [_row(key.name, "unexpected", None, key, old_names) for key in then.unexpected]
    rows += [
        _row(it.name, "shape-differs", it.wanted, it.given, old_names) for it in then.differing
    ]
    rows += [_row(key.name, "filled-in", key, None) for key in then.filled]
    converted = {it.name for it in then.converted}
    for pair in then.matched:
        if old_names.get(pair.name, pair.name) != pair.name:
            rows.append(_row(pair.name, "renamed", pair.wanted, pair.given, old_names))
        elif pair.name in converted:
            rows.append(_row(pair.name, "dtype-differs", pair.wanted, pair.given, old_names))
    return rows


def _row(
    name: str,
    status: str,
    model: Key | None,
    file: Key | None,
    old_names: Mapping[str | None, str] | None = None,
) -> dict[str, Json]:
    return {
        "key": name,
        "status": status,
        "file_key": None if file is None else (old_names or {}).get(name, name),
        "model_shape": None if model is None or model.shape is None else list(model.shape),
        "file_shape": None if file is None or file.shape is None else list(file.shape),
        "model_dtype": model.dtype if model is not None else None,
        "file_dtype": file.dtype if file is not None else None,
    }


_TOLD_ELSEWHERE = ("filled-in", "dtype-differs", "renamed")


def _key_view(rows: Sequence[Mapping[str, Json]], model: str, file: str) -> Table:
    """What differs, folded; what is only renamed or converted is told in words."""
    shown = [row for row in rows if row["status"] not in _TOLD_ELSEWHERE]
    cells = [
        (str(row["key"]), (str(row["status"]), _side(row, "model"), _side(row, "file")))
        for row in shown
    ]
    ours, theirs = (model, file) if model != file else (f"{model} (model)", f"{file} (file)")
    return folded_view("keys", "key", cells, (ours, theirs))


def folded_view(
    name: str,
    first: str,
    cells: Sequence[tuple[str, tuple[str, str, str]]],
    sides: tuple[str, str],
) -> Table:
    """Rows of name, (status, one side, the other), equal ones folded, the first of them shown."""
    folded = fold(cells)
    shown = []
    for it in folded[:MOST_ROWS]:
        status, one, other = cells[it.first][1]
        many = f" (x{it.size})" if it.size > 1 else ""
        shown.append({first: f"{it.label}{many}", "status": status, sides[0]: one, sides[1]: other})
    rest = sum(it.size for it in folded[MOST_ROWS:])
    if rest:
        shown.append({first: f"… and {rest} more", "status": "", sides[0]: "", sides[1]: ""})
    return Table(name, (first, "status", *sides), tuple(shown))


def _side(row: Mapping[str, Json], side: str) -> str:
    shape = row[f"{side}_shape"]
    return (
        f"{shape} {row[f'{side}_dtype']}" if shape is not None else str(row[f"{side}_dtype"] or "")
    )
