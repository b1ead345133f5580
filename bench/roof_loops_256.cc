// The plain loops with 256-bit vectors (AVX2 and FMA), where machine and compiler have them.
#include <cstdint>

#include "roof_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define XENT_ROOF_TARGET __attribute__((target("avx2,fma")))

namespace xent_bench {
namespace {

constexpr size_t kBytes = 32;
typedef int64_t Bits __attribute__((vector_size(32), may_alias));
typedef int32_t I32 __attribute__((vector_size(32)));
typedef int64_t I64 __attribute__((vector_size(32)));
typedef float F32 __attribute__((vector_size(32), may_alias));
typedef double F64 __attribute__((vector_size(32), may_alias));

XENT_ROOF_TARGET inline void Stream(Bits* to, Bits value) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
}
XENT_ROOF_TARGET inline void Fence() { _mm_sfence(); }
XENT_ROOF_TARGET inline F32 Fma(F32 a, F32 b, F32 c) { return (F32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
XENT_ROOF_TARGET inline F64 Fma(F64 a, F64 b, F64 c) {
  return (F64)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

}  // namespace
}  // namespace xent_bench

#include "roof_loops-inl.h"

namespace xent_bench {

const LoopTable* Loops256() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kTable : nullptr;
}

}  // namespace xent_bench

#else

namespace xent_bench {

const LoopTable* Loops256() { return nullptr; }

}  // namespace xent_bench

#endif
