// The processor is asked itself: of AMD's, glibc's sysconf (2.36) adds up all last-level caches of a package, twelve
// times what a core can use.
#include "lib/cache.h"

#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace xent {
namespace {

#if defined(__x86_64__) || defined(__i386__)
// Bytes of the highest-level cache that this leaf describes, one cache per subleaf; 0 where there is no such leaf.
int64_t LargestCacheOfLeaf(uint32_t leaf) {
  int64_t bytes = 0;
  uint32_t highest = 0;
  uint32_t eax, ebx, ecx, edx;
  for (uint32_t subleaf = 0; subleaf < 16 && __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx) != 0; ++subleaf) {
    const uint32_t type = eax & 0x1F;
    if (type == 0) break;
    const uint32_t level = (eax >> 5) & 0x7;
    if (level <= highest) continue;
    highest = level;
    const int64_t ways = (ebx >> 22) + 1;
    const int64_t partitions = ((ebx >> 12) & 0x3FF) + 1;
    const int64_t line = (ebx & 0xFFF) + 1;
    bytes = ways * partitions * line * (int64_t{ecx} + 1);
  }
  return bytes;
}

int64_t AskProcessor() {
  constexpr uint32_t kAmd = 0x8000001D;
  constexpr uint32_t kIntel = 4;
  const int64_t bytes = LargestCacheOfLeaf(kAmd);
  return bytes > 0 ? bytes : LargestCacheOfLeaf(kIntel);
}
#else
int64_t AskProcessor() { return 0; }
#endif

int64_t LastLevelCacheBytes() {
  const int64_t asked = AskProcessor();
  if (asked > 0) return asked;
  const int64_t known = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return known > 0 ? known : int64_t{16} << 20;
}

}  // namespace

bool GoesPastCache(int64_t bytes) {
  static const int64_t cache = LastLevelCacheBytes();
  return bytes >= cache / 2;
}

}  // namespace xent
