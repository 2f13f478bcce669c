"""Which globals of a pickle do no harm when it is loaded, and which are somebody's own classes.

A name is compared as a whole: `torch._utils._rebuild_tensor_v2` is harmless, while `torch.load`
opens another pickle, and `torch.serialization` `os.system`, found through dots, runs a program.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from torchkit.model.files.dtypes import dtype_of_global, dtype_of_storage

_REBUILD = re.compile(r"torch\._utils\._rebuild_\w+")
"""Make a tensor from a storage or from parts that are given: torch's weights-only loader calls
most of them too."""

_LAYER = re.compile(
    r"torch\.nn\.(modules|parallel|parameter|utils\.parametriz\w+|utils\.weight_norm|utils\.spectral_norm)"
    r"(\.[a-z_0-9]+)*\.[A-Z]\w*"
)
"""Classes of torch's own layers. Their `__setstate__` only fills in attributes."""

_QUANTIZED_LAYER = re.compile(r"torch\.(ao\.)?nn\.\w*(quant|qat)\w*(\.[a-z_0-9]+)*\.[A-Z]\w*")
_TENSOR = re.compile(r"torch(\.(cuda|sparse|xpu|mps|nn))*\.[A-Z]\w*(Tensor|Storage)")
_OPTIMIZER = re.compile(r"torch\.optim(\.[a-z_0-9]+)*\.[A-Z]\w*")
_NUMPY = re.compile(
    r"numpy\.(_?core\.multiarray\.(_reconstruct|scalar)|_?core\.numeric\._frombuffer|ndarray|dtype"
    r"|dtypes\.\w+|bool_?|float\d+|u?int\d+|complex\d+|longdouble|longlong|ulonglong|str_|bytes_"
    r"|random\._pickle\.__\w+|random\._(mt19937|pcg64|philox|sfc64)\.\w+"
    r"|random\.bit_generator\.__pyx_unpickle_\w+)"
)
"""Make arrays, scalars and random generators from the bytes that are given."""

_EXACT = frozenset(
    {
        # containers and plain values: calling them runs no code but their own
        "collections.OrderedDict", "collections.Counter", "collections.deque",
        "collections.defaultdict", "builtins.set", "builtins.frozenset", "builtins.dict",
        "builtins.list", "builtins.tuple", "builtins.bytearray", "builtins.bytes", "builtins.int",
        "builtins.float", "builtins.bool", "builtins.str", "builtins.complex", "builtins.slice",
        "builtins.range", "builtins.object", "types.SimpleNamespace", "argparse.Namespace",
        "datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta",
        "datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
        "pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "pathlib.WindowsPath",
        "pathlib.PurePosixPath", "pathlib.PureWindowsPath", "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath", "pathlib._local.Path",
        # what pickle itself makes objects with: what they make is named beside them
        "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__",
        "_codecs.encode",  # turns a text into bytes, as pickles of Python 2's protocol do
        # torch
        "torch.Size", "torch.device", "torch.Generator", "torch.layout", "torch.dtype",
        "torch.serialization._get_layout", "torch.storage._load_from_bytes",
        "torch.storage.UntypedStorage", "torch.storage.TypedStorage", "torch.storage._TypedStorage",
        "torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2",
        "torch._tensor.Tensor", "torch.Tensor",
        "torch.per_tensor_affine", "torch.per_tensor_symmetric", "torch.per_channel_affine",
        "torch.per_channel_symmetric", "torch.per_channel_affine_float_qparams",
        "torch.contiguous_format", "torch.preserve_format", "torch.channels_last",
        "torch.channels_last_3d", "torch.strided", "torch.sparse_coo", "torch.sparse_csr",
        "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
        "torch.distributed.tensor.DTensor", "torch.distributed._tensor.api.DTensor",
        "torch.distributed._tensor.DTensor", "torch.distributed.tensor._api.DTensor",
        "torch.distributed.tensor._dtensor_spec.DTensorSpec",
        "torch.distributed.tensor._dtensor_spec.TensorMeta",
        "torch.distributed._tensor.placement_types.DTensorSpec",
        "torch.distributed._tensor.placement_types.TensorMeta",
        "torch.distributed._tensor.placement_types.Shard",
        "torch.distributed._tensor.placement_types.Replicate",
        "torch.distributed.tensor.placement_types.Shard",
        "torch.distributed.tensor.placement_types.Replicate",
        "torch.distributed.tensor.placement_types.Partial",
        "torch.distributed.device_mesh.DeviceMesh",
        "torch.distributed._mesh_layout._MeshLayout",
        "torch._C._distributed_c10d.ReduceOp",
        "torch.amp.grad_scaler.GradScaler",
        "torch.jit._pickle.build_intlist", "torch.jit._pickle.build_doublelist",
        "torch.jit._pickle.build_boollist", "torch.jit._pickle.build_tensorlist",
        "torch.jit._pickle.build_tensor_from_id", "torch.jit._pickle.restore_type_tag",
    }
)  # fmt: skip
"""`_load_from_bytes` opens a pickle inside the pickle; that one is read too, and judged with it."""

