// cmake --build examples/cpp/build --target device && examples/cpp/build/device
//
// One program for machines with a GPU and without: the device is chosen when it runs.
#include "show.h"

#include <iostream>
#include <torch/cuda.h>

int main(int argc, char** argv) {
  // torch::kCUDA and torch::cuda::... are there in a libtorch for the CPU as well.
  auto device = torch::cuda::is_available() ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
  if (argc > 1) {
    device = torch::Device(argv[1]);  // a name, as in Python: cpu, cuda, cuda:1
  }
  std::cout << "this program takes " << device << "\n";

  // device_count() is an int8_t today, which would be written as a character.
  SHOW("torch.cuda.device_count()", static_cast<int>(torch::cuda::device_count()));

  torch::Tensor x;
  SHOW("x = torch.ones(2, 2)", x = torch::ones({2, 2}, device));
  SHOW("(x @ x).sum().item()", x.mm(x).sum().item<float>());
  TORCH_CHECK(x.device().type() == device.type() && x.is_cuda() == device.is_cuda());

  // Both operands have to be in one place; to() copies only where it has to.
  auto y = torch::arange(2.);
  SHOW("x + torch.arange(2.)", x + y.to(x.device()));
  TORCH_CHECK(y.to(torch::kCPU).is_same(y));

  // Accessors, data pointers and files want the CPU.
  auto z = x.cpu();
  SHOW("x.cpu().device", z.device());
  SHOW("x.cpu()[0, 0].item()", z.accessor<float, 2>()[0][0]);
}
