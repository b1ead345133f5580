// The functions that e^-|x| carries: sigmoid, softplus, log_sigmoid and tanh. With e^-|x| = v 2^n (or expm1 of -2 |x|)
// the quotients are formed from v and 2^-n, so that nothing needs scaling. f32: in f64, rounded once.

#if defined(XENT_SIMD_LOGISTIC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_LOGISTIC_INL_H_
#undef XENT_SIMD_LOGISTIC_INL_H_
#else
#define XENT_SIMD_LOGISTIC_INL_H_
#endif

#include "lib/simd/log-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE hn::Vec<D> MinusMagnitude(D d, hn::Vec<D> x) {
  return hn::Or(x, hn::Set(d, Lane<D>(-0.0)));
}

// The 26 upper bits of the mantissa: products of two such numbers are exact.
template <class D>
HWY_INLINE hn::Vec<D> UpperHalfOfBits(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::And(hn::BitCast(du, x), hn::Set(du, ~0x7FFFFFFull)));
}

template <class D>
HWY_INLINE Parts<D> Rounded(const Parts<D>& x) {
  const auto high = hn::Add(x.high, x.low);
  return {high, hn::Sub(x.low, hn::Sub(high, x.high))};
}

// (n.high + n.low) / (base + d.high + d.low), base a power of two or 0 < |d.high| <= base. One division; the first
// quotient has 26 bits, so that its remainder is exact without fused multiply-add too.
template <class D>
HWY_INLINE hn::Vec<D> Quotient(D d, const Parts<D>& numerator, hn::Vec<D> base, const Parts<D>& denominator) {
  const auto whole = hn::Add(base, denominator.high);
  const auto inverse = hn::Div(hn::Set(d, 1.0), whole);
  const auto high = UpperHalfOfBits(d, whole);
  const auto low = hn::Add(hn::Sub(denominator.high, hn::Sub(high, base)), denominator.low);
  const auto q = UpperHalfOfBits(d, hn::Mul(numerator.high, inverse));
  const auto remainder = hn::Add(hn::NegMulAdd(q, low, hn::NegMulAdd(q, high, numerator.high)), numerator.low);
  return hn::MulAdd(remainder, inverse, q);
}

// log(1 + e) for e in [0, 1] without reduction, for results that are rounded to f32: s = e / (c + e c/2), log(1 + e) =
// s R(s^2). As for the logarithm (log-inl.h), c was chosen so that no argument is rounded wrongly.
constexpr double kLog1pRatio[] = {
    0x1008p-12,           0x15756558000409p-56, 0x19d9d9b99654b5p-59, 0x128984e7dd2332p-61, 0x1cf2c5ba891dd5p-64,
    0x17c76a1541e923p-66, 0x142bd2c55a288cp-68, 0x11e9078c937ff7p-70, 0x1a2c495167d22ep-73, 0x17997984eae448p-74};

template <class D>
struct LogRatio {
  HWY_INLINE LogRatio(D d, hn::Vec<D> e) {
    s = hn::Div(e, hn::MulAdd(e, hn::Set(d, kLog1pRatio[0] / 2), hn::Set(d, kLog1pRatio[0])));
    const auto z = hn::Max(hn::Mul(s, s), hn::Set(d, 0x1p-128));  // z^4 must not become subnormal
    const auto pair = [d, z](int k) XENT_LAMBDA {
      return hn::MulAdd(hn::Set(d, kLog1pRatio[k + 1]), z, hn::Set(d, kLog1pRatio[k]));
    };
    const auto z2 = hn::Mul(z, z);
    const auto z4 = hn::Mul(z2, z2);
    const auto low = hn::MulAdd(pair(2), z2, pair(0));
    const auto middle = hn::MulAdd(pair(6), z2, pair(4));
    ratio = hn::MulAdd(hn::MulAdd(pair(8), z4, middle), z4, low);
  }

  hn::Vec<D> s;
  hn::Vec<D> ratio;
};

// Below this, e^x does not change 1 + e^x in f64.
constexpr double kNegligibleExponent = -40.0;

