/** Checks what attention is given, and reads it with the strides it has. */

#include "dot-product-attention.h"

#include <functional>
#include <utility>
#include <vector>

#include "flash.h"
#include "mlx/ops.h"
#include "primitive.h"
#include "rows.h"

namespace bunsen {

namespace {

bool shapesAgree(const mx::array& queries, const mx::array& keys, const mx::array& values) {
  for (const mx::array* a : {&queries, &keys, &values}) {
    if (a->ndim() != 4 || a->size() == 0 || a->shape(0) != queries.shape(0)) return false;
  }
  return keys.shape(1) == values.shape(1) && queries.shape(1) % keys.shape(1) == 0 &&
      keys.shape(2) == values.shape(2) && queries.shape(3) == keys.shape(3);
}

bool broadcasts(const mx::array& mask, const mx::Shape& shape) {
  if (mask.ndim() > shape.size()) return false;
  for (int axis = -1; axis >= -static_cast<int>(mask.ndim()); axis--) {
    if (mask.shape(axis) != 1 && mask.shape(axis) != shape[shape.size() + axis]) return false;
  }
  return true;
}

std::optional<MaskKind> maskKind(const AttentionForm& form, const std::optional<mx::array>& mask) {
  if (form.mask_mode == "causal") return mask ? std::nullopt : std::optional(MaskKind::causal);
  if (form.mask_mode != "" && form.mask_mode != "array") return std::nullopt;
  if (!mask) return MaskKind::none;
  if (mask->dtype() == mx::bool_) return MaskKind::boolean;
  return scalarOf(*mask) != nullptr ? std::optional(MaskKind::additive) : std::nullopt;
}

/** The layout of (batch, heads, positions, dims), where the dims lie side by side. */
Heads headsOf(const mx::array& a, const void* data, const mx::Strides& strides) {
  const auto stride = [&](int axis) { return a.shape(axis) == 1 ? 0 : static_cast<std::size_t>(strides[axis]); };
  return {data, *scalarOf(a), a.shape(3), stride(0), stride(1), stride(2)};
}

/** Gives the layout of `a` when the task runs. Only one whose last axis was transposed has to be copied first. */
std::function<Heads()> reader(const mx::array& a) {
  if (a.shape(3) == 1 || a.strides(3) == 1) {
    return [heads = headsOf(a, a.data<void>(), a.strides())] { return heads; };
  }
  const std::int64_t dims = a.shape(3);
  const mx::Strides strides = {a.shape(1) * a.shape(2) * dims, a.shape(2) * dims, dims, 1};
  return [heads = headsOf(a, nullptr, strides), gather = gathering(a)]() mutable {
    heads.data = gather();
    return heads;
  };
}

Mask maskOf(MaskKind kind, const mx::array& a) {
  Mask mask = {kind, a.data<void>(), {}};
  const int missing = 4 - static_cast<int>(a.ndim());
  for (int axis = missing; axis < 4; axis++) {
    mask.strides[axis] = a.shape(axis - missing) == 1 ? 0 : a.strides(axis - missing);
  }
  return mask;
}

} // namespace

std::optional<mx::array> dotProductAttention(
    const mx::array& queries,
    const mx::array& keys,
    const mx::array& values,
    const AttentionForm& form,
    const std::optional<mx::array>& mask,
    const std::optional<mx::array>& sinks,
    mx::Stream stream) {
  const auto kind = maskKind(form, mask);
  if (!kind || !isForKernels(queries, stream) || !shapesAgree(queries, keys, values)) return std::nullopt;
  if (scalarOf(keys) == nullptr || scalarOf(values) == nullptr) return std::nullopt;
  const int batch = queries.shape(0), heads = queries.shape(1), length = queries.shape(2), total = keys.shape(2);
  if (mask && !broadcasts(*mask, {batch, heads, length, total})) return std::nullopt;
  if (*kind == MaskKind::causal && length > total) return std::nullopt;
  if (sinks && (sinks->shape() != mx::Shape{heads} || scalarOf(*sinks) == nullptr)) return std::nullopt;

  std::vector<mx::array> inputs = {queries, keys, values};
  if (mask) inputs.push_back(*kind == MaskKind::boolean ? *mask : mx::astype(*mask, mx::float32, stream));
  if (sinks) inputs.push_back(inRows(mx::astype(*sinks, mx::float32, stream), stream));
  const int dims = values.shape(3);
  // as the next product wants it: the heads of a position side by side
  mx::array out = operation(
      "Attention", {batch, length, heads, dims}, mx::float32, std::move(inputs), stream,
      [kind = *kind, scale = form.scale, masked = mask.has_value(), sunk = sinks.has_value()](
          const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        FlashAttention attention = {};
        attention.batch = out.shape(0);
        attention.heads = out.shape(2);
        attention.kv_heads = inputs[1].shape(1);
        attention.length = out.shape(1);
        attention.total = inputs[1].shape(2);
        attention.scale = scale;
        attention.mask = masked ? maskOf(kind, inputs[3]) : Mask{kind, nullptr, {}};
        attention.sinks = sunk ? inputs.back().data<float>() : nullptr;
        attention.out = out.data<float>();
        attention.out_position_stride = std::size_t(out.shape(2)) * out.shape(3);
        attention.out_head_stride = out.shape(3);
        attention.out_batch_stride = attention.out_position_stride * out.shape(1);
        return [attention, queries = reader(inputs[0]), keys = reader(inputs[1]), values = reader(inputs[2])]() mutable {
          attention.queries = queries();
          attention.keys = keys();
          attention.values = values();
          attend(attention);
        };
      });
  return mx::transpose(out, {0, 2, 1, 3}, stream);
}

} // namespace bunsen
