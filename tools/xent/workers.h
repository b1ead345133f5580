// Threads for work that the library does not do.
#ifndef XENT_TOOLS_WORKERS_H_
#define XENT_TOOLS_WORKERS_H_

#include <cstdint>
#include <functional>

namespace xent_command {

// Calls work(0), ..., work(count - 1) at the same time, each in a thread (the first in the caller's), and waits for
// all. Throws what one of them threw.
void RunWorkers(int64_t count, const std::function<void(int64_t worker)>& work);

}  // namespace xent_command

#endif  // XENT_TOOLS_WORKERS_H_
