// What a binary loss does to a lane; NaN comes out as NaN. With L = log(1 + e^-|x|), sigma the sigmoid, t the target
// after smoothing, a = pos_weight t and b = 1 - t:
//   loss = (a + b) L + |x| (a if x < 0, else b)         gradient = b sigma(x) - a sigma(-x)
// No term of the loss is negative, so that nothing cancels, nor does in the gradient of a hard target. f32 logits are
// computed in f32 (without fused multiply-add, from e^-|x| on, in f64); logarithms of probabilities and, but for
// focal-inl.h, the focal factor in f64, rounded once.

#if defined(XENT_SIMD_BINARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_BINARY_INL_H_
#undef XENT_SIMD_BINARY_INL_H_
#else
#define XENT_SIMD_BINARY_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "lib/kernels.h"
#include "lib/simd/logistic-inl.h"
#include "lib/simd/twofold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// An element as it comes in, and as it goes out.
template <class D>
struct BinaryElement {
  hn::Vec<D> x;
  hn::Vec<D> target;
  hn::Vec<D> pos_weight;
};

template <class D>
struct BinaryResult {
  hn::Vec<D> loss;
  hn::Vec<D> gradient;
};

// The terms in the type of the lanes.
template <class C>
struct BinaryLaneTerms {
  explicit BinaryLaneTerms(const BinaryTerms& terms)
      : kept(static_cast<C>(1.0 - terms.smoothing)),
        share(static_cast<C>(terms.smoothing / 2)),
        pos_weight(static_cast<C>(terms.pos_weight)),
        slope(static_cast<C>(std::min(std::max(terms.slope, -kLargest), kLargest))),
        ignored(static_cast<C>(terms.ignored)),
        has_ignored(terms.ignored == terms.ignored) {}

  // An infinite slope would make NaN of gradients that are 0.
  static constexpr double kLargest = static_cast<double>(std::numeric_limits<C>::max());

  C kept;
  C share;
  C pos_weight;
  C slope;
  C ignored;
  bool has_ignored;
};

// y, but 0 where the factor is, whatever y is.
template <class D>
HWY_INLINE hn::Vec<D> TimesFactor(D d, hn::Vec<D> factor, hn::Vec<D> y) {
  return hn::IfThenZeroElse(hn::Eq(factor, hn::Zero(d)), hn::Mul(factor, y));
}

// With no smoothing and no positive weights: a and b, which are 1 together.
template <class D>
struct PlainBinaryWeights {
  HWY_INLINE PlainBinaryWeights(D d, hn::Vec<D> target) : b(hn::Sub(hn::Set(d, Lane<D>(1)), target)), a(target) {}

  hn::Vec<D> b;
  hn::Vec<D> a;
};

// t and 1 - t after smoothing, each with its own digits, and a.
template <class D>
struct BinaryWeights {
  HWY_INLINE BinaryWeights(D d, const BinaryTerms& terms, const BinaryElement<D>& in)
      : BinaryWeights(d, BinaryLaneTerms<Lane<D>>(terms), in) {}

  HWY_INLINE BinaryWeights(D d, const BinaryLaneTerms<Lane<D>>& terms, const BinaryElement<D>& in) {
    const auto kept = hn::Set(d, terms.kept);
    const auto share = hn::Set(d, terms.share);
    t = hn::MulAdd(in.target, kept, share);
    b = hn::MulAdd(hn::Sub(hn::Set(d, Lane<D>(1)), in.target), kept, share);
    a = hn::Mul(t, in.pos_weight);
  }

  hn::Vec<D> t;
  hn::Vec<D> b;
  hn::Vec<D> a;
};

// The loss of a logit, and its derivative. kIsFinite: neither the logit nor a weight is infinite.
template <bool kIsFinite = false, class D, class Weights>
HWY_INLINE BinaryResult<D> OfLogit(D d, hn::Vec<D> x, const Weights& weights, const Logistic<D>& logistic,
                                   hn::Vec<D> sigmoid, hn::Vec<D> sigmoid_of_minus) {
  const auto is_negative = hn::Lt(x, hn::Zero(d));
  const auto weight = hn::IfThenElse(is_negative, weights.a, weights.b);
  auto loss = logistic.softplus;
  if constexpr (!std::is_same_v<Weights, PlainBinaryWeights<D>>) loss = hn::Mul(hn::Add(weights.a, weights.b), loss);
  const auto sum = hn::MulAdd(weight, hn::Abs(x), loss);
  // 0 times infinity is 0 here.
  loss = kIsFinite ? sum : hn::IfThenElse(hn::Eq(weight, hn::Zero(d)), loss, sum);
  return {loss, hn::NegMulAdd(weights.a, sigmoid_of_minus, hn::Mul(weights.b, sigmoid))};
}

