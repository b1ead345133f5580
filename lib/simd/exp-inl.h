// e^x as mantissa * 2^n: n = rint(x / ln 2), r = x - n ln 2 in two steps, mantissa = 1 + (r + r^2 q(r)) in
// [0.70, 1.42]. Nothing is rounded before the reduction, so a row needs no x - max. Not here: special values; callers
// keep x in range. Relative error of the mantissa against e^r (tools/coefficients for q; rounding for the rest):
//   f32: <= 0.58 ULP    f64: <= 0.67 ULP
// Those are bounds over r in [-ln2/2, ln2/2] with fused multiply-add; without it 0.1 ULP more.

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

// ln 2 in two parts (the first short enough that n times it is exact), then q, lowest degree first.
// Made by tools/coefficients; tools/coefficients --check compares.
constexpr float kExpLn2F32[] = {0xb172p-16f, 0xbfbe8ep-43f};
constexpr float kExpTailF32[] = {0xfffffep-25f, 0xaaaa49p-26f, 0xaaac59p-28f, 0x891ccfp-30f, 0xb525c4p-33f};
constexpr double kExpLn2F64[] = {0x162e42ffp-29, -0x1718432a1b0e26p-87};
constexpr double kExpTailF64[] = {0x1000000000000ap-53, 0x15555555555502p-55, 0x1555555555069ap-57, 0x11111111125d3ep-59,
                                  0x16c16c18483efp-58,  0x1a01a013440226p-65, 0x1a019993076e64p-68, 0x171df0fd0edafep-71,
                                  0x128ae306018285p-74, 0x1ada0ec24bc87cp-78};

template <class C>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLog2E = 0x1.715476p0f;
  static constexpr float kMagic = 0x1.8p23f;  // adding it rounds to an integer and leaves that in the low bits
  static constexpr int kMantissaBits = 23;
  static constexpr const float* kLn2 = kExpLn2F32;
  // Plain rows have n in [-64, 64).
  static constexpr int kPlainBits = 7;
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
  static constexpr int kMantissaBits = 52;
  static constexpr const double* kLn2 = kExpLn2F64;
  static constexpr int kPlainBits = 10;  // n in [-512, 512)
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

template <class D>
HWY_INLINE hn::Vec<D> ExpTail(D d, hn::Vec<D> r, float) {
  auto q = hn::Set(d, kExpTailF32[4]);
  q = hn::MulAdd(q, r, hn::Set(d, kExpTailF32[3]));
  q = hn::MulAdd(q, r, hn::Set(d, kExpTailF32[2]));
  q = hn::MulAdd(q, r, hn::Set(d, kExpTailF32[1]));
  return hn::MulAdd(q, r, hn::Set(d, kExpTailF32[0]));
}

// By pairs (Estrin): ten steps one after another would leave the multipliers waiting.
template <class D>
HWY_INLINE hn::Vec<D> ExpTail(D d, hn::Vec<D> r, double) {
  const auto pair = [d, r](int k) HWY_ATTR {
    return hn::MulAdd(hn::Set(d, kExpTailF64[k + 1]), r, hn::Set(d, kExpTailF64[k]));
  };
  const auto r2 = hn::Mul(r, r);
  const auto r4 = hn::Mul(r2, r2);
  const auto low = hn::MulAdd(pair(2), r2, pair(0));
  const auto middle = hn::MulAdd(pair(6), r2, pair(4));
  return hn::MulAdd(r4, hn::MulAdd(pair(8), r4, middle), low);
}

template <class D>
HWY_INLINE hn::Vec<D> ExpMantissa(D d, hn::Vec<D> r) {
  const auto q = ExpTail(d, r, Lane<D>());
  return hn::Add(hn::Set(d, Lane<D>(1)), hn::MulAdd(hn::Mul(r, r), q, r));
}

// value * 2^n, n the low bits of `shifted`. The result must be a normal number.
template <class D>
HWY_INLINE hn::Vec<D> AddExponent(D d, hn::Vec<D> value, hn::Vec<D> shifted) {
  const hn::RebindToSigned<D> di;
  const auto n = hn::ShiftLeft<ExpConstants<Lane<D>>::kMantissaBits>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, value), n));
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_EXP_INL_H_
