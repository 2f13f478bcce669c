"""A model and a checkpoint, or two files, as a report: what is missing, unexpected, of another shape.

The judgement on each is the checks'; what torch would do stands in `model/keys.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from torchkit import checks
from torchkit.checks.keys_missing import MissingKeys
from torchkit.checks.keys_missing import judge as judge_missing
from torchkit.checks.keys_unexpected import UnexpectedKeys
from torchkit.checks.keys_unexpected import judge as judge_unexpected
from torchkit.checks.shape_differs import DifferingShapes, ShapePair
from torchkit.checks.shape_differs import judge as judge_shapes
from torchkit.commands.key_folding import fold, told
from torchkit.commands.loading_code import Origin, drop_lines, load_line, subscript
from torchkit.model.keys import (
    COUNTER,
    Key,
    KeyComparison,
    Pair,
    compare_keys,
    error_text,
)
from torchkit.model.rename_search import find_renaming
from torchkit.model.renaming import Renaming
from torchkit.report import (
    WOULD_FAIL_WITH,
    Evidence,
    Finding,
    Json,
    Report,
    Status,
    Table,
    Verdict,
    could_not_look,
    fail,
    ok,
)

if TYPE_CHECKING:
    from torchkit.model.own_loading import OwnLoading

    Asking = Callable[[Sequence[Key], Mapping[str, int | None] | None], OwnLoading | None]
    """Asks a model's own code, where it has any, what it makes of keys and their versions."""

MOST_TOLD = 5
"""So many folded names are told in a message; the table has the others."""

MOST_ROWS = 30
"""So many folded rows text shows; JSON has all keys."""

MOST_QUOTED = 8
"""Of more keys than these the error that torch would raise is shortened."""

MOST_GROUPS = 8
"""Of a file with more state dicts than these the largest are tried."""


class _File(NamedTuple):
    """The file; `knows_versions`: whether it is known which versions its modules have, if any.

    `damage` is what is wrong with it, and `danger` what unpickling it would do, in clauses.
    """

    name: str
    origin: Origin
    knows_versions: bool
    damage: str
    danger: str


class _Answer(NamedTuple):
    """As the names stand, and, under a renaming where one was found, what is left then."""

    group: str
    subscripts: tuple[str | int, ...]
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
    versions: Mapping[str, Mapping[str, int | None]] | None = None,
    origin: Origin | None = None,
    findings: Sequence[Finding] = (),
    tensorless: Sequence[Key] | None = None,
    ask: Asking | None = None,
) -> Report:
    """Whether `load_state_dict` of a model takes what a file holds.

    `keys` are `state_keys(model)`; `entries` the file's tensors, with the `group` they are in;
    `model` the class's name, which torch's message has. `modules` (`module_paths`) give torch's
    order of unexpected keys, `unsaved` are the buffers with `persistent=False`, `versions` those
    of each state dict's `_metadata` by its group, None where they are not known. `origin` is where
    the file is, for the code that loads it, and `findings` what is wrong with the file itself.
    `tensorless` (`tensorless_keys`) are the keys of a flat state dict that hold no tensor, None
    where they are not known. `ask` (`own_loading`) is for models with loading code of their own.
    """
    answer = _answer(keys, entries, modules, versions or {}, tensorless)
    damage = [it.verdict.brief for it in findings if it.status is Status.FAIL]
    danger = [it.verdict.brief for it in findings if it.status is Status.WARN]
    origin = origin or Origin(file)
    source = _File(file, origin, versions is not None, "; ".join(damage), "; ".join(danger))
    own = None
    if ask is not None and not damage:
        own = ask(answer.given, (versions or {}).get(answer.group))
    judged = _by_own_code(answer, own, model, file)
    if judged is not None:
        return _own_report(judged, keys, answer, model, source, findings)
    facts = _Facts(keys, answer, model, source, unsaved)
    differences = _differences(answer)
    return Report(
        "summary",
        findings=checks.worst_first([*findings, *facts.findings()]),
        tables=(Table("keys", KEY_COLUMNS, tuple(differences)),),
        views=(
            _key_view(differences, model, file),
            Table("totals", ("area", "value"), facts.lines()),
        ),
        totals=facts.totals(),
        headline=" · ".join(filter(None, [facts.headline(), source.danger])),
    )


