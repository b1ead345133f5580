// Memory that a thread keeps between calls, for exponentials too many for the stack. It is optional: where it cannot be
// had, exponentials are computed twice, with the same bits.
#ifndef XENT_LIB_SCRATCH_H_
#define XENT_LIB_SCRATCH_H_

#include <cstdint>

namespace xent {

// At least `bytes` bytes, 64-byte aligned, of this thread until its next call; null if there is no memory or it is more
// than a cache would hold anyway.
void* ThreadScratch(int64_t bytes);

}  // namespace xent

#endif  // XENT_LIB_SCRATCH_H_