_FUNCTION_OF_LAYERS = re.compile(r"torch\.nn\.functional\.\w+|torch\._C\._nn\.\w+")
"""Activations as attributes of a layer (`activation=F.relu`): harmless unless called."""

_SCRIPT = re.compile(r"__torch__\.[\w.]+")
"""Types of TorchScript, which are in the file itself and no Python."""


def is_harmless(name: str) -> bool:
    """Whether importing and calling it does nothing but make a value of what it is given."""
    return (
        name in _EXACT
        or dtype_of_global(name) is not None
        or dtype_of_storage(name) is not None
        or any(
            pattern.fullmatch(name)
            for pattern in (
                _REBUILD, _TENSOR, _NUMPY, _LAYER, _QUANTIZED_LAYER, _OPTIMIZER, _SCRIPT,
            )
        )
    )  # fmt: skip


_WEIGHTS_ONLY = frozenset(
    {
        "collections.OrderedDict", "collections.Counter", "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout", "torch.Size", "torch.Tensor", "torch._tensor.Tensor",
        "torch.device", "_codecs.encode", "builtins.bytearray", "builtins.set", "builtins.complex",
        "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
        "torch.per_tensor_affine", "torch.per_tensor_symmetric", "torch.per_channel_affine",
        "torch.per_channel_symmetric", "torch.per_channel_affine_float_qparams",
        "torch._tensor._rebuild_from_type_v2",
    }
)  # fmt: skip
"""What torch.load takes with weights_only=True, beside dtypes and what makes tensors: torch 2.13's
torch/_weights_only_unpickler.py. Older ones take a little less."""


def refused(names: Iterable[str]) -> list[str]:
    """Those that `torch.load(…, weights_only=True)` refuses unless they are added to its list."""
    return [
        name
        for name in names
        if name not in _WEIGHTS_ONLY
        and dtype_of_global(name) is None
        and dtype_of_storage(name) is None
        and not any(pattern.fullmatch(name) for pattern in (_REBUILD, _TENSOR))
    ]


def sorted_out(names: Iterable[str], called: Iterable[str]) -> tuple[list[str], list[str]]:
    """The dangerous ones, and the classes of the user's own or of a library that a model needs.

    A class that is made without a call, as every pickled object is, needs its module's code and
    runs it; a function that is called is dangerous unless it is known not to be, and so is
    whatever comes from Python's own library, which has no models in it.
    """
    is_called = frozenset(called)
    dangerous, code = [], []
    for name in names:
        if is_harmless(name) or (name not in is_called and _FUNCTION_OF_LAYERS.fullmatch(name)):
            continue
        top = name.partition(".")[0]
        is_python = top in sys.stdlib_module_names
        is_function_of_torch = top == "torch" and not name.rpartition(".")[2][:1].isupper()
        if name in is_called or (is_python and top != "__main__") or is_function_of_torch:
            dangerous.append(name)
        else:
            code.append(name)
    return dangerous, code
