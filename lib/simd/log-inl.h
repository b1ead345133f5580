// log in f64: the argument is 2^k (1 + f), s = f / (2 + f), log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 L(s^2)), where
// f - f^2/2 is kept with its rounding error and k ln 2 joins in two parts. f32: in f64, rounded once.

#if defined(XENT_SIMD_LOG_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LOG_INL_H_
#undef XENT_SIMD_LOG_INL_H_
#else
#define XENT_SIMD_LOG_INL_H_
#endif

#include "lib/simd/exp-functions-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// (2 atanh(s) - 2 s) / (s z), z = s^2, lowest degree first. Made by tools/coefficients.
constexpr double kLogTailF64[] = {0x155555555555ccp-53, 0x1999999996c041p-54, 0x124924953edafep-54,
                                  0x1c71c432e3ee89p-55, 0x174695308a17fbp-55, 0x13951e23bffafp-51,
                                  0x1322ae9313fc6bp-55};

// The mantissa 1 + f is in [kLogLow, 2 kLogLow). That begins a little below sqrt(1/2), since the error is twice as
// large from f = 0.3926 on, where log(1 + f) - f + f^2/2 passes 2^-6.
constexpr double kLogLow = 0x1.64p-1;
constexpr uint64_t kLogLowBits = 0x3FE6400000000000ull;

// 2^n for integers n in [-1022, 1023], given and computed as f64.
template <class D>
HWY_INLINE hn::Vec<D> PowerOfTwo(D d, hn::Vec<D> n) {
  return AddExponent(d, hn::Set(d, 1.0), hn::Add(n, hn::Set(d, ExpConstants<double>::kMagic)));
}

// The bits of a positive normal number less those of `low`, with k + 1024 in the field of the exponent: never negative,
// since 64-bit arithmetic shifts are slow before AVX-512.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> BiasedForLog(D, hn::Vec<D> x, uint64_t low_bits = kLogLowBits) {
  const hn::RebindToUnsigned<D> du;
  return hn::Add(hn::BitCast(du, x), hn::Set(du, (1024ull << 52) - low_bits));
}

// k, where x = m 2^k with m in [low, 2 low); less what `bias` is more than kLogBias.
constexpr double kLogBias = 0x1p52 + 1024.0;

template <class D>
HWY_INLINE hn::Vec<D> LogExponent(D d, hn::Vec<hn::RebindToUnsigned<D>> biased, hn::Vec<D> bias) {
  const hn::RebindToUnsigned<D> du;
  const auto as_double = hn::Or(hn::ShiftRight<52>(biased), hn::Set(du, 0x4330000000000000ull));
  return hn::Sub(hn::BitCast(d, as_double), bias);
}

template <class D>
HWY_INLINE hn::Vec<D> LogExponent(D d, hn::Vec<hn::RebindToUnsigned<D>> biased) {
  return LogExponent(d, biased, hn::Set(d, kLogBias));
}

// m.
template <class D>
HWY_INLINE hn::Vec<D> LogMantissa(D d, hn::Vec<hn::RebindToUnsigned<D>> biased, uint64_t low_bits = kLogLowBits) {
  const hn::RebindToUnsigned<D> du;
  const auto fraction = hn::And(biased, hn::Set(du, (1ull << 52) - 1));
  return hn::BitCast(d, hn::Add(fraction, hn::Set(du, low_bits)));
}

template <class D>
HWY_INLINE hn::Vec<D> LogTail(D d, hn::Vec<D> z) {
  const auto pair = [d, z](int k) XENT_LAMBDA {
    return hn::MulAdd(hn::Set(d, kLogTailF64[k + 1]), z, hn::Set(d, kLogTailF64[k]));
  };
  const auto z2 = hn::Mul(z, z);
  const auto high = hn::MulAdd(hn::Set(d, kLogTailF64[6]), z2, pair(4));
  return hn::MulAdd(z2, hn::MulAdd(z2, high, pair(2)), pair(0));
}

