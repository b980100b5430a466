/** Angles are those of MLX in float32; cosines and sines of them are kept for the next layer. */

#include "rope.h"

#include <cmath>
#include <cstring>
#include <list>
#include <utility>

#include "mlx/ops.h"
#include "primitive.h"
#include "product.h"
#include "rows.h"

namespace bunsen {

namespace {

// A model turns queries and keys alike, and has two bases at most; twice that, for two models that take turns.
constexpr std::size_t KEPT_MAX = 4;

struct Asked {
  RopeForm form;
  std::vector<float> inverses; // how far each pair turns from one position to the next
  std::vector<int> firsts;
  int length;

  bool operator==(const Asked& other) const {
    return form.dims == other.form.dims && form.traditional == other.form.traditional &&
        form.scale == other.form.scale && inverses == other.inverses && firsts == other.firsts &&
        length == other.length;
  }
};

std::vector<float> inversesOf(const RopeForm& form, const float* wavelengths) {
  const int half = form.dims / 2;
  std::vector<float> inverses(half);
  const float step = static_cast<float>(std::log(form.base) / half);
  for (int pair = 0; pair < half; pair++) {
    inverses[pair] = wavelengths == nullptr ? std::exp(-float(pair) * step) : 1 / wavelengths[pair];
  }
  return inverses;
}

std::shared_ptr<const Turns> compute(const Asked& asked) {
  auto turns = std::make_shared<Turns>();
  const auto& [form, inverses, firsts, length] = asked;
  const std::size_t half = inverses.size();
  turns->width = form.traditional ? 2 * half : half;
  const std::size_t rows = firsts.size() * length;
  turns->cosines.resize(rows * turns->width);
  turns->sines.resize(rows * turns->width);
  eachRow(static_cast<int>(rows), 64 * half, [&](int row) { // a sine costs as much as many a float moved
    float* cosines = turns->cosines.data() + row * turns->width;
    float* sines = turns->sines.data() + row * turns->width;
    const float position = float(row % length + firsts[row / length]) * form.scale;
    for (std::size_t pair = 0; pair < half; pair++) {
      const float angle = position * inverses[pair];
      const float cosine = std::cos(angle);
      const float sine = std::sin(angle);
      if (form.traditional) {
        cosines[2 * pair] = cosines[2 * pair + 1] = cosine;
        sines[2 * pair] = -sine;
        sines[2 * pair + 1] = sine;
      } else {
        cosines[pair] = cosine;
        sines[pair] = sine;
      }
    }
  });
  return turns;
}

/** Where the heads of x (batch, heads, length, dims) lie; heads of more axes than one count as one. */
struct Heads {
  Rows<float> rows;
  int per_batch;
  int length;
};

void turn(const Heads& heads, const RopeForm& form, const Turns& turns, bool each_its_own, float* y) {
  const Kernels& set = kernels();
  const int size = heads.rows.size();
  eachRow(heads.rows.count(), size, [&](int row) {
    float* to = y + std::size_t(row) * size;
    const float* from = heads.rows.at(row, to);
    const int own = each_its_own ? row / heads.per_batch * heads.length : 0;
    const std::size_t at = (own + row % heads.length) * turns.width;
    const auto rotate = form.traditional ? set.rotatePairs : set.rotateHalves;
    rotate(from, turns.cosines.data() + at, turns.sines.data() + at, form.dims, to);
    if (to != from && form.dims < size) std::memcpy(to + form.dims, from + form.dims, (size - form.dims) * sizeof(float));
  });
}

bool hasKernel(const mx::array& x, const RopeForm& form, const std::optional<mx::array>& wavelengths, mx::Stream stream) {
  if (!isForKernels(x, stream) || x.ndim() < 3) return false;
  if (form.dims <= 0 || form.dims % 2 != 0 || form.dims > x.shape(-1)) return false;
  return !wavelengths || (wavelengths->shape() == mx::Shape{form.dims / 2} && scalarOf(*wavelengths) != nullptr);
}

/** `firstsOf(inputs)` gives a function that reads the first positions once they are computed. */
template <class FirstsOf>
mx::array turned(
    const mx::array& x,
    const RopeForm& form,
    const std::optional<mx::array>& wavelengths,
    std::vector<mx::array> inputs,
    mx::Stream stream,
    FirstsOf firstsOf) {
  inputs.insert(inputs.begin(), x);
  if (wavelengths) inputs.push_back(inRows(mx::astype(*wavelengths, mx::float32, stream), stream));
  return operation(
      "Rope", x.shape(), mx::float32, std::move(inputs), stream,
      [form, firstsOf, given = wavelengths.has_value()](const std::vector<mx::array>& inputs, mx::array& out) -> Task {
        const mx::array& x = inputs[0];
        const Heads heads = {Rows<float>(x), static_cast<int>(x.size() / x.shape(-1) / x.shape(0)), x.shape(-2)};
        const float* wavelengths = given ? inputs.back().data<float>() : nullptr;
        return [form, heads, wavelengths, firsts = firstsOf(inputs), y = out.data<float>()] {
          const std::vector<int> first_positions = firsts();
          const auto turns = turnsOf(form, wavelengths, first_positions, heads.length);
          turn(heads, form, *turns, first_positions.size() > 1, y);
        };
      });
}

} // namespace

std::shared_ptr<const Turns> turnsOf(
    const RopeForm& form, const float* wavelengths, const std::vector<int>& firsts, int length) {
  static thread_local std::list<std::pair<Asked, std::shared_ptr<const Turns>>> kept;
  Asked asked = {form, inversesOf(form, wavelengths), firsts, length};
  for (auto entry = kept.begin(); entry != kept.end(); entry++) {
    if (!(entry->first == asked)) continue;
    kept.splice(kept.begin(), kept, entry);
    return entry->second;
  }
  auto turns = compute(asked);
  kept.emplace_front(std::move(asked), turns);
  if (kept.size() > KEPT_MAX) kept.pop_back();
  return turns;
}

std::optional<mx::array> rope(
    const mx::array& x,
    const RopeForm& form,
    const mx::array& offset,
    const std::optional<mx::array>& wavelengths,
    mx::Stream stream) {
  if (!hasKernel(x, form, wavelengths, stream) || offset.ndim() > 1) return std::nullopt;
  if (!mx::issubdtype(offset.dtype(), mx::integer) || offset.size() == 0) return std::nullopt;
  if (offset.size() != 1 && offset.size() != static_cast<std::size_t>(x.shape(0))) return std::nullopt;
  return turned(
      x, form, wavelengths, {inRows(mx::astype(offset, mx::int32, stream), stream)}, stream,
      [](const std::vector<mx::array>& inputs) {
        const int* first = inputs[1].data<int>();
        return [first, last = first + inputs[1].size()] { return std::vector<int>(first, last); };
      });
}

std::optional<mx::array> rope(
    const mx::array& x,
    const RopeForm& form,
    int offset,
    const std::optional<mx::array>& wavelengths,
    mx::Stream stream) {
  if (!hasKernel(x, form, wavelengths, stream)) return std::nullopt;
  return turned(x, form, wavelengths, {}, stream, [offset](const std::vector<mx::array>&) {
    return [offset] { return std::vector<int>{offset}; };
  });
}

} // namespace bunsen
