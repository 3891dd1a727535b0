// A team of threads that runs one function together, with barriers inside it (fork and join).
//
// Threads wait by spinning for a moment and then asleep (on a futex): a step meets some two hundred barriers a
// millisecond apart, but between two steps nobody should burn a core. docs/decisions/0026 holds it against OpenMP.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
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
  // Throws std::system_error where the system grants no more threads.
  explicit Team(int num_threads) : size(num_threads) {
    try {
      for (int number = 1; number < size; number++) threads_.emplace_back([this, number] { serve(number); });
    } catch (...) {
      stop();
      throw;
    }
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  ~Team() { stop(); }

  // Runs job(number) on every thread, the caller's as number 0. What a job throws comes out here, the first of several;
  // a job with barriers in it must not throw before the last of them, where the others would wait for it.
  void run(const std::function<void(int)>& job) {
    job_ = &job;
    call_.fetch_add(1);
    call_.notify_all();
    attempt(0);
    barrier();
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // Nobody goes on before all have come. The last one to come hands out anew before the others see the next round:
  // until then they all stand here, and nobody takes anything.
  void barrier() {
    const uint32_t round = round_.load();
    if (arrived_.fetch_add(1) + 1 == size) {
      arrived_.store(0);
      taken_.store(0);
      round_.store(round + 1);
      round_.notify_all();
    } else {
      wait(round_, round);
    }
  }

  // The next piece of `total` that nobody has taken since the last barrier: [begin, end), empty when all is taken.
  std::pair<int64_t, int64_t> take(int64_t total, int64_t piece) {
    const int64_t begin = taken_.fetch_add(piece, std::memory_order_relaxed);
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
    for (uint32_t seen = 0;; seen++) {
      wait(call_, seen);
      if (job_ == nullptr) return;
      attempt(number);
      barrier();
    }
  }

  void attempt(int number) {
    try {
      (*job_)(number);
    } catch (...) {
      const std::lock_guard lock(failing_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  void stop() {
    job_ = nullptr;
    call_.fetch_add(1);
    call_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  static void wait(const std::atomic<uint32_t>& value, uint32_t old) {
    for (int spin = 0; spin < kSpins; spin++) {
      if (value.load(std::memory_order_acquire) != old) return;
      relax();
    }
    value.wait(old);
  }

  const std::function<void(int)>* job_ = nullptr;
  std::exception_ptr failure_;
  std::mutex failing_;
  // Each in a cache line of its own, since every write takes the line from all who wait on it.
  alignas(64) std::atomic<uint32_t> call_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int64_t> taken_{0};
  std::vector<std::thread> threads_;
};

}  // namespace beamhouse