struct LogitsForm {
  template <class D>
  HWY_INLINE BinaryResult<D> operator()(D d, const BinaryTerms&, const BinaryLaneTerms<Lane<D>>& lanes,
                                        const BinaryElement<D>& in) const {
    return Of(d, in.x, BinaryWeights<D>(d, lanes, in));
  }

  template <class D, class Weights>
  static HWY_INLINE BinaryResult<D> Of(D d, hn::Vec<D> x, const Weights& weights) {
    return From<false>(d, x, weights, Logistic<D>(d, hn::Abs(x)));
  }

  // The same bits of a small logit and a target in [0, 1], f32.
  template <class D>
  static HWY_INLINE BinaryResult<D> OfSmall(D d, hn::Vec<D> x, hn::Vec<D> target) {
    return From<true>(d, x, PlainBinaryWeights<D>(d, target), Logistic<D>::OfSmall(d, hn::Abs(x)));
  }

 private:
  template <bool kIsFinite, class D, class Weights>
  static HWY_INLINE BinaryResult<D> From(D d, hn::Vec<D> x, const Weights& weights, const Logistic<D>& logistic) {
    const auto is_negative = hn::Lt(x, hn::Zero(d));
    return OfLogit<kIsFinite>(d, x, weights, logistic, hn::IfThenElse(is_negative, logistic.small, logistic.large),
                              hn::IfThenElse(is_negative, logistic.large, logistic.small));
  }
};

// The same in f64 for f32 lanes, rounded once: form(tag of f64 lanes, terms, element).
template <class Form>
struct InWideForm {
  template <class D>
  HWY_INLINE BinaryResult<D> operator()(D d, const BinaryTerms& terms, const BinaryLaneTerms<Lane<D>>&,
                                        const BinaryElement<D>& in) const {
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      return Form()(d, terms, in);
    } else {
#if HWY_TARGET == HWY_SCALAR
      using Wide = hn::Rebind<double, D>;
      const Wide dd;
      const BinaryElement<Wide> wide = {hn::PromoteTo(dd, in.x), hn::PromoteTo(dd, in.target),
                                        hn::PromoteTo(dd, in.pos_weight)};
      const auto out = Form()(dd, terms, wide);
      return {hn::Set(d, static_cast<float>(hn::GetLane(out.loss))),
              hn::Set(d, static_cast<float>(hn::GetLane(out.gradient)))};
#else
      using Wide = hn::Rebind<double, hn::Half<D>>;
      const hn::Half<D> half;
      const Wide dd;
      const BinaryElement<Wide> lower = {hn::PromoteTo(dd, hn::LowerHalf(half, in.x)),
                                         hn::PromoteTo(dd, hn::LowerHalf(half, in.target)),
                                         hn::PromoteTo(dd, hn::LowerHalf(half, in.pos_weight))};
      const BinaryElement<Wide> upper = {hn::PromoteTo(dd, hn::UpperHalf(half, in.x)),
                                         hn::PromoteTo(dd, hn::UpperHalf(half, in.target)),
                                         hn::PromoteTo(dd, hn::UpperHalf(half, in.pos_weight))};
      const auto low = Form()(dd, terms, lower);
      const auto high = Form()(dd, terms, upper);
      return {hn::Combine(d, hn::DemoteTo(half, high.loss), hn::DemoteTo(half, low.loss)),
              hn::Combine(d, hn::DemoteTo(half, high.gradient), hn::DemoteTo(half, low.gradient))};
#endif
    }
  }
};