// f64: 0.60 ULP (x = -0x1.2e3650d21140ap+5; 0.63 without fused multiply-add). f32: correctly rounded.
struct Sigmoid {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 8 : 4;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const auto minus = MinusMagnitude(d, x);
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      const auto one = hn::Set(d, 1.0);
      const auto is_far = hn::Lt(minus, hn::Set(d, kNegligibleExponent));
      const auto e = ExpParts(d, minus);
      const auto v = Rounded(e.mantissa);
      const auto inverse = hn::IfThenElse(is_far, one, InversePower(d, e.n));
      const auto is_positive = hn::Ge(x, hn::Zero(d));
      const Parts<D> numerator = {hn::IfThenElse(is_positive, inverse, v.high), hn::IfThenZeroElse(is_positive, v.low)};
      const auto near = Quotient(d, numerator, inverse, v);
      const auto far = hn::IfThenElse(is_positive, one, AddBits(d, v.high, e.exponent));
      return KeepNaN(d, x, hn::IfThenElse(is_far, far, near));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA {
        const auto one = hn::Set(dd, 1.0);
        const auto e = ExpInDoubles(dd, MinusMagnitude(dd, wide));
        const auto numerator = hn::IfThenElse(hn::Lt(wide, hn::Zero(dd)), e, one);
        const auto sigmoid = hn::Div(numerator, hn::Add(one, e));
        // Up to 2^-16 it is 1/2 + x/4, often half way between two floats, less a sliver.
        const auto near_half = hn::MulAdd(wide, hn::Set(dd, 0x1.fffffep-3), hn::Set(dd, 0.5));
        return hn::IfThenElse(hn::Le(hn::Abs(wide), hn::Set(dd, 0x1p-16)), near_half, sigmoid);
      };
      const auto reach = hn::Set(d, 104.0f);
      const auto clamped = hn::Max(hn::Min(x, reach), hn::Neg(reach));
      return KeepNaN(d, x, InDoubles(d, clamped, core));
    }
  }
};

// max(x, 0) + log1p(e^-|x|). f64: 0.73 ULP (x = -0x1.d87f26ca03225p-1; 0.80 without fused multiply-add). f32: correctly
// rounded.
struct Softplus {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 6 : 4;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const auto minus = MinusMagnitude(d, x);
    // Also where x is -0: maxima are free to choose between zeros.
    const auto positive = hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      // Far from 0 it is x or e^x. What is computed there all the same is kept away from subnormal numbers.
      const auto is_far = hn::Lt(minus, hn::Set(d, kNegligibleExponent));
      const auto parts = ExpParts(d, minus);
      const auto v = Rounded(parts.mantissa);
      const auto whole = AddBits(d, v.high, parts.exponent);
      const auto e = hn::IfThenZeroElse(is_far, whole);
      const auto power = hn::IfThenZeroElse(is_far, AddBits(d, hn::Set(d, 1.0), parts.n));
      const auto e_low = hn::Mul(v.low, power);
      // 1 + e = 2^k (1 + f), k 0 or 1.
      const auto halves = hn::Ge(e, hn::Set(d, 2.0 * kLogLow - 1.0));
      const auto scale = hn::IfThenElse(halves, hn::Set(d, 0.5), hn::Set(d, 1.0));
      const auto less = hn::IfThenElseZero(halves, hn::Set(d, 0.5));
      const auto f = hn::MulAdd(scale, e, hn::Neg(less));
      const auto lost = hn::MulAdd(scale, e, hn::Neg(hn::Add(f, less)));
      const auto y = LogOfParts(d, f, hn::Add(less, less));
      const auto y_low = hn::Add(y.low, LogStep<D>(f, hn::MulAdd(scale, e_low, lost)));
      const auto sum = hn::Add(positive, y.high);
      const auto sum_low = hn::Sub(hn::Min(positive, y.high), hn::Sub(sum, hn::Max(positive, y.high)));
      const auto near = hn::Add(sum, hn::Add(sum_low, y_low));
      const auto far = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), whole, x);
      return KeepNaN(d, x, hn::IfThenElse(is_far, far, near));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA {
        const auto e = ExpInDoubles(dd, hn::Max(MinusMagnitude(dd, wide), hn::Set(dd, -104.0)));
        const LogRatio<decltype(dd)> log(dd, e);
        return hn::MulAdd(log.s, log.ratio, hn::IfThenZeroElse(hn::Lt(wide, hn::Zero(dd)), wide));
      };
      return KeepNaN(d, x, InDoubles(d, x, core));
    }
  }
};

// -softplus(-x).
struct LogSigmoid {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 6 : 4;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    return KeepNaN(d, x, hn::Neg(Softplus()(d, hn::Neg(x), i)));
  }
};

