// What is written past the cache, since it would not stay there anyway.
#ifndef XENT_LIB_CACHE_H_
#define XENT_LIB_CACHE_H_

#include <cstdint>

namespace xent {

// Whether an output of so many bytes is more than the caches of this machine keep at hand.
bool GoesPastCache(int64_t bytes);

}  // namespace xent

#endif  // XENT_LIB_CACHE_H_
