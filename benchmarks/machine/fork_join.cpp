// What it costs to have a function run on all threads, and to meet at a barrier inside it: the kernels' team, and
// OpenMP.
//
//     fork_join THREADS        prints one line for each: name, microseconds
#include <omp.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "../../engine/native/src/team.h"

namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

// The time of one of `batch` calls, over many batches with a pause before each: what the fastest tenth stays below,
// which other processes of the machine did not disturb.
template <class Call>
double undisturbed(int batches, int batch, std::chrono::microseconds pause, const Call& call) {
  std::vector<double> times;
  for (int i = 0; i < batches; i++) {
    if (pause.count()) std::this_thread::sleep_for(pause);
    const auto begin = Clock::now();
    for (int j = 0; j < batch; j++) call();
    times.push_back(microseconds(Clock::now() - begin) / batch);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 10];
}

double processor_seconds() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  return double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

// run(job) has all threads run a job; meet() is a barrier inside one.
template <class Run, class Meet>
void measure(const char* name, const Run& run, const Meet& meet) {
  using std::chrono::microseconds;
  constexpr int kBarriers = 200;
  const auto nothing = [&] { run([] {}); };
  const auto region = [&] {
    run([&] {
      for (int i = 0; i < kBarriers; i++) meet();
    });
  };
  nothing();
  std::printf("%s call after call: %.2f\n", name, undisturbed(300, 100, microseconds(0), nothing));
  std::printf("%s after a pause of 5 ms: %.2f\n", name, undisturbed(200, 1, microseconds(5000), nothing));
  std::printf("%s barrier: %.2f\n", name, undisturbed(100, 1, microseconds(0), region) / kBarriers);
  const double before = processor_seconds();
  undisturbed(100, 1, microseconds(10000), nothing);
  std::printf("%s processor time a call, called every 10 ms: %.2f\n", name, (processor_seconds() - before) * 1e4);
}

}  // namespace

int main(int, char** arguments) {
  const int size = std::atoi(arguments[1]);
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    beamhouse::Team team(size);
    measure("team", [&](const auto& job) { team.run([&](int) { job(); }); }, [&] { team.barrier(); });
  }
  omp_set_num_threads(size);
  const auto fork = [](const auto& job) {
#pragma omp parallel
    job();
  };
  const auto meet = [] {
#pragma omp barrier
  };
  measure("OpenMP", fork, meet);
}
