"""What surrounds running somebody's code: where its output goes, and what its exceptions mean.

stdout is the report's. Whatever the user's code prints goes to stderr, from C++ and from child
processes too.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import importlib.metadata
import io
import os
import re
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from torchkit.errors import BadTarget, TorchkitError

_OURS = str(Path(__file__).resolve().parent.parent)

_PACKAGE_OF = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "attr": "attrs",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "pytorch_lightning": "pytorch-lightning",
    "open_clip": "open-clip-torch",
    "torch_geometric": "torch-geometric",
    "flash_attn": "flash-attn",
    "faiss": "faiss-cpu",
    "hydra": "hydra-core",
    "pyro": "pyro-ppl",
    "pynvml": "nvidia-ml-py",
    "umap": "umap-learn",
}
"""Packages that pip knows by another name than Python does; the others have one name."""

_KNOWN_TO_PIP = """
    accelerate albumentations anndata av bitsandbytes botorch causal_conv1d click deepspeed diffusers
    e3nn einops fairscale fastai fairseq ftfy fvcore geoopt gpytorch gradio gym gymnasium h5py huggingface_hub
    imageio imgaug iopath jaxtyping jsonargparse kornia librosa lightning lion_pytorch lmdb
    loguru lpips mamba_ssm matplotlib medpy ml_collections mlflow mmengine
    monai networkx nibabel nltk numba numpy omegaconf onnx onnxruntime opt_einsum optuna pandas peft
    plotly prettytable psutil pyarrow pydantic pydicom pycocotools ray regex requests rich rotary_embedding_torch
    sacrebleu safetensors scanpy scipy seaborn segmentation_models_pytorch sentence_transformers
    sentencepiece soundfile spacy sympy tabulate tensorboard tensordict tensorboardX termcolor tiktoken timm
    tokenizers torch torch_cluster torch_scatter torch_sparse torch_spline_conv torchaudio torchdiffeq
    torchmetrics torchsde torchtext torchvision tqdm transformers triton trl typer typing_extensions
    ultralytics vector_quantize_pytorch wandb webdataset x_transformers xformers yacs zarr
