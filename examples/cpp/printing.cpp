// cmake --build examples/cpp/build --target printing && examples/cpp/build/printing
//
// A tensor on the screen: the numbers, then what kind it is. Python writes the same in another way.
#include "show.h"

#include <iostream>
#include <sstream>

int main() {
  auto x = torch::arange(6).view({2, 3});
  std::cout << x << "\n";            //  0  1  2
                                     //  3  4  5
                                     // [ CPULongType{2,3} ]
  std::cout << x.sizes() << "\n";    // [2, 3]
  std::cout << x.dtype() << "\n";    // the C++ type: long, or long int
  std::cout << x.toString() << "\n"; // CPULongType
  std::cout << x.device() << "\n";   // cpu
  std::cout << x.options() << "\n";  // TensorOptions(dtype=long, device=cpu, layout=Strided, ...)

  // One element: as a tensor it brings its kind along, as a number it does not.
  std::cout << x[1][2] << "\n";                  // 5
                                                 // [ CPULongType{} ]
  std::cout << x[1][2].item<int64_t>() << "\n";  // 5

  // Floats that are far apart are written with exponents.
  std::cout << torch::tensor({0.5, 1000000.}) << "\n";

  // Into a string, or a message: str takes one thing after another.
  std::ostringstream text;
  text << x;
  TORCH_CHECK(text.str().find("CPULongType{2,3}") != std::string::npos);
  std::cout << c10::str("x has ", x.numel(), " elements in ", x.sizes()) << "\n";

  try {
    TORCH_CHECK(x.size(1) == 4, "expected 4 columns, got ", x.sizes());
  } catch (const c10::Error& error) {
    std::cout << "TORCH_CHECK: " << error.what_without_backtrace() << "\n";
  }
}
