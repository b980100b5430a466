/** Pieces are cut from front to back, and their addresses used once. Who takes at the same time, the matrices of one model, mostly goes at the same time. */

#include "memory-pieces.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace bunsen {

namespace {

constexpr std::size_t LARGE_PAGE = std::size_t(2) << 20;
// Of addresses: memory is taken as it is written, and what of a piece stays empty costs nothing.
constexpr std::size_t PIECE_BYTES = std::size_t(256) << 20;
constexpr std::size_t ALIGNMENT = 64;

constexpr int COLLAPSE = 25; // MADV_COLLAPSE of Linux 6.1, which older headers lack
// After a load has taken its last: what it took is written by then.
constexpr std::chrono::milliseconds QUIET(250);
// Between two pages, of which each holds up other work on memory for a millisecond or two.
constexpr std::chrono::milliseconds REST(3);

std::mutex lock;

class Piece {
 public:
  explicit Piece(std::size_t bytes) : mapped_bytes_(bytes + LARGE_PAGE) {
    mapped_ = mmap(
        nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped_ == MAP_FAILED) throw std::bad_alloc();
    const auto at = reinterpret_cast<std::uintptr_t>(mapped_);
    next_ = static_cast<char*>(mapped_) + (LARGE_PAGE - at % LARGE_PAGE) % LARGE_PAGE;
    end_ = next_ + bytes;
    small_ = next_;
  }

  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  ~Piece() {
    munmap(mapped_, mapped_bytes_);
  }

  /** Null where there is no room for as many. */
  char* take(std::size_t bytes) {
    if (bytes > std::size_t(end_ - next_)) return nullptr;
    char* const taken = next_;
    next_ += bytes;
    return taken;
  }

  /** Large pages for what was taken, beside everything else; asked for as it is written they would cost the load more. */
  static void enlargePages(const std::shared_ptr<Piece>& piece) {
    if (std::exchange(piece->is_enlarging_, true)) return;
    try {
      std::thread(enlarge, std::weak_ptr<Piece>(piece)).detach();
    } catch (const std::system_error&) {
      piece->is_enlarging_ = false; // the machine gives no more threads
    }
  }

 private:
  static void enlarge(std::weak_ptr<Piece> waiting) {
    const char* before = nullptr;
    for (std::chrono::milliseconds pause = QUIET;;) {
      std::this_thread::sleep_for(pause);
      const std::shared_ptr<Piece> piece = waiting.lock();
      if (piece == nullptr) return;
      std::unique_lock<std::mutex> hold(lock);
      if (std::exchange(before, piece->next_) != piece->next_) {
        pause = QUIET;
      } else if (std::size_t(piece->next_ - piece->small_) < LARGE_PAGE) {
        piece->is_enlarging_ = false;
        return;
      } else {
        char* const page = std::exchange(piece->small_, piece->small_ + LARGE_PAGE);
        hold.unlock();
        pause = REST;
        // a machine that does neither goes on without, one that only knows the first does it later
        madvise(page, LARGE_PAGE, MADV_HUGEPAGE);
        madvise(page, LARGE_PAGE, COLLAPSE);
      }
    }
  }

  std::size_t mapped_bytes_;
  void* mapped_;
  bool is_enlarging_ = false;
  char* small_;
  char* next_;
  char* end_;
};

std::weak_ptr<Piece> last;

std::size_t roundUp(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

/** Its whole pages: another model may keep the piece. */
void giveBack(const char* taken, std::size_t bytes) {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<std::uintptr_t>(taken);
  const std::uintptr_t first = roundUp(start, page), end = (start + bytes) / page * page;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

} // namespace

std::shared_ptr<char> takeMemory(std::size_t bytes) {
  const std::size_t wanted = roundUp(bytes, ALIGNMENT);
  std::lock_guard<std::mutex> hold(lock);
  std::shared_ptr<Piece> piece = last.lock();
  char* taken = piece == nullptr ? nullptr : piece->take(wanted);
  if (taken == nullptr) {
    piece = std::make_shared<Piece>(roundUp(wanted > PIECE_BYTES ? wanted : PIECE_BYTES, LARGE_PAGE));
    last = piece;
    taken = piece->take(wanted);
  }
  Piece::enlargePages(piece);
  return std::shared_ptr<char>(taken, [piece, wanted](const char* all) { giveBack(all, wanted); });
}

} // namespace bunsen
