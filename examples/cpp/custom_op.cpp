// cmake --build examples/cpp/build --target custom_op && python examples/cpp/custom_op.py examples/cpp/build
//
// An operator of your own, for Python and C++. The first argument of TORCH_LIBRARY is the namespace
// in torch.ops, and each namespace has one such block in a program.
#include <torch/library.h>
#include <torch/types.h>

static torch::Tensor leaky(const torch::Tensor& x, double slope) {
  return torch::where(x > 0, x, slope * x);
}

// The schema is Python's: `float` is a double, `int` an int64_t. Since `leaky` is made of torch's own
// operations, it runs on every device and has a gradient. A kernel of your own goes into
// TORCH_LIBRARY_IMPL(examples, CUDA, m) { m.impl("leaky", &leaky_cuda); } for each device.
TORCH_LIBRARY(examples, m) {
  m.def("leaky(Tensor x, float slope=0.01) -> Tensor", &leaky);
}

// What was before:
//   up to 1.3   static auto registry = torch::jit::RegisterOperators("examples::leaky", &leaky);
//               no longer compiles: see broken/old_registration
//   1.4         static auto registry = torch::RegisterOperators("examples::leaky", &leaky);
//               still compiles
//   since 1.6   TORCH_LIBRARY
