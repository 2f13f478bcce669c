"""Pickles as an attacker would write them, byte by byte: none needs the thing that it names."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

HEAD = b"\x80\x02"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def call(module: str, name: str, *args: str) -> bytes:
    return f"c{module}\n{name}\n(".encode() + b"".join(map(text, args)) + b"tR"


def run(mark: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that leave a file at `mark` when they are loaded, and the name each would run."""
    python = f"open({str(mark)!r}, 'w')"
    shell = f"touch {mark}"
    getattr_ = b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n"
    return {
        "system": (HEAD + call("os", "system", shell) + b".", "os.system"),
        "posix": (HEAD + call("posix", "system", shell) + b".", "posix.system"),
        "protocol 0": (f"cos\nsystem\n(S'{shell}'\ntR.".encode(), "os.system"),
        "inst": (HEAD + b"(" + text(shell) + b"ios\nsystem\n.", "os.system"),
        "obj": (HEAD + b"(cos\nsystem\n" + text(shell) + b"o.", "os.system"),
        "exec": (HEAD + call("__builtin__", "exec", python) + b".", "builtins.exec"),
        "eval": (HEAD + call("builtins", "eval", python) + b".", "builtins.eval"),
        "getattr chain": (
            HEAD + getattr_ + text("__call__") + b"tR(" + text("os") + b"tR.", "builtins.getattr",
        ),
        "stack global": (
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + text(shell) + b"\x85R.", "posix.system",
        ),
        "through dots": (
            b"\x80\x04\x8c\x13torch.serialization\x8c\tos.system\x93" + text(shell) + b"\x85R.",
            "torch.serialization.os.system",
        ),
        "in a layer's name": (
            b"\x80\x04\x8c\x17torch.nn.modules.linear\x8c\x0fLinear.__init__\x93)R.",
            "torch.nn.modules.linear.Linear.__init__",
        ),
        "torch.load": (HEAD + call("torch", "load", "x.pt") + b".", "torch.load"),
        "hub": (HEAD + call("torch.hub", "load", "a/b", "c") + b".", "torch.hub.load"),
        "webbrowser": (HEAD + call("webbrowser", "open", "x") + b".", "webbrowser.open"),
        "runpy": (HEAD + call("runpy", "run_path", "x.py") + b".", "runpy.run_path"),
        "pip": (HEAD + call("pip", "main", "x") + b".", "pip.main"),
        "numpy": (
            HEAD + call("numpy.testing._private.utils", "runstring", python) + b".",
            "numpy.testing._private.utils.runstring",
        ),
        "python 2": (HEAD + call("commands", "getoutput", shell) + b".", "subprocess.getoutput"),
        "only imported": (HEAD + b"cantigravity\ngeohash\n.", "antigravity.geohash"),
        "changes torch": (
            HEAD + b"ctorch._utils\n_import_dotted_name\n}b.", "torch._utils._import_dotted_name",
        ),
        "in a state dict": (
            HEAD + b"}(" + text("a") + call("os", "system", shell) + text("epoch") + b"K\x01u.",
            "os.system",
        ),
        "extension": (HEAD + b"\x82\x07.", "copyreg.extension_7"),
        "fx": (
            HEAD + b"ctorch.fx.graph_module\nreduce_graph_module\n(}" + text(python) + b"tR.",
            "torch.fx.graph_module.reduce_graph_module",
        ),
    }  # fmt: skip


BOMBS = {
    "deep tuple as a key": HEAD + b"})" + b"\x85" * 400_000 + b"Ns.",
    "deep lists": HEAD + b"]" * 400_000 + b"a" * 399_999 + b".",
    "tuple twice in itself, 60 deep, as a key": HEAD + b"})" + b"2\x86" * 60 + b"Ns.",
    "tuple twice in itself, 100,000 deep": HEAD + b")" + b"2\x86" * 100_000 + b".",
    "list twice in itself": HEAD + b"]q\x00" + b"]q\x01(h\x00h\x00eq\x00" * 100 + b".",
    "list in itself": HEAD + b"]q\x00h\x00ah\x00a.",
    "memo of 4 billion": HEAD + b"Nr\xff\xff\xff\xff.",
    "text of 2 GB": HEAD + b"X\xff\xff\xff\x7fabc.",
    "text of 2**60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc.",
    "bytes of 2**60 bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"abc.",
    "number of 2 GB": HEAD + b"\x8b\xff\xff\xff\x7f1.",
    "number of 5 million digits": HEAD + b"L" + b"9" * 5_000_000 + b"L\n.",
    "frame of 2**62 bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "a long list in a thousand places": HEAD
    + b"(]q\x00(" + b"N" * 200_000 + b"e" + b"h\x00" * 1500 + b"l.",
    "a long dictionary under a thousand keys": HEAD
    + b"}(" + b"K\x00}q\x00(" + b"NN" * 200_000 + b"u"
    + b"".join(b"M" + struct.pack("<H", key) + b"h\x00" for key in range(1500)) + b"u.",
    "an optimizer's long state a thousand times": HEAD
    + b"}(X\x0c\x00\x00\x00param_groupsNX\x05\x00\x00\x00state}(" + b"K\x00}q\x00("
    + b"NN" * 200_000 + b"u"
    + b"".join(b"M" + struct.pack("<H", key) + b"h\x00" for key in range(1500)) + b"uu.",
    "ten million operations": HEAD + b"N0" * 5_000_000 + b".",
    "a million dictionaries": HEAD + b"(" + b"}" * 3_000_000,
    "a text without an end": HEAD + b"V" + b"a" * 1_000_000,
    "no stack": HEAD + b"R.",
    "no mark": HEAD + b"Nt.",
    "unknown protocol": b"\x80\x09N.",
    "parameter of a parameter, 100,000 deep": HEAD
    + b"ctorch._utils\n_rebuild_parameter\nq\x00N" + b"q\x010h\x00h\x01\x85R" * 100_000 + b".",
    "sparse tensor of sparse tensors": HEAD
    + b"ctorch._utils\n_rebuild_sparse_tensor\nq\x00N"
    + b"q\x010h\x00N(h\x01h\x01h\x01t\x86R" * 60 + b".",
    "objects in arguments, 100,000 deep": HEAD
    + b"ca\nb\nq\x00N" + b"q\x010h\x00h\x01\x85R" * 100_000 + b".",
    "wrapper of wrappers": HEAD
    + b"ctorch._utils\n_rebuild_wrapper_subclass\nq\x00N"
    + b"q\x010h\x00(Nctorch\nfloat32\n)tR(h\x01h\x01h\x01tb" * 60 + b".",
    "endless shape": HEAD
    + b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00\x8a\x7f"
    + b"\x7f" * 127 + b"\x85K\x01\x85\x89N" + b"tR.",
}  # fmt: skip
"""Streams that cost a loader its memory, its time or its life."""


def zipped(path: Path, data: bytes) -> Path:
    """The pickle as torch.save's zip has it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", data)
        archive.writestr("x/version", "3")
    return path
