// What is written past the cache, since it would not stay there anyway, and how memory is asked for.
#ifndef XENT_LIB_CACHE_H_
#define XENT_LIB_CACHE_H_

#include <cstdint>

namespace xent {

// Whether an output of so many bytes is more than the caches of this machine keep at hand.
bool GoesPastCache(int64_t bytes);

// How a loop asks for the memory that it comes to.
struct MemoryRequests {
  bool asks_early;      // several pages ahead, into the L2 cache, see PrefetchGroup
  int64_t bytes_ahead;  // (once more) so far ahead, into the L1 cache
};

// Of words of 16 bits, whose arithmetic takes about as long as memory, and of f32 and f64. A matter of processors. 512
// x 32000 from memory, two threads: AMD's Zen 5 takes 0.78 ms for an f32 loss and 0.68 for an f16 loss if asked once,
// far ahead; 0.89 and 0.70 as Zen 4. Zen 4 takes 1.43 ms for a bf16 loss as it is asked, 1.59 if asked twice; Intel's
// 0.94 of the time twice, and with a gradient 0.9.
extern const MemoryRequests requests_for_words;
extern const MemoryRequests requests_for_floats;

// Whether the L1 cache has places for 16 lines whose distance is a power of 2, where classes of images lie. 8 x 21 x
// 512 x 512 f32, loss, one thread: Zen 5 takes 11.0 ms if they are asked for into the L1 cache, 11.4 into L2 (with 511
// x 509 pixels 11.6, 12.5); Zen 4 0.94 of the time into L2.
extern const bool has_room_for_classes;

}  // namespace xent

#endif  // XENT_LIB_CACHE_H_