def _answer(
    keys: Sequence[Key],
    entries: Sequence[Key],
    modules: Sequence[str],
    versions: Mapping[str, Mapping[str, int | None]],
    tensorless: Sequence[Key] | None,
) -> _Answer:
    """Of the state dicts in a file, e.g. model and optimizer, the one that fits best."""
    groups: dict[str, list[Key]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    if tensorless and ("" in groups or not groups):
        groups.setdefault("", []).extend(tensorless)
    largest = sorted(groups, key=lambda it: -len(groups[it]))[:MOST_GROUPS] or [""]
    best: _Answer | None = None
    for group in sorted(largest, key=list(groups or [""]).index):
        given = groups.get(group, [])
        is_complete = tensorless is not None and not group
        now = compare_keys(
            keys, given, modules=modules, versions=versions.get(group), is_complete=is_complete
        )
        tensors = [key for key in given if key.dtype]
        renaming = None if now.is_loadable else find_renaming(keys, tensors)
        then = now
        if renaming is not None:  # a new dictionary, which has no versions any more
            renamed = renaming.apply(given)
            then = compare_keys(keys, renamed, modules=modules, is_complete=is_complete)
        this = _Answer(group, given[0].subscripts if given else (), given, now, renaming, then)
        if best is None or len(then.matched) > len(best.then.matched):
            best = this
    assert best is not None  # noqa: S101 - there is at least the empty group
    return best


# --- what the model's own code says, where it has any


class _Judged(NamedTuple):
    """The answer of a model that loads by code of its own; `loads` is None where none was got."""

    loads: bool | None
    headline: str
    findings: tuple[Finding, ...]


_ALL = ("keys-missing", "keys-unexpected", "shape-differs")


def _by_own_code(answer: _Answer, own: OwnLoading | None, model: str, file: str) -> _Judged | None:
    """None where names and shapes alone decide."""
    odd = [it for it in answer.now.matched if it.wanted.shape is not None and not it.given.dtype]
    if odd:
        names = told((it.name for it in odd), most=MOST_TOLD)
        reason = f"not predicted: {names} of {file} holds no tensor"
        return _Judged(None, reason, _of_all(could_not_look(reason)))
    if own is None or own.error == error_text(model, answer.now):
        return None
    code = f"loading code of its own ({told(own.classes, most=3)})"
    if own.error is None:
        reason = f"not predicted: the model has {code}"
        return _Judged(None, reason, _of_all(could_not_look(reason)))
    if not own.error:
        words = f"{model} takes the keys of {file} by {code}"
        return _Judged(True, f"load_state_dict would work: {words}", _of_all(ok(words)))
    verdict = fail(
        f"{model} does not take the keys of {file} by {code}",
        evidence=[Evidence(WOULD_FAIL_WITH, _shortened(own.error))],
        fix=[f"give the checkpoint of a {model} that was made with the same arguments"],
        brief=f"the loading code of {model} does not take the file's keys",
    )
    id = next(
        (id for id, words in zip(_ALL, ("Missing key", "Unexpected key"), strict=False) if words in own.error),
        "shape-differs",
    )  # fmt: skip
    return _Judged(False, f"load_state_dict would fail in {code}", (_finding(id, verdict),))


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


MOST_CHARACTERS = 1500
"""A longer error of a model's own loading code is cut off."""


def _of_all(verdict: Verdict) -> tuple[Finding, ...]:
    return tuple(_finding(id, verdict) for id in _ALL)


def _own_report(
    judged: _Judged,
    keys: Sequence[Key],
    answer: _Answer,
    model: str,
    source: _File,
    findings: Sequence[Finding],
) -> Report:
    facts = _Facts(keys, answer._replace(renaming=None, then=answer.now), model, source, ())
    rows = [] if judged.loads else _differences(facts.answer)
    totals = facts.totals()
    return Report(
        "summary",
        findings=checks.worst_first([*findings, *judged.findings]),
        tables=(Table("keys", KEY_COLUMNS, tuple(rows)),),
        views=(
            _key_view(rows, model, source.name),
            Table("totals", ("area", "value"), facts.lines()),
        ),
        totals={**totals, "loads": judged.loads},
        headline=" · ".join(filter(None, [judged.headline, source.danger])),
    )


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
        self.kind = _kind(answer, source.origin.format)
        fewer = min(len(keys), len(answer.given))
        is_other = not self.kind and 2 * len(self.then.matched) < fewer
        self.strangeness = self._strange_words() if is_other else ""
        """Why this is not the model's checkpoint: too few keys fit. Nothing is advised then."""
        if not self.kind:
            self.strangeness = self._other_form() or self.strangeness

    def findings(self) -> list[Finding]:
        """One of each kind; the code that loads the file stands with the first that is wrong."""
        now, then = self.now, self.then
        code = self._code()
        is_explained = bool(now.missing) and (self.renaming is not None or bool(self.kind))
        missing = could_not_look(
            f"{self.file} is damaged: keys that are not in it may have been cut off"
        )
        if not (self.source.damage and now.missing):
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

    def _other_form(self) -> str:
        """Of a module that lacks keys and has others in the file: to drop those would lose weights."""
        lacking = {_holder(key.name) for key in self.then.missing}
        spare = [key.name for key in self.then.unexpected if key.name not in self.unsaved]
        modules = sorted({_holder(name) for name in spare} & lacking - {""})
        if not modules:
            return ""
        text = f"the file has the weights of {told(modules, most=MOST_TOLD)} in another form"
        if any(".parametrizations." in key.name for key in self.then.missing):
            return f"{text}: load it into the model before the parametrization is put on"
        return f"{text}: they need to be converted, and would be lost if the keys were dropped"

    def _strange_words(self) -> str:
        after = f" after {self.renaming.words}" if self.renaming is not None else ""
        return (
            "it looks like the checkpoint of another model, or of one with other arguments: only "
            f"{len(self.then.matched)} of {len(self.keys)} keys fit{after}"
        )

    def _code(self) -> tuple[str, ...]:
        """Python that loads the file as far as it goes; none where that makes no sense."""
        then = self.then
        if self.kind or self.strangeness or self.now.is_loadable or self.source.damage:
            return ()
        lines = [load_line(self.source.origin, self.answer.group, self.answer.subscripts)]
        if self.renaming is not None:
            lines += self.renaming.code()
        differing = [pair.name for pair in then.differing]
        lines += drop_lines([*(key.name for key in then.unexpected), *differing])
        left = [key.name for key in then.missing if key.dtype and not self._is_tied(key)]
        load = "model.load_state_dict(state)"
        if then.missing or differing:
            load = "model.load_state_dict(state, strict=False)"
        lines.append(load)
        if left or differing:
            names = told([*left, *differing], most=MOST_TOLD)
            are_counters = all(name.endswith(COUNTER) for name in [*left, *differing])
            words = (
                "counters, which begin at 0" if are_counters else "as initialised, to be trained"
            )
            lines.append(f"# {words}: {names}")
        return tuple(line for line in lines if line)

    def headline(self) -> str:
        where = self._where() if self.answer.group else ""
        of = f" of the file's {where}" if where else ""
        if self.now.is_loadable:
            matched = len(self.now.matched)
            words = f"all {matched} keys{of} match" if matched != 1 else f"its only key{of} matches"
            words = words if self.keys else "the model has no keys"
            if self.now.filled:
                only = "" if self.source.knows_versions else "if "
                words += f", {only}torch fills {len(self.now.filled)} in"
            if self.source.damage:
                return f"{self.file} is {self.source.damage}; of what is left {words}"
            return f"load_state_dict would work: {words}"
        if self.source.damage:
            return f"{self.file} is {self.source.damage}; of what is left: {_counts(self.now)}"
        if self.renaming is not None and self.then.is_loadable:
            return f"load_state_dict would work after {self.renaming.words}"
        failing = f"load_state_dict would fail: {_counts(self.now)}"
        if self.kind or self.strangeness:
            return f"{failing}; {(self.kind or self.strangeness).partition(':')[0]}"
        if self.renaming is not None:
            return f"{failing}; after {self.renaming.words}: {_counts(self.then)}"
        return failing

    def _where(self) -> str:
        """`["model"]`, the part of the file that is compared; "" where that is all of it."""
        is_model = self.answer.group in self.source.origin.models
        return f"{subscript(self.answer.subscripts)}{'.state_dict()' if is_model else ''}"

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
            "loads": now.is_loadable and not self.source.damage,
            "renaming": self.renaming.words if self.renaming else None,
            "loads_renamed": (
                then.is_loadable and not self.source.damage if self.renaming else None
            ),
        }

    def lines(self) -> tuple[dict[str, Json], ...]:
        """What else there is to say, beside findings and differences."""
        said = []
        if self._where():
            said.append(("state dict", f"torch.load(…){self._where()}"))
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


def _holder(name: str) -> str:
    """The module that a key is of, whether it is parametrized or not."""
    before, is_parametrized, _ = name.partition(".parametrizations.")
    return before if is_parametrized else name.rpartition(".")[0]


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


def _kind(answer: _Answer, format: str) -> str:
    """What the file holds, where it is none of a model's weights; "" where it may be.

    peft: tuners/lora/layer.py; AutoGPTQ: nn_modules/qlinear; bitsandbytes: nn/modules.py.
    """
    if not answer.then.missing:
        return ""
    if format == "optimizer":
        return "the file holds an optimizer's state: it goes to optimizer.load_state_dict"
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