// With expm1(-2 |x|) = v 2^n: -v / (2 2^-n + v). f64: 0.80 ULP (x = 0x1.0064e9b639d77p-3; without fused multiply-add
// too). f32: correctly rounded.
struct Tanh {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 3 : 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      const hn::RebindToUnsigned<D> du;
      const auto one = hn::Set(d, 1.0);
      const Tiny<D> tiny(d, x);
      const auto twice = hn::Mul(hn::Set(d, -2.0), hn::Abs(tiny.Without()));
      const auto bounded = hn::Max(twice, hn::Set(d, -80.0));  // 1 from 38.13 on
      const auto reduced = ReduceToParts(d, bounded, ShiftedExponent(d, bounded));
      const auto inverse = InversePower(d, hn::ShiftLeft<52>(hn::BitCast(du, reduced.shifted)));
      const auto base = hn::Sub(one, inverse);
      const auto base_low = hn::Sub(one, hn::Add(base, inverse));  // counts for n <= -54
      const auto sum = AddExpm1(d, base, reduced);
      const auto v = Rounded(Parts<D>{sum.high, hn::Add(sum.low, base_low)});
      const Parts<D> numerator = {hn::Neg(v.high), hn::Neg(v.low)};
      const auto y = WithSignOf(d, Quotient(d, numerator, hn::Add(inverse, inverse), v), x);
      return KeepNaN(d, x, tiny.PutBack(y));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA {
        const auto u = Expm1InDoubles(dd, hn::Add(wide, wide));
        return hn::Div(u, hn::Add(hn::Set(dd, 2.0), u));
      };
      const auto clamped = hn::Max(MinusMagnitude(d, x), hn::Set(d, -10.0f));
      const auto y = hn::Abs(InDoubles(d, clamped, core));
      return KeepNaN(d, x, WithSignOf(d, y, x));
    }
  }
};

// tanh(t), and its slope 1 - tanh^2(t) = 4 q / (1 + q)^2, q = e^(-2|t|): the difference would lose its digits where
// |tanh| is near 1.
template <class D>
struct TanhAndSlope {
  hn::Vec<D> tanh;
  hn::Vec<D> slope;
};

// t of any size, in f64.
template <class D>
HWY_INLINE TanhAndSlope<D> FindTanhAndSlope(D d, hn::Vec<D> t) {
  const auto q = Exp()(d, hn::Mul(hn::Set(d, -2.0), hn::Abs(t)), 0);
  const auto sum = hn::Add(hn::Set(d, 1.0), q);
  return {Tanh()(d, t, 0), hn::Div(hn::Mul(hn::Set(d, 4.0), q), hn::Mul(sum, sum))};
}

// The same within a few units of 2^-52, by one exponential and one division; slopes below 2^-993 stay there. (Not by
// ShortExp, whose bits differ between instruction sets: results of functions are rounded to f32, exponents are not.)
template <class D>
HWY_INLINE TanhAndSlope<D> FindShortTanhAndSlope(D d, hn::Vec<D> t) {
  const auto x = hn::Max(hn::Mul(hn::Set(d, -2.0), hn::Abs(t)), hn::Set(d, -690.0));
  const auto reduced = ReduceExp(d, x);
  const auto power = AddExponent(d, hn::Set(d, 1.0), reduced.shifted);
  const auto fraction = ExpFraction(d, reduced.remainder);
  const auto q = hn::MulAdd(power, fraction, power);
  const auto expm1 = hn::MulAdd(power, fraction, hn::Sub(power, hn::Set(d, 1.0)));
  const auto inverse = hn::Div(hn::Set(d, 1.0), hn::Add(hn::Set(d, 2.0), expm1));
  const auto twice = hn::Add(inverse, inverse);
  return {WithSignOf(d, hn::Abs(hn::Mul(expm1, inverse)), t), hn::Mul(hn::Mul(q, twice), twice)};
}

// (log(1 + e) - e) / e^2 for e in [0, 1], lowest degree first. Made by tools/coefficients.
constexpr float kLog1pTailF32[] = {-0xffffe9p-25f, 0xaaa6eap-25f,  -0xff9248p-26f, 0xc9a837p-26f, -0x9d2b64p-26f,
                                   0xda7fabp-27f,  -0xebb79ep-28f, 0xa50149p-29f,  -0xd8911fp-32f};

// e^-a is a normal number up to here.
constexpr float kSmallMagnitude = 80.0f;

// Of a magnitude a >= 0: log(1 + e^-a), sigmoid(-a) and sigmoid(a), f32 in f32: within 2 ULP.
template <class D>
struct Logistic {
  HWY_INLINE Logistic() {}
  HWY_INLINE Logistic(D d, hn::Vec<D> magnitude) : Logistic(d, magnitude, hn::Zero(d)) {}