// k ln 2 + log(1 + f).
template <class D>
HWY_INLINE Parts<D> LogOfParts(D d, hn::Vec<D> f, hn::Vec<D> k) {
  const auto half = hn::Mul(f, hn::Set(d, 0.5));
  const auto u = hn::NegMulAdd(half, f, f);  // f - f^2/2, and what its rounding lost
  const auto u_low = hn::NegMulAdd(half, f, hn::Sub(f, u));
  const auto s = hn::Div(f, hn::Add(hn::Set(d, 2.0), f));
  const auto z = hn::Mul(s, s);
  const auto inner = hn::MulAdd(z, LogTail(d, z), hn::Mul(half, f));
  const auto low = hn::MulAdd(s, inner, u_low);
  const auto multiple = hn::Mul(k, hn::Set(d, kExpLn2F64[0]));  // exact
  const auto sum = hn::Add(multiple, u);
  const auto lost = hn::Sub(u, hn::Sub(sum, multiple));
  return {sum, hn::Add(low, hn::MulAdd(k, hn::Set(d, kExpLn2F64[1]), lost))};  // what comes last is added last
}

// log(1 + f + f_low) - log(1 + f) for a rounding error f_low of f.
template <class D>
HWY_INLINE hn::Vec<D> LogStep(hn::Vec<D> f, hn::Vec<D> f_low) {
  return hn::NegMulAdd(f, f_low, f_low);
}

// log(one + x * 2^k), one 0 or 1, x >= 0, without rounding one + x first, so that x far below 1 keeps its accuracy.
template <class D>
HWY_INLINE hn::Vec<D> LogScaled(D d, double one, hn::Vec<D> x, hn::Vec<D> k) {
  const auto zero = hn::Zero(d);
  // From 2^64 on, 1 is nothing beside x * 2^k; below 2^-1000, the logarithm is x * 2^k.
  const auto is_large = hn::Gt(hn::Add(k, LogExponent(d, BiasedForLog(d, x))), hn::Set(d, 64.0));
  const auto ones = hn::IfThenElse(is_large, zero, hn::Set(d, one));
  const auto shift = hn::IfThenElse(hn::Or(is_large, hn::Eq(ones, zero)), zero,
                                    hn::IfThenElse(hn::Lt(k, hn::Set(d, -2040.0)), hn::Set(d, -2040.0), k));
  const auto half_shift = hn::IfThenElse(hn::Lt(shift, hn::Set(d, -1020.0)), hn::Set(d, -1020.0), shift);
  const auto y = hn::Mul(hn::Mul(x, PowerOfTwo(d, half_shift)), PowerOfTwo(d, hn::Sub(shift, half_shift)));
  const auto e = LogExponent(d, BiasedForLog(d, hn::Add(ones, y)));
  const auto inverse = PowerOfTwo(d, hn::Neg(e));
  const auto f = hn::IfThenElse(hn::Eq(ones, zero), hn::Sub(hn::Mul(y, inverse), hn::Set(d, 1.0)),
                                hn::MulAdd(y, inverse, hn::Sub(inverse, hn::Set(d, 1.0))));
  const auto log = LogOfParts(d, f, hn::Add(e, hn::Sub(k, shift)));
  const auto result = hn::Add(log.high, log.low);
  return hn::IfThenElse(hn::And(hn::Lt(y, hn::Set(d, 0x1p-60)), hn::Gt(ones, zero)), y, result);
}

// The bits of LogScaled(d, 1, x, 0), x normal and below 2^1000.
template <class D>
HWY_INLINE hn::Vec<D> LogOnePlus(D d, hn::Vec<D> x) {
  const auto e = LogExponent(d, BiasedForLog(d, hn::Add(hn::Set(d, 1.0), x)));
  const auto inverse = PowerOfTwo(d, hn::Neg(e));
  const auto log = LogOfParts(d, hn::MulAdd(x, inverse, hn::Sub(inverse, hn::Set(d, 1.0))), e);
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, 0x1p-60)), x, hn::Add(log.high, log.low));
}

// log(1 + x) for x >= 0, within 1.1e-10 of itself: for losses that are rounded to f32, and no division. (log(1 + f) -
// f) / f^2 is the polynomial. Made by tools/coefficients.
constexpr double kShortLog1pTail[] = {-0x10000001a3dbc4p-53, 0x1555556375033p-50,  -0x1ffffaaa1def95p-55,
                                      0x1999894991b273p-55,  -0x15567d83872a6p-51, 0x124c6b0635aff3p-55,
                                      -0x1fcda5e443701bp-56, 0x1bdcf158bd37e2p-56, -0x1b4d5e87b3bd48p-56,
                                      0x1d215b304de86fp-56,  -0x12700d733b2faep-56};

