// What the benchmarks need to know of the machine: cache sizes, its name, its clock, and where threads run.
#ifndef XENT_BENCH_MACHINE_H_
#define XENT_BENCH_MACHINE_H_

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace xent_bench {

using Clock = std::chrono::steady_clock;

inline double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string CpuName();
int CpuCount();  // processors that this process may use

// Bytes of one second-level cache, and of all last-level caches together (a machine may have several). Guesses
// (256 KiB, 32 MiB) where the system does not tell.
size_t SecondLevelCacheBytes();
size_t LastLevelCacheBytes();

// The clock of the core, now: a chain of dependent instructions of known latency, timed (under 100 us). The time stamp
// counter does not tell it. 0 where the latency is not known.
double CoreHertz();

// Binds thread i of OpenMP's team of `threads` to the i-th processor that the process may use. Later teams, those of
// the library included, consist of the same threads. False where that is not possible.
bool PinThreads(int threads);

// Times that a thread of this process had to make way for another process.
long Preemptions();

// The seconds that `sample` returns, of a try during which nobody interrupted this process; after so many tries of
// which none was quiet, of the fastest, and *quiet becomes false. Both parties of a comparison are sampled in this way.
template <typename Sample>
double SampleQuietly(const Sample& sample, bool* quiet, int tries = 8) {
  double best = 1e30;
  for (int trial = 0; trial < tries; ++trial) {
    const long before = Preemptions();
    const double seconds = sample();
    if (Preemptions() == before) return seconds;
    best = seconds < best ? seconds : best;
  }
  *quiet = false;
  return best;
}

double Quantile(std::vector<double> values, double q);
inline double Median(const std::vector<double>& values) { return Quantile(values, 0.5); }

}  // namespace xent_bench

#endif  // XENT_BENCH_MACHINE_H_
