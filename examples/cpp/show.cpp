// How the values of SHOW are written: as Python would.
#include "show.h"

#include <iomanip>
#include <iostream>
#include <sstream>

namespace {

std::string dtype_name(torch::ScalarType dtype) {
  switch (dtype) {
    case torch::kBool: return "bool";
    case torch::kUInt8: return "uint8";
    case torch::kInt32: return "int32";
    case torch::kInt64: return "int64";
    case torch::kFloat16: return "float16";
    case torch::kFloat32: return "float32";
    case torch::kFloat64: return "float64";
    default: return torch::toString(dtype);
  }
}

std::string as_list(const torch::Tensor& tensor) {
  if (tensor.dim() == 0) {
    return as_text(tensor.item());
  }
  std::string text;
  for (int64_t i = 0; i < tensor.size(0); ++i) {
    text += (i ? ", " : "") + as_list(tensor[i]);
  }
  return "[" + text + "]";
}

}  // namespace

void show_row(const std::string& python, const std::string& cpp, const std::string& value) {
  std::cout << std::left << std::setw(46) << python << " | " << std::setw(58) << cpp << " | "
            << value << "\n";
}

std::string as_text(const torch::Tensor& tensor) {
  return dtype_name(tensor.scalar_type()) + " " + as_list(tensor);
}

std::string as_text(const torch::Scalar& number) {
  if (number.isBoolean()) {
    return number.toBool() ? "True" : "False";
  }
  std::ostringstream text;
  if (number.isIntegral(/*includeBool=*/false)) {
    text << number.toLong();
  } else {
    text << number.toDouble();
  }
  return text.str();
}

std::string as_text(torch::IntArrayRef sizes) {
  std::ostringstream text;
  text << sizes;
  return text.str();
}

std::string as_text(torch::Device device) { return device.str(); }

std::string as_text(caffe2::TypeMeta dtype) {
  return "torch." + dtype_name(torch::typeMetaToScalarType(dtype));
}

std::string as_text(const std::string& text) { return text; }
