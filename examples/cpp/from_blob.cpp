// cmake --build examples/cpp/build --target from_blob && examples/cpp/build/from_blob
//
// A tensor over memory that is somebody else's: nothing is copied, so both see what either writes,
// and the memory has to live as long as the tensor.
#include "show.h"

#include <iostream>
#include <torch/cuda.h>
#include <vector>

// Right: the tensor takes a copy along. Without clone() it would read freed memory.
torch::Tensor copied() {
  std::vector<float> numbers{1, 2, 3};
  return torch::from_blob(numbers.data(), {3}).clone();
}

// Right as well: the last tensor that uses the memory frees it.
torch::Tensor handed_over() {
  auto* numbers = new std::vector<float>{1, 2, 3};
  auto release = [numbers](void*) {
    delete numbers;
    std::cout << "the last tensor is gone, and the memory with it\n";
  };
  return torch::from_blob(numbers->data(), {3}, release);
}

int main() {
  std::vector<float> numbers{1, 2, 3, 4, 5, 6};
  torch::Tensor x;
  SHOW("x = torch.frombuffer(array('f', [1, 2, 3, 4, 5, 6]), dtype=torch.float32).view(2, 3)",
       x = torch::from_blob(numbers.data(), {2, 3}));

  numbers[0] = 10;
  x[1][2] = 60;
  TORCH_CHECK(x[0][0].item<float>() == 10 && numbers[5] == 60, "both see what either writes");
  std::cout << "shared: numbers[0] = 10 is x[0][0], x[1][2] = 60 is numbers[5]\n";

  // Column by column, as Fortran, Eigen and MATLAB keep a matrix: the strides say so.
  SHOW("torch.tensor([[10., 3, 5], [2, 4, 60]])", torch::from_blob(numbers.data(), {2, 3}, {1, 2}));

  // The dtype is float32 unless it is said: these doubles are taken for floats, silently.
  std::vector<double> doubles{1, 2};
  SHOW("torch.tensor([0., 1.875])", torch::from_blob(doubles.data(), {2}));
  SHOW("torch.tensor([1., 2.], dtype=torch.float64)", torch::from_blob(doubles.data(), {2}, torch::kFloat64));

  SHOW("torch.tensor([1., 2., 3.])", copied());
  {
    torch::Tensor y;
    SHOW("torch.tensor([1., 2., 3.])", y = handed_over());
  }

  // Memory of a GPU: the device has to be in the options. Without it torch takes the pointer for one
  // of the CPU, and you meet a crash, values that read 0, or "invalid resource handle".
  if (torch::cuda::is_available()) {
    auto memory = torch::arange(3, torch::dtype(torch::kFloat32).device(torch::kCUDA, 0));
    void* pointer = memory.data_ptr();  // as cudaMalloc gives one
    auto options = torch::TensorOptions().dtype(torch::kFloat32).device(torch::kCUDA, 0);
    SHOW("torch.tensor([0., 1., 2.])", torch::from_blob(pointer, {3}, options));
  } else {
    std::cout << "no GPU: the part about device memory is left out\n";
  }
}
