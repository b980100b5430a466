/** One table for all threads, so that any of them may free a handle. */

#include "owners.h"

#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mlxc {

namespace {

using Destroy = void (*)(void*);

struct Owned {
  const void* thread;
  Destroy destroy;
};

struct Table {
  std::mutex lock;
  std::unordered_map<void*, Owned> objects;
};

Table& table() {
  static Table* all = new Table; // never destroyed: threads may outlive what is
  return *all;
}

/** One in each thread; its address tells the thread. */
struct Thread {
  ~Thread() {
    std::vector<std::pair<void*, Destroy>> left;
    {
      std::lock_guard<std::mutex> hold(table().lock);
      for (const auto& [object, owned] : table().objects) {
        if (owned.thread == this) left.emplace_back(object, owned.destroy);
      }
      for (const auto& [object, destroy] : left) table().objects.erase(object);
    }
    for (const auto& [object, destroy] : left) destroy(object);
  }
};

thread_local Thread this_thread;

} // namespace

void own(void* object, Destroy destroy) {
  std::lock_guard<std::mutex> hold(table().lock);
  table().objects[object] = {&this_thread, destroy};
}

void disown(void* object) noexcept {
  std::lock_guard<std::mutex> hold(table().lock);
  table().objects.erase(object);
}

} // namespace mlxc
