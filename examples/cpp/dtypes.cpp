// cmake --build examples/cpp/build --target dtypes && examples/cpp/build/dtypes
//
// From one dtype to another, what two of them make, and which C++ type each one is.
#include "show.h"

int main() {
  torch::Tensor x, y;
  SHOW("x = torch.tensor([-1.5, 0., 2.7])", x = torch::tensor({-1.5, 0., 2.7}));
  SHOW("x.dtype", x.dtype());
  TORCH_CHECK(x.dtype() == torch::kFloat32 && x.scalar_type() == torch::kFloat, "two names of one");

  // to(dtype) copies, unless the dtype is that already. Fractions are cut off, not rounded.
  SHOW("x.to(torch.int64)", x.to(torch::kInt64));
  SHOW("x.round().to(torch.int32)", x.round().to(torch::kInt32));
  SHOW("x.to(torch.bool)", x.to(torch::kBool));
  SHOW("x.to(torch.float16)", x.to(torch::kFloat16));
  SHOW("x.to(torch.float32) is x", x.to(torch::kFloat32).is_same(x));
  SHOW("x.type_as(torch.ones(1, dtype=torch.float64))", x.type_as(torch::ones({1}, torch::kFloat64)));

  // Device and dtype in one step, or all that another tensor has.
  SHOW("x.to('cpu', torch.float64).dtype", x.to(torch::kCPU, torch::kFloat64).dtype());
  SHOW("x.to(torch.ones(1, dtype=torch.int32))", x.to(torch::ones({1}, torch::kInt32).options()));

  // Of two dtypes the result can hold both; a comparison makes bools.
  SHOW("(torch.ones(1, dtype=torch.int64) + x).dtype", (torch::ones({1}, torch::kInt64) + x).dtype());
  SHOW("(x > 0).dtype", (x > 0).dtype());
  SHOW("torch.promote_types(torch.uint8, torch.int32)",
       torch::scalarTypeToTypeMeta(torch::promote_types(torch::kUInt8, torch::kInt32)));

  // In C++ a literal has a type too: {1, 2} are int64 as in Python, and 1.5 is a float32 tensor.
  SHOW("torch.tensor([1, 2]).dtype", torch::tensor({1, 2}).dtype());
  SHOW("torch.tensor([1.5]).dtype", torch::tensor({1.5}).dtype());

  // The C++ type of item<T>(), data_ptr<T>() and accessor<T, n>(). Only item() converts.
  SHOW("int(x[2])", x[2].item<int>());
  SHOW("x.element_size() == 4", x.element_size() == sizeof(float));
  TORCH_CHECK(torch::CppTypeToScalarType<int64_t>::value == torch::kInt64);
  TORCH_CHECK(torch::CppTypeToScalarType<double>::value == torch::kFloat64);
  TORCH_CHECK(torch::CppTypeToScalarType<bool>::value == torch::kBool);
}
