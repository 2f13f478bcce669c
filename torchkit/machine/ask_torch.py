"""Imports torch, tries it, and writes down how far it came: `python -c TEXT ANSWERS LIMIT_S`.

Stand-alone: standard library of Python 3.8 and up, and torch; nothing of ours. `torch_child.py`
runs this text as a child, because torch may crash, hang, print or end the process; here nothing
is judged. It runs as `python -c` would in the user's folder, so what is named torch there is
imported, as it is by a script that lies there.

The answer goes to the file ANSWERS, one dictionary a line as `ascii` writes it: standard output
belongs to torch, and a file that is opened anew for every line outlives whatever torch closes.
`ascii` needs no import, so no module of the user's folder is taken in place of `json`.

    stage      what is begun, in the words of "died while ..."
    error      the last line of the exception that importing torch ended with; `stack` where
    import_ms  how long the import took, in milliseconds
    torch      versions and properties as texts, as torch tells them
    cuda       why torch uses no GPU though it is built for them, in its own words
    trial      {"what", "worked", "error", "milliseconds", "name", "capability", "free_bytes"}
    warning    one that was shown
    libraries  files of the libraries that are loaded, at the end
    done       all of it was tried
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # what is imported here torch would not have to import, whatever is in its way
    from typing import Any

SIZE = 32  # whole numbers up to this are exact in bfloat16, float16 and TF32
OWN_END_S = 5.0  # past the limit the child ends by itself, should nobody be left to kill it
LENGTH = 1000  # of a text, in characters
WARNINGS = 20
ODD = "in this child: "  # so begin our own lines on standard error

WATCHED = {
    *("libcuda", "libcudart", "libcublas", "libcublasLt", "libcudnn", "libcufft", "libcupti"),
    *("libcurand", "libcusolver", "libcusparse", "libcusparseLt", "libnccl", "libnvJitLink"),
    *("libnvrtc", "libnvshmem_host", "libamdhip64", "librccl", "libstdc++", "libgcc_s", "libgomp"),
    *("libomp", "libiomp5", "libmkl_rt", "libopenblas", "libtorch", "libtorch_cpu"),
    *("libtorch_cuda", "libtorch_hip", "libc10", "libc10_cuda"),
}

QUESTIONS = {
    "version": "__version__",
    "cuda": "version.cuda",
    "hip": "version.hip",
    "xpu": "version.xpu",
    "archs": "_C._cuda_getArchFlags",
    "cxx11_abi": "_C._GLIBCXX_USE_CXX11_ABI",
    "cpu_capability": "backends.cpu.get_cpu_capability",
    "gloo": "distributed.is_gloo_available",
    "mpi": "distributed.is_mpi_available",
    "nccl": "cuda.nccl.version",
}
"""What is told of torch, and the name in torch that tells it."""


class Wrong(Exception):  # noqa: N818 - it is what the device did, not an accident
    """A device gave another result than arithmetic does."""


class Answers:
    """The file that the answers go to; a process that torch forks off writes nothing there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._process = os.getpid()

    def tell(self, **what: object) -> None:
        if os.getpid() != self._process:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, (ascii(what) + "\n").encode("ascii"))
        finally:
            os.close(descriptor)

    def stage(self, words: str) -> None:
        self.tell(stage=words)


def own_import(name: str) -> "Any":
    """A module of the standard library, also where the current folder has one of that name."""
    path = list(sys.path)
    sys.path[:] = path[1:] if path[:1] == [""] else path
    try:
        return __import__(name)
    finally:
        sys.path[:] = path


def prepare(answers: Answers, limit_s: float) -> None:
    """No core file, a Python stack just before the limit, and an end if nobody sets one."""
    import _signal  # type: ignore[import-not-found]  # no stub; both are compiled into Python
    import faulthandler

    try:
        resource = own_import("resource")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        del sys.modules["resource"]  # for torch to import what it would have imported
        tell_what_is_odd(resource)
    except Exception:  # noqa: BLE001, S110 - there is none on Windows; nothing depends on it
        pass
    faulthandler.dump_traceback_later(limit_s * 0.95, file=2)
    if hasattr(_signal, "alarm"):
        _signal.alarm(int(limit_s + OWN_END_S) + 1)
    keep_warnings(answers)


def tell_what_is_odd(resource: "Any") -> None:
    """What would be in the way of any program, on standard error beside what torch writes."""
    lines = []
    try:
        os.getcwd()  # noqa: PTH109 - pathlib would come from the user's folder
    except OSError:
        lines.append("the current folder does not exist")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        lines.append(f"no more than {limit // 1024} KiB may be mapped (ulimit -v)")
    for line in lines:
        os.write(2, (ODD + line + "\n").encode("ascii"))


def keep_warnings(answers: Answers) -> None:
    """Whatever warning Python would show is told instead."""
    warnings = own_import("warnings")
    left = [WARNINGS]

    def show(message: object, category: type, *_: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            answers.tell(warning=shortened(f"{category.__name__}: {message}"))

    warnings.showwarning = show


def shortened(text: str) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:LENGTH] if lines else ""


