// The plain loops with 512-bit vectors (AVX-512 F), where machine and compiler have them.
#include <cstdint>

#include "roof_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define XENT_ROOF_TARGET __attribute__((target("avx512f")))

namespace xent_bench {
namespace {

constexpr size_t kBytes = 64;
typedef int64_t Bits __attribute__((vector_size(64), may_alias));
typedef int32_t I32 __attribute__((vector_size(64)));
typedef int64_t I64 __attribute__((vector_size(64)));
typedef float F32 __attribute__((vector_size(64), may_alias));
typedef double F64 __attribute__((vector_size(64), may_alias));

XENT_ROOF_TARGET inline void Stream(Bits* to, Bits value) {
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
}
XENT_ROOF_TARGET inline void Fence() { _mm_sfence(); }
XENT_ROOF_TARGET inline F32 Fma(F32 a, F32 b, F32 c) { return (F32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
XENT_ROOF_TARGET inline F64 Fma(F64 a, F64 b, F64 c) {
  return (F64)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

}  // namespace
}  // namespace xent_bench

#include "roof_loops-inl.h"

namespace xent_bench {

const LoopTable* Loops512() { return __builtin_cpu_supports("avx512f") ? &kTable : nullptr; }

}  // namespace xent_bench

#else

namespace xent_bench {

const LoopTable* Loops512() { return nullptr; }

}  // namespace xent_bench

#endif
