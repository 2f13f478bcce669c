// Nothing is wrong with this program: what is stands in the CMakeLists.txt that build it.
#include <iostream>
#include <torch/types.h>

int main() { std::cout << torch::ones({2, 3}) << "\n"; }
