"""Makes small libtorchs: real libraries, headers and CMake files, of a few functions only.

They have what `torchkit/machine/trial` uses, and the names that torch has, so that compiler,
linker and loader say of them what they say of the real one, in a second instead of twenty.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

TYPES_H = """
#pragma once
#if __cplusplus < 201703L
#error C++17 or later compatible compiler is required to use ATen.
#endif
#include <string>
#include <initializer_list>
namespace c10 {
struct UndefinedTensorImpl { static float _singleton; };  // a name without a string
struct Device { Device(const std::string& name); };
namespace detail {
[[noreturn]] void torchCheckFail(
    const char* function, const char* file, unsigned line, const std::string& message);
}
}  // namespace c10
namespace at {
struct Tensor {
  Tensor t() const; Tensor sum() const; float value;
  template <typename T> T item() const { return value + c10::UndefinedTensorImpl::_singleton; }
};
Tensor ones(std::initializer_list<long> size, c10::Device device);
Tensor mm(const Tensor& a, const Tensor& b);
}  // namespace at
namespace torch { using namespace at; using c10::Device; }
#define TORCH_CHECK(condition, ...) \\
  if (!(condition)) ::c10::detail::torchCheckFail(__func__, __FILE__, __LINE__, __VA_ARGS__)
"""

CUDA_H = "#pragma once\nnamespace torch { namespace cuda { bool is_available(); } }\n"

C10_CPP = """
#include <torch/types.h>
#include <stdexcept>
namespace c10 {
float UndefinedTensorImpl::_singleton = 0;
Device::Device(const std::string&) {}
namespace detail {
void torchCheckFail(const char*, const char*, unsigned, const std::string& message) {
  throw std::runtime_error(message);
}
}
}
"""

TORCH_CPP = """
#include <torch/types.h>
#include <torch/cuda.h>
#include <cstdlib>
#include <unistd.h>
namespace at {
Tensor Tensor::t() const { return *this; }
Tensor Tensor::sum() const { return *this; }
Tensor ones(std::initializer_list<long>, c10::Device) { return {1.0f}; }
Tensor mm(const Tensor&, const Tensor&) { return {PRODUCT}; }
}
namespace torch { namespace cuda { bool is_available() { IS_AVAILABLE; return false; } } }
"""

CONFIG = """
get_filename_component(TORCH_INSTALL_PREFIX "${CMAKE_CURRENT_LIST_DIR}/../../../" ABSOLUTE)
foreach(name c10 torch)
  add_library(${name} SHARED IMPORTED)
  set_target_properties(${name} PROPERTIES
    IMPORTED_LOCATION "${TORCH_INSTALL_PREFIX}/lib/lib${name}.so"
    INTERFACE_INCLUDE_DIRECTORIES
      "${TORCH_INSTALL_PREFIX}/include;${TORCH_INSTALL_PREFIX}/include/torch/csrc/api/include")
endforeach()
set(TORCH_LIBRARIES torch c10)
set(TORCH_FOUND TRUE)
"""


def make_libtorch(
    folder: Path,
    *,
    abi: int = 1,
    product: str = "12.0f",
    is_available: str = "",
    c10_needs: str = "",
) -> Path:
    """A libtorch in `folder`, of one C++ ABI.

    `product` is what 2x3 times 3x2 sums to, `is_available` a statement that asking for CUDA runs,
    `c10_needs` are more files to link libc10.so of.
    """
    api = folder / "include" / "torch" / "csrc" / "api" / "include"
    for path, text in {
        folder / "include/torch/types.h": TYPES_H,
        api / "torch/cuda.h": CUDA_H,
        api / "torch/version.h": '#define TORCH_VERSION "2.99.0"\n',
        folder / "include/ATen/ATen.h": "#error C++17 or later compatible compiler\n",
        folder / "share/cmake/Torch/TorchConfig.cmake": CONFIG,
        folder / "build-version": "2.99.0+cpu\n",
        folder / "lib/c10.cpp": C10_CPP,
        folder / "lib/torch.cpp": TORCH_CPP,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    flags = ["-std=c++17", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", f"-I{folder / 'include'}", f"-I{api}"]
    flags += ["-fPIC", "-shared", f"-DPRODUCT={product}", f"-DIS_AVAILABLE={is_available}"]
    for name, needs in {"c10": c10_needs.split(), "torch": ["-L.", "-lc10"]}.items():
        subprocess.run(
            ["g++", *flags, f"{name}.cpp", "-o", f"lib{name}.so", *needs, f"-Wl,-soname,lib{name}.so"],
            cwd=folder / "lib",
            check=True,
            timeout=60,
        )  # fmt: skip
    return folder
