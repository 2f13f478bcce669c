"""Where CMake looks for the CUDA toolkit when a program is built against a CUDA libtorch.

The rules are those of FindCUDA.cmake, which every libtorch brings: the folder above the nvcc that
it finds, links and scripts not followed. CUDA_HOME is not among them.
"""

from __future__ import annotations

from pathlib import Path

from torchkit.system import System

_VARIABLES = ("CUDA_TOOLKIT_ROOT", "CUDA_PATH", "CUDA_BIN_PATH")
_BELOW = ("", "bin", "bin64")
_DEFAULT_FOLDERS = ("/usr/local/bin", "/usr/local/cuda/bin", "/usr/bin", "/opt/cuda/bin")
"""Where find_program looks after PATH, of its own and by the PATHS it is given."""


def cmake_cuda_home(system: System, cuda_home: Path | None) -> Path | None:
    """The folder that CMake takes for the toolkit; None where it finds no nvcc.

    Where that is `cuda_home` by another name, it is given by that name.
    """
    nvcc = _nvcc(system)
    if nvcc is None:
        return None
    home = nvcc.parent.parent
    if cuda_home is not None and system.resolve(home) == system.resolve(cuda_home):
        return cuda_home
    return home


def _nvcc(system: System) -> Path | None:
    for name in _VARIABLES:
        told = system.environ.get(name)
        for below in _BELOW if told else ():
            found = system.which(str(Path(told or "") / below / "nvcc"))
            if found is not None:
                return found
    on_path = system.which("nvcc")
    if on_path is not None or system.platform == "win32":
        return on_path
    places = (system.which(f"{folder}/nvcc") for folder in _DEFAULT_FOLDERS)
    return next((place for place in places if place is not None), None)