// base^gamma = mantissa * 2^exponent for base in [0, 1], gamma > 0. With base = m 2^k it is 2^(gamma k) e^(gamma log
// m); of gamma k only what is left of the nearest integer goes through the exponential, whose error would be as large
// as its argument. The power of two is kept apart, since what it multiplies may be huge. f64.
template <class D>
struct PowerOfFraction {
  HWY_INLINE PowerOfFraction(hn::Vec<D> the_mantissa, hn::Vec<D> the_exponent)
      : mantissa(the_mantissa), exponent(the_exponent) {}

  HWY_INLINE PowerOfFraction(D d, hn::Vec<D> base, double gamma) {
    constexpr double kLn2 = 0x1.62e42fefa39efp-1;
    const hn::RebindToUnsigned<D> du;
    const auto all = hn::Set(d, gamma);
    const auto high = hn::BitCast(d, hn::And(hn::BitCast(du, all), hn::Set(du, ~0xFFFFFFFFull)));  // times k: exact
    const auto is_subnormal = hn::Lt(base, hn::Set(d, 0x1p-1022));
    const auto lifted = hn::IfThenElse(is_subnormal, hn::Mul(base, hn::Set(d, 0x1p100)), base);
    const auto biased = BiasedForLog(d, lifted);
    const auto k = hn::Sub(LogExponent(d, biased), hn::IfThenElseZero(is_subnormal, hn::Set(d, 100.0)));
    const auto log = LogOfParts(d, hn::Sub(LogMantissa(d, biased), hn::Set(d, 1.0)), hn::Zero(d));
    const auto bounded = hn::Max(hn::Mul(high, k), hn::Set(d, -8192.0));
    exponent = hn::Round(bounded);
    const auto rest = hn::MulAdd(hn::Sub(all, high), k, hn::Sub(bounded, exponent));
    // At more than 1024 gamma k is less than -2900, and base^gamma 0.
    const auto all_power = hn::MulAdd(all, hn::Add(log.high, log.low), hn::Mul(rest, hn::Set(d, kLn2)));
    const auto power = hn::Max(hn::Min(all_power, hn::Set(d, 1024.0)), hn::Set(d, -8192.0));
    const auto whole = hn::Round(hn::Mul(power, hn::Set(d, 1 / kLn2)));
    const auto near_one = Exp()(d, hn::NegMulAdd(whole, hn::Set(d, kLn2), power), 0);
    exponent = hn::Add(exponent, whole);
    mantissa = KeepNaN(d, base, hn::IfThenZeroElse(hn::Eq(base, hn::Zero(d)), near_one));
  }

  // y * 2^exponent.
  HWY_INLINE hn::Vec<D> Scale(D d, hn::Vec<D> y) const {
    if (hn::AllTrue(d, hn::Eq(exponent, hn::Zero(d)))) return y;
    const auto least = hn::Set(d, -1020.0);
    const auto first = hn::Max(exponent, least);
    const auto second = hn::Max(hn::Sub(exponent, first), least);
    const auto third = hn::Max(hn::Sub(hn::Sub(exponent, first), second), least);
    return hn::Mul(hn::Mul(hn::Mul(y, PowerOfTwo(d, first)), PowerOfTwo(d, second)), PowerOfTwo(d, third));
  }

  hn::Vec<D> mantissa;
  hn::Vec<D> exponent;
};

// The square, without logarithm and exponential where it is far from the subnormal numbers.
template <class D>
HWY_INLINE PowerOfFraction<D> Square(D d, hn::Vec<D> base) {
  const auto is_usual = hn::Or(hn::Ge(base, hn::Set(d, 0x1p-480)), hn::Eq(base, hn::Zero(d)));
  PowerOfFraction<D> power(hn::Mul(base, base), hn::Zero(d));
  if (HWY_LIKELY(hn::AllTrue(d, is_usual))) return power;
  const PowerOfFraction<D> any(d, base, 2.0);
  power.mantissa = hn::IfThenElse(is_usual, power.mantissa, any.mantissa);
  power.exponent = hn::IfThenElseZero(hn::Not(is_usual), any.exponent);
  return power;
}

// The two forms in f64 are functions of their own: they are long, and several loops call them.

