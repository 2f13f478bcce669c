"""What fits together: the door to the facts about the world in this folder.

Checks and commands ask here; each file of facts is read when it is first asked for. Only names
are gathered here: the questions are answered in the module that is called after their subject.
"""

from __future__ import annotations

from torchkit.knowledge.build_errors import BuildError, build_error, build_errors
from torchkit.knowledge.cuda import (
    CudaToolkit,
    capability_range,
    clang_max,
    cuda_toolkit,
    cuda_toolkits,
    gcc_max,
    minimum_driver,
    newest_cuda_for_driver,
    runnable_cuda_major,
    toolkit_driver,
)
from torchkit.knowledge.gpus import (
    ArchList,
    architectures,
    doubtfully_served_by,
    gpu_capability,
    is_data_center_gpu,
    served_by,
    serves,
)
from torchkit.knowledge.libtorch import LibtorchZip, libtorch_variants, libtorch_zip
from torchkit.knowledge.releases import (
    COMPANIONS,
    TorchRelease,
    companion_for,
    companion_releases,
    newest_torch,
    newest_torch_for_python,
    torch_for_companion,
    torch_release,
    torch_releases,
)
from torchkit.knowledge.systems import Distribution, distribution, distributions, glibcxx_of_gcc
from torchkit.knowledge.windows import (
    TorchCompile,
    Window,
    torch_compile_refused_from,
    torch_compile_support,
    window,
    windows,
)

__all__ = [
    "COMPANIONS",
    "ArchList",
    "BuildError",
    "CudaToolkit",
    "Distribution",
    "LibtorchZip",
    "TorchCompile",
    "TorchRelease",
    "Window",
    "architectures",
    "build_error",
    "build_errors",
    "capability_range",
    "clang_max",
    "companion_for",
    "companion_releases",
    "cuda_toolkit",
    "cuda_toolkits",
    "distribution",
    "distributions",
    "doubtfully_served_by",
    "gcc_max",
    "glibcxx_of_gcc",
    "gpu_capability",
    "is_data_center_gpu",
    "libtorch_variants",
    "libtorch_zip",
    "minimum_driver",
    "newest_cuda_for_driver",
    "newest_torch",
    "newest_torch_for_python",
    "runnable_cuda_major",
    "served_by",
    "serves",
    "toolkit_driver",
    "torch_compile_refused_from",
    "torch_compile_support",
    "torch_for_companion",
    "torch_release",
    "torch_releases",
    "window",
    "windows",
]