// x below 2^1000.
template <class D>
HWY_INLINE hn::Vec<D> ShortLogOnePlus(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  const auto one = hn::Set(d, 1.0);
  const auto biased = BiasedForLog(d, hn::Add(one, x));
  const auto exponent = hn::And(biased, hn::Set(du, 0xFFFull << 52));
  const auto inverse = hn::BitCast(d, hn::Sub(hn::Set(du, 2047ull << 52), exponent));  // 2^-k
  const auto f = hn::MulAdd(x, inverse, hn::Sub(inverse, one));
  const auto pair = [d, f](int k) XENT_LAMBDA {
    return hn::MulAdd(hn::Set(d, kShortLog1pTail[k + 1]), f, hn::Set(d, kShortLog1pTail[k]));
  };
  const auto f2 = hn::Mul(f, f);
  const auto f4 = hn::Mul(f2, f2);
  const auto low = hn::MulAdd(pair(2), f2, pair(0));
  const auto middle = hn::MulAdd(pair(6), f2, pair(4));
  const auto high = hn::MulAdd(hn::Set(d, kShortLog1pTail[10]), f2, pair(8));
  const auto tail = hn::MulAdd(hn::MulAdd(high, f4, middle), f4, low);
  return hn::MulAdd(LogExponent(d, biased), hn::Set(d, kExpLn2F64[0] + kExpLn2F64[1]), hn::MulAdd(tail, f2, f));
}

// ---- the functions

// For results that are rounded to f32, without low parts: with s = f / (c + f c/2), log(1 + f) = 2 atanh(s c / 2) =
// s R(s^2), R = c + ... The exact value passes within a hundredth of a unit of the f64 mantissa by the boundary between
// two floats, so no error bound could promise the right one. But there are only some 70 such arguments. Any c would do,
// and each rounds differently: this c, and the parts of ln 2, were searched until (but for one argument) all of them
// came out right, with fused multiply-add and without. That holds for these constants in this order of operations only;
// the proof is `xent ulp log --exhaustive`. Made by tools/coefficients.
constexpr double kShortLogLn2[] = {0x162e32cdb9a226p-53, 0x10314097c97959p-69};
constexpr double kShortLogRatio[] = {0x115c05c9781ap-44,   0x1b3f0e01f4be2fp-56, 0x133e6bb040039cp-58,
                                     0x102e3f043bac1ap-60, 0x1da15f0a82daa8p-63, 0x1c71cc9f33979cp-65,
                                     0x1f14bfcf10b04ep-67};
constexpr uint64_t kShortLogLowBits = 0x3FE6A09E667F3BCDull;         // sqrt(1/2)
constexpr float kStubbornLog[] = {0x1.b121a6p+76f, 0x1.a9a3f2p+5f};  // the one argument, and its logarithm

template <class D>
HWY_INLINE hn::Vec<D> ShortLogOfParts(D d, hn::Vec<D> f, hn::Vec<D> k) {
  const auto c = hn::Set(d, kShortLogRatio[0]);
  const auto s = hn::Div(f, hn::MulAdd(f, hn::Set(d, kShortLogRatio[0] / 2), c));
  const auto z = hn::Mul(s, s);
  auto ratio = hn::Set(d, kShortLogRatio[6]);
  for (int i = 5; i >= 0; --i) ratio = hn::MulAdd(ratio, z, hn::Set(d, kShortLogRatio[i]));
  const auto multiple = hn::MulAdd(k, hn::Set(d, kShortLogLn2[1]), hn::Mul(k, hn::Set(d, kShortLogLn2[0])));
  return hn::MulAdd(s, ratio, multiple);
}

// y = log(x), but for the pole, negative numbers, infinity and NaN. `x` is how far the argument is from the pole. One
// selection waits for y.
template <class D>
HWY_INLINE hn::Vec<D> LogSpecials(D d, hn::Vec<D> x, hn::Vec<D> y) {
  using C = Lane<D>;
  const auto zero = hn::Zero(d);
  const auto infinity = hn::Set(d, std::numeric_limits<C>::infinity());
  auto special = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), hn::Set(d, CanonicalNaN<C>()));
  special = hn::IfThenElse(hn::Eq(x, infinity), infinity, special);
  auto is_usual = hn::And(hn::Gt(x, zero), hn::Lt(x, infinity));
  if constexpr (sizeof(C) == sizeof(float)) {
    const auto is_stubborn = hn::Eq(x, hn::Set(d, kStubbornLog[0]));
    special = hn::IfThenElse(is_stubborn, hn::Set(d, kStubbornLog[1]), special);
    is_usual = hn::AndNot(is_stubborn, is_usual);
  }
  return hn::IfThenElse(is_usual, y, special);
}

