// What is written past the cache, since it would not stay there anyway.
#ifndef XENT_LIB_CACHE_H_
#define XENT_LIB_CACHE_H_

#include <unistd.h>

#include <cstdint>

namespace xent {

// Whether an output of so many bytes fills half of the last-level cache or more.
inline bool GoesPastCache(int64_t bytes) {
  static const int64_t cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes >= (cache > 0 ? cache : int64_t{16} << 20) / 2;
}

}  // namespace xent

#endif  // XENT_LIB_CACHE_H_
