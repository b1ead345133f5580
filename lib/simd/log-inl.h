// log(one + x * 2^k) in f64, one 0 or 1: the argument is 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), f rounded
// once; s = f / (2 + f); log(1 + f) = f - (f^2/2 - s (f^2/2 + s^2 L(s^2))), and e ln 2 joins in two parts.
// Error <= 1 ULP (largest seen: 0.78). Without rounding one + x first, so that x far below 1 keeps its accuracy.

#if defined(XENT_SIMD_LOG_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LOG_INL_H_
#undef XENT_SIMD_LOG_INL_H_
#else
#define XENT_SIMD_LOG_INL_H_
#endif

#include "lib/simd/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// (2 atanh(s) - 2 s) / (s z), z = s^2, lowest degree first. Made by tools/coefficients.
constexpr double kLogTailF64[] = {0x15555555555593p-53, 0x1999999997fa57p-54, 0x12492494220e0cp-54, 0x1c71c51e2181c2p-55,
                                  0x174664721a440bp-55, 0x139a0e124c202cp-55, 0x12f0e30b98d901p-55};

// 2^n for integers n in [-1022, 1023], given and computed as f64.
template <class D>
HWY_INLINE hn::Vec<D> PowerOfTwo(D d, hn::Vec<D> n) {
  return AddExponent(d, hn::Set(d, 1.0), hn::Add(n, hn::Set(d, ExpConstants<double>::kMagic)));
}

// The exponent e with x * 2^-e in [sqrt(1/2), sqrt(2)), for positive normal x.
template <class D>
HWY_INLINE hn::Vec<D> CentredExponent(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  const auto below_sqrt_half = hn::Set(du, 0x3FE6A09E667F3BCDull);
  // A bias keeps the shifted difference positive, since 64-bit arithmetic shifts are slow before AVX-512.
  const auto biased = hn::Sub(hn::Add(hn::BitCast(du, x), hn::Set(du, 1024ull << 52)), below_sqrt_half);
  const auto as_double = hn::Or(hn::ShiftRight<52>(biased), hn::Set(du, 0x4330000000000000ull));
  return hn::Sub(hn::BitCast(d, as_double), hn::Set(d, 0x1p52 + 1024.0));
}

template <class D>
HWY_INLINE hn::Vec<D> LogOfParts(D d, hn::Vec<D> f, hn::Vec<D> exponent) {
  const auto s = hn::Div(f, hn::Add(hn::Set(d, 2.0), f));
  const auto z = hn::Mul(s, s);
  auto tail = hn::Set(d, kLogTailF64[6]);
  for (int k = 5; k >= 0; --k) tail = hn::MulAdd(tail, z, hn::Set(d, kLogTailF64[k]));
  const auto half_square = hn::Mul(hn::Mul(hn::Set(d, 0.5), f), f);
  const auto inner = hn::MulAdd(z, tail, half_square);
  const auto low = hn::MulAdd(s, inner, hn::Mul(exponent, hn::Set(d, kExpLn2F64[1])));
  const auto high = hn::Mul(exponent, hn::Set(d, kExpLn2F64[0]));
  return hn::Add(high, hn::Sub(f, hn::Sub(half_square, low)));
}

// log(one + x * 2^k), x >= 0.
template <class D>
HWY_INLINE hn::Vec<D> LogScaled(D d, double one, hn::Vec<D> x, hn::Vec<D> k) {
  const auto zero = hn::Zero(d);
  // From 2^64 on, 1 is nothing beside x * 2^k; below 2^-1000, the logarithm is x * 2^k.
  const auto is_large = hn::Gt(hn::Add(k, CentredExponent(d, x)), hn::Set(d, 64.0));
  const auto ones = hn::IfThenElse(is_large, zero, hn::Set(d, one));
  const auto shift = hn::IfThenElse(hn::Or(is_large, hn::Eq(ones, zero)), zero,
                                    hn::IfThenElse(hn::Lt(k, hn::Set(d, -2040.0)), hn::Set(d, -2040.0), k));
  const auto half_shift = hn::IfThenElse(hn::Lt(shift, hn::Set(d, -1020.0)), hn::Set(d, -1020.0), shift);
  const auto y = hn::Mul(hn::Mul(x, PowerOfTwo(d, half_shift)), PowerOfTwo(d, hn::Sub(shift, half_shift)));
  const auto e = CentredExponent(d, hn::Add(ones, y));
  const auto inverse = PowerOfTwo(d, hn::Neg(e));
  const auto f = hn::IfThenElse(hn::Eq(ones, zero), hn::Sub(hn::Mul(y, inverse), hn::Set(d, 1.0)),
                                hn::MulAdd(y, inverse, hn::Sub(inverse, hn::Set(d, 1.0))));
  const auto result = LogOfParts(d, f, hn::Add(e, hn::Sub(k, shift)));
  return hn::IfThenElse(hn::And(hn::Lt(y, hn::Set(d, 0x1p-60)), hn::Gt(ones, zero)), y, result);
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LOG_INL_H_
