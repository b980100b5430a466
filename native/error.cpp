/** error.h: where the message of a failed call goes. By default it is printed and the process ends, as in mlx-c. */

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "forward.h"

namespace {

void printAndExit(const char* msg, void*) {
  std::printf("MLX error: %s\n", msg);
  std::exit(-1);
}

// Set before the first call that may fail, by the one thread that calls MLX: no lock.
mlx_error_handler_func handler = printAndExit;
void* handler_data = nullptr;
std::shared_ptr<void> data_owner;

} // namespace

void mlx_set_error_handler(mlx_error_handler_func handler, void* data, void (*dtor)(void*)) {
  ::handler = handler == nullptr ? printAndExit : handler;
  handler_data = data;
  data_owner = dtor == nullptr ? nullptr : std::shared_ptr<void>(data, dtor);
}

void mlxc::report(const char* what, const std::source_location& place) noexcept {
  std::string message = std::string(what) + " at " + place.file_name() + ":" + std::to_string(place.line());
  handler(message.c_str(), handler_data);
}
