// A team of threads that runs one function together, with barriers inside it.
//
// Threads wait by spinning for a moment and then asleep: a step meets some two hundred barriers a millisecond apart,
// but between two steps nobody should burn a core.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace beamhouse {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

class Team {
 public:
  explicit Team(int size) : size(size) {
    for (int number = 1; number < size; number++) threads_.emplace_back([this, number] { serve(number); });
  }

  ~Team() {
    job_ = nullptr;
    call_.fetch_add(1);
    call_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  // Runs job(number) on every thread, the caller's as number 0.
  void run(const std::function<void(int)>& job) {
    job_ = &job;
    call_.fetch_add(1);
    call_.notify_all();
    job(0);
    barrier();
  }

  // Nobody goes on before all have come.
  void barrier() {
    uint32_t round = round_.load();
    if (arrived_.fetch_add(1) + 1 == size) {
      arrived_.store(0);
      tickets_[(round + 2) % 4].store(0);
      round_.store(round + 1);
      round_.notify_all();
    } else {
      wait(round_, round);
    }
  }

  // The next piece of `total` that nobody has taken since the last barrier: [begin, end), empty when all is taken.
  // Large pieces come first, so that each thread reads long stretches of memory and still none waits for another.
  std::pair<int64_t, int64_t> take(int64_t total, int64_t piece) {
    int64_t begin = tickets_[round_.load(std::memory_order_relaxed) % 4].fetch_add(piece);
    return {std::min(begin, total), std::min(begin + piece, total)};
  }

  // This thread's even share of `total`.
  std::pair<int64_t, int64_t> share(int number, int64_t total) const {
    return {total * number / size, total * (number + 1) / size};
  }

  const int size;

 private:
  static constexpr int kSpins = 4000;

  void serve(int number) {
    for (uint32_t seen = 0;;) {
      wait(call_, seen);
      seen++;
      if (job_ == nullptr) return;
      (*job_)(number);
      barrier();
    }
  }

  static void wait(std::atomic<uint32_t>& value, uint32_t old) {
    for (int spin = 0; spin < kSpins; spin++) {
      if (value.load(std::memory_order_acquire) != old) return;
      relax();
    }
    value.wait(old);
  }

  const std::function<void(int)>* job_ = nullptr;
  alignas(64) std::atomic<uint32_t> call_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int64_t> tickets_[4] = {};
  std::vector<std::thread> threads_;
};

}  // namespace beamhouse
