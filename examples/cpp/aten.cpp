// cmake --build examples/cpp/build --target aten && examples/cpp/build/aten
//
// at::, c10:: and torch:: are one library: the same Tensor under three names.
#include "show.h"

#include <type_traits>

static_assert(std::is_same_v<at::Tensor, torch::Tensor>);
static_assert(std::is_same_v<c10::TensorOptions, torch::TensorOptions>);
static_assert(std::is_same_v<c10::Device, torch::Device>);

// What is written for one takes the other.
at::Tensor twice(const at::Tensor& x) { return at::mul(x, 2); }

int main() {
  torch::Tensor x;
  SHOW("x = torch.ones(2, requires_grad=True)", x = torch::ones({2}, torch::requires_grad()));

  // The operations of at:: keep track of gradients too: before 1.5 that took torch::.
  twice(x).sum().backward();
  SHOW("2 * x.detach()", x.grad());

  // One difference is left: at::ones takes requires_grad and forgets it, torch::ones does not.
  auto options = at::TensorOptions().requires_grad(true);
  SHOW("False", at::ones({2}, options).requires_grad());
  SHOW("torch.ones(2, requires_grad=True).requires_grad", torch::ones({2}, options).requires_grad());
}
