/**
 * error.h: where the message of a failed call goes. By default it is printed and the process ends, as in mlx-c. A thread
 * that has set a handler keeps it when another sets one: a callback of JavaScript serves the thread that made it only.
 */

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "forward.h"

namespace {

void printAndExit(const char* msg, void*) {
  std::printf("MLX error: %s\n", msg);
  std::exit(-1);
}

struct Handler {
  mlx_error_handler_func call = nullptr;
  void* data = nullptr;
  std::shared_ptr<void> owner;
};

thread_local Handler own_handler;
// The last one set, for threads without their own.
Handler last_handler = {printAndExit, nullptr, nullptr};
std::mutex lock;

Handler current() {
  if (own_handler.call != nullptr) return own_handler;
  std::lock_guard<std::mutex> hold(lock);
  return last_handler;
}

} // namespace

void mlx_set_error_handler(mlx_error_handler_func handler, void* data, void (*dtor)(void*)) {
  own_handler = {
      handler == nullptr ? printAndExit : handler, data,
      dtor == nullptr ? nullptr : std::shared_ptr<void>(data, dtor)};
  std::lock_guard<std::mutex> hold(lock);
  last_handler = own_handler;
}

void mlxc::report(const char* what, const std::source_location& place) noexcept {
  std::string message = std::string(what) + " at " + place.file_name() + ":" + std::to_string(place.line());
  const Handler handler = current();
  handler.call(message.c_str(), handler.data);
}
