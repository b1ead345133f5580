// The plain loops with 128-bit vectors, which every machine has (SSE2 on x86-64, NEON on AArch64) or its compiler
// imitates. No fused multiply-add is taken for granted.
#include <cstdint>

#include "roof_loops.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define XENT_ROOF_TARGET

namespace xent_bench {
namespace {

constexpr size_t kBytes = 16;
typedef int64_t Bits __attribute__((vector_size(16), may_alias));
typedef int32_t I32 __attribute__((vector_size(16)));
typedef int64_t I64 __attribute__((vector_size(16)));
typedef float F32 __attribute__((vector_size(16), may_alias));
typedef double F64 __attribute__((vector_size(16), may_alias));

#if defined(__SSE2__)
inline void Stream(Bits* to, Bits value) { _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)value); }
inline void Fence() { _mm_sfence(); }
#elif defined(__clang__)
inline void Stream(Bits* to, Bits value) { __builtin_nontemporal_store(value, to); }
inline void Fence() {}
#else
inline void Stream(Bits* to, Bits value) { *to = value; }
inline void Fence() {}
#endif

template <typename V>
inline V Fma(V a, V b, V c) {
  return a * b + c;
}

}  // namespace
}  // namespace xent_bench

#include "roof_loops-inl.h"

namespace xent_bench {

const LoopTable* Loops128() { return &kTable; }

}  // namespace xent_bench