// alpha_t q^gamma times the loss, q = 1 - p_t = t sigma(-x) + (1 - t) sigma(x) (Lin et al. 2017; soft targets as
// torchvision has them). q' / q = (1 - 2 t) sigma(x) sigma(-x) / q, so that no power below gamma is taken.
struct FocalForm {
  template <class D>
  HWY_NOINLINE BinaryResult<D> operator()(D d, const BinaryTerms& terms, const BinaryElement<D>& in) const {
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, 1.0);
    const BinaryWeights<D> weights(d, terms, in);
    const auto logistic = Logistic<D>::OfOneExp(d, hn::Abs(in.x));
    const auto is_negative = hn::Lt(in.x, zero);
    const auto sigmoid = hn::IfThenElse(is_negative, logistic.small, logistic.large);
    const auto of_minus = hn::IfThenElse(is_negative, logistic.large, logistic.small);
    const auto plain = OfLogit(d, in.x, weights, logistic, sigmoid, of_minus);
    const auto q = hn::MulAdd(weights.t, of_minus, hn::Mul(weights.b, sigmoid));
    auto balance = one;
    if (terms.alpha >= 0.0) {
      const auto of_one = hn::Mul(hn::Set(d, terms.alpha), weights.t);
      balance = hn::MulAdd(hn::Set(d, 1.0 - terms.alpha), weights.b, of_one);
    }
    if (terms.gamma == 0.0) return {TimesFactor(d, balance, plain.loss), TimesFactor(d, balance, plain.gradient)};
    const PowerOfFraction<D> power = terms.gamma == 2.0 ? Square(d, q) : PowerOfFraction<D>(d, q, terms.gamma);
    const auto factor = hn::Mul(balance, power.mantissa);
    const auto slope = hn::Mul(hn::Sub(weights.b, weights.t), hn::Mul(sigmoid, of_minus));
    const auto ratio = hn::IfThenZeroElse(hn::Eq(slope, zero), hn::Div(slope, hn::IfThenElse(hn::Eq(q, zero), one, q)));
    const auto of_power = hn::Mul(hn::Set(d, terms.gamma), TimesFactor(d, ratio, plain.loss));
    const auto is_nothing = hn::Eq(balance, zero);  // of an input that is none, too
    const auto loss = power.Scale(d, TimesFactor(d, factor, plain.loss));
    const auto gradient = power.Scale(d, TimesFactor(d, factor, hn::Add(plain.gradient, of_power)));
    return {hn::IfThenZeroElse(is_nothing, loss), hn::IfThenZeroElse(is_nothing, gradient)};
  }
};

// -(a log p + b log(1 - p)) and b / (1 - p) - a / p, after the terms' rule for what is too near 0 or 1.
struct ProbabilitiesForm {
  template <class D>
  HWY_NOINLINE BinaryResult<D> operator()(D d, const BinaryTerms& terms, const BinaryElement<D>& in) const {
    const auto one = hn::Set(d, 1.0);
    const BinaryWeights<D> weights(d, terms, in);
    const auto least = hn::Set(d, terms.clip);
    const auto most = hn::Set(d, 1.0 - terms.clip);
    const auto is_clipped = hn::Or(hn::Lt(in.x, least), hn::Gt(in.x, most));
    const auto p = hn::IfThenElse(hn::Lt(in.x, least), least, hn::IfThenElse(hn::Gt(in.x, most), most, in.x));
    const auto rest = hn::Sub(one, p);
    const auto least_log = hn::Set(d, terms.least_log);
    const auto at_least = [&](hn::Vec<D> log)
                              HWY_ATTR { return hn::IfThenElse(hn::Lt(log, least_log), least_log, log); };
    const auto log_p = at_least(Log()(d, p, 0));
    const auto log_rest = at_least(Log1p()(d, hn::Neg(p), 0));
    const auto loss = hn::Neg(hn::Add(TimesFactor(d, weights.a, log_p), TimesFactor(d, weights.b, log_rest)));
    const auto per = [&](hn::Vec<D> weight, hn::Vec<D> probability) HWY_ATTR {
      return hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Div(weight, probability));
    };
    auto gradient = hn::Sub(per(weights.b, rest), per(weights.a, hn::Abs(p)));  // p may be -0
    if (terms.least_product > 0.0) {
      const auto product = hn::Max(hn::Mul(p, rest), hn::Set(d, terms.least_product));
      gradient = hn::Div(hn::NegMulAdd(weights.a, rest, hn::Mul(weights.b, p)), product);
    }
    const auto is_probability = hn::And(hn::Ge(in.x, hn::Zero(d)), hn::Le(in.x, one));
    const auto nan = hn::Set(d, CanonicalNaN<double>());
    return {hn::IfThenElse(is_probability, hn::Add(loss, hn::Zero(d)), nan),
            hn::IfThenElse(is_probability, hn::IfThenZeroElse(is_clipped, gradient), nan)};
  }
};

