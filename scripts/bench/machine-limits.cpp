/**
 * What this machine can do at most: bytes read from memory and float32 multiply-adds, on as many threads as asked for.
 * Knows no model. Usage: machine-limits THREADS; prints one line of JSON. The best of several rounds counts: a limit is
 * what was reached once, not what other work on the machine left over.
 */

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#else
constexpr int VECTOR_BYTES = 32;
#endif
constexpr int LANES = VECTOR_BYTES / 4;
typedef float Floats __attribute__((vector_size(VECTOR_BYTES)));
typedef std::uint64_t Words __attribute__((vector_size(VECTOR_BYTES)));

constexpr std::size_t BUFFER_BYTES = std::size_t(512) << 20; // far above any cache
constexpr int ROUNDS = 200; // eight seconds or so: one round of them finds the machine quiet
constexpr long MULTIPLY_TURNS = 4'000'000; // about 20 ms
constexpr int CHAINS = 12; // hides the latency of a multiply-add (4 or 5 cycles, two a cycle); fits 16 registers

// What a loop computed must be seen to be used, or the compiler drops the loop.
static volatile float seen;

/** Seconds from the moment all threads begin to the moment the last one ends. */
double secondsOf(int threads, const std::function<void(int)>& work) {
  std::atomic<int> ready{0};
  std::atomic<bool> begun{false};
  std::vector<std::thread> all;
  for (int thread = 0; thread < threads; thread++) {
    all.emplace_back([&, thread] {
      ready++;
      while (!begun.load()) {}
      work(thread);
    });
  }
  while (ready.load() < threads) std::this_thread::yield();
  const auto start = std::chrono::steady_clock::now();
  begun = true;
  for (auto& thread : all) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double bestSeconds(int threads, const std::function<void(int)>& work) {
  double best = 1e30;
  for (int round = 0; round < ROUNDS; round++) best = std::min(best, secondsOf(threads, work));
  return best;
}

void readAll(const Words* from, std::size_t count) {
  Words sums[8] = {};
  for (std::size_t index = 0; index + 8 <= count; index += 8) {
    for (int lane = 0; lane < 8; lane++) sums[lane] += from[index + lane];
  }
  Words total = {};
  for (const Words& sum : sums) total += sum;
  seen = float(total[0]);
}

void multiplyAdd() {
  Floats chains[CHAINS];
  for (int chain = 0; chain < CHAINS; chain++) chains[chain] = Floats{} + float(chain);
  // From memory, so that the compiler cannot compute ahead; |factor| < 1 keeps the values finite.
  static volatile float factor_source = 0.5f;
  const Floats factor = Floats{} + factor_source;
  for (long turn = 0; turn < MULTIPLY_TURNS; turn++) {
#pragma GCC unroll 12
    for (int chain = 0; chain < CHAINS; chain++) chains[chain] = chains[chain] * factor + factor;
  }
  Floats total = {};
  for (const Floats& chain : chains) total += chain;
  seen = total[0];
}

int main(int count, char** words) {
  const int threads = count > 1 ? std::max(1, std::atoi(words[1])) : 1;
  auto* buffer = static_cast<Words*>(std::aligned_alloc(4096, BUFFER_BYTES));
  if (buffer == nullptr) return 1;
  std::fill_n(reinterpret_cast<std::uint64_t*>(buffer), BUFFER_BYTES / 8, std::uint64_t(1));

  const std::size_t share = BUFFER_BYTES / sizeof(Words) / threads;
  const double read_s = bestSeconds(threads, [&](int thread) { readAll(buffer + thread * share, share); });
  const double multiply_s = bestSeconds(threads, [](int) { multiplyAdd(); });
  const double read_bytes = double(share) * threads * sizeof(Words);
  const double operations = 2.0 * LANES * CHAINS * double(MULTIPLY_TURNS) * threads;
  std::printf(
      "{\"threads\":%d,\"vector_bytes\":%d,\"read_gb_per_s\":%.2f,\"multiply_add_gflop_per_s\":%.1f}\n",
      threads, VECTOR_BYTES, read_bytes / read_s / 1e9, operations / multiply_s / 1e9);
  std::free(buffer);
  return 0;
}
