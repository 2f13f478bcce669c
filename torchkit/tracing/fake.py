"""What an expression of torch's own functions would give, worked out on tensors without memory.

Nothing of the user's is called, no value is read, no random number drawn: tensors are replaced by
their like on the meta device, and only torch's functions, methods and operators are applied.
"""

from __future__ import annotations

import ast
import operator
from types import BuiltinFunctionType, FunctionType
from typing import Any

from torchkit.tracing.expressions import NOTHING, Names
from torchkit.tracing.tensors import aside, is_tensor, torch_module

_OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.MatMult: operator.matmul, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}  # fmt: skip

_COMPARISONS = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip

_UNSAFE = (
    "backward",
    "requires_grad",
    "numpy",
    "tolist",
    "item",
    "share_memory",
    "register",
    "set",
)
"""Beginnings of methods that read or change more than their result."""


def work_out(node: ast.AST, names: Names) -> Any:
    """The value, tensors in it being on the meta device with the true one noted; NOTHING if unsure.

    Raises what the operation raises.
    """
    torch = torch_module()
    if torch is None:
        return NOTHING
    with aside(torch):
        return _Worker(names).value(node)


_FACTORIES = (
    "zeros", "ones", "full", "empty", "arange", "linspace", "logspace", "eye", "rand", "randn",
    "randint", "randperm", "tril_indices", "triu_indices",
)  # fmt: skip
"""Functions that make tensors out of numbers: here without memory, whatever the device."""