// The same of f32 without a clip, several times as fast: logarithms that are rounded to f32 (log-inl.h), of hard
// targets only the one that counts; what the gradient divides by is in f32.
struct ShortProbabilitiesForm {
  template <class D>
  HWY_INLINE BinaryResult<D> operator()(D d, const BinaryTerms& terms, const BinaryLaneTerms<Lane<D>>& lanes,
                                        const BinaryElement<D>& in) const {
    if (sizeof(Lane<D>) == sizeof(double) || terms.clip > 0.0)
      return InWideForm<ProbabilitiesForm>()(d, terms, lanes, in);
    if constexpr (sizeof(Lane<D>) == sizeof(float)) return Short(d, terms, lanes, in);
    return {in.x, in.x};
  }

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  // The same bits of lanes with neither weights nor smoothing nor a clip, by sums of two floats. False: there is a soft
  // target, no probability, the logarithm of a subnormal number, or one that they do not tell.
  template <class D>
  static HWY_INLINE bool LossOfHard(D d, const BinaryTerms& terms, hn::Vec<D> p, hn::Vec<D> target, hn::Vec<D>* loss) {
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, 1.0f);
    const auto is_one = hn::Eq(target, one);
    const auto is_hard = hn::Or(is_one, hn::Eq(target, zero));
    const auto of_target = hn::IfThenElse(is_one, p, hn::Sub(one, p));
    const auto is_probability = hn::And(hn::Ge(p, zero), hn::Le(p, one));
    const auto is_zero = hn::Eq(of_target, zero);
    const auto log = NearestLogOfEither(d, p, is_one);
    const auto is_told =
        hn::And(hn::Ge(of_target, hn::Set(d, std::numeric_limits<float>::min())), hn::Eq(log.y, log.other));
    const auto y = hn::IfThenElse(is_zero, hn::Set(d, static_cast<float>(terms.least_log)), log.y);
    *loss = hn::Sub(zero, y);
    return hn::AllTrue(d, hn::And(hn::And(is_hard, is_probability), hn::Or(is_told, is_zero)));
  }