def words_of(error: BaseException) -> str:
    """As the last line of a traceback has it."""
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    message = getattr(error, "msg", None) if isinstance(error, SyntaxError) else None
    text = shortened(str(error) if message is None else str(message))
    return f"{module}{kind.__qualname__}: {text}" if text else f"{module}{kind.__qualname__}"


def stack_of(error: BaseException) -> "list[str]":
    """Where it was raised, the innermost first, as `FILE:LINE in NAME`."""
    found = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<"):
            found.append(f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return found[::-1][:6]


def import_torch(answers: Answers) -> "Any":
    """The module, or None after telling why there is none."""
    import time

    answers.stage("importing torch")
    begun = time.perf_counter()
    try:
        # a call, since no file of torchkit has a statement that imports torch
        torch = __import__("torch")
        answers.tell(import_ms=milliseconds_since(begun))
        answers.tell(torch={"file": str(torch.__file__ or next(iter(torch.__path__), ""))})
        torch.Tensor  # noqa: B018 - a file of the user's named torch.py has none
    except BaseException as error:  # noqa: BLE001 - an import may raise anything, SystemExit too
        answers.tell(error=words_of(error), stack=stack_of(error))
        return None
    return torch


def milliseconds_since(begun: float) -> int:
    import time

    return round((time.perf_counter() - begun) * 1000)


# --- what torch says of itself


def describe(torch: "Any") -> "dict[str, str]":
    """Versions and properties; what this torch does not tell is left out."""
    told = {}
    for name, path in QUESTIONS.items():
        try:
            value = torch
            for part in path.split("."):
                value = getattr(value, part)
            value = value() if callable(value) else value
        except Exception:  # noqa: BLE001, S112 - each release and each build lacks some of them
            continue
        if value is not None and value != "":
            told[name] = as_text(value)
    return told


def as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ".".join(str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def cuda_count(torch: "Any", answers: Answers) -> int:
    """How many GPUs torch can use; tells why there is none where it is built for them."""
    build = torch.version
    if getattr(build, "cuda", None) is None and getattr(build, "hip", None) is None:
        return 0
    answers.stage("asking CUDA for its devices" if build.cuda else "asking ROCm for its devices")
    try:
        if torch.cuda.is_available():
            return int(torch.cuda.device_count())
        torch.cuda.init()
    except Exception as error:  # noqa: BLE001 - its words are the answer
        answers.tell(cuda=words_of(error))
    else:
        answers.tell(cuda="torch.cuda.is_available() is False, and torch gives no reason")
    return 0


# --- what it computes


class Trial:
    """One attempt: its stages are told as they are begun, and then how it went."""

    def __init__(self, answers: Answers, what: str) -> None:
        self._answers = answers
        self.known = {"what": what}  # type: dict[str, object]

    def run(self, *steps: "tuple[str, Any]") -> bool:
        """Steps are pairs of the stage's words and a function. Gives whether all of them worked."""
        import time

        begun = time.perf_counter()
        worked = True
        try:
            for words, step in steps:
                self._answers.stage(words)
                step()
        except Exception as error:  # noqa: BLE001 - its words are the answer
            worked = False
            self.known["error"] = words_of(error)
        self.known.update(worked=worked, milliseconds=milliseconds_since(begun))
        self._answers.tell(trial=self.known)
        return worked


def multiply(torch: "Any", device: str, kind: str) -> None:
    """A product of matrices of -1, 0 and 1, which every type of number holds exactly. Raises Wrong."""
    left = [[(3 * row + 5 * column) % 3 - 1 for column in range(SIZE)] for row in range(SIZE)]
    right = [[(row + 2 * column * row) % 3 - 1 for column in range(SIZE)] for row in range(SIZE)]
    columns = list(zip(*right))  # noqa: B905 - `strict` is of Python 3.10
    needed = [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in left]  # noqa: B905
    dtype = getattr(torch, kind)
    as_tensor = torch.tensor
    product = as_tensor(left, dtype=dtype, device=device) @ as_tensor(
        right, dtype=dtype, device=device
    )
    found = product.to(torch.float32).cpu().tolist()
    if found != needed:
        row, column = next(
            (r, c) for r in range(SIZE) for c in range(SIZE) if found[r][c] != needed[r][c]
        )
        raise Wrong(
            f"a product of {kind} matrices came out wrong on {device}: found {found[row][column]} "
            f"at [{row}, {column}], needed {needed[row][column]}"
        )


def convolve(torch: "Any", device: str) -> None:
    """Ones by ones: every value is the number of taps, 27. By cuDNN on CUDA. Raises Wrong."""
    ones = torch.ones
    conv2d = torch.nn.functional.conv2d
    result = conv2d(ones(1, 3, 16, 16, device=device), ones(4, 3, 3, 3, device=device))
    values = set(result.cpu().flatten().tolist())
    if values != {27.0}:
        raise Wrong(f"a convolution came out wrong on {device}: found {min(values)}, needed 27.0")


def try_device(torch: "Any", answers: Answers, device: str) -> bool:
    """Allocate, multiply and convolve there."""
    trial = Trial(answers, device)
    kinds = {"cpu": ["bfloat16"], "mps": ["float16"], "xpu": ["float16", "bfloat16"]}.get(
        device.split(":", 1)[0], ["float16"]
    )

    def start() -> None:
        if device.startswith("cuda"):
            kinds.extend(about_gpu(torch, device, trial.known))
        total = torch.ones(8, device=device).sum().item()
        if total != 8.0:
            raise Wrong(f"a sum came out wrong on {device}: found {total}, needed 8.0")

    def multiply_in_short_kinds() -> None:
        for kind in kinds:
            multiply(torch, device, kind)

    return trial.run(
        (f"starting {device}", start),
        (f"multiplying on {device}", lambda: multiply(torch, device, "float32")),
        (f"multiplying in half precision on {device}", multiply_in_short_kinds),
        (f"convolving on {device}", lambda: convolve(torch, device)),
    )


def about_gpu(torch: "Any", device: str, known: "dict[str, object]") -> "list[str]":
    """Fills in name, capability and free memory; gives what it multiplies beside float16."""
    cuda = torch.cuda
    known["name"] = str(cuda.get_device_name(device))
    major, minor = cuda.get_device_capability(device)
    known["capability"] = f"{major}.{minor}"
    known["free_bytes"] = int(cuda.mem_get_info(device)[0])
    return ["bfloat16"] if major >= 8 else []


def other_devices(torch: "Any") -> "list[str]":
    """Devices of Apple and Intel."""
    found = []
    mps: Any = getattr(getattr(torch, "backends", None), "mps", None)
    if mps is not None and mps.is_available():
        found.append("mps")
    if getattr(torch, "xpu", None) is not None and torch.xpu.is_available():
        found += [f"xpu:{index}" for index in range(torch.xpu.device_count())]
    return found


def reduce(torch: "Any", backend: str, device: str) -> None:
    """A group of this process alone, over the loopback interface, sums a tensor. Raises Wrong."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = loopback
    group = torch.distributed
    group.init_process_group(backend, store=group.HashStore(), rank=0, world_size=1)
    try:
        ones = torch.ones(4, device=device)
        group.all_reduce(ones)
        if ones.cpu().tolist() != [1.0] * 4:
            raise Wrong(f"{backend} summed wrong: found {ones.cpu().tolist()}, needed 1.0")
    finally:
        group.destroy_process_group()


def try_all(torch: "Any", answers: Answers) -> None:
    """Devices first, then what joins processes."""
    try_device(torch, answers, "cpu")
    count = cuda_count(torch, answers)
    working = [
        device
        for device in [*(f"cuda:{index}" for index in range(count)), *other_devices(torch)]
        if try_device(torch, answers, device)
    ]
    build = torch.version
    if build.cuda is not None:
        Trial(answers, "cudnn").run(("asking for cuDNN", lambda: ask_cudnn(torch, answers)))
    group = getattr(torch, "distributed", None)
    if group is None or not group.is_available() or sys.platform == "win32":
        return
    if group.is_gloo_available():
        Trial(answers, "gloo").run(("joining by gloo", lambda: reduce(torch, "gloo", "cpu")))
    gpu = next((device for device in working if device.startswith("cuda")), None)
    if gpu is not None and group.is_nccl_available():
        torch.cuda.set_device(gpu)
        Trial(answers, "nccl").run(("joining by NCCL", lambda: reduce(torch, "nccl", gpu)))


def ask_cudnn(torch: "Any", answers: Answers) -> None:
    """torch refuses a cuDNN that is older than the one it was built with."""
    version = torch.backends.cudnn.version()
    if version is not None:
        answers.tell(torch={"cudnn": str(version)})


def loaded_libraries() -> "list[str] | None":
    """Files of watched libraries in this process; None where it is not told."""
    try:
        with os.fdopen(os.open("/proc/self/maps", os.O_RDONLY), "rb") as file:
            maps = os.fsdecode(file.read())
    except OSError:
        return None
    paths = {}  # type: dict[str, None]
    for line in maps.splitlines():
        parts = line.split(None, 5)
        if len(parts) > 5 and is_watched(parts[5].rsplit("/", 1)[-1]):
            paths[parts[5]] = None
    return list(paths)


def is_watched(name: str) -> bool:
    """`libcudart.so.12`, `libcudnn_ops.so.9`, and `libgomp-a34b3233.so.1`, which wheels bring."""
    stem = name.partition(".so")[0]
    return ".so" in name and (stem.split("-")[0] in WATCHED or stem.startswith("libcudnn_"))


def main() -> None:
    answers = Answers(sys.argv[1])
    answers.stage("starting Python")
    prepare(answers, float(sys.argv[2]))
    torch = import_torch(answers)
    if torch is None:
        os._exit(0)  # what has half come up may not go down
    answers.stage("asking torch for its versions")
    answers.tell(torch=describe(torch))
    try_all(torch, answers)
    answers.tell(libraries=loaded_libraries())
    answers.tell(stage="leaving Python", done=True)


if __name__ == "__main__":
    main()