class _Worker:
    def __init__(self, names: Names) -> None:
        self.names = names
        self.torch = torch_module()

    def value(self, node: ast.AST) -> Any:
        known = self.names.look_up(node)
        if known is not NOTHING:
            return self._without_memory(known) if self._is_harmless(known) else NOTHING
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self._apply(_OPERATORS[type(node.op)], [node.left, node.right])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
            function = operator.neg if isinstance(node.op, ast.USub) else operator.invert
            return self._apply(function, [node.operand])
        if (
            isinstance(node, ast.Compare)
            and len(node.ops) == 1
            and type(node.ops[0]) in _COMPARISONS
        ):
            return self._apply(_COMPARISONS[type(node.ops[0])], [node.left, node.comparators[0]])
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Subscript):
            return self._item(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, (ast.Tuple, ast.List)):
            values = [self.value(part) for part in node.elts]
            return NOTHING if any(value is NOTHING for value in values) else values
        return NOTHING

    def _apply(self, function: Any, nodes: list[ast.AST]) -> Any:
        values = [self.value(node) for node in nodes]
        if any(value is NOTHING for value in values) or not any(map(is_tensor, values)):
            return NOTHING
        return self._run(function, values, {})

    def _call(self, node: ast.Call) -> Any:
        if any(isinstance(it, ast.Starred) for it in node.args) or any(
            keyword.arg is None for keyword in node.keywords
        ):
            return NOTHING
        args = [self.value(part) for part in node.args]
        kwargs = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
        if any(value is NOTHING for value in (*args, *kwargs.values())):
            return NOTHING
        function = node.func
        if isinstance(function, ast.Attribute):
            owner = self.value(function.value)
            if is_tensor(owner):
                return self._method(owner, function.attr, args, kwargs)
        known = self.names.look_up(function)
        if known is NOTHING or not self._is_torchs(known):
            return NOTHING
        if known.__name__ in _FACTORIES:
            return self._made(known, args, kwargs)
        if known.__name__ == "tensor":
            return self._run(known, args, kwargs) if not any(map(is_tensor, args)) else NOTHING
        return self._run(known, args, kwargs)

    def _method(self, owner: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if name.endswith("_") or name.startswith(_UNSAFE) or name.startswith("__"):
            return NOTHING
        if name in ("to", "cuda", "cpu", "type"):
            return self._moved(owner, name, args, kwargs)
        method = getattr(self.torch.Tensor, name, None)
        home = getattr(method, "__module__", None) if type(method) is FunctionType else "torch"
        if method is None or not str(home).startswith("torch"):
            return NOTHING  # put there by the user
        return self._run(getattr(owner, name), args, kwargs)

    def _is_torchs(self, function: Any) -> bool:
        """A function of torch that computes from tensors; no module, no random one, none in place."""
        if type(function) is FunctionType:
            home = str(function.__globals__.get("__name__", ""))
            is_torchs = home == "torch" or home.startswith("torch.")
        else:
            is_torchs = type(function) is BuiltinFunctionType and str(
                type(function.__self__).__name__ if function.__self__ is not None else ""
            ) in ("", "type", "module", "_VariableFunctionsClass")
            home = str(getattr(function, "__module__", None) or "torch")
            is_torchs = is_torchs and home.startswith("torch")
        name = function.__name__ if is_torchs else ""
        if not is_torchs or name.endswith("_"):
            return False
        is_random = name.startswith(("normal", "bernoulli", "multinomial")) or "dropout" in name
        return not is_random and not name.startswith(
            ("set_", "save", "load", "manual_seed", "compile")
        )

    def _is_harmless(self, value: Any) -> bool:
        """Whether torch can be given it and runs nothing of the user's."""
        if value is None or value is Ellipsis or is_tensor(value):
            return True
        if type(value) in (list, tuple, self.torch.Size):
            return len(value) <= 10_000 and all(map(self._is_harmless, value))
        torch = self.torch
        kinds = (int, float, bool, complex, str, torch.dtype, torch.device, torch.layout)
        return type(value) in kinds or type(value) is torch.memory_format

    def _made(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        device = kwargs.pop("device", None)
        for name in ("generator", "out", "pin_memory", "requires_grad"):
            kwargs.pop(name, None)
        made = function(*args, **kwargs, device="meta")
        made._torchkit_device = str(device) if device is not None else "cpu"
        return made

    def _item(self, node: ast.Subscript) -> Any:
        owner = self.value(node.value)
        index = self._index(node.slice)
        if issubclass(type(owner), (tuple, list)) and type(index) is int:
            return owner[index]  # a pair that a function of torch's gave
        if not is_tensor(owner) or index is NOTHING:
            return NOTHING
        return self._run(operator.getitem, [owner, index], {})

    def _index(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Tuple):
            parts = [self._index(part) for part in node.elts]
            return NOTHING if any(part is NOTHING for part in parts) else tuple(parts)
        if isinstance(node, ast.Slice):
            ends = [
                None if end is None else self.names.look_up(end)
                for end in (node.lower, node.upper, node.step)
            ]
            return NOTHING if any(end is NOTHING for end in ends) else slice(*ends)
        value = self.value(node)
        if is_tensor(value) and value.dtype in (self.torch.bool, self.torch.uint8):
            return NOTHING  # how many it keeps depends on values
        return value

    def _attribute(self, node: ast.Attribute) -> Any:
        from torchkit.tracing.expressions import attribute

        owner = self.value(node.value)
        if owner is NOTHING:
            return NOTHING
        value = attribute(owner, node.attr)
        if value is NOTHING or not self._is_harmless(value):
            return NOTHING
        return self._without_memory(value)

    def _moved(self, owner: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        dtypes = [it for it in (*args, *kwargs.values()) if isinstance(it, self.torch.dtype)]
        others = [it for it in args if is_tensor(it)]
        devices = [
            it for it in (*args, *kwargs.values()) if isinstance(it, (str, self.torch.device))
        ]
        made = owner.to(dtypes[0]) if dtypes else owner
        if others:
            made = owner.to(others[0].dtype)
        device = getattr(owner, "_torchkit_device", "cpu")
        if name in ("cuda", "cpu"):
            device = name if name == "cpu" else "cuda:0"
        elif devices:
            device = str(devices[0])
        elif others:
            device = getattr(others[0], "_torchkit_device", device)
        if made is owner:
            made = owner.detach()
        made._torchkit_device = device
        return made

    def _run(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        devices = [
            it._torchkit_device
            for it in (*args, *kwargs.values())
            if hasattr(it, "_torchkit_device")
        ]
        owner: Any = getattr(function, "__self__", None)
        devices += [owner._torchkit_device] if hasattr(owner, "_torchkit_device") else []
        made = function(*args, **kwargs)
        self._mark(made, devices[0] if devices else "cpu")
        return made

    def _mark(self, made: Any, device: str) -> None:
        for value in made if issubclass(type(made), (tuple, list)) else [made]:
            if is_tensor(value):
                value._torchkit_device = device

    def _without_memory(self, value: Any) -> Any:
        """The same with tensors on the meta device, their true device noted."""
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(self._without_memory(part) for part in value)
        if not is_tensor(value) or hasattr(value, "_torchkit_device"):
            return value
        if value.layout is not self.torch.strided or value.is_nested:
            return NOTHING
        made = self.torch.empty_strided(
            tuple(value.shape), tuple(value.stride()), dtype=value.dtype, device="meta"
        )
        made._torchkit_device = str(value.device)
        return made
