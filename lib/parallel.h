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

using TaskBody = void (*)(void* context, int64_t task);

// Calls body(context, i) for every i in [0, tasks), each thread in the floating-point environment of FpEnvironment and
// on a contiguous share. False: the caller's runner did not run every share exactly once.
bool RunTasks(const Team& team, int64_t tasks, TaskBody body, void* context);

// The same for anything that can be called.
template <class Body>
bool ParallelFor(const Team& team, int64_t tasks, Body& body) {
  return RunTasks(
      team, tasks, [](void* context, int64_t task) { (*static_cast<Body*>(context))(task); }, &body);
}

}  // namespace xent

#endif  // XENT_LIB_PARALLEL_H_
