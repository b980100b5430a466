/** How an mlx-c function reaches its C++ counterpart: handles to objects and back, exceptions to the error handler. */

#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "mlx/device.h"
#include "mlx/stream.h"
#include "mlxc.h"
#include "owners.h"

namespace mlxc {

namespace mx = mlx::core;

/** Gives the sentence and the place of the failed call to the error handler. Lives in error.cpp. */
void report(const char* what, const std::source_location& place) noexcept;

/** The C++ object behind a handle, and the handle's name for error messages. */
template <class Handle>
struct Held;
template <>
struct Held<mlx_array> {
  using type = mx::array;
  static constexpr const char* name = "mlx_array";
};
template <>
struct Held<mlx_vector_array> {
  using type = std::vector<mx::array>;
  static constexpr const char* name = "mlx_vector_array";
};
template <>
struct Held<mlx_string> {
  using type = std::string;
  static constexpr const char* name = "mlx_string";
};
template <>
struct Held<mlx_device> {
  using type = mx::Device;
  static constexpr const char* name = "mlx_device";
};
template <>
struct Held<mlx_stream> {
  using type = mx::Stream;
  static constexpr const char* name = "mlx_stream";
};

template <class Handle>
typename Held<Handle>::type& get(Handle handle) {
  if (handle.ctx == nullptr) {
    throw std::invalid_argument(std::string("expected a non-empty ") + Held<Handle>::name);
  }
  return *static_cast<typename Held<Handle>::type*>(handle.ctx);
}

/** The object as a handle holds it: until it is dropped, or its thread ends. */
template <class Object>
Object* keep(std::unique_ptr<Object> object) {
  own(object.get(), [](void* held) { delete static_cast<Object*>(held); });
  return object.release();
}

template <class Object>
int drop(void* held) noexcept {
  if (held != nullptr) disown(held);
  delete static_cast<Object*>(held);
  return 0;
}

template <class Handle>
Handle make(typename Held<Handle>::type value) {
  return {keep(std::make_unique<typename Held<Handle>::type>(std::move(value)))};
}

/** Fills an out-argument: assigns to the object it names, or makes one where it names none. */
template <class Handle>
void set(Handle* res, typename Held<Handle>::type value) {
  if (res->ctx == nullptr) {
    *res = make<Handle>(std::move(value));
  } else {
    get(*res) = std::move(value);
  }
}

/** Runs `work`; 0, or 1 after the error handler was called. Nothing thrown passes this line. */
template <class Work>
int attempt(Work work, const std::source_location& place = std::source_location::current()) noexcept {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    report(error.what(), place);
  } catch (...) {
    report("an exception of an unknown type", place);
  }
  return 1;
}

/** `attempt` whose result goes to the out-argument, a handle or a plain value. */
template <class Out, class Work>
int forward(Out* res, Work work, const std::source_location& place = std::source_location::current()) noexcept {
  return attempt(
      [&] {
        if constexpr (std::is_class_v<Out>) {
          set(res, work());
        } else {
          *res = work();
        }
      },
      place);
}

/** The result of `work`, or `fallback` after the error handler was called. */
template <class Value, class Work>
Value valueOr(
    Value fallback, Work work, const std::source_location& place = std::source_location::current()) noexcept {
  attempt([&] { fallback = work(); }, place);
  return fallback;
}

/** A handle to the result of `work`, or an empty one after the error handler was called. */
template <class Handle, class Work>
Handle fresh(Work work, const std::source_location& place = std::source_location::current()) noexcept {
  return valueOr(Handle{nullptr}, [&] { return make<Handle>(work()); }, place);
}

template <class Handle>
int release(Handle handle) noexcept {
  return drop<typename Held<Handle>::type>(handle.ctx);
}

/** An absent array is a handle without an object. */
inline std::optional<mx::array> optional(mlx_array handle) {
  return handle.ctx == nullptr ? std::nullopt : std::optional(get(handle));
}

inline std::optional<int> optional(mlx_optional_int option) {
  return option.has_value ? std::optional(option.value) : std::nullopt;
}

inline std::optional<float> optional(mlx_optional_float option) {
  return option.has_value ? std::optional(option.value) : std::nullopt;
}

inline mx::Dtype toDtype(mlx_dtype number) {
  static constexpr mx::Dtype dtypes[] = {
      mx::bool_, mx::uint8, mx::uint16,  mx::uint32,  mx::uint64,  mx::int8,     mx::int16,
      mx::int32, mx::int64, mx::float16, mx::float32, mx::float64, mx::bfloat16, mx::complex64,
  };
  auto index = static_cast<std::size_t>(number);
  if (index >= std::size(dtypes)) {
    throw std::invalid_argument("expected an mlx_dtype, found " + std::to_string(index));
  }
  return dtypes[index];
}

inline std::optional<mx::Dtype> optional(mlx_optional_dtype option) {
  return option.has_value ? std::optional(toDtype(option.value)) : std::nullopt;
}

inline mx::Shape toShape(const int* dims, std::size_t count) {
  return mx::Shape(dims, dims + count);
}

inline std::vector<int> toInts(const int* values, std::size_t count) {
  return std::vector<int>(values, values + count);
}

} // namespace mlxc