  // Of magnitude + rest, which f32 takes in where it rounds no more.
  HWY_INLINE Logistic(D d, hn::Vec<D> magnitude, hn::Vec<D> rest) {
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      softplus = Softplus()(d, hn::Neg(magnitude), 0);
      small = Sigmoid()(d, hn::Neg(magnitude), 0);
      large = Sigmoid()(d, magnitude, 0);
    } else {
      SetFrom(d, ExpOfMinus(d, magnitude, rest));
    }
  }

  // All of one exponential, within 2 ULP. f64.
  static HWY_INLINE Logistic OfOneExp(D d, hn::Vec<D> magnitude) {
    const auto one = hn::Set(d, 1.0);
    const auto e = Exp()(d, hn::Neg(magnitude), 0);
    Logistic result;
    result.softplus = Log1p()(d, e, 0);
    result.large = hn::Div(one, hn::Add(one, e));
    result.small = hn::Mul(e, result.large);
    return result;
  }

  // The same bits for magnitudes up to kSmallMagnitude. f32.
  static HWY_INLINE Logistic OfSmall(D d, hn::Vec<D> magnitude) { return OfSmall(d, magnitude, hn::Zero(d)); }

  static HWY_INLINE Logistic OfSmall(D d, hn::Vec<D> magnitude, hn::Vec<D> rest) {
    auto reduced = ReduceExp(d, hn::Neg(magnitude));
    reduced.remainder = hn::Sub(reduced.remainder, rest);
    Logistic result;
    result.SetFrom(d, LongExpScaled(d, reduced, reduced.shifted));
    return result;
  }

  // e = e^-a. Without fused multiply-add the steps of f32 would round twice.
  HWY_INLINE void SetFrom(D d, hn::Vec<D> e) {
    if constexpr (!HWY_NATIVE_FMA) {
      softplus = InDoubles(d, e, [](auto dd, auto wide) XENT_LAMBDA {
        const LogRatio<decltype(dd)> log(dd, wide);
        return hn::Mul(log.s, log.ratio);
      });
      large = InDoubles(d, e, [](auto dd, auto wide) XENT_LAMBDA {
        const auto one = hn::Set(dd, 1.0);
        return hn::Div(one, hn::Add(one, wide));
      });
      small = InDoubles(d, e,
                        [](auto dd, auto wide) XENT_LAMBDA { return hn::Div(wide, hn::Add(hn::Set(dd, 1.0), wide)); });
      return;
    }
    softplus = Log1pOfFraction(d, e);
    large = hn::Div(hn::Set(d, 1.0f), hn::Add(hn::Set(d, 1.0f), e));
    small = hn::Mul(e, large);
  }

  // e^-(a + rest) for a >= 0, subnormal results included. f32.
  static HWY_INLINE hn::Vec<D> ExpOfMinus(D d, hn::Vec<D> a, hn::Vec<D> rest) {
    const auto least = hn::Set(d, -110.0f);
    const auto x = hn::IfThenElse(hn::Gt(a, hn::Neg(least)), least, hn::Neg(a));  // a maximum might forget NaN
    const auto is_lifted = hn::Lt(x, hn::Set(d, -kSmallMagnitude));
    auto reduced = ReduceExp(d, x);
    reduced.remainder = hn::Sub(reduced.remainder, rest);
    const auto shifted = hn::Add(reduced.shifted, hn::IfThenElseZero(is_lifted, hn::Set(d, 64.0f)));
    const auto back = hn::IfThenElse(is_lifted, hn::Set(d, 0x1p-64f), hn::Set(d, 1.0f));
    return hn::Mul(LongExpScaled(d, reduced, shifted), back);
  }

  // log(1 + e) for e in [0, 1]. f32.
  static HWY_INLINE hn::Vec<D> Log1pOfFraction(D d, hn::Vec<D> e) {
    const auto pair = [d, e](int k) XENT_LAMBDA {
      return hn::MulAdd(hn::Set(d, kLog1pTailF32[k + 1]), e, hn::Set(d, kLog1pTailF32[k]));
    };
    // The two largest coefficients last, one by one: each rounding of theirs is a tenth of a unit of the result.
    const auto e2 = hn::Mul(e, e);
    const auto high = hn::MulAdd(hn::MulAdd(hn::Set(d, kLog1pTailF32[8]), e2, pair(6)), e2, pair(4));
    const auto rest = hn::MulAdd(high, e2, pair(2));
    const auto from_second = hn::MulAdd(rest, e, hn::Set(d, kLog1pTailF32[1]));
    const auto tail = hn::MulAdd(from_second, e, hn::Set(d, kLog1pTailF32[0]));
    return hn::MulAdd(e2, tail, e);
  }

  hn::Vec<D> softplus;
  hn::Vec<D> small;
  hn::Vec<D> large;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_LOGISTIC_INL_H_
