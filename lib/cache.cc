// The processor is asked itself: of AMD's, glibc's sysconf (2.36) adds up all last-level caches of a package, twelve
// times what a core can use.
#include "lib/cache.h"

#include <unistd.h>

#include <algorithm>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace xent {
namespace {

#if defined(__x86_64__) || defined(__i386__)
// Bytes of the highest-level cache up to this level that the leaf describes, one cache per subleaf; 0 where there is no
// such leaf.
int64_t CacheOfLeaf(uint32_t leaf, uint32_t highest_level) {
  int64_t bytes = 0;
  uint32_t highest = 0;
  uint32_t eax, ebx, ecx, edx;
  for (uint32_t subleaf = 0; subleaf < 16 && __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx) != 0; ++subleaf) {
    const uint32_t type = eax & 0x1F;
    if (type == 0) break;
    const uint32_t level = (eax >> 5) & 0x7;
    if (level <= highest || level > highest_level) continue;
    highest = level;
    const int64_t ways = (ebx >> 22) + 1;
    const int64_t partitions = ((ebx >> 12) & 0x3FF) + 1;
    const int64_t line = (ebx & 0xFFF) + 1;
    bytes = ways * partitions * line * (int64_t{ecx} + 1);
  }
  return bytes;
}

constexpr uint32_t kAmdLeaf = 0x8000001D;
constexpr uint32_t kIntelLeaf = 4;

int64_t AskProcessor(uint32_t highest_level) {
  const int64_t bytes = CacheOfLeaf(kAmdLeaf, highest_level);
  return bytes > 0 ? bytes : CacheOfLeaf(kIntelLeaf, highest_level);
}

// AMD's families, or 0. (0x19 is Zen 3 and Zen 4.)
uint32_t AmdFamily() {
  uint32_t eax, ebx, ecx, edx;
  if (CacheOfLeaf(kAmdLeaf, 1) == 0 || __get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return 0;
  return ((eax >> 8) & 0xF) + ((eax >> 20) & 0xFF);
}
#else
int64_t AskProcessor(uint32_t) { return 0; }
uint32_t AmdFamily() { return 0; }
#endif

constexpr uint32_t kZen5 = 0x1A;

MemoryRequests RequestsFor(bool words) {
  const uint32_t amd = AmdFamily();
  if (amd >= kZen5) return {false, words ? 8192 : 16384};
  return words ? MemoryRequests{amd == 0, 6144} : MemoryRequests{true, 3072};
}

int64_t CacheBytes(uint32_t highest_level, int name, int64_t otherwise) {
  const int64_t asked = AskProcessor(highest_level);
  if (asked > 0) return asked;
  const int64_t known = sysconf(name);
  return known > 0 ? known : otherwise;
}

// Half of the last-level cache, but no more than the processors' own caches hold twice: the large caches of servers
// belong to many processors, and are slow. (480 MiB for two processors, 64 MiB of gradient: 3.2 ms past it, 5.2 into
// it.)
int64_t BytesThatStay() {
  constexpr int64_t kMiB = int64_t{1} << 20;
  const int64_t last = CacheBytes(4, _SC_LEVEL3_CACHE_SIZE, 16 * kMiB);
  const int64_t own = CacheBytes(2, _SC_LEVEL2_CACHE_SIZE, kMiB);
  const int64_t processors = std::max<int64_t>(sysconf(_SC_NPROCESSORS_ONLN), 1);
  return std::min(last / 2, std::max(16 * kMiB, 2 * own * processors));
}

}  // namespace

const MemoryRequests requests_for_words = RequestsFor(true);
const MemoryRequests requests_for_floats = RequestsFor(false);
const bool has_room_for_classes = AmdFamily() >= kZen5;

bool GoesPastCache(int64_t bytes) {
  static const int64_t stays = BytesThatStay();
  return bytes >= stays;
}

}  // namespace xent
