/** The pool behind `parallel`. */

#include "threads.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>


namespace bunsen {

namespace {

// About 20 µs: longer than the gap between two operations of a step, shorter than anyone would notice on an idle machine.
constexpr int SPIN_TURNS = 400;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

struct Job {
  const std::function<void(std::size_t)>& task;
  const std::size_t chunks;
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> done{0};

  void work() {
    for (std::size_t chunk = next.fetch_add(1); chunk < chunks; chunk = next.fetch_add(1)) {
      task(chunk);
      done.fetch_add(1);
    }
  }
};

class Pool {
 public:
  Pool() {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    for (unsigned index = 1; index < cores; index++) std::thread([this] { serve(); }).detach();
    helpers_ = cores - 1;
  }

  void run(std::size_t chunks, const std::function<void(std::size_t)>& task) {
    // Two models that step at once share the pool in turns; more threads than cores would help neither.
    std::lock_guard<std::mutex> turn(turn_);
    Job job{task, chunks};
    job_ = &job;
    busy_ = helpers_;
    generation_.fetch_add(1);
    generation_.notify_all();
    job.work();
    while (job.done.load() < chunks || busy_.load() > 0) pause();
  }

  bool alone() const {
    return helpers_ == 0;
  }

 private:
  void serve() {
    std::uint32_t seen = 0;
    while (true) {
      for (int turn = 0; turn < SPIN_TURNS && generation_.load() == seen; turn++) pause();
      generation_.wait(seen);
      seen = generation_.load();
      job_.load()->work();
      busy_.fetch_sub(1);
    }
  }

  std::mutex turn_;
  std::atomic<Job*> job_{nullptr};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<unsigned> busy_{0};
  unsigned helpers_ = 0;
};

} // namespace

void parallel(std::size_t chunks, const std::function<void(std::size_t)>& task) {
  // Never destroyed: its threads may still wait when the process ends.
  static Pool* pool = new Pool();
  if (chunks > 1 && !pool->alone()) {
    pool->run(chunks, task);
    return;
  }
  for (std::size_t chunk = 0; chunk < chunks; chunk++) task(chunk);
}

} // namespace bunsen
