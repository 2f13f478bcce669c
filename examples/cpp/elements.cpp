// cmake --build examples/cpp/build --target elements && examples/cpp/build/elements
//
// Three ways to one element: x[i][j], which makes tensors; an accessor, which is checked once; and
// the pointer to the data, which is checked never. In a loop the first is hundreds of times slower.
#include "show.h"

#include <chrono>
#include <cstdio>
#include <iostream>

// Nanoseconds for an element, and the sum that was computed.
template <typename Sum>
double timed(const char* name, int64_t elements, Sum sum) {
  auto start = std::chrono::steady_clock::now();
  double total = sum();
  std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  std::printf("%-14s %9.2f ns for an element, sum %.0f\n", name, time.count() / elements, total);
  TORCH_CHECK(total == elements);
  return time.count() / elements;
}

int main() {
  torch::Tensor x;
  SHOW("x = torch.arange(6.).view(2, 3)", x = torch::arange(6.).view({2, 3}));

  // Directly: x[1][2] is a tensor without dimensions, item<T>() makes a number of it.
  SHOW("x[1][2].item()", x[1][2].item<float>());
  x[1][2] = 50;
  SHOW("torch.tensor(50.)", x[1][2]);

  // accessor<T, dimensions>: dtype and dimensions are checked here, and strides are kept to. It does
  // not own the tensor, and is for tensors on the CPU: cuda_kernel.cu has the one for a GPU.
  auto a = x.accessor<float, 2>();
  a[0][1] = 10;
  SHOW("50.0", a[1][2]);
  SHOW("[2, 3]", a.sizes());

  // Data pointer: row by row, and only where the tensor is contiguous.
  float* p = x.data_ptr<float>();
  SHOW("10.0", p[0 * x.stride(0) + 1 * x.stride(1)]);
  auto t = x.t();
  TORCH_CHECK(t.data_ptr<float>() == p && !t.is_contiguous(), "a transposed view: the same memory");
  SHOW("10.0", t.accessor<float, 2>()[1][0]);
  SHOW("50.0", t.contiguous().data_ptr<float>()[5]);

  // A wrong dtype or number of dimensions is told, not read.
  try {
    x.accessor<double, 2>();
    TORCH_CHECK(false, "it should not come here");
  } catch (const c10::Error& error) {
    std::cout << "accessor<double, 2>: " << error.what_without_backtrace() << "\n";
  }

  const int64_t size = 300;
  auto ones = torch::ones({size, size});
  auto direct = timed("x[i][j]", size * size, [&] {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j) sum += ones[i][j].item<float>();
    return sum;
  });
  auto accessor = timed("accessor", size * size, [&] {
    double sum = 0;
    auto view = ones.accessor<float, 2>();
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j) sum += view[i][j];
    return sum;
  });
  auto pointer = timed("data pointer", size * size, [&] {
    double sum = 0;
    const float* data = ones.data_ptr<float>();
    for (int64_t i = 0; i < ones.numel(); ++i) sum += data[i];
    return sum;
  });
  TORCH_CHECK(direct > 5 * accessor && direct > 5 * pointer, "making tensors costs");
}
