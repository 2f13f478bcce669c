// cmake --build examples/cpp/build --target indexing && examples/cpp/build/indexing
//
// Python's x[...] is x.index({...}) in C++, and x[...] = y is x.index_put_({...}, y).
#include "show.h"

#include <iostream>

using namespace torch::indexing;  // Slice, None, Ellipsis

int main() {
  torch::Tensor x;
  SHOW("x = torch.arange(24).view(2, 3, 4)", x = torch::arange(24).view({2, 3, 4}));

  std::cout << "\nnumbers and slices: views, nothing is copied\n";
  SHOW("x[0]", x[0]);
  SHOW("x[1, 2, 3]", x.index({1, 2, 3}));
  SHOW("x[:, 1]", x.index({Slice(), 1}));
  SHOW("x[0, 1:]", x.index({0, Slice(1)}));
  SHOW("x[0, 1:]", x.index({0, Slice(1, None)}));
  SHOW("x[0, :2]", x.index({0, Slice(None, 2)}));
  SHOW("x[0, 0, 1:4:2]", x.index({0, 0, Slice(1, 4, 2)}));
  SHOW("x[0, 0, ::2]", x.index({0, 0, Slice(None, None, 2)}));
  SHOW("x[-1, -1, -2:]", x.index({-1, -1, Slice(-2)}));
  SHOW("x[..., 0]", x.index({Ellipsis, 0}));
  SHOW("x[0, 0, None]", x.index({0, 0, None}));

  // A step that is negative is an error in both: flip is the way.
  SHOW("x[0, 0].flip(0)", x[0][0].flip(0));

  std::cout << "\nlists and masks: copies\n";
  // A list is a tensor: torch::tensor({2, 0}). In bare braces {2, 0} would be two numbers.
  torch::Tensor rows, mask;
  SHOW("rows = torch.tensor([2, 0])", rows = torch::tensor({2, 0}));
  SHOW("x[0, [2, 0]]", x.index({0, rows}));
  SHOW("x[0].index_select(0, rows)", x[0].index_select(0, rows));
  SHOW("x[0, [2, 0], [1, 3]]", x.index({0, rows, torch::tensor({1, 3})}));
  SHOW("mask = x > 20", mask = x > 20);
  SHOW("x[mask]", x.index({mask}));
  SHOW("x[0, torch.tensor([True, False, True]), 1]", x.index({0, torch::tensor({true, false, true}), 1}));
  SHOW("mask.nonzero()", mask.nonzero());

  std::cout << "\nwriting\n";
  SHOW("x[0, 0] = 7; x[0, 0]", x.index_put_({0, 0}, 7).index({0, 0}));
  SHOW("x[..., 1:3] = 0; x[0]", x.index_put_({Ellipsis, Slice(1, 3)}, 0).index({0}));
  SHOW("x[x > 20] = -1; x[1]", x.index_put_({x > 20}, -1).index({1}));
  SHOW("x[1, 0] = torch.arange(4); x[1, 0]", x.index_put_({1, 0}, torch::arange(4)).index({1, 0}));

  auto ends = torch::tensor({0, 3});
  // Not x.index({...}) = y where lists or masks are: that would write into the copy.
  SHOW("x[:, 0, [0, 3]] += 1; x[:, 0]",
       x.index_put_({Slice(), 0, ends}, x.index({Slice(), 0, ends}) + 1).index({Slice(), 0}));
}