// f64: 0.64 ULP (x = 0x1.63db56a801133p+0; 0.72 without fused multiply-add). f32: correctly rounded.
struct Log {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 4 : 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      // A subnormal number becomes normal, 2^1074 times as large, by its bits: arithmetic on it would take long.
      const hn::RebindToUnsigned<D> du;
      const auto is_subnormal = hn::Lt(x, hn::Set(d, 0x1p-1022));
      const auto raised = hn::BitCast(d, hn::Or(hn::BitCast(du, x), hn::BitCast(du, hn::Set(d, 0x1p52))));
      const auto normal = hn::IfThenElse(is_subnormal, hn::Sub(raised, hn::Set(d, 0x1p52)), x);
      const auto biased = BiasedForLog(d, normal);
      const auto bias = hn::IfThenElse(is_subnormal, hn::Set(d, kLogBias + 1074.0), hn::Set(d, kLogBias));
      const auto k = LogExponent(d, biased, bias);
      const auto y = LogOfParts(d, hn::Sub(LogMantissa(d, biased), hn::Set(d, 1.0)), k);
      return LogSpecials(d, x, hn::Add(y.high, y.low));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA {
        const auto biased = BiasedForLog(dd, wide, kShortLogLowBits);
        const auto f = hn::Sub(LogMantissa(dd, biased, kShortLogLowBits), hn::Set(dd, 1.0));
        return ShortLogOfParts(dd, f, LogExponent(dd, biased));
      };
      return LogSpecials(d, x, InDoubles(d, x, core));
    }
  }
};

// f64: 0.69 ULP (x = 0x1.951ff3d6f59c5p-2; 0.75 without fused multiply-add). f32: correctly rounded.
struct Log1p {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 6 : 4;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const auto one = hn::Set(d, Lane<D>(1));
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      const hn::RebindToUnsigned<D> du;
      const Tiny<D> tiny(d, x);
      const auto addend = tiny.Without();
      const auto u = hn::Add(one, addend);
      const auto lost = hn::Sub(hn::Min(one, addend), hn::Sub(u, hn::Max(one, addend)));
      const auto biased = BiasedForLog(d, u);
      const auto m = LogMantissa(d, biased);
      // 2^(1 - k), since k reaches 1024.
      const auto ratio = hn::Sub(hn::BitCast(du, m), hn::BitCast(du, u));
      const auto twice_inverse = hn::BitCast(d, hn::Add(hn::Set(du, 1024ull << 52), ratio));
      const auto added = hn::Mul(hn::Set(d, 0.5), hn::Mul(lost, twice_inverse));
      const auto m1 = hn::Sub(m, one);
      const auto f = hn::Add(m1, added);
      const auto f_low = hn::Sub(added, hn::Sub(f, m1));
      const auto y = LogOfParts(d, f, LogExponent(d, biased));
      return LogSpecials(d, u, tiny.PutBack(hn::Add(y.high, hn::Add(y.low, LogStep<D>(f, f_low)))));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA {
        const hn::RebindToUnsigned<decltype(dd)> du;
        const auto wide_one = hn::Set(dd, 1.0);
        const auto biased = BiasedForLog(dd, hn::Add(wide_one, wide), kShortLogLowBits);
        const auto exponent = hn::And(biased, hn::Set(du, 0xFFFull << 52));
        const auto inverse = hn::BitCast(dd, hn::Sub(hn::Set(du, 2047ull << 52), exponent));  // 2^-k
        const auto f = hn::MulAdd(wide, inverse, hn::Sub(inverse, wide_one));
        return ShortLogOfParts(dd, f, LogExponent(dd, biased));
      };
      // Where 1 + x rounds to 0 or not makes no difference: x = -1 is the only float with a pole.
      return LogSpecials(d, hn::Add(one, x), WithSignOf(d, InDoubles(d, x, core), x));
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LOG_INL_H_