#endif

  // The gradient of such lanes.
  template <class D>
  static HWY_INLINE hn::Vec<D> GradientOfHard(D d, const BinaryTerms& terms, hn::Vec<D> x, hn::Vec<D> target) {
    const auto one = hn::Set(d, 1.0f);
    const auto is_one = hn::Eq(target, one);
    const auto p = hn::Abs(x);  // -0 is 0
    const auto rest = hn::Sub(one, p);
    if (terms.least_product > 0.0) {
      const auto product = hn::Max(hn::Mul(p, rest), hn::Set(d, static_cast<float>(terms.least_product)));
      return hn::Div(hn::IfThenElse(is_one, hn::Sub(hn::Zero(d), rest), p), product);
    }
    return hn::Div(hn::IfThenElse(is_one, hn::Neg(one), one), hn::IfThenElse(is_one, p, rest));
  }

 private:
  // log(p) where `of_p`, else log(1 - p). p in [0, 1]; f64 lanes of f32 numbers.
  template <class DD>
  static HWY_INLINE hn::Vec<DD> LogOfEither(DD dd, hn::Vec<DD> p, hn::Mask<DD> of_p) {
    const hn::RebindToUnsigned<DD> du;
    const auto one = hn::Set(dd, 1.0);
    const auto rest = hn::Sub(one, p);
    const auto y = hn::IfThenElse(of_p, p, rest);
    const auto biased = BiasedForLog(dd, y, kShortLogLowBits);
    const auto inverse =
        hn::BitCast(dd, hn::Sub(hn::Set(du, 2047ull << 52), hn::And(biased, hn::Set(du, 0xFFFull << 52))));
    // 1 - p may have been rounded; 2^-k - 1 - p 2^-k is what it stands for.
    const auto of_rest = hn::NegMulAdd(p, inverse, hn::Sub(inverse, one));
    const auto f = hn::IfThenElse(of_p, hn::Sub(LogMantissa(dd, biased, kShortLogLowBits), one), of_rest);
    const auto log = ShortLogOfParts(dd, f, LogExponent(dd, biased));
    return hn::IfThenElse(hn::Eq(y, hn::Zero(dd)), hn::Set(dd, -std::numeric_limits<double>::infinity()), log);
  }

  // f32 lanes, by halves.
  template <class D>
  static HWY_INLINE hn::Vec<D> Log(D d, hn::Vec<D> p, hn::Vec<D> of_p) {
#if HWY_TARGET == HWY_SCALAR
    const hn::Rebind<double, D> dd;
    const auto is_p = hn::Eq(hn::PromoteTo(dd, of_p), hn::Set(dd, 1.0));
    return hn::Set(d, static_cast<float>(hn::GetLane(LogOfEither(dd, hn::PromoteTo(dd, p), is_p))));
#else
    const hn::Half<D> half;
    const hn::Rebind<double, hn::Half<D>> dd;
    const auto one = hn::Set(dd, 1.0);
    const auto low = LogOfEither(dd, hn::PromoteTo(dd, hn::LowerHalf(half, p)),
                                 hn::Eq(hn::PromoteTo(dd, hn::LowerHalf(half, of_p)), one));
    const auto high = LogOfEither(dd, hn::PromoteTo(dd, hn::UpperHalf(half, p)),
                                  hn::Eq(hn::PromoteTo(dd, hn::UpperHalf(half, of_p)), one));
    return hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
#endif
  }

  template <class D>
  static HWY_INLINE BinaryResult<D> Short(D d, const BinaryTerms& terms, const BinaryLaneTerms<float>& lanes,
                                          const BinaryElement<D>& in) {
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, 1.0f);
    const auto p = hn::Abs(in.x);  // -0 is 0
    const auto is_probability = hn::And(hn::Ge(in.x, zero), hn::Le(in.x, one));
    const auto least_log = hn::Set(d, static_cast<float>(terms.least_log));
    const auto at_least = [&](hn::Vec<D> log)
                              HWY_ATTR { return hn::IfThenElse(hn::Lt(log, least_log), least_log, log); };
    const BinaryWeights<D> weights(d, lanes, in);
    const auto inside = hn::IfThenElse(is_probability, p, one);
    const auto is_one = hn::And(hn::Eq(weights.t, one), hn::Eq(weights.b, zero));  // smoothing may be less than t shows
    const auto is_soft = hn::Not(hn::Or(is_one, hn::Eq(weights.t, zero)));
    // Target 1 has log p, any other log(1 - p).
    const auto first = at_least(Log(d, inside, hn::IfThenElseZero(is_one, one)));
    auto loss = TimesFactor(d, hn::IfThenElse(is_one, weights.a, weights.b), first);
    if (!hn::AllFalse(d, is_soft)) {
      const auto second = TimesFactor(d, weights.a, at_least(Log(d, inside, one)));
      loss = hn::IfThenElse(is_soft, hn::Add(loss, second), loss);
    }
    const auto rest = hn::Sub(one, inside);
    const auto per = [&](hn::Vec<D> weight, hn::Vec<D> probability)
                         HWY_ATTR { return hn::IfThenZeroElse(hn::Eq(weight, zero), hn::Div(weight, probability)); };
    auto gradient = hn::Sub(per(weights.b, rest), per(weights.a, inside));
    if (terms.least_product > 0.0) {
      const auto product = hn::Max(hn::Mul(inside, rest), hn::Set(d, static_cast<float>(terms.least_product)));
      gradient = hn::Div(hn::NegMulAdd(weights.a, rest, hn::Mul(weights.b, inside)), product);
    }
    const auto nan = hn::Set(d, CanonicalNaN<float>());
    return {hn::IfThenElse(is_probability, hn::Sub(zero, loss), nan), hn::IfThenElse(is_probability, gradient, nan)};
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_BINARY_INL_H_
