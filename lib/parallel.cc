// Static shares of whole tasks on OpenMP's threads, on the caller's runner, or on the calling thread alone. GNU OpenMP
// hangs in a forked child whose parent had threads; there the child works alone.
#include "lib/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "lib/fp_environment.h"

namespace xent {
namespace {

// Elements that are worth a thread's wake-up (about 20 us of work at 0.7 cycles per element).
constexpr int64_t kWorkPerThread = 65536;

// Threads of one call at most: what is kept per share fits the stack.
constexpr int64_t kMaxShares = 128;

std::atomic<bool> is_forked{false};
std::atomic<int> default_threads{0};

// The parent may have used OpenMP without this library, so every forked child counts.
__attribute__((constructor)) void WatchForks() {
  pthread_atfork(nullptr, nullptr, [] { is_forked.store(true, std::memory_order_relaxed); });
}

int ThreadsOfEnvironment() {
  const char* const text = std::getenv("XENT_NUM_THREADS");
  if (text != nullptr) {
    char* end = nullptr;
    const long threads = std::strtol(text, &end, 10);
    if (end != text && *end == '\0' && threads > 0) return static_cast<int>(std::min(threads, 65536L));
  }
  return std::max(1, omp_get_max_threads());
}

struct Share {
  int64_t tasks;
  int64_t shares;
  RangeBody body;
  void* context;
  std::atomic<int64_t>* runs;

  void Run(int64_t share) const {
    const FpEnvironment environment;
    // Whole numbers of tasks, the first `tasks % shares` shares one longer.
    const int64_t length = tasks / shares;
    const int64_t longer = tasks % shares;
    const int64_t first = share * length + std::min(share, longer);
    const int64_t last = first + length + (share < longer ? 1 : 0);
    if (first < last) body(context, first, last);
  }
};

void RunShareForRunner(void* context, int64_t index) {
  const Share& share = *static_cast<Share*>(context);
  if (index < 0 || index >= share.shares) return;
  share.runs[index].fetch_add(1, std::memory_order_relaxed);
  share.Run(index);
}

}  // namespace

int DefaultThreads() {
  const int threads = default_threads.load(std::memory_order_relaxed);
  if (threads > 0) return threads;
  static const int of_environment = ThreadsOfEnvironment();
  return of_environment;
}

void SetDefaultThreads(int threads) { default_threads.store(threads, std::memory_order_relaxed); }

Team ChooseTeam(int requested, const xent_parallel_runner* runner, int64_t work) {
  if (requested == 0) requested = runner != nullptr ? runner->concurrency : DefaultThreads();
  const int64_t useful = std::max<int64_t>(1, (work + kWorkPerThread / 2) / kWorkPerThread);
  return Team{static_cast<int>(std::min<int64_t>({requested, useful, kMaxShares})), runner};
}

bool RunRanges(const Team& team, int64_t tasks, RangeBody body, void* context) {
  const int64_t shares = std::min<int64_t>(team.threads, tasks);
  if (shares <= 1) {
    if (tasks > 0) body(context, 0, tasks);
    return true;
  }
  std::atomic<int64_t> runs[kMaxShares];
  Share share = {tasks, shares, body, context, runs};
  if (team.runner != nullptr) {
    for (int64_t i = 0; i < shares; ++i) runs[i].store(0, std::memory_order_relaxed);
    team.runner->run(team.runner->context, shares, RunShareForRunner, &share);
    return std::all_of(runs, runs + shares, [](const std::atomic<int64_t>& run) { return run.load() == 1; });
  }
  if (is_forked.load(std::memory_order_relaxed) || omp_in_parallel()) {
    body(context, 0, tasks);
    return true;
  }
  const int threads = static_cast<int>(shares);
#pragma omp parallel num_threads(threads)
  {
    // OpenMP may grant fewer threads than asked for.
    for (int64_t i = omp_get_thread_num(); i < shares; i += omp_get_num_threads()) share.Run(i);
  }
  return true;
}

}  // namespace xent
