// torch/types.h has the tensor, the check of the C++ standard and nearly all headers of ATen and c10;
// torch/torch.h takes twice the time and memory. Strings cross into libtorch, since that is where
// the two C++ ABIs differ.
#include <torch/types.h>

#include <torch/cuda.h>

#include <iostream>
#include <string>

#if defined(__has_include)
#if __has_include(<torch/version.h>)
#include <torch/version.h>
#endif
#endif

int trial() {
  torch::Tensor ones = torch::ones({2, 3}, torch::Device(std::string("cpu")));
  const float sum = torch::mm(ones, ones.t()).sum().item<float>();
  TORCH_CHECK(sum == 12.0f, std::string("the product sums to ") + std::to_string(sum));
#ifdef TORCH_VERSION
  std::cout << "libtorch " << TORCH_VERSION << "\n";
#endif
  std::cout << "cuda " << (torch::cuda::is_available() ? "available" : "not available") << "\n";
  return 0;
}
