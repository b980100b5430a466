/** Mapping, and the handler of SIGBUS that puts zeros where a file ended too early. */

#include "mapping.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>

namespace bunsen {

namespace {

/** What is mapped, as a handler of signals may read it: in a list that only grows, whose entries are used again. */
struct Range {
  std::atomic<std::uintptr_t> start{0};
  std::atomic<std::uintptr_t> end{0};
  Range* next = nullptr;
};

std::atomic<Range*> ranges{nullptr};
std::atomic<unsigned> cut{0};
std::mutex lock;
struct sigaction others;

// MLX's allocator keeps the size of an array in front of it, and reads it there.
constexpr std::uint64_t BEFORE = 8;

std::uintptr_t pageBytes() {
  static const auto bytes = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

/** True where there is memory at the address now. */
bool putZeros(std::uintptr_t at) {
  for (const Range* range = ranges.load(); range != nullptr; range = range->next) {
    const std::uintptr_t end = range->end.load();
    if (at < range->start.load() || at >= end) continue;
    const std::uintptr_t page = at / pageBytes() * pageBytes();
    cut++;
    void* const zeros = mmap(
        reinterpret_cast<void*>(page), end - page, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    return zeros != MAP_FAILED;
  }
  return false;
}

void onBusError(int signal, siginfo_t* info, void* context) {
  const int before = errno;
  const bool goes_on = putZeros(reinterpret_cast<std::uintptr_t>(info->si_addr));
  errno = before;
  if (goes_on) return;
  if ((others.sa_flags & SA_SIGINFO) != 0) return others.sa_sigaction(signal, info, context);
  if (others.sa_handler != SIG_DFL && others.sa_handler != SIG_IGN) return others.sa_handler(signal);
  sigaction(SIGBUS, &others, nullptr); // the read is tried again, and ends the process as it would have
}

void listen() {
  static const bool listens = [] {
    pageBytes(); // asked before a signal can
    struct sigaction own = {};
    own.sa_sigaction = onBusError;
    own.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&own.sa_mask);
    return sigaction(SIGBUS, &own, &others) == 0;
  }();
  (void)listens;
}

Range* enter(std::uintptr_t start, std::uintptr_t end) {
  std::lock_guard<std::mutex> hold(lock);
  listen();
  Range* range = ranges.load();
  while (range != nullptr && range->end.load() != 0) range = range->next;
  if (range == nullptr) {
    range = new Range();
    range->next = ranges.load();
    ranges.store(range);
  }
  range->start.store(start);
  range->end.store(end);
  return range;
}

} // namespace

std::shared_ptr<char> mapFile(int file, std::uint64_t offset, std::size_t bytes) {
  struct stat facts;
  if (fstat(file, &facts) != 0) throw std::system_error(errno, std::generic_category(), "[bunsen] a file");
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  if (bytes == 0 || offset < BEFORE || offset > size || bytes > size - offset) {
    throw std::invalid_argument("[bunsen] a file has not " + std::to_string(bytes) + " bytes at " + std::to_string(offset));
  }
  const std::uint64_t first = (offset - BEFORE) / pageBytes() * pageBytes();
  const std::size_t length = bytes + static_cast<std::size_t>(offset - first);
  void* const mapped =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, static_cast<off_t>(first));
  if (mapped == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "[bunsen] a file cannot be mapped");
  madvise(mapped, length, MADV_WILLNEED); // what is not in memory yet is fetched while other parts are read
  const auto start = reinterpret_cast<std::uintptr_t>(mapped);
  Range* const range = enter(start, (start + length + pageBytes() - 1) / pageBytes() * pageBytes());
  const auto leave = [range, length](char* held) {
    (void)held;
    const auto mapped = reinterpret_cast<void*>(range->start.load());
    range->end.store(0); // before the addresses are free for another
    munmap(mapped, length);
  };
  return std::shared_ptr<char>(static_cast<char*>(mapped) + (offset - first), leave);
}

unsigned filesCut() {
  return cut.load();
}

} // namespace bunsen
