"""What one library of the NVIDIA driver says: `ask_driver.py nvml|cuda version|devices FILE...`.

Stand-alone: standard library of Python 3.6 and up, nothing of ours. `driver.py` runs it as a
child (`python -I -S`) because such a library may crash, hang or print; here nothing is judged.
The answer is one JSON object, the last line on standard output:

    file      the file that was loaded, symbolic links followed
    driver    version of the driver, as NVML has it
    cuda      newest CUDA it runs, 12040 for 12.4
    gpus      [{"name", "capability": [8, 6], "memory_bytes"}]; absent when it could not tell
    opened    whether the library could be loaded at all
    error     the first call that failed, in the library's own words

Sources: nvml.h and cuda.h of the CUDA toolkit.
"""

import contextlib
import ctypes
import json
import os
import sys

NVML_NOT_FOUND_GPU = 28  # NVML_ERROR_GPU_NOT_FOUND
NVML_NAME_BYTES = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE
NVML_VERSION_BYTES = 80  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
CUDA_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
CUDA_NAME_BYTES = 256
CAPABILITY_ATTRIBUTES = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


class Refused(Exception):  # noqa: N818 - it is what the library said, not an accident
    """A call that failed: its status (None when the library lacks it), and the words for it."""

    def __init__(self, status: "int | None", words: str) -> None:
        super().__init__(words)
        self.status = status


class Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class Library:
    """A loaded library whose functions return a status, 0 for success."""

    def __init__(self, library: ctypes.CDLL, words: "object") -> None:
        self._library = library
        self._words = words

    def call(self, names: str, *arguments: object) -> None:
        """Call the first of the names (newest first) that the library has. Raises Refused."""
        for name in names.split():
            function = getattr(self._library, name, None)
            if function is not None:
                status = function(*arguments)
                if status:
                    raise Refused(status, self._words(self._library, name, status))  # type: ignore[operator]
                return
        raise Refused(None, f"the library has no {names.split(maxsplit=1)[0]}")


def nvml_words(library: ctypes.CDLL, name: str, status: int) -> str:
    """`nvmlInit_v2: Driver/library version mismatch (18)`, the text by NVML itself."""
    function = getattr(library, "nvmlErrorString", None)
    text = None
    if function is not None:
        function.restype = ctypes.c_char_p
        text = function(status)
    return "{}: {} ({})".format(name, text.decode("utf-8", "replace") if text else "error", status)


def cuda_words(library: ctypes.CDLL, name: str, status: int) -> str:
    """`cuInit: CUDA_ERROR_NO_DEVICE (100), no CUDA-capable device is detected`."""
    texts = []
    for question in ("cuGetErrorName", "cuGetErrorString"):
        function = getattr(library, question, None)
        text = ctypes.c_char_p()
        if function is not None and function(status, ctypes.byref(text)) == 0 and text.value:
            texts.append(text.value.decode("utf-8", "replace"))
        else:
            texts.append("")
    said = "{}: {} ({})".format(name, texts[0] or "error", status)
    return f"{said}, {texts[1]}" if texts[1] else said


