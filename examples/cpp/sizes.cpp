// cmake --build examples/cpp/build --target sizes && examples/cpp/build/sizes
//
// How large a tensor is, in each dimension and in all, and how it lies in memory.
#include "show.h"

#include <iostream>
#include <vector>

int main() {
  torch::Tensor x;
  SHOW("x = torch.arange(6).view(2, 3)", x = torch::arange(6).view({2, 3}));
  SHOW("list(x.shape)", x.sizes());
  SHOW("x.size(0)", x.size(0));
  SHOW("x.size(-1)", x.size(-1));
  SHOW("x.dim()", x.dim());
  SHOW("x.numel()", x.numel());
  SHOW("list(x.stride())", x.strides());
  SHOW("list(x.t().shape)", x.t().sizes());
  SHOW("list(x.t().stride())", x.t().strides());
  SHOW("x.t().is_contiguous()", x.t().is_contiguous());
  SHOW("x.nbytes", static_cast<int64_t>(x.nbytes()));

  // sizes() is a view that lives as long as x: a vector of it is a copy that can be changed.
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.push_back(1);
  SHOW("x.view(*x.shape, 1)", x.view(sizes));
  TORCH_CHECK(x.sizes() == torch::IntArrayRef({2, 3}), "compared with a list");

  // A tensor that was never given a value has no sizes at all: Python's None.
  torch::Tensor nothing;
  TORCH_CHECK(!nothing.defined() && x.defined());
  std::cout << "a tensor without a value: defined() is " << nothing.defined() << "\n";
}
