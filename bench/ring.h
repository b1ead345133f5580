// A ring of copies of one block of memory, large enough that a copy has left every cache before it is used again, and
// as many outputs beside them. Copies are spread over whole pages; their number is odd, so that two parties that take
// turns both meet every copy.
#ifndef XENT_BENCH_RING_H_
#define XENT_BENCH_RING_H_

#include <cstddef>

#include "memory.h"

namespace xent_bench {

struct RingPlan {
  size_t bytes;      // of a block, in whole cache lines
  bool has_outputs;  // each copy has a block for results
  size_t footprint;  // bytes that the ring has at least; 0: one copy
  int threads;       // that will use it: each touches its part first
  bool huge_pages;
};

class CopyRing {
 public:
  explicit CopyRing(const RingPlan& plan);

  // The block that the copies are made of: to be filled, then copied by Spread().
  char* master() const { return master_.get(); }
  void Spread();

  size_t slots() const { return slots_; }
  char* Input(size_t slot) const { return inputs_.get() + slot * stride_; }
  char* Output(size_t slot) const { return outputs_.get() + slot * stride_; }

  // Copies the first `bytes` of the master to the inputs [begin, end) again.
  void Restore(size_t bytes, size_t begin, size_t end);

 private:
  RingPlan plan_;
  size_t stride_;  // from one copy to the next
  size_t slots_;
  Memory master_;
  Memory inputs_;
  Memory outputs_;  // null without outputs
};

}  // namespace xent_bench

#endif  // XENT_BENCH_RING_H_
