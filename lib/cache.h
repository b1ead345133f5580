// What is written past the cache, since it would not stay there anyway, and how memory is asked for.
#ifndef XENT_LIB_CACHE_H_
#define XENT_LIB_CACHE_H_

#include <cstdint>

namespace xent {

// Whether an output of so many bytes is more than the caches of this machine keep at hand.
bool GoesPastCache(int64_t bytes);

// Whether words of 16 bits, of which arithmetic takes about as long as memory, are asked for twice like other types:
// see PrefetchAhead. A matter of processors, 512 x 32000 bf16, two threads, from memory: AMD's Zen 4 takes 1.43 ms for
// a loss if they are asked for once, 1.59 twice; Intel's 0.94 of the time twice, and with a gradient 0.9.
extern const bool asks_twice_for_words;

}  // namespace xent

#endif  // XENT_LIB_CACHE_H_
