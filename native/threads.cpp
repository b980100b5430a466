/** The pool behind `parallel`. */

#include "threads.h"

#if defined(__linux__)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace bunsen {

namespace {

// About 50 µs: longer than the gap between most operations of a step, too short to be seen on an idle machine.
constexpr int SPIN_TURNS = 1000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/**
 * The one piece of work that is under way, in one word: which it is, how many chunks it has, which is next.
 * A thread that claims a chunk by exchanging the word knows that the work is not over, so its task is still there;
 * one that wakes too late claims nothing, and nobody waits for it.
 */
struct Work {
  static constexpr unsigned BITS = 20;
  static constexpr std::uint64_t MASK = (std::uint64_t(1) << BITS) - 1;
  static constexpr std::size_t CHUNKS_MAX = MASK;

  std::uint64_t word;

  static Work begin(std::uint64_t number, std::size_t chunks) {
    return {number << (2 * BITS) | std::uint64_t(chunks) << BITS};
  }
  std::size_t chunks() const {
    return word >> BITS & MASK;
  }
  std::size_t next() const {
    return word & MASK;
  }
};

class Pool {
 public:
  explicit Pool(unsigned threads) {
    try {
      for (; helpers_ < threads - 1; helpers_++) std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
      // the machine gives no more: those that there are do the work
    }
  }

  bool takes(std::size_t chunks) const {
    return helpers_ > 0 && chunks > 1 && chunks <= Work::CHUNKS_MAX;
  }

  /** Its threads end; who still asks it for work does that alone. */
  void retire() {
    std::lock_guard<std::mutex> turn(turn_);
    retired_.store(true);
    work_.store(Work::begin(++number_, 0).word);
    work_.notify_all();
  }

  void run(std::size_t chunks, const std::function<void(std::size_t)>& task) {
    // Two models that step at once take turns; more threads than cores would help neither.
    std::lock_guard<std::mutex> turn(turn_);
    task_.store(&task);
    done_.store(0);
    work_.store(Work::begin(++number_, chunks).word);
    work_.notify_all();
    help();
    while (done_.load() < chunks) pause();
    if (std::exception_ptr thrown = std::exchange(thrown_, nullptr)) std::rethrow_exception(thrown);
  }

 private:
  void serve() {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "bunsen"); // for who looks where the time goes
#endif
    while (!retired_.load()) {
      help();
      // No chunk is left: what changes the word next is new work.
      std::uint64_t now = work_.load();
      for (int turn = 0; turn < SPIN_TURNS && exhausted(now); turn++) {
        pause();
        now = work_.load();
      }
      if (exhausted(now) && !retired_.load()) work_.wait(now);
    }
  }

  static bool exhausted(std::uint64_t word) {
    return Work{word}.next() >= Work{word}.chunks();
  }

  void help() {
    std::uint64_t word = work_.load();
    while (!exhausted(word)) {
      if (!work_.compare_exchange_weak(word, word + 1)) continue;
      try {
        (*task_.load())(Work{word}.next());
      } catch (...) {
        keep(std::current_exception());
      }
      done_.fetch_add(1);
      word = work_.load();
    }
  }

  void keep(std::exception_ptr thrown) {
    std::lock_guard<std::mutex> alone(thrown_lock_);
    if (!thrown_) thrown_ = std::move(thrown);
  }

  std::mutex turn_;
  std::mutex thrown_lock_;
  std::exception_ptr thrown_; // of the work that is under way
  std::uint64_t number_ = 0;
  std::atomic<std::uint64_t> work_{0};
  std::atomic<const std::function<void(std::size_t)>*> task_{nullptr};
  std::atomic<std::size_t> done_{0};
  std::atomic<bool> retired_{false};
  unsigned helpers_ = 0;
};

std::mutex choice;
unsigned threads_wanted = 0;
// Made for the first work. Never destroyed: threads may still wait in it when the process ends, or when it is replaced.
std::atomic<Pool*> pool{nullptr};

Pool& makePool() {
  std::lock_guard<std::mutex> hold(choice);
  if (pool.load() == nullptr) {
    pool.store(new Pool(threads_wanted > 0 ? threads_wanted : std::max(1u, std::thread::hardware_concurrency())));
  }
  return *pool.load();
}

} // namespace

void setThreads(unsigned count) {
  std::lock_guard<std::mutex> hold(choice);
  if (count == threads_wanted) return;
  threads_wanted = count;
  if (Pool* before = pool.exchange(nullptr)) before->retire();
}

void parallel(std::size_t chunks, const std::function<void(std::size_t)>& task) {
  Pool* const made = pool.load();
  Pool& threads = made != nullptr ? *made : makePool();
  if (threads.takes(chunks)) {
    threads.run(chunks, task);
    return;
  }
  for (std::size_t chunk = 0; chunk < chunks; chunk++) task(chunk);
}

} // namespace bunsen
