// What the programs print with: SHOW("x[0]", x[0]) writes the Python, the C++, and the value of the
// C++. The tests run the Python, and see that it has the same value.
#pragma once

#include <string>
#include <torch/types.h>
#include <type_traits>

#define SHOW(python, ...) show_row(python, #__VA_ARGS__, as_text(__VA_ARGS__))

void show_row(const std::string& python, const std::string& cpp, const std::string& value);

std::string as_text(const torch::Tensor& tensor);   // int64 [[0, 1], [2, 3]]
std::string as_text(const torch::Scalar& number);   // 1, 0.5, True
std::string as_text(torch::IntArrayRef sizes);      // [2, 3]
std::string as_text(torch::Device device);          // cuda:0
std::string as_text(caffe2::TypeMeta dtype);        // torch.float32
std::string as_text(const std::string& text);       // as it is

template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
std::string as_text(Number number) {
  return as_text(torch::Scalar(number));
}
