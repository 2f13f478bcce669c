"""Runs one forward under hooks and modes and writes down what happens: a `Record`.

Nothing global is patched. Hooks are on the modules for the time of the run; a dispatch mode sees
every operation below autograd; saved-tensor hooks see what backward would need. The model and the
random numbers are left as they were, also after an exception.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _python_dispatch  # since 1.13; the only door below autograd

from torchkit.model.doubts import Raised
from torchkit.model.failing import (
    causes_of,
    has_forward,
    kinds_of,
    message_of,
    plain_arguments,
    ranges_of,
    settings_of,
)
from torchkit.model.flops import flops_of, foreseen
from torchkit.model.memory_pages import give_back_freed
from torchkit.model.packed import packed_weights
from torchkit.model.record import (
    Call,
    Failure,
    Module,
    Operation,
    Parameter,
    Place,
    Record,
    TensorInfo,
    tensors_in,
)
from torchkit.model.shape_rules import result_of
from torchkit.model.state import Written, as_before, grown
from torchkit.model.tensors import Tensors, count_of, is_uninitialized, tensors_of
from torchkit.model.unregistered import unregistered

_TORCH = str(Path(torch.__file__).parent) + os.sep
_OURS = str(Path(__file__).parent) + os.sep
_NOBODYS = ("<frozen", "<string>", "<eval_with_key>", "<__array_function__")

_WRITTEN_UNSAID = ("running_mean", "running_var")
"""Arguments that batch norms write into, some without saying so in their signature."""

TRIM_BYTES = 1 << 23
"""After so much was freed in a run that is to stay small, the allocator gives it back."""

DEEPEST_SAME = 3
"""So often an operation is taken apart inside itself."""

_FOR_BACKWARD = {"aten::mkldnn_rnn_layer": (3,)}
"""Results that are only made because gradients are on, by position."""


class OverBudgetError(BaseException):
    """The run does more than it was allowed to; it can be made again without computing.

    No Exception, so that a model that catches those does not swallow it.
    """


class Budget:
    """How much a real run may compute, in FLOPs, and make, in bytes of activations at one time."""

    def __init__(self, *, flops: int, live_bytes: int) -> None:
        self.flops = flops
        self.live_bytes = live_bytes


def record(
    model: nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    budget: Budget | None = None,
    with_places: bool = True,
    on_failure: Callable[[Raised], None] | None = None,
) -> Record:
    """Run `model(*args, **kwargs)` once and describe it; an exception becomes `Record.failure`.

    The caller chooses train or eval, the device, and whether tensors are fake. Gradients are on,
    so that what backward would keep is seen, but nothing is kept. The run is made again where the
    first one shows that it must be: backward is called inside, or the forward builds layers.
    `on_failure` is given the exception of the run that is described, if there is one.
    Raises OverBudgetError.
    """
    notes = []
    is_lazy = any(is_uninitialized(it) for it in (*model.parameters(), *model.buffers()))
    recorder = _run(model, args, kwargs, budget, with_places)
    if is_lazy and recorder.result.failure is None:
        notes.append("lazy modules took their sizes from this run and keep them")
        recorder = _run(model, args, kwargs, budget, with_places)
    if recorder.grown:
        built = ", ".join(recorder.grown[:3])
        notes.append(f"the first forward builds layers ({built}); they are counted and stay")
        recorder = _run(model, args, kwargs, budget, with_places)
    if recorder.runs_backward:
        notes.append("forward runs backward itself, so its tensors were kept")
        recorder = _run(model, args, kwargs, budget, with_places, keeps_saved=True)
    failure = recorder.result.failure
    if failure is not None and "Inference tensors cannot be saved" in failure.message:
        notes.append("the model was made in inference mode: nothing can be kept for backward")
        recorder = _run(model, args, kwargs, budget, with_places, with_gradients=False)
    recorder.result.notes[:0] = notes
    if recorder.raised is not None and on_failure is not None:
        on_failure(recorder.raised)
    recorder.raised = None
    return recorder.result


def _run(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    budget: Budget | None,
    with_places: bool,
    *,
    keeps_saved: bool = False,
    with_gradients: bool = True,
) -> _Recorder:
    recorder = _Recorder(model, budget, with_places=with_places, keeps_saved=keeps_saved)
    with as_before(model) as written, torch.inference_mode(mode=False):
        gradients = torch.enable_grad() if with_gradients else torch.no_grad()
        recorder.run(tuple(args), dict(kwargs or {}), written, gradients)
    return recorder


class _Recorder:
    def __init__(
        self, model: nn.Module, budget: Budget | None, *, with_places: bool, keeps_saved: bool
    ) -> None:
        self.model = model
        self.budget = budget
        self.with_places = with_places
        self.keeps_saved = keeps_saved
        self.runs_backward = False
        self.grown: list[str] = []
        self.tensors = Tensors()
        self.stack: list[int] = []
        self.begun: set[int] = set()  # calls whose forward has been entered
        self.flops = 0
        self.over: str | None = None
        self.thread = threading.get_ident()
        self.uncounted: set[str] = set()
        self.failed_call: tuple[BaseException, int] | None = None
        self.failed_operation: Raised | None = None
        self.raised: Raised | None = None

    # --- the run

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        written: Written,
        gradients: AbstractContextManager[Any],
    ) -> None:
        self.written = written
        self.paths = _paths_of(self.model)
        parameters = tuple(self._parameters())
        self.result = Record(
            type=_type_name(self.model),
            modules=tuple(self._modules()),
            parameters=parameters,
            inputs=self.tensors.describe(args, "input"),
            keywords=self.tensors.describe(kwargs, "input"),
            tensors=self.tensors.infos,
            is_training=self.model.training,
        )
        self.by_path = {module.path: module for module in self.result.modules}
        before = list(self.model.modules())
        try:
            with self._watching(), gradients:
                outputs = self.model(*args, **kwargs)
            self.result.outputs = self.tensors.describe(outputs)
            self._finish(outputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any code may be in the user's forward
            self._fail(error)
        if self.over is not None:
            raise OverBudgetError(self.over)
        self.result.notes += unregistered(self.model, self.tensors.has_seen)
        self.grown = grown(self.model, before)
        written.keeps_structure = bool(self.grown)
        self.result.peak_bytes = self.tensors.peak_bytes
        self.result.freed_at = dict(self.tensors.freed_at)
        self.failed_call = self.failed_operation = None

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self.model.modules():
                for remove in self._hooks(module):
                    stack.callback(remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack))
            stack.enter_context(_without_fast_path())
            stack.enter_context(_without_compiler())
            stack.enter_context(_Watch(self))
            yield

    def _finish(self, outputs: Any) -> None:
        notes = self.result.notes
        if self.uncounted:
            notes.append(f"FLOPs are unknown of: {', '.join(sorted(self.uncounted))}")
        if any(module.is_script for module in self.result.modules):
            notes.append("TorchScript runs without Python: its inner layers are listed, not timed")
        if hasattr(outputs, "__next__"):
            notes.append("forward gave a generator, which was not run")

    def _fail(self, error: Exception | SystemExit) -> None:
        while self.stack:
            self._end(self.stack[-1], error)
        operands: tuple[TensorInfo, ...] = ()
        operation, given = None, None
        self.raised = Raised(error)
        failed = self.failed_operation
        if failed is not None and _comes_from(error, failed.error):
            self.raised, operation, given = failed, failed.name, (failed.args, failed.kwargs)
            operands = tuple(tensors_in(self.tensors.describe(given)))
        is_known = self.failed_call is not None and _comes_from(error, self.failed_call[0])
        call = self.failed_call[1] if is_known and self.failed_call else None
        module = self._module_at(self.result.calls[call].path if call is not None else "")
        place = _place_of(error)
        self.result.failure = Failure(
            error=type(error).__name__,
            message=message_of(error),
            call=call,
            operation=operation,
            operands=operands,
            place=place,
            traceback=_traceback_of(error),
            causes=causes_of(error),
            arguments=plain_arguments(given),
            ranges={self.tensors.of(it, "constant").number: ends for it, ends in ranges_of(given)},
            code=linecache.getline(place.file, place.line).strip() if place else "",
            kinds=kinds_of(module),
            settings=settings_of(module),
            has_forward=has_forward(module),
        )

    def _module_at(self, path: str) -> nn.Module:
        """The module of this path; of one that was put there during the run, the model."""
        modules: dict[str, nn.Module] = dict(self.model.named_modules(remove_duplicate=False))
        return modules.get(path, self.model)

    # --- modules

    def _modules(self) -> Iterator[Module]:
        first: dict[int, str] = {}
        for path, module in self.model.named_modules(remove_duplicate=False):
            shared = first.get(id(module))
            first.setdefault(id(module), path)
            own = [name for name, it in module._parameters.items() if it is not None]
            own += [name for name, it in module._buffers.items() if it is not None]
            own += packed_weights(module)
            yield Module(
                path=path,
                type=_type_name(module),
                text=_extra(module),
                depth=path.count(".") + 1 if path else 0,
                shared_with=shared,
                own=tuple(_joined(path, name) for name in own),
                is_script=isinstance(module, torch.jit.ScriptModule),
            )

    def _hooks(self, module: nn.Module) -> Iterator[Callable[[], object]]:
        """Put on one module what sees its calls; yields what takes that away again."""

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._enter(module, args, kwargs)

        def after(module: nn.Module, _args: Any, _kwargs: Any, outputs: Any) -> None:
            self._leave(module, outputs)

        # by nn.Module's own method, since TorchScript's module refuses; it runs them all the same
        yield nn.Module.register_forward_pre_hook(
            module, before, with_kwargs=True, prepend=True
        ).remove
        yield nn.Module.register_forward_hook(module, after, with_kwargs=True).remove
        if isinstance(module, torch.jit.ScriptModule):
            return
        attributes = module.__dict__
        had = attributes.get("forward")
        attributes["forward"] = _Forward(self, module, module.forward)

        def remove() -> None:
            if had is None:
                attributes.pop("forward", None)
            else:
                attributes["forward"] = had

        yield remove

    def _is_elsewhere(self, module: nn.Module) -> bool:
        """Called by another thread, whose operations are not seen, or a copy made on the way."""
        if threading.get_ident() != self.thread:
            note = "forward uses threads of its own: what they do is not seen"
            if note not in self.result.notes:
                self.result.notes.append(note)
            return True
        return id(module) not in self.paths

    def _enter(
        self, module: nn.Module, args: Any, kwargs: Any, *, is_direct: bool = False
    ) -> int | None:
        if self._is_elsewhere(module):
            return None
        path = self._path_of(module)
        number = len(self.result.calls)
        call = Call(
            number=number,
            path=path,
            parent=self.stack[-1] if self.stack else None,
            inputs=self.tensors.describe(args),
            keywords=self.tensors.describe(kwargs),
            first=len(self.result.operations),
            is_direct=is_direct,
        )
        self.result.calls.append(call)
        self.by_path[path].calls.append(number)
        self.stack.append(number)
        return number

    def _leave(self, module: nn.Module, outputs: Any) -> None:
        if self._is_elsewhere(module):
            return
        paths = self.paths[id(module)]
        while self.stack:
            call = self.result.calls[self.stack[-1]]
            if call.path in paths:
                self._end(call.number)
                call.outputs = self.tensors.describe(outputs)
                return
            self._end(call.number, None, has_failed=True)  # it raised, and somebody caught that

    def _end(
        self, number: int, error: BaseException | None = None, *, has_failed: bool = False
    ) -> None:
        """A call is over, and so is what it called; the innermost that failed is remembered."""
        while self.stack and number in self.stack:
            call = self.result.calls[self.stack.pop()]
            call.end = len(self.result.operations)
            call.has_failed = has_failed or error is not None
            is_known = self.failed_call is not None and _comes_from(error, self.failed_call[0])
            if error is not None and not is_known:
                self.failed_call = (error, call.number)

    def begin(self, module: nn.Module, args: Any, kwargs: Any) -> int | None:
        """Forward is entered: of the call that a hook has just seen, or without one."""
        if self.stack and self.stack[-1] not in self.begun:
            call = self.result.calls[self.stack[-1]]
            if call.path in self.paths.get(id(module), ()):
                self.begun.add(call.number)
                return None
        number = self._enter(module, args, kwargs, is_direct=True)
        if number is not None:
            self.begun.add(number)
        return number

    def failed(self, module: nn.Module, error: BaseException) -> None:
        """Forward raised: the call is over, whoever catches it."""
        if threading.get_ident() != self.thread or not isinstance(error, (Exception, SystemExit)):
            return
        paths = self.paths.get(id(module), ())
        for number in reversed(self.stack):
            if self.result.calls[number].path in paths:
                self._end(number, error)
                return

    def left(self, number: int, outputs: Any) -> None:
        """A forward that was called directly has come back."""
        self._end(number)
        self.result.calls[number].outputs = self.tensors.describe(outputs)

    def _path_of(self, module: nn.Module) -> str:
        """Of a module with several paths, the one below the module that calls it."""
        paths = self.paths[id(module)]
        if len(paths) > 1:
            for number in reversed(self.stack):
                above = self.result.calls[number].path
                for path in paths:
                    if path.startswith(f"{above}." if above else ""):
                        return path
        return paths[0]

    # --- parameters and buffers

    def _parameters(self) -> Iterator[Parameter]:
        found: dict[int, Parameter] = {}
        held = list(self._held())  # unpacked weights are copies: kept, so that identities hold
        for role, path, tensor, count in held:
            known = found.get(id(tensor))
            if known is not None:
                known.paths = (*known.paths, path)
                continue
            found[id(tensor)] = Parameter(
                tensor=self.tensors.of(tensor, role, path),
                paths=(path,),
                is_buffer=role == "buffer",
                is_trainable=role == "parameter" and tensor.requires_grad,
                logical_count=count_of(tensor) if count is None else count,
                is_packed=count is not None,
            )
        return iter(found.values())

    def _held(self) -> Iterator[tuple[str, str, torch.Tensor, int | None]]:
        for path, parameter in self.model.named_parameters(remove_duplicate=False):
            yield "parameter", path, parameter, None
        for path, buffer in self.model.named_buffers(remove_duplicate=False):
            yield "buffer", path, buffer, None
        for path, module in self.model.named_modules():
            for name, (weight, count) in packed_weights(module).items():
                yield "parameter", _joined(path, name), weight, count

    # --- operations and what backward needs

    def operation(
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        given = list(tensors_of((args, kwargs)))
        inputs = [self.tensors.of(it, "constant") for it in given]
        is_differentiable = torch.is_grad_enabled() and any(it.requires_grad for it in given)
        self._foresee(name, args)
        for tensor in _written_by(func, name, args, kwargs):
            if self.tensors.role_of(tensor) != "activation":
                self.written.about_to_change(tensor)
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            result = result_of(name, args, kwargs)
            if result is None:
                self.failed_operation = Raised(error, func, name, args, dict(kwargs))
                raise
        for number in _FOR_BACKWARD.get(name, ()):
            if isinstance(result, (list, tuple)) and isinstance(result[number], torch.Tensor):
                self.tensors.of(result[number], "workspace")
        outputs = [self.tensors.of(it, "activation") for it in tensors_of(result)]
        if self.budget is not None and self.tensors.freed_bytes > TRIM_BYTES:
            self.tensors.freed_bytes = 0
            give_back_freed()
        flops = flops_of(name, args, result)
        if flops is None:
            self.uncounted.add(name)
            flops = 0
        self.result.operations.append(
            Operation(
                number=len(self.result.operations),
                name=name,
                call=self.stack[-1] if self.stack else None,
                inputs=tuple(dict.fromkeys(it.number for it in inputs)),
                outputs=tuple(dict.fromkeys(it.number for it in outputs)),
                flops=flops,
                place=_place(sys._getframe(1)) if self.with_places else None,
                is_differentiable=is_differentiable,
            )
        )
        self.tensors.now += 1
        if flops:
            self.flops += flops
            for number in self.stack:
                self.result.calls[number].flops += flops
        return result

    def _foresee(self, name: str, args: tuple[Any, ...]) -> None:
        """Stop before an operation that would go over the budget, not after it."""
        budget = self.budget
        if budget is None:
            return
        flops, made = foreseen(name, args)
        if self.flops + flops > budget.flops:
            self.over = f"the forward takes more than {budget.flops:,} FLOPs"
        elif self.tensors.live_bytes + made > budget.live_bytes:
            self.over = f"activations take more than {budget.live_bytes:,} bytes"
        if self.over is not None:
            raise OverBudgetError(self.over)

    def _pack(self, tensor: torch.Tensor) -> Any:
        """Write down what backward would keep, and keep nothing of it, or only if it is needed."""
        if threading.get_ident() == self.thread:
            info = self.tensors.of(tensor, "constant")
            if info.role not in ("parameter", "buffer"):
                self.result.saved[info.storage] = info.storage_bytes
                self.result.saved_at.setdefault(info.storage, len(self.result.operations))
        return tensor if self.keeps_saved else None

    def _unpack(self, packed: Any) -> Any:
        if packed is None:
            self.runs_backward = True
            raise RuntimeError("backward inside forward needs tensors that were not kept")
        return packed


class _Forward:
    """Stands in for a module's `forward`: sees it called without its hooks, and sees it raise."""

    def __init__(self, recorder: _Recorder, module: nn.Module, forward: Callable[..., Any]) -> None:
        self._recorder = recorder
        self._module = module
        self._forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        number = self._recorder.begin(self._module, args, kwargs)
        try:
            outputs = self._forward(*args, **kwargs)
        except BaseException as error:
            self._recorder.failed(self._module, error)
            raise
        if number is not None:
            self._recorder.left(number, outputs)
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forward, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the module has the forward it would have had."""
        copy = memo.get(id(self._module), self._module)
        return getattr(self._forward, "__func__", self._forward).__get__(copy)

    def __reduce__(self) -> Any:
        return getattr, (self._module, "forward")


class _Watch(_python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class has no types
    """Sees every operation below autograd, composite ones taken apart."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder
        self.inside: list[Any] = []  # composite operations that are being taken apart

    def _may_be_taken_apart(self, func: Any, types: Any) -> bool:
        """Ragged tensors know more operations whole than in parts, and may never end."""
        if any(it.__name__ == "NestedTensor" for it in types):
            return False
        return _is_composite(func) and self.inside.count(func) < DEEPEST_SAME

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Without this, torch 2.13 imports all of its compiler at the first operation."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name if hasattr(func, "_schema") else str(func)
        if name.startswith("prim::"):  # a question, as which device: nothing is computed
            return func(*args, **kwargs)
        if self._may_be_taken_apart(func, types):
            self.inside.append(func)
            try:
                with self:
                    result = func.decompose(*args, **kwargs)
            finally:
                self.inside.pop()
            if result is not NotImplemented:
                return result
        return self.recorder.operation(func, name, args, kwargs)