def ask_nvml(library: ctypes.CDLL, answer: "dict[str, object]", devices: bool) -> None:
    """Fill in driver, cuda and gpus. Raises Refused."""
    nvml = Library(library, nvml_words)
    try:
        nvml.call("nvmlInit_v2 nvmlInit")
    except Refused as refused:
        if refused.status == NVML_NOT_FOUND_GPU:
            answer["gpus"] = []
        raise
    text = ctypes.create_string_buffer(NVML_VERSION_BYTES)
    with contextlib.suppress(Refused):
        nvml.call("nvmlSystemGetDriverVersion", text, NVML_VERSION_BYTES)
        answer["driver"] = text.value.decode("utf-8", "replace")
    cuda = ctypes.c_int()
    with contextlib.suppress(Refused):
        nvml.call("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
        answer["cuda"] = cuda.value
    if not devices:
        return
    count = ctypes.c_uint()
    nvml.call("nvmlDeviceGetCount_v2 nvmlDeviceGetCount", ctypes.byref(count))
    gpus = []  # type: list[dict[str, object]]
    for index in range(count.value):
        try:
            gpus.append(nvml_gpu(nvml, index))
        except Refused as refused:  # one lost GPU does not hide the others
            answer.setdefault("error", f"GPU {index}: {refused}")
    answer["gpus"] = gpus


def nvml_gpu(nvml: Library, index: int) -> "dict[str, object]":
    """One GPU. Raises Refused when NVML gives no handle or no name."""
    gpu = {}  # type: dict[str, object]
    device = ctypes.c_void_p()
    nvml.call(
        "nvmlDeviceGetHandleByIndex_v2 nvmlDeviceGetHandleByIndex",
        ctypes.c_uint(index),
        ctypes.byref(device),
    )
    name = ctypes.create_string_buffer(NVML_NAME_BYTES)
    nvml.call("nvmlDeviceGetName", device, name, NVML_NAME_BYTES)
    gpu["name"] = name.value.decode("utf-8", "replace")
    major, minor = ctypes.c_int(), ctypes.c_int()
    with contextlib.suppress(Refused):
        nvml.call(
            "nvmlDeviceGetCudaComputeCapability", device, ctypes.byref(major), ctypes.byref(minor)
        )
        gpu["capability"] = [major.value, minor.value]
    memory = Memory()
    with contextlib.suppress(Refused):
        nvml.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
        gpu["memory_bytes"] = memory.total
    return gpu


def ask_cuda(library: ctypes.CDLL, answer: "dict[str, object]", devices: bool) -> None:
    """Fill in cuda, and gpus if asked for: that needs cuInit, which touches them. Raises Refused."""
    cuda = Library(library, cuda_words)
    version = ctypes.c_int()
    cuda.call("cuDriverGetVersion", ctypes.byref(version))
    answer["cuda"] = version.value
    if not devices:
        return
    count = ctypes.c_int()
    try:
        cuda.call("cuInit", ctypes.c_uint(0))
        cuda.call("cuDeviceGetCount", ctypes.byref(count))
    except Refused as refused:
        if refused.status != CUDA_NO_DEVICE:
            raise
        count.value = 0
    gpus = []  # type: list[dict[str, object]]
    for index in range(count.value):
        try:
            gpus.append(cuda_gpu(cuda, index))
        except Refused as refused:
            answer.setdefault("error", f"GPU {index}: {refused}")
    answer["gpus"] = gpus


def cuda_gpu(cuda: Library, index: int) -> "dict[str, object]":
    """One GPU. Raises Refused when libcuda gives no handle or no name."""
    gpu = {}  # type: dict[str, object]
    device = ctypes.c_int()
    cuda.call("cuDeviceGet", ctypes.byref(device), index)
    name = ctypes.create_string_buffer(CUDA_NAME_BYTES)
    cuda.call("cuDeviceGetName", name, CUDA_NAME_BYTES, device)
    gpu["name"] = name.value.decode("utf-8", "replace")
    with contextlib.suppress(Refused):
        numbers = []
        for attribute in CAPABILITY_ATTRIBUTES:
            number = ctypes.c_int()
            cuda.call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
            numbers.append(number.value)
        gpu["capability"] = numbers
    size = ctypes.c_size_t()
    with contextlib.suppress(Refused):
        cuda.call("cuDeviceTotalMem_v2", ctypes.byref(size), device)
        gpu["memory_bytes"] = size.value
    return gpu


def opened(candidates: "list[str]") -> "tuple[ctypes.CDLL | None, str | None]":
    """The first candidate that loads (a bare name is looked up by the loader), or why none did."""
    why = None
    for candidate in candidates:
        try:
            return ctypes.CDLL(candidate), None
        except OSError as error:
            why = str(error)
    return None, why


def loaded_file(stem: str) -> "str | None":
    """The file mapped into this process whose name begins with `stem`; None where untold."""
    try:
        with os.fdopen(os.open("/proc/self/maps", os.O_RDONLY), "rb") as file:
            maps = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    for line in maps.splitlines():
        parts = line.split(None, 5)
        if len(parts) > 5 and parts[5].rsplit("/", 1)[-1].startswith(stem):
            return parts[5]
    return None


def prepare() -> int:
    """Make this process harmless; gives a descriptor of the real standard output.

    The libraries' own prints go nowhere, a crash leaves no core file, and a hidden GPU is seen.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # NVML's order
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


def main() -> None:
    which, what, candidates = sys.argv[1], sys.argv[2], sys.argv[3:]
    answers = prepare()
    library, why = opened(candidates)
    answer = {"opened": library is not None}  # type: dict[str, object]
    if library is None:
        answer["error"] = why
    else:
        stem = "libnvidia-ml.so" if which == "nvml" else "libcuda.so"
        answer["file"] = loaded_file(stem)
        try:
            (ask_nvml if which == "nvml" else ask_cuda)(library, answer, what == "devices")
        except Refused as refused:
            answer["error"] = str(refused)
    os.write(answers, ("\n" + json.dumps(answer) + "\n").encode("ascii"))
    os._exit(0)  # the libraries' own farewells may crash or hang as well


if __name__ == "__main__":
    main()
