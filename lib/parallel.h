// Threads. The only file that knows OpenMP is parallel.cc.
#ifndef XENT_LIB_PARALLEL_H_
#define XENT_LIB_PARALLEL_H_

#include <cstdint>

#include "xent/xent.h"

namespace xent {

// The process default: what a call uses whose options say 0.
int DefaultThreads();
// 0: back to what the environment says.
void SetDefaultThreads(int threads);

// Who runs a call's tasks.
struct Team {
  int threads;                         // at least 1
  const xent_parallel_runner* runner;  // nullptr: OpenMP
};

// The team of a call: as many threads as asked for, fewer if the work (in elements) is small.
Team ChooseTeam(int requested, const xent_parallel_runner* runner, int64_t work);

using RangeBody = void (*)(void* context, int64_t first, int64_t last);

// Shares [0, tasks) out among the team: body(context, first, last) is called for contiguous ranges that cover it, each
// on a thread of its own, in the floating-point environment of FpEnvironment. False: the caller's runner did not run
// every range exactly once.
bool RunRanges(const Team& team, int64_t tasks, RangeBody body, void* context);

// The same for anything that can be called with (first, last).
template <class Body>
bool ParallelRanges(const Team& team, int64_t tasks, Body& body) {
  return RunRanges(
      team, tasks, [](void* context, int64_t first, int64_t last) { (*static_cast<Body*>(context))(first, last); },
      &body);
}

// The same, task by task.
template <class Body>
bool ParallelFor(const Team& team, int64_t tasks, Body& body) {
  auto range = [&body](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) body(task);
  };
  return ParallelRanges(team, tasks, range);
}

}  // namespace xent

#endif  // XENT_LIB_PARALLEL_H_
