// cmake --build examples/cpp/build --target version && examples/cpp/build/version
//
// Which libtorch this is compiled for: macros, so that one source fits several releases.
#include "show.h"

#include <iostream>
#include <torch/version.h>

// Parentheses are the whole art: 2.10 is newer than 2.9, and 3.0 newer than both.
#define TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

int main() {
  SHOW("torch.__version__.split('+')[0]", std::string(TORCH_VERSION));
  SHOW("int(torch.__version__.split('.')[0])", TORCH_VERSION_MAJOR);
  SHOW("int(torch.__version__.split('.')[1])", TORCH_VERSION_MINOR);

#if TORCH_AT_LEAST(2, 0)
  std::cout << "code for 2.0 and newer\n";
#else
  std::cout << "code for what is older\n";
#endif

  // The C++ ABI that this file is compiled with: it has to be that of the libtorch.
  SHOW("torch.compiled_with_cxx11_abi()", bool(_GLIBCXX_USE_CXX11_ABI));
}
