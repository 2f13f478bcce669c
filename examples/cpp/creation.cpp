// cmake --build examples/cpp/build --target creation && examples/cpp/build/creation
//
// New tensors: their values, and the options: dtype, device, and whether a gradient is wanted.
#include "show.h"

#include <torch/utils.h>

int main() {
  SHOW("torch.zeros(2, 3)", torch::zeros({2, 3}));
  SHOW("torch.full((2, 2), 7.5)", torch::full({2, 2}, 7.5));
  SHOW("torch.tensor([[1, 2], [3, 4]])", torch::tensor({{1, 2}, {3, 4}}));
  SHOW("torch.tensor([1.5, 2.5])", torch::tensor({1.5, 2.5}));
  SHOW("torch.arange(0, 10, 3)", torch::arange(0, 10, 3));
  SHOW("torch.linspace(0, 1, 5)", torch::linspace(0, 1, 5));
  SHOW("torch.eye(2)", torch::eye(2));

  // The same seed gives the same numbers as in Python. rand is uniform in [0, 1), randn normal.
  torch::manual_seed(0);
  SHOW("torch.manual_seed(0) and torch.rand(3)", torch::rand({3}));
  SHOW("torch.randn(3)", torch::randn({3}));
  SHOW("torch.randint(10, (4,))", torch::randint(10, {4}));

  // One option can stand alone, several are chained. What is not said is float32, on the CPU.
  SHOW("torch.ones(2, dtype=torch.int32)", torch::ones({2}, torch::kInt32));
  SHOW("torch.ones(2, device='cpu')", torch::ones({2}, torch::kCPU));
  auto options = torch::TensorOptions().dtype(torch::kFloat64).device(torch::kCPU).requires_grad(true);
  torch::Tensor x;
  SHOW("x = torch.ones(2, dtype=torch.float64, requires_grad=True)", x = torch::ones({2}, options));
  SHOW("x.requires_grad", x.requires_grad());

  // The size of another tensor, and its dtype and device unless options say otherwise.
  SHOW("torch.ones_like(x)", torch::ones_like(x));
  SHOW("torch.ones_like(x, dtype=torch.bool)", torch::ones_like(x, torch::kBool));
  SHOW("torch.zeros(3, dtype=x.dtype, device=x.device)", torch::zeros({3}, x.options()));

  // x.options() has dtype and device of x, and not its requires_grad.
  SHOW("torch.zeros_like(x).requires_grad", torch::zeros({3}, x.options()).requires_grad());
}
