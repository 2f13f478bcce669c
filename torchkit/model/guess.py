"""What input a model may take, read off its first layers, its configuration and `forward`'s names.

A guess is only that: `guesses` gives several, the likeliest first, and the run proves one. How each
was come to is in `Inputs.guessed`, to be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchkit.errors import BadInput
from torchkit.model.configs import configured, picture_config
from torchkit.model.devices import device_of
from torchkit.model.first_layers import LENGTH, Shape, channels_of, first_shapes
from torchkit.model.inputs import Inputs, Maker, dtype_of, text_of
from torchkit.model.signatures import needed, short, signature_of
from torchkit.model.user_code import output_to_stderr

OWN_EXAMPLE = "the model's own example_input_array"
"""How an input was come to that the author has chosen: what it shows is true of the model."""

MOST = 24
"""So many guesses are made; each is a run."""


class _Guess(NamedTuple):
    """Inputs by argument; the empty name is the next position."""

    shapes: tuple[tuple[str, Shape], ...]
    how: str


def guess_inputs(
    model: nn.Module,
    *,
    batch_size: int = 1,
    no_batch: bool = False,
    dtype: str | None = None,
    device: str = "cpu",
) -> Inputs:
    """The first guess that runs; the only one without a run. The model is left as it was.

    A model that is lazy, or has parameters without memory, is not run: the first guess.
    Raises BadInput with the advice what to pass.
    """
    options = {"batch_size": batch_size, "no_batch": no_batch, "dtype": dtype, "device": device}
    found = list(guesses(model, **options))  # type: ignore[arg-type]  # a dict of options
    if len(found) == 1 or (found and not _can_run(model)):
        return found[0]
    errors: list[str] = []
    for inputs in found:
        error = _error_of(model, inputs)
        if error is None:
            return inputs
        errors.append(f"{', '.join(inputs.texts)} ({error})")
    raise no_guess(model, errors)


def no_guess(model: nn.Module, tried: Sequence[str] = ()) -> BadInput:
    """The advice what to pass, where nothing can be worked out or no guess ran.

    `tried` says each guess and what became of it; the first is shown.
    """
    name, signature = type(model).__name__, signature_of(model)
    takes = "" if signature is None else f"; forward takes {short(signature)}"
    names = [it.name for it in needed(signature)] if signature is not None else []
    if len(names) == 1 and signature is not None and _is_list_of_tensors(needed(signature)[0]):
        size = f"{channels_of(model) or 3}, 224, 224"
        hint = (
            f"save a list, torch.save([torch.rand({size})], 'list.pt'), and give it by name: "
            f"--input {names[0]}=@list.pt"
        )
    elif len(names) > 1:
        hint = f"say them: {' '.join(f'--input {it}=SHAPE:DTYPE' for it in names)}, e.g. {names[0]}=128:int64"
    else:
        picture = f"{channels_of(model) or 3},224,224"
        hint = f"say it: --input {picture} for a picture, --input 128:int64 for token ids, --input @batch.pt"
    if not tried:
        return BadInput(f"what {name} takes cannot be worked out from its layers{takes}", hint)
    more = f", and {len(tried) - 1} more" if len(tried) > 1 else ""
    return BadInput(f"no input worked out for {name} runs: {tried[0]}{more}{takes}", hint)


def guesses(
    model: nn.Module,
    *,
    batch_size: int = 1,
    no_batch: bool = False,
    dtype: str | None = None,
    device: str = "cpu",
) -> Iterator[Inputs]:
    """Inputs that the model may take, the likeliest first; nothing is run. There is at least one.

    Made one at a time, so that one that is not asked for costs nothing. Raises BadInput for
    options that cannot be used, and with the advice what to pass where nothing can be worked out.
    """
    where = device_of(device)
    wanted = None if dtype is None else dtype_of(dtype)
    floats = wanted if wanted is not None and not _is_integer(wanted) else _float_of(model)
    integers = wanted if wanted is not None and _is_integer(wanted) else torch.int64
    seen: set[Any] = set()
    example = _example(model, where)
    if example is not None:
        yield example
    for guess in _guesses(model):
        if guess.shapes in seen:
            continue
        seen.add(guess.shapes)
        maker = Maker(where, batch_size=batch_size, no_batch=no_batch)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        texts = []
        for keyword, shape in guess.shapes:
            kind = torch.bool if shape.is_bool else integers if shape.is_integer else floats
            value = _made(maker, shape, kind)
            texts.append(text_of(value, keyword or None))
            if keyword:
                kwargs[keyword] = value
            else:
                args.append(value)
        yield Inputs(tuple(args), kwargs, tuple(texts), guess.how)
        if len(seen) == MOST:
            return
    if not seen and example is None:
        raise no_guess(model)


def _made(maker: Maker, shape: Shape, kind: torch.dtype) -> torch.Tensor | list[torch.Tensor]:
    if shape.is_list:
        size = tuple(it for it in shape.sizes if it is not None)
        return [maker.tensor(size, kind).sigmoid() for _ in range(*maker.front or (1,))]
    if None not in shape.sizes:
        return maker.batch(tuple(it for it in shape.sizes if it is not None), kind)
    sizes: list[int] = []
    for it in shape.sizes:
        sizes += [*maker.front] if it is None else [it]
    return maker.tensor(tuple(sizes), kind)


def _is_integer(dtype: torch.dtype) -> bool:
    return not dtype.is_floating_point and not dtype.is_complex


def _float_of(model: nn.Module) -> torch.dtype:
    """What the parameters are in; a model in half precision takes half."""
    kinds = (it.dtype for it in model.parameters())
    return next((it for it in kinds if it.is_floating_point or it.is_complex), torch.float32)


def _example(model: nn.Module, device: torch.device) -> Inputs | None:
    """Lightning's `example_input_array`: the author's own."""
    given = getattr(model, "example_input_array", None)
    how = OWN_EXAMPLE
    if isinstance(given, torch.Tensor):
        value = given.to(device)
        return Inputs((value,), {}, (text_of(value),), how)
    if isinstance(given, tuple) and given and all(isinstance(it, torch.Tensor) for it in given):
        moved = tuple(it.to(device) for it in given)
        return Inputs(moved, {}, tuple(text_of(it) for it in moved), how)
    return None


def _guesses(model: nn.Module) -> Iterator[_Guess]:
    signature = signature_of(model)
    accepted = set(signature.parameters) if signature is not None else set()
    by_config = configured(model, accepted)
    if by_config is not None:
        yield _Guess(*by_config)
        return
    from_config = picture_config(model)
    if from_config is not None:
        yield _Guess((("", Shape(from_config)),), "input_size of the model's default_cfg")
    required = needed(signature) if signature is not None else []
    if len(required) == 1 and _is_list_of_tensors(required[0]):
        for shape, how in first_shapes(model):
            if not shape.is_integer and None not in shape.sizes:
                why = f"{required[0].name} is a list of tensors; {how}"
                yield _Guess(((required[0].name, shape._replace(is_list=True)),), why)
        return
    if any(_is_no_tensor(it) for it in required):
        return
    if len(required) > 1:
        yield from _for_several(model, [it.name for it in required])
        return
    keyword = next((it.name for it in required if it.kind is it.KEYWORD_ONLY), "")
    for shape, how in first_shapes(model):
        yield _Guess(((keyword, shape),), how)


def _is_no_tensor(parameter: Any) -> bool:
    """An argument that its annotation says is something else than a tensor."""
    if parameter.annotation is parameter.empty:
        return False
    text = str(getattr(parameter.annotation, "__name__", parameter.annotation))
    return bool(
        re.match(
            r"(typing\.)?(int|float|bool|str|list|dict|tuple|List|Dict|Tuple|Callable)\b", text
        )
    )


def _is_list_of_tensors(parameter: Any) -> bool:
    """By its annotation: as detectors are given pictures of several sizes."""
    text = str(parameter.annotation).replace(" ", "").strip("'\"")
    return bool(
        re.fullmatch(r"(typing\.)?(list|List|Sequence)\[(torch\.)?(functional\.)?Tensor\]", text)
    )


# --- several arguments


_NO_GUESS = re.compile(r"(^|_)(lens?|lengths?|sizes?|states?|hidden|h0|c0|hx|cx)(_|$)")
_MASKS = re.compile(r"(^|_)mask$")
_IDS = re.compile(r"(^|_)(ids|tokens?|tokens_ids|src|tgt|indices)$")
_TIMES = re.compile(r"^(t|timesteps?|time|step)$")


def _for_several(model: nn.Module, names: list[str]) -> Iterator[_Guess]:
    """Each argument by its name, else by the layers of a part of the same name, else in order."""
    if len(names) > 6 or any(_NO_GUESS.search(it) for it in names):
        return
    if isinstance(model, (nn.Transformer, nn.TransformerDecoderLayer, nn.TransformerDecoder)):
        yield from _for_transformer(model, names)
        return
    both = [model] if hasattr(model, "in2_features") else []
    for layer in both:
        widths = (int(layer.in1_features), int(layer.in2_features))  # type: ignore[arg-type]
        shapes = tuple((name, Shape((width,))) for name, width in zip(names, widths, strict=False))
        yield _Guess(shapes, f"in1_features and in2_features of the {type(layer).__name__}")
        return
    plain = [it for it in names if not _MASKS.search(it) and not _TIMES.search(it)]
    by_name = {it: _part_named(model, it) for it in plain}
    first = list(first_shapes(model))
    children = [rows[0] for child in model.children() if (rows := list(first_shapes(child)))]
    ways = [
        {it: by_name[it] or first[:1] for it in plain},
        *({it: [one] for it in plain} for one in first[:4]),
        {it: [row] for it, row in zip(plain, children, strict=False)},
    ]
    for way in ways:
        if len(way) == len(plain) and all(way.values()):
            chosen = {it: rows[0] for it, rows in way.items()}
            yield _together(names, chosen)


def _together(names: list[str], chosen: dict[str, tuple[Shape, str]]) -> _Guess:
    shapes: list[tuple[str, Shape]] = []
    reasons: dict[str, list[str]] = {}
    length = next((it.sizes[:1] for it, _ in chosen.values() if it.is_integer), (LENGTH,))
    for name in names:
        if name in chosen:
            shape, why = chosen[name]
        elif _TIMES.search(name):
            shape, why = Shape((), is_integer=True), "a time step, by its name"
        else:
            shape, why = Shape(length, is_bool=True), "a mask, by its name"
        shapes.append((name, shape))
        reasons.setdefault(why, []).append(name)
    how = "; ".join(f"{', '.join(them)}: {why}" for why, them in reasons.items())
    return _Guess(tuple(shapes), how)


def _part_named(model: nn.Module, argument: str) -> list[tuple[Shape, str]]:
    """The layers of the part whose name has the argument's in it: `image` and `image_encoder`."""
    for name, part in model.named_children():
        if argument in name.split("_") or name == argument:
            return [(shape, f"{name}: {how}") for shape, how in first_shapes(part)]
    if _IDS.search(argument):
        return [it for it in first_shapes(model) if it[0].is_integer]
    return []


