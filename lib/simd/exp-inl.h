// e^x. f64: n = rint(x / ln 2), r = x - n ln 2 in two steps, e^x = (1 + (r + r^2 q(r))) * 2^n. f32 the same in eighths
// of n: r is an eighth as large, four coefficients do, and 2^n comes from a table of the eight 2^(j/8). All eight were
// scaled by one number that brings each within 0.04 ULP of a float; the polynomial takes that scale out again.
// Nothing is rounded before the reduction, so a row needs no x - max. Not here: special values; callers keep x in range.
// Largest error (tools/coefficients for the approximation; rounding for the rest), with fused multiply-add:
//   f32: <= 0.71 ULP    f64: <= 0.67 ULP of the mantissa 1 + ...

#if defined(XENT_SIMD_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_EXP_INL_H_
#undef XENT_SIMD_EXP_INL_H_
#else
#define XENT_SIMD_EXP_INL_H_
#endif

#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// ln 2 in two parts (the first short enough that n times it is exact), then polynomials, lowest degree first.
// Made by tools/coefficients; tools/coefficients --check compares.
constexpr float kExpLn2F32[] = {0xb17p-12f, 0x85fdf4p-38f};
constexpr float kExpTailF32[] = {0xa84503p-32f, 0x805423p-23f, 0x805949p-24f, 0xab16a9p-26f};
constexpr uint32_t kExpEighthsF32[] = {0x3f7f5829u, 0x3f7b3a3eu, 0x3f77d424u, 0x3f759202u,
                                       0x3f748e45u, 0x3f74e5beu, 0x3f76b7dau, 0x3f7a26deu};
constexpr double kExpLn2F64[] = {0x162e42ffp-29, -0x1718432a1b0e26p-87};
constexpr double kExpTailF64[] = {0x1000000000000ap-53, 0x15555555555502p-55, 0x1555555555069ap-57, 0x11111111125d3ep-59,
                                  0x16c16c18483efp-58,  0x1a01a013440226p-65, 0x1a019993076e64p-68, 0x171df0fd0edafep-71,
                                  0x128ae306018285p-74, 0x1ada0ec24bc87cp-78};

template <class C>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLog2E = 0x1.715476p0f;
  static constexpr float kMagic = 0x1.8p20f;  // adding it rounds to eighths and leaves their number in the low bits
  static constexpr int kExponentShift = 20;   // from there to the exponent
  static constexpr const float* kLn2 = kExpLn2F32;
  static constexpr float kPlainLimit = 44.0f;  // the largest |x| of plain rows
  static constexpr int kPlainExponent = 64;    // and of their n
  // e^x relative to the largest stays above 2^kLowest or counts as 0.
  static constexpr int kLowest = -125;
  // Logits up to here are reduced as they are; beyond, minus their maximum. Any x within reach of the result of such a
  // maximum lies within a factor of two of it, so that the difference is exact.
  static constexpr float kAnchorFree = 256.0f;
  static constexpr float kNegligible = -400.0f;  // e^x is 0 beside any anchor-free maximum
};

template <>
struct ExpConstants<double> {
  static constexpr double kLog2E = 0x1.71547652b82fep0;
  static constexpr double kMagic = 0x1.8p52;
  static constexpr int kExponentShift = 52;
  static constexpr const double* kLn2 = kExpLn2F64;
  static constexpr double kPlainLimit = 354.0;
  static constexpr int kPlainExponent = 512;
  static constexpr int kLowest = -1021;
  static constexpr double kAnchorFree = 2048.0;
  static constexpr double kNegligible = -3000.0;
};

template <class D>
struct Reduced {
  hn::Vec<D> remainder;
  hn::Vec<D> shifted;  // kMagic + n
};

template <class D>
HWY_INLINE Reduced<D> ReduceExp(D d, hn::Vec<D> x) {
  using E = ExpConstants<Lane<D>>;
  const auto magic = hn::Set(d, E::kMagic);
  const auto shifted = hn::MulAdd(x, hn::Set(d, E::kLog2E), magic);
  const auto n = hn::Sub(shifted, magic);
  const auto high = hn::NegMulAdd(n, hn::Set(d, E::kLn2[0]), x);
  return {hn::NegMulAdd(n, hn::Set(d, E::kLn2[1]), high), shifted};
}

