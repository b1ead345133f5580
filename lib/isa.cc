// CPU detection is written here, not taken from libhwy: that library's choice is global to the process and shared with
// its other users, and without it the shared library depends on Highway's headers only. The lists of features are what
// Highway compiles the targets for.
#include "lib/isa.h"

#include <hwy/highway.h>
#include <strings.h>

#include <atomic>
#include <cstdlib>

#if HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace xent {
namespace {

#if HWY_ARCH_X86

struct CpuId {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuId ReadCpuId(uint32_t leaf, uint32_t subleaf) {
  CpuId id;
  __get_cpuid_count(leaf, subleaf, &id.eax, &id.ebx, &id.ecx, &id.edx);
  return id;
}

// The register state that the operating system saves; 0 if it saves none.
uint64_t ReadXcr0(uint32_t leaf1_ecx) {
  constexpr uint32_t kOsxsave = 1u << 27;
  if ((leaf1_ecx & kOsxsave) == 0) return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

bool HasAll(uint64_t flags, uint64_t wanted) { return (flags & wanted) == wanted; }

constexpr uint32_t Bit(int n) { return 1u << n; }

int64_t DetectTargets() {
  const CpuId leaf1 = ReadCpuId(1, 0);
  const CpuId leaf7 = ReadCpuId(7, 0);
  const CpuId extended = ReadCpuId(0x80000001u, 0);
  const uint64_t saved = ReadXcr0(leaf1.ecx);
  int64_t targets = 0;
  const bool ssse3 = HasAll(leaf1.ecx, Bit(0) | Bit(9)) && HasAll(leaf1.edx, Bit(25) | Bit(26));
  if (!ssse3) return targets;
  targets |= HWY_SSSE3;
  // SSE4.1, SSE4.2, PCLMUL, AES.
  if (!HasAll(leaf1.ecx, Bit(19) | Bit(20) | Bit(1) | Bit(25))) return targets;
  targets |= HWY_SSE4;
  // FMA, AVX, F16C; BMI, AVX2, BMI2; LZCNT; saved XMM and YMM.
  const bool avx2 = HasAll(leaf1.ecx, Bit(12) | Bit(28) | Bit(29)) && HasAll(leaf7.ebx, Bit(3) | Bit(5) | Bit(8)) &&
                    HasAll(extended.ecx, Bit(5)) && HasAll(saved, 0x6);
  if (!avx2) return targets;
  targets |= HWY_AVX2;
  // AVX-512 F, DQ, CD, BW, VL; saved opmask and ZMM.
  if (HasAll(leaf7.ebx, Bit(16) | Bit(17) | Bit(28) | Bit(30) | Bit(31)) && HasAll(saved, 0xE6)) targets |= HWY_AVX3;
  return targets;
}

#else

int64_t DetectTargets() { return HWY_STATIC_TARGET; }

#endif  // HWY_ARCH_X86

constexpr int kFallbackSlot = HWY_MAX_DYNAMIC_TARGETS;
constexpr int kFirstTargetBit = HWY_HIGHEST_TARGET_BIT + 1 - HWY_MAX_DYNAMIC_TARGETS;

const char* NameOf(int64_t target) {
  switch (target) {
    case HWY_AVX3:
      return "avx512";
    case HWY_AVX2:
      return "avx2";
    case HWY_SSE4:
      return "sse4";
    case HWY_SSSE3:
      return "ssse3";
    case HWY_NEON:
      return "neon";
    case HWY_EMU128:
    case HWY_SCALAR:
      return "scalar";
    default:
      return "other";
  }
}

// Everything that never changes, made at first use.
struct Machine {
  Machine() {
    // The baseline always runs; Highway's bits go from best to worst.
    const int64_t supported = DetectTargets() | HWY_STATIC_TARGET;
    for (int bit = 0; bit < 63; ++bit) {
      const int64_t target = int64_t{1} << bit;
      if ((HWY_TARGETS & target) == 0) continue;
      const int slot = (target & (HWY_SCALAR | HWY_EMU128)) != 0 ? kFallbackSlot : bit - kFirstTargetBit;
      sets[count++] = Isa{NameOf(target), target, slot, (supported & target) != 0};
    }
    uncapped = FirstSupportedFrom(0);
    int first = uncapped;
    const char* const wanted = std::getenv("XENT_MAX_ISA");
    if (wanted != nullptr && Find(wanted) >= 0) first = FirstSupportedFrom(Find(wanted));
    chosen.store(first);
  }

  int FirstSupportedFrom(int index) const {
    while (index < count - 1 && !sets[index].supported) ++index;
    return index;
  }

  int Find(const char* name) const {
    for (int i = 0; i < count; ++i) {
      if (strcasecmp(sets[i].name, name) == 0) return i;
    }
    return -1;
  }

  Isa sets[HWY_MAX_DYNAMIC_TARGETS + 1];
  int count = 0;
  int uncapped = 0;
  std::atomic<int> chosen{0};
};

Machine& TheMachine() {
  static Machine machine;
  return machine;
}

}  // namespace

int IsaCount() { return TheMachine().count; }

const Isa& IsaAt(int index) { return TheMachine().sets[index]; }

const Isa& IsaChosen() {
  const Machine& machine = TheMachine();
  return machine.sets[machine.chosen.load(std::memory_order_relaxed)];
}

IsaCap CapIsa(const char* name) {
  Machine& machine = TheMachine();
  int index = machine.uncapped;
  if (name != nullptr) {
    index = machine.Find(name);
    if (index < 0) return IsaCap::kUnknown;
    if (!machine.sets[index].supported) return IsaCap::kUnsupported;
  }
  machine.chosen.store(index, std::memory_order_relaxed);
  return IsaCap::kDone;
}

}  // namespace xent
