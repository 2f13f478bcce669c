"""What to tell CMake where it takes another folder for the CUDA toolkit than the one that is here.

CMake goes by the nvcc on PATH, whose folder is not the toolkit's where that nvcc is a script or a
link; and it does not look at CUDA_HOME.
"""

from __future__ import annotations

from typing import NamedTuple

from torchkit.machine.facts import Unknown


class Astray(NamedTuple):
    """CMake's folder for the toolkit, None where it finds none, and the toolkit that is here."""

    taken: str | None
    home: str
    nvcc: str

    @property
    def is_named(self) -> bool:
        """Whether the toolkit here is the one that CUDA_HOME names, and not the one on PATH."""
        return self.nvcc.startswith(f"{self.home}/")

    @property
    def finds_none(self) -> bool:
        """Whether CMake stops: where its folder is another toolkit's, it builds with that one."""
        return self.taken is None or not self.is_named

    @property
    def cause(self) -> str:
        """The fault as a sentence."""
        if self.taken is None:
            return (
                f"CMake finds no nvcc on PATH and does not look at CUDA_HOME, the toolkit is in "
                f"{self.home}"
            )
        by = ", not what CUDA_HOME names" if self.is_named else f", by {self.nvcc}"
        return f"CMake takes {self.taken} for the CUDA toolkit{by}; the toolkit is in {self.home}"

    @property
    def options(self) -> str:
        """For cmake's command line."""
        options = f"-DCUDA_TOOLKIT_ROOT_DIR={self.home}"
        if self.is_named:
            options += f" -DCMAKE_CUDA_COMPILER={self.nvcc}"
        return options

    @property
    def fix(self) -> tuple[str, ...]:
        """What the user can do, likeliest first."""
        return (
            f"name the toolkit: cmake {self.options} …",
            f"or export PATH={self.home}/bin:$PATH",
        )


def astray(
    cmake_cuda_home: str | None | Unknown,
    cuda_home: str | None | Unknown,
    nvcc_path: str | None | Unknown,
) -> Astray | None:
    """None where CMake takes the toolkit that is here, there is none, or it is not known."""
    if isinstance(cmake_cuda_home, Unknown) or cmake_cuda_home == cuda_home:
        return None
    if not isinstance(cuda_home, str) or not isinstance(nvcc_path, str):
        return None
    return Astray(cmake_cuda_home, cuda_home, nvcc_path)