def _for_transformer(model: nn.Module, names: list[str]) -> Iterator[_Guess]:
    attention = next((it for it in model.modules() if isinstance(it, nn.MultiheadAttention)), None)
    if attention is None:
        return
    width = attention.embed_dim
    order = (None, LENGTH, width) if attention.batch_first else (LENGTH, None, width)
    how = f"d_model {width}; the length {LENGTH} is a guess"
    yield _Guess(tuple((name, Shape(order)) for name in names), how)


# --- trying


def _can_run(model: nn.Module) -> bool:
    """Whether a run tells something and changes nothing: it settles the shapes of a lazy model."""
    tensors = [*model.parameters(), *model.buffers()]
    return not any(is_lazy(it) or it.is_meta for it in tensors)


def _error_of(model: nn.Module, inputs: Inputs) -> str | None:
    """Run it; the exception in one line, None where it ran."""
    with _as_it_was(model), torch.no_grad(), output_to_stderr():
        try:
            model(*inputs.args, **inputs.kwargs)
        except Exception as error:  # noqa: BLE001 - any code may be in the user's forward
            return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Eval mode for the time being; random numbers, buffers and training flags as before afterwards."""
    training = [(module, module.training) for module in model.modules()]
    with torch.no_grad():
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers() if not buffer.is_meta]
    devices = sorted(
        {it.index or 0 for it in (p.device for p in model.parameters()) if it.type == "cuda"}
    )
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            yield
        finally:
            for module, flag in training:
                module.training = flag
            with torch.no_grad():
                for buffer, kept in buffers:
                    if buffer.shape == kept.shape:
                        buffer.copy_(kept)
