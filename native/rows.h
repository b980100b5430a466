/** An array as rows of its last axis, wherever its strides put them. Knows no operation. */

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "mlx/array.h"

namespace bunsen {

namespace mx = mlx::core;

/** Made once the array is computed; a copy of it may outlive the array's handle, not its memory. */
template <class Item>
class Rows {
 public:
  explicit Rows(const mx::array& a)
      : start_(a.data<Item>()), size_(a.shape(-1)), step_(size_ == 1 ? 1 : a.strides(-1)) {
    shape_.assign(a.shape().begin(), a.shape().end() - 1);
    strides_.assign(a.strides().begin(), a.strides().end() - 1);
    for (int dim : shape_) count_ *= dim;
  }

  int count() const {
    return count_;
  }
  int size() const {
    return size_;
  }

  /** Where row `index` lies; gathered into `room` when its items do not lie side by side. */
  const Item* at(int index, Item* room) const {
    const Item* row = start_;
    for (int axis = static_cast<int>(shape_.size()) - 1; axis >= 0; axis--) {
      row += index % shape_[axis] * strides_[axis];
      index /= shape_[axis];
    }
    if (step_ == 1) return row;
    for (int item = 0; item < size_; item++) room[item] = row[item * step_];
    return room;
  }

 private:
  const Item* start_;
  int count_ = 1;
  int size_;
  std::ptrdiff_t step_;
  std::vector<int> shape_;
  std::vector<std::ptrdiff_t> strides_;
};

/** Copies all rows, one after the other; the copy lives as long as the function. */
template <class Item>
std::function<const void*()> gathering(const Rows<Item>& rows) {
  auto items = std::make_shared<std::vector<Item>>(std::size_t(rows.count()) * rows.size());
  return [items, rows] {
    for (int row = 0; row < rows.count(); row++) {
      Item* to = items->data() + std::size_t(row) * rows.size();
      const Item* from = rows.at(row, to);
      if (from != to) std::copy(from, from + rows.size(), to);
    }
    return items->data();
  };
}

/** The same for an array of items of two or four bytes. */
inline std::function<const void*()> gathering(const mx::array& a) {
  return a.itemsize() == 4 ? gathering(Rows<std::uint32_t>(a)) : gathering(Rows<std::uint16_t>(a));
}

/** Whether a kernel may run: float32 and not empty, on the CPU. */
inline bool isForKernels(const mx::array& a, mx::Stream stream) {
  return stream.device == mx::Device::cpu && a.dtype() == mx::float32 && a.ndim() > 0 && a.size() > 0;
}

} // namespace bunsen
