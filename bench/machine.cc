// Linux tells most of it in /proc and /sys; elsewhere the guesses of machine.h stand.
#include "machine.h"

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#endif

namespace xent_bench {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "32768K" or "32M" in bytes.
size_t ParseSize(const std::string& text) {
  if (text.empty()) return 0;
  const size_t unit = text.back() == 'M' ? size_t{1} << 20 : text.back() == 'K' ? size_t{1} << 10 : 1;
  return static_cast<size_t>(std::strtoull(text.c_str(), nullptr, 10)) * unit;
}

struct Cache {
  int level;
  std::string cpus;  // that share it
  size_t bytes;
  bool operator<(const Cache& other) const { return std::tie(level, cpus) < std::tie(other.level, other.cpus); }
};

// Data and unified caches, each once.
std::set<Cache> Caches() {
  std::set<Cache> caches;
  for (unsigned cpu = 0; cpu < std::max(1u, std::thread::hardware_concurrency()); ++cpu) {
    for (int index = 0; index < 8; ++index) {
      const std::string folder =
          "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cache/index" + std::to_string(index) + "/";
      const std::string level = FirstLine(folder + "level");
      if (level.empty()) break;
      if (FirstLine(folder + "type") == "Instruction") continue;
      caches.insert({std::stoi(level), FirstLine(folder + "shared_cpu_list"), ParseSize(FirstLine(folder + "size"))});
    }
  }
  return caches;
}

#if defined(__linux__)
// Those of the process: asked once, before any thread is bound.
const std::vector<int>& AllowedCpus() {
  static const std::vector<int> allowed = [] {
    std::vector<int> cpus;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
    return cpus;
  }();
  return allowed;
}
#endif

}  // namespace

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  }
  return "unknown processor";
}

int CpuCount() {
#if defined(__linux__)
  if (!AllowedCpus().empty()) return static_cast<int>(AllowedCpus().size());
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

size_t SecondLevelCacheBytes() {
  for (const Cache& cache : Caches()) {
    if (cache.level == 2 && cache.bytes > 0) return cache.bytes;
  }
  return size_t{256} << 10;
}

size_t LastLevelCacheBytes() {
  size_t total = 0;
  int last = 2;
  for (const Cache& cache : Caches()) {
    if (cache.level > last) total = 0;
    if (cache.level >= last) total += cache.bytes;
    last = std::max(last, cache.level);
  }
  return total > 0 ? total : size_t{32} << 20;
}

double CoreHertz() {
#if defined(__x86_64__) || defined(__aarch64__)
  constexpr int kSteps = 4000;
#if defined(__x86_64__)
  constexpr int kCycles = 3;  // a multiplication, on every recent core
#else
  constexpr int kCycles = 1;  // an addition
#endif
  double best = 1e9;
  for (int trial = 0; trial < 5; ++trial) {
    const Clock::time_point start = Clock::now();
    uint64_t x = 1;
    for (int i = 0; i < kSteps; ++i) {
#if defined(__x86_64__)
      asm volatile("imul %0, %0\n\timul %0, %0\n\timul %0, %0\n\timul %0, %0" : "+r"(x));
#else
      asm volatile("add %0, %0, %0\n\tadd %0, %0, %0\n\tadd %0, %0, %0\n\tadd %0, %0, %0" : "+r"(x));
#endif
    }
    best = std::min(best, SecondsSince(start));
  }
  return 4.0 * kSteps * kCycles / best;
#else
  return 0;
#endif
}

bool PinThreads(int threads) {
#if defined(__linux__)
  const std::vector<int>& cpus = AllowedCpus();
  if (static_cast<int>(cpus.size()) < threads) return false;
  bool pinned = true;
#pragma omp parallel num_threads(threads) reduction(&& : pinned)
  {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[static_cast<size_t>(omp_get_thread_num())], &set);
    pinned = sched_setaffinity(0, sizeof(set), &set) == 0;
  }
  return pinned;
#else
  static_cast<void>(threads);
  return false;
#endif
}

long Preemptions() {
#if defined(__linux__)
  rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
#else
  return 0;
#endif
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace xent_bench