# --- small helpers


def _written_by(
    func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[torch.Tensor]:
    """The tensors that an operation writes into."""
    schema = getattr(func, "_schema", None)
    is_norm = "batch_norm" in name
    if schema is None or not (getattr(schema, "is_mutable", True) or is_norm):
        return
    for position, argument in enumerate(schema.arguments):
        alias = argument.alias_info
        is_unsaid = is_norm and argument.name in _WRITTEN_UNSAID
        if is_unsaid or (alias is not None and alias.is_write):
            value = kwargs.get(argument.name)
            yield from tensors_of(args[position] if position < len(args) else value)


def _is_composite(func: Any) -> bool:
    has_kernel = getattr(func, "has_kernel_for_dispatch_key", None)
    key = getattr(torch._C.DispatchKey, "CompositeImplicitAutograd", None)
    return bool(has_kernel is not None and key is not None and has_kernel(key))


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """nn.MultiheadAttention and its like run their inner layers, so that these are seen."""
    backend = getattr(torch.backends, "mha", None)
    if backend is None or not hasattr(backend, "set_fastpath_enabled"):
        yield
        return
    before = backend.get_fastpath_enabled()
    backend.set_fastpath_enabled(False)
    try:
        yield
    finally:
        backend.set_fastpath_enabled(before)


def _without_compiler() -> AbstractContextManager[Any]:
    """Layers under torch.compile run as they were written; since 2.6, before that they compile."""
    set_stance = getattr(getattr(torch, "compiler", None), "set_stance", None)
    if set_stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = set_stance("force_eager")
    return stance


def _paths_of(model: nn.Module) -> dict[int, list[str]]:
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(id(module), []).append(path)
    return paths


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _type_name(module: nn.Module) -> str:
    return str(getattr(module, "original_name", None) or type(module).__name__)


def _extra(module: nn.Module) -> str:
    try:
        return str(module.extra_repr())
    except Exception:  # noqa: BLE001 - the user's own extra_repr may need what is not there yet
        return ""


def _traceback_of(error: BaseException) -> str:
    """As Python prints it, without our own frames."""
    whole = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = whole
    while link is not None:
        frames = [it for it in link.stack if not it.filename.startswith(_OURS)]
        link.stack = traceback.StackSummary.from_list(frames)
        link = link.__cause__ or link.__context__
    return "".join(whole.format())


def _comes_from(error: BaseException | None, other: BaseException) -> bool:
    """Whether an exception is another one, or was raised while that one was handled."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if error is other:
            return True
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _is_users(file: str) -> bool:
    return not file.startswith((_TORCH, _OURS, *_NOBODYS))


def _place(frame: Any) -> Place | None:
    """The innermost frame that is neither torch's nor ours."""
    while frame is not None:
        if _is_users(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None


def _place_of(error: BaseException) -> Place | None:
    found = None
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if _is_users(file):
            found = Place(file, step.tb_lineno, step.tb_frame.f_code.co_name)
        step = step.tb_next
    return found
