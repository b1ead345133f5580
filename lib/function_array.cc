// Elements are independent: each thread takes a run of blocks, and no result depends on which.
#include "lib/function_array.h"

#include <algorithm>

#include "lib/cache.h"
#include "lib/isa.h"

namespace xent {

bool MapArray(const MapTask& task, const Team& team) {
  // Whole cache lines of every type; small enough to share the work out evenly.
  constexpr int64_t kBlock = 4096;
  const MapKernel kernel = MapKernelFor(IsaChosen().slot, task.function, task.dtype);
  const bool stream = task.x != task.y && GoesPastCache(task.n * task.element);
  auto range = [&](int64_t first, int64_t last) {
    const int64_t begin = first * kBlock;
    const int64_t count = std::min(task.n, last * kBlock) - begin;
    kernel(task.x + begin * task.element, count, task.y + begin * task.element, stream);
  };
  return ParallelRanges(team, task.n / kBlock + (task.n % kBlock != 0 ? 1 : 0), range);
}

}  // namespace xent