"""
"""Imports that are surely those of a package of that name at pip. Of any other name, as `utils`,
`models` or `src`, the user's own folder may be meant, and the package there is a stranger's."""

_KNOWN_PACKAGES = frozenset(_KNOWN_TO_PIP.split()) | set(_PACKAGE_OF)


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send what is written to stdout to stderr for the time being: by Python, C++, child processes."""
    kept, before = _duplicate(1), sys.stdout
    _flush()
    if kept is not None:
        _replace_stdout()
    sys.stdout = sys.stderr if sys.stderr is not None else io.StringIO()
    try:
        yield
    finally:
        _flush()
        sys.stdout = before
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _duplicate(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # closed: there is nothing to keep clean
        return None


def _replace_stdout() -> None:
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _flush() -> None:
    """Python's buffers and those of C, so that nothing written before comes out after."""
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no None
        ctypes.CDLL(None).fflush(None)


@contextmanager
def as_script(file: str | None, *, doing: str) -> Iterator[None]:
    """Run the user's code as under `python FILE`: its own sys.argv, output to stderr.

    `doing` says what for, as in "importing model.py". Any exception of theirs becomes BadTarget.
    """
    before = sys.argv
    sys.argv = [file or "-m"]
    try:
        with output_to_stderr():
            yield
    except TorchkitError:
        raise
    except SystemExit as error:
        raise _left(error, doing) from error
    except Exception as error:  # any code may be in the user's file
        raise bad_target(error, doing) from error
    finally:
        sys.argv = before


# --- what an exception means


class Line(NamedTuple):
    """A line of code: the file as the user would name it, and the number."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def bad_target(error: Exception, doing: str) -> BadTarget:
    """The user's exception in one line: where in their own code, what, and what cures it."""
    line, cause = own_line(error), _root(error)
    where = str(line) if line is not None else f"while {doing}"
    text = f"{type(cause).__name__}: {_one_line(cause)}".removesuffix(": ")
    hint = _cure(cause, line)
    if "torchvision::" in text and "does not exist" in text:
        return BadTarget(f"{where}: torchvision does not fit torch {_torch()} ({text})", hint)
    return BadTarget(f"{where}: {text}", hint or f"it happened while {doing}")


def _left(error: SystemExit, doing: str) -> BadTarget:
    line = own_line(error)
    code = "" if error.code is None else repr(error.code)
    return BadTarget(
        f"{line or doing}: sys.exit({code}) was called while {doing}",
        hint="put what only a script should do, as reading its options, under"
        ' `if __name__ == "__main__":`',
    )


def own_line(error: BaseException) -> Line | None:
    """The innermost line of the user's own code that an exception came through.

    Where all of it is installed packages, their innermost line.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return Line(shown(error.filename), error.lineno)
    frames = [
        Line(frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(("<", _OURS))
    ]
    own = [line for line in frames if not is_library(line.file)]
    found = own or [line for line in frames if not _is_standard(line.file)]
    return Line(shown(found[-1].file), found[-1].number) if found else None


def is_library(file: str) -> bool:
    """Whether a file belongs to Python, an installed package or torchkit, not to the user."""
    parts = Path(file).parts
    return (
        file.startswith(("<", _OURS))
        or "site-packages" in parts
        or "dist-packages" in parts
        or _is_standard(file)
    )


def _is_standard(file: str) -> bool:
    return file.startswith(sysconfig.get_path("stdlib") + os.sep)


def shown(file: str | Path) -> str:
    """A path as the user would type it: relative where it is below the current folder."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def _root(error: Exception) -> BaseException:
    """Behind an import that says only that it failed: the exception that it failed by."""
    cause: BaseException = error
    while isinstance(cause, (ImportError, RuntimeError)) and cause.__cause__ is not None:
        if not isinstance(cause, ImportError) and "Failed to import" not in str(cause):
            break
        cause = cause.__cause__
    return cause


def _one_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    text = str(error).strip()
    return text.splitlines()[0] if text else ""


def _cure(error: BaseException, line: Line | None) -> str:
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _how_to_get(error.name, line)
    if "torchvision::" in text and "does not exist" in text:
        return "`torchkit env` names the torchvision that goes with this torch"
    if isinstance(error, AttributeError) and "before Module.__init__() call" in text:
        return "make super().__init__() the first line of the class's __init__"
    if isinstance(error, (ImportError, OSError)) and (".so" in text or "undefined symbol" in text):
        return "`torchkit env` says which compiled package does not fit"
    return ""


def _how_to_get(module: str, line: Line | None) -> str:
    """How to make a missing module importable: it lies nearby, or pip has it."""
    top = module.partition(".")[0]
    if top in sys.modules:
        return how_to_get_part(module)
    if top in sys.stdlib_module_names:
        return f"this Python was built without {top}: use one of another source"
    nearby = _nearby(top, line)
    if nearby is not None:
        return f"{nearby.name} is in {shown(nearby.parent)}: set PYTHONPATH={shlex.quote(str(nearby.parent))}"
    if _is_of_pip(top):
        return f"pip install {_package(top)}"
    beside = f"beside {line.file}" if line is not None else "in this folder"
    return (
        f"{top} is neither {beside}, nor in a folder above, nor installed: set PYTHONPATH to the "
        "folder that holds it, or install the package that provides it"
    )


def _is_of_pip(top: str) -> bool:
    """Whether pip surely has the package that is meant: well known, or asked for by an installed one."""
    if top in _KNOWN_PACKAGES:
        return True
    wanted = top.replace("_", "-").lower()
    for installed in importlib.metadata.distributions():
        for text in installed.requires or ():
            name = re.match(r"[\w.-]+", text)
            if name and re.sub("[-_.]+", "-", name[0]).lower() == wanted:
                return True
    return False


def _package(top: str) -> str:
    return _PACKAGE_OF.get(top, top.replace("_", "-"))


def how_to_get_part(module: str) -> str:
    """What to do where a package is there and has no such part: `package.part`, neither installed.

    An installed package is of another version; the user's own lacks a file, and pip cannot help.
    Whatever has the package's name on an index is somebody else's.
    """
    top, parent, _ = module.partition(".")[0], *module.rpartition(".")[::2]
    holder = sys.modules.get(parent) or sys.modules.get(top)
    place = _place_of(holder) if holder is not None else ""
    if top in sys.stdlib_module_names:
        return f"Python {sys.version.partition(' ')[0]} has no {module}"
    if holder is None or not place or is_library(place):
        if _is_of_pip(top):
            return f"the installed {top} has no {module}: pip install --upgrade {_package(top)}"
        where = f" ({shown(place)})" if place else ""
        return (
            f"the installed {top}{where} has no {module}: where a folder of your own is meant, set "
            "PYTHONPATH to the one that holds it; else the package is of another version"
        )
    folder = Path(place)
    if not hasattr(holder, "__path__"):
        return f"{shown(folder)} is a file, and no folder with {module.rpartition('.')[2]} in it"
    wanted = folder.joinpath(*module[len(holder.__name__) + 1 :].split("."))
    names = [it.stem for it in sorted(wanted.parent.glob("*.py"))] if wanted.parent.is_dir() else []
    near = difflib.get_close_matches(wanted.name, names, 1)
    guess = f"; did you mean {near[0]}" if near else ""
    return f"there is no {shown(wanted)}.py, nor a folder of that name{guess}"


def _place_of(module: ModuleType) -> str:
    """The folder of a package, with or without an `__init__.py`; the file of a module."""
    folders = list(getattr(module, "__path__", ()))
    return str(folders[0] if folders else getattr(module, "__file__", None) or "")


def _nearby(name: str, line: Line | None) -> Path | None:
    """`name.py` or a folder `name` beside or above the file, or one folder below the current one."""
    folders = list(Path(line.file).resolve().parents[:6]) if line is not None else []
    with contextlib.suppress(OSError):
        folders += sorted(it for it in Path.cwd().iterdir() if it.is_dir())[:100]
    for folder in folders:
        for found in (folder / f"{name}.py", folder / name):
            if found.is_file() or (found / "__init__.py").is_file() or found in folders:
                return found
    return None


def _torch() -> str:
    return str(getattr(sys.modules.get("torch"), "__version__", "here"))
