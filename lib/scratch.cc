// One block per thread, grown when needed, freed when the thread ends.
#include "lib/scratch.h"

#include <cstdlib>

namespace xent {
namespace {

constexpr int64_t kMaxBytes = int64_t{4} << 20;

// Trivial, so that it outlives every destructor: a call from a later one must not meet the freed block.
thread_local bool has_ended = false;

struct Block {
  ~Block() {
    has_ended = true;
    std::free(data);
  }
  void* data = nullptr;
  int64_t bytes = 0;
};

}  // namespace

void* ThreadScratch(int64_t bytes) {
  if (has_ended || bytes > kMaxBytes) return nullptr;
  thread_local Block block;
  if (bytes <= block.bytes) return block.data;
  std::free(block.data);
  const int64_t rounded = (bytes + 4095) / 4096 * 4096;
  block.data = std::aligned_alloc(64, static_cast<size_t>(rounded));
  block.bytes = block.data == nullptr ? 0 : rounded;
  return block.data;
}

}  // namespace xent