// By pairs (Estrin): ten steps one after another would leave the multipliers waiting.
template <class D>
HWY_INLINE hn::Vec<D> ExpTail(D d, hn::Vec<D> r) {
  const auto pair = [d, r](int k) HWY_ATTR {
    return hn::MulAdd(hn::Set(d, kExpTailF64[k + 1]), r, hn::Set(d, kExpTailF64[k]));
  };
  const auto r2 = hn::Mul(r, r);
  const auto r4 = hn::Mul(r2, r2);
  const auto low = hn::MulAdd(pair(2), r2, pair(0));
  const auto middle = hn::MulAdd(pair(6), r2, pair(4));
  return hn::MulAdd(r4, hn::MulAdd(pair(8), r4, middle), low);
}

// e^r in f64.
template <class D>
HWY_INLINE hn::Vec<D> ExpMantissa(D d, hn::Vec<D> r) {
  return hn::Add(hn::Set(d, 1.0), hn::MulAdd(hn::Mul(r, r), ExpTail(d, r), r));
}

// value * 2^n, n in the low bits of `shifted`. The result must be a normal number.
template <class D>
HWY_INLINE hn::Vec<D> AddExponent(D d, hn::Vec<D> value, hn::Vec<D> shifted) {
  const hn::RebindToSigned<D> di;
  const auto n = hn::ShiftLeft<ExpConstants<Lane<D>>::kExponentShift>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, value), n));
}

// The entry of kExpEighthsF32 that the three lowest bits of `shifted` name.
template <class D>
HWY_INLINE hn::Vec<D> Eighths(D d, hn::Vec<D> shifted) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, shifted);
#if HWY_TARGET == HWY_SCALAR
  return hn::BitCast(d, hn::Set(du, kExpEighthsF32[hn::GetLane(bits) % 8]));
#else
  constexpr size_t kLanes = hn::MaxLanes(D());
  if constexpr (kLanes < 8) {
    const auto index = hn::IndicesFromVec(d, hn::And(bits, hn::Set(du, 3u)));
    const auto low = hn::TableLookupLanes(hn::BitCast(d, hn::LoadU(du, kExpEighthsF32)), index);
    const auto high = hn::TableLookupLanes(hn::BitCast(d, hn::LoadU(du, kExpEighthsF32 + 4)), index);
    return hn::IfThenElse(hn::RebindMask(d, hn::TestBit(bits, hn::Set(du, 4u))), high, low);
  } else {
    // These permutations look at just as many bits of an index as they need.
    static_assert(HWY_ARCH_X86, "another permutation may need its index cut to three bits");
    const auto index = hn::IndicesFromVec(d, bits);
    if constexpr (kLanes == 8) {
      return hn::TableLookupLanes(hn::BitCast(d, hn::LoadU(du, kExpEighthsF32)), index);
    } else {
      const auto table = hn::LoadU(hn::Half<decltype(du)>(), kExpEighthsF32);
      return hn::TableLookupLanes(hn::BitCast(d, hn::Combine(du, table, table)), index);
    }
  }
#endif
}

// e^r * 2^n, n in the low bits of `shifted`. The result must be a normal number.
template <class D>
HWY_INLINE hn::Vec<D> ExpScaled(D d, const Reduced<D>& reduced, hn::Vec<D> shifted) {
  if constexpr (sizeof(Lane<D>) == sizeof(double)) {
    return AddExponent(d, ExpMantissa(d, reduced.remainder), shifted);
  } else {
    const auto r = reduced.remainder;
    auto p = hn::MulAdd(r, hn::Set(d, kExpTailF32[3]), hn::Set(d, kExpTailF32[2]));
    p = hn::MulAdd(p, r, hn::Set(d, kExpTailF32[1]));
    p = hn::MulAdd(p, r, hn::Set(d, kExpTailF32[0]));
    const auto power = AddExponent(d, Eighths(d, shifted), shifted);
    return hn::MulAdd(power, p, power);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_EXP_INL_H_
