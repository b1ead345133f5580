// Runners as callers write them: `order` runs the tasks as it likes, and `most_tasks` tells whether there was anything
// to share.
#ifndef XENT_TESTS_SUPPORT_RUNNER_H_
#define XENT_TESTS_SUPPORT_RUNNER_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "xent/xent.h"

namespace xent_test {

struct CallerRunner {
  using Task = std::function<void(int64_t)>;

  xent_parallel_runner Make(int32_t concurrency) {
    const auto run = [](void* context, int64_t tasks, void (*task)(void*, int64_t), void* task_context) {
      CallerRunner* self = static_cast<CallerRunner*>(context);
      self->most_tasks = std::max(self->most_tasks, tasks);
      self->order(tasks, [&](int64_t i) { task(task_context, i); });
    };
    return {run, this, concurrency, 0};
  }

  void (*order)(int64_t tasks, const Task& task);
  int64_t most_tasks = 0;
};

inline void InOrder(int64_t tasks, const CallerRunner::Task& task) {
  for (int64_t i = 0; i < tasks; ++i) task(i);
}

inline void Reversed(int64_t tasks, const CallerRunner::Task& task) {
  for (int64_t i = tasks - 1; i >= 0; --i) task(i);
}

inline void OnThreePoolThreads(int64_t tasks, const CallerRunner::Task& task) {
  std::atomic<int64_t> next{0};
  std::vector<std::thread> pool;
  for (int t = 0; t < 3; ++t) {
    pool.emplace_back([&] {
      for (int64_t i = next++; i < tasks; i = next++) task(i);
    });
  }
  for (std::thread& thread : pool) thread.join();
}

// Runners that break the promise to run every task exactly once.
using RunTasks = void (*)(void* context, int64_t tasks, void (*task)(void*, int64_t), void* task_context);

inline constexpr RunTasks kBrokenRunners[] = {
    [](void*, int64_t, void (*)(void*, int64_t), void*) {},                  // none
    [](void*, int64_t tasks, void (*task)(void*, int64_t), void* context) {  // all but the last
      for (int64_t i = 0; i + 1 < tasks; ++i) task(context, i);
    },
    [](void*, int64_t tasks, void (*task)(void*, int64_t), void* context) {  // the first twice
      for (int64_t i = 0; i < tasks; ++i) task(context, i);
      task(context, 0);
    },
    [](void*, int64_t tasks, void (*task)(void*, int64_t), void* context) {  // one that does not exist, for the first
      for (int64_t i = 1; i <= tasks; ++i) task(context, i);
    }};

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_RUNNER_H_
