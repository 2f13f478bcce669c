// cmake --build examples/cpp/build --target cuda_kernel && examples/cpp/build/cuda_kernel
//
// A CUDA kernel that writes into a tensor. packed_accessor32 is passed to the kernel by value: sizes
// and strides come along, so the tensor need not be contiguous. (packed_accessor without a number is
// the old name; packed_accessor64 is for more than 2^31 elements.)
#include "show.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <iostream>
#include <torch/cuda.h>

using Matrix = torch::PackedTensorAccessor32<float, 2, torch::RestrictPtrTraits>;

__global__ void table(Matrix out) {
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (row < out.size(0) && column < out.size(1)) {
    out[row][column] = (row + 1) * (column + 1);
  }
}

void fill_with_table(torch::Tensor out) {
  TORCH_CHECK(out.is_cuda(), "expected a CUDA tensor, got one on ", out.device());
  const c10::cuda::CUDAGuard guard(out.device());  // the GPU that the tensor is on
  const dim3 threads(16, 16);
  const dim3 blocks((out.size(1) + 15) / 16, (out.size(0) + 15) / 16);
  table<<<blocks, threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      out.packed_accessor32<float, 2, torch::RestrictPtrTraits>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();  // a launch that failed is told here, not at the next operation
}

int main() {
  if (!torch::cuda::is_available()) {
    std::cout << "compiled, and no GPU to run on\n";
    return 0;
  }
  auto x = torch::zeros({3, 4}, torch::kCUDA);
  fill_with_table(x.t());  // transposed: the strides are kept to
  SHOW("torch.outer(torch.arange(1., 4), torch.arange(1., 5))", x);
}
