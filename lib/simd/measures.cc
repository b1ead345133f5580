// Information measures of rows of probabilities, f32 in f32: see MeasureKernels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/measures.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "lib/kernels.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/measures-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Beyond, products may overflow; it is more than any probability is.
constexpr float kMostWeight = 0x1p60f;
constexpr float kMostRatio = 0x1p100f;
// Sums below this may have lost digits, or terms of subnormal numbers.
constexpr double kLeastMeasure = 0x1p-60;
// Log-sum-exps are known to 2^-22, whose square a divergence of logits errs by.
constexpr double kLeastOfLogits = 0x1p-20;

// Lanes of an array of n from i on; loops ask for what follows in their first array only.
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadOther(D d, const T* other, int64_t i, int64_t n) {
  constexpr int64_t kLanes = hn::VectorCount(D()) * LanesOf<float>();
  if constexpr (kLanes * sizeof(T) >= 32) PrefetchAhead<kLanes>(other + i);
  return LoadUpTo(d, other + i, n - i);
}

// -p log q, p = q or of another array. A p of 0 makes 0.
template <class T, bool kHasQ>
struct CrossEntropyTerms {
  template <class>
  static constexpr int kTogether = 4;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> p, int64_t i) {
    auto x = p;
    if constexpr (kHasQ) {
      x = LoadOther(d, q, i, n);
      of_p.Add(d, p);
      // A q that is nothing makes no infinity where p is nothing too.
      const auto is_lost = hn::And(hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min())), hn::Gt(p, hn::Zero(d)));
      of_q.Add(d, hn::IfThenElse(is_lost, hn::Set(d, 2.0f), x));
    } else {
      of_q.Add(d, x);
    }
    const NearOne<D> near(d, x);
    return hn::NegMulAdd(p, NearLog(d, near.f, near.k), hn::Zero(d));
  }

  // Logarithms of numbers above 1 have the other sign.
  HWY_INLINE bool AreUsual() const { return of_q.IsUpTo(1.0f) && of_p.IsUpTo(kMostWeight); }

  const T* q;
  int64_t n;
  Range of_p;
  Range of_q;
};

// (p - q) / q and 1 or, where p is less than half of q, p / q and 0: what DivergenceOf takes. Both may be 0.
template <class D>
struct Quotient {
  HWY_INLINE Quotient(D d, hn::Vec<D> p, hn::Vec<D> q) {
    const auto one = hn::Set(d, 1.0f);
    const auto is_nothing = hn::Lt(q, hn::Set(d, std::numeric_limits<float>::min()));
    const auto is_less = hn::Lt(hn::Add(p, p), q);
    whole = hn::IfThenElse(is_nothing, one, q);
    value = hn::Div(hn::IfThenElse(is_less, p, hn::Sub(p, q)), whole);
    base = hn::IfThenZeroElse(is_less, one);
    is_lost = hn::And(is_nothing, hn::Gt(p, hn::Zero(d)));
  }

  hn::Vec<D> whole;  // q, or 1
  hn::Vec<D> value;
  hn::Vec<D> base;
  hn::Mask<D> is_lost;
};

template <class T>
struct DivergenceTerms {
  template <class>
  static constexpr int kTogether = 4;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> p, int64_t i) {
    const auto other = LoadOther(d, q, i, n);
    const Quotient<D> quotient(d, p, other);
    weights.Add(d, p);
    weights.Add(d, other);
    const auto ratio = hn::Add(quotient.base, quotient.value);
    ratios.Add(d, hn::IfThenElse(quotient.is_lost, hn::Set(d, 2.0f * kMostRatio), ratio));
    return hn::Mul(quotient.whole, DivergenceOf(d, quotient.value, quotient.base));
  }

  HWY_INLINE bool AreUsual() const { return weights.IsUpTo(kMostWeight) && ratios.IsUpTo(kMostRatio); }

  const T* q;
  int64_t n;
  Range weights;
  Range ratios;
};

// Half the divergences of p and q from their mean. With d = |p - q| / (p + q) these are d and -d; 1 - d is twice the
// lesser one's share.
template <class T>
struct MixtureTerms {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> p, int64_t i) {
    const auto other = LoadOther(d, q, i, n);
    weights.Add(d, p);
    weights.Add(d, other);
    const auto one = hn::Set(d, 1.0f);
    const auto sum = hn::Add(p, other);
    const auto is_nothing = hn::Lt(sum, hn::Set(d, std::numeric_limits<float>::min()));
    const auto whole = hn::IfThenElse(is_nothing, one, sum);
    const auto lesser = hn::Min(p, other);
    const auto relative = hn::Div(hn::Sub(hn::Max(p, other), lesser), whole);
    const auto is_far = hn::Gt(relative, hn::Set(d, 0.5f));
    const auto value = hn::IfThenElse(is_far, hn::Div(hn::Add(lesser, lesser), whole), hn::Neg(relative));
    const auto of_lesser = DivergenceOf(d, value, hn::IfThenZeroElse(is_far, one));
    return hn::Mul(hn::Mul(sum, hn::Set(d, 0.25f)), hn::Add(DivergenceOf(d, relative, one), of_lesser));
  }

  HWY_INLINE bool AreUsual() const { return weights.IsUpTo(kMostWeight); }

  const T* q;
  int64_t n;
  Range weights;
};

template <class T>
struct Differences {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> p, int64_t i) const {
    return hn::Sub(p, LoadUpTo(d, q + i, n - i));
  }

  const T* q;
  int64_t n;
};

// The sum of the terms of a row.
template <class T, class Op>
HWY_INLINE bool SumTerms(const T* p, int64_t n, Op& op, double* sum) {
  SinglesSum terms;
  double low;
  Fold<false>(p, n, -1, op, terms, static_cast<float*>(nullptr));
  terms.Finish(sum, &low);
  return op.AreUsual() && *sum >= kLeastMeasure;
}

template <class T>
bool SumEntropy(const void* p, int64_t n, MeasureSums* sums) {
  sums->differences = 0.0;
  CrossEntropyTerms<T, false> terms = {nullptr, n, {}, {}};
  return SumTerms(static_cast<const T*>(p), n, terms, &sums->terms);
}

template <class T>
bool SumCrossEntropy(const void* p, const void* q, int64_t n, MeasureSums* sums) {
  sums->differences = 0.0;
  CrossEntropyTerms<T, true> terms = {static_cast<const T*>(q), n, {}, {}};
  return SumTerms(static_cast<const T*>(p), n, terms, &sums->terms);
}

template <class T>
bool SumDivergence(const void* p, const void* q, int64_t n, MeasureSums* sums) {
  DivergenceTerms<T> terms = {};
  Differences<T> differences = {};
  SinglesSum sum;
  WidenedSum sum_of_differences;
  // While a part is in the cache.
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t count = std::min(kChunk, n - first);
    const T* const x = static_cast<const T*>(p) + first;
    terms.q = differences.q = static_cast<const T*>(q) + first;
    terms.n = differences.n = count;
    Fold<false>(x, count, -1, terms, sum, static_cast<float*>(nullptr));
    Fold<false>(x, count, -1, differences, sum_of_differences, static_cast<float*>(nullptr));
  }
  double low;
  sum.Finish(&sums->terms, &low);
  sum_of_differences.Finish(&sums->differences, &low);
  return terms.AreUsual() && sums->terms >= kLeastMeasure;
}

template <class T>
bool SumMixture(const void* p, const void* q, int64_t n, MeasureSums* sums) {
  sums->differences = 0.0;
  MixtureTerms<T> terms = {static_cast<const T*>(q), n, {}};
  return SumTerms(static_cast<const T*>(p), n, terms, &sums->terms);
}

// Of two rows of logits: e^(z - top), p but for a factor, and log(q / p) = gap - scale (x - y) as a sum of two floats,
// in which nothing is lost of x - y and of the gap.
template <class T, class Scaling>
struct LogitPair {
  LogitPair(const LogitRows& rows, const Scaling& of_logits, const T* other, int64_t count)
      : scaling(of_logits),
        y(other),
        n(count),
        p_top(static_cast<float>(rows.p_top)),
        negligible(static_cast<float>(rows.q_top - 50.0 / rows.scale)),
        nothing(static_cast<float>(rows.q_top - 87.0 / rows.scale)),
        least(static_cast<float>(-87.0 / rows.scale)),
        scale(static_cast<float>(rows.scale)),
        scale_low(static_cast<float>(rows.scale - static_cast<double>(scale))),
        gap(static_cast<float>(rows.gap)),
        gap_low(static_cast<float>(rows.gap - static_cast<double>(gap))) {}

  template <class D>
  struct Lanes {
    HWY_INLINE Lanes() {}

    hn::Vec<D> y;
    hn::Vec<D> product;  // scale (x - y)
    hn::Vec<D> e;
    hn::Vec<D> v;
    hn::Vec<D> v_low;
    hn::Mask<D> is_below;  // e is nothing
    hn::Mask<D> is_kept;   // else it is, or v is no number or beyond what e^v holds
  };

  template <class D>
  HWY_INLINE Lanes<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    Lanes<D> lanes;
    lanes.y = LoadOther(d, y, i, n);
    const auto difference = hn::Sub(x, lanes.y);
    const auto lost = LostByAnySum(x, hn::Neg(lanes.y), difference);
    lanes.product = hn::Mul(hn::Set(d, scale), difference);
    const auto less = hn::Sub(hn::Set(d, gap), lanes.product);
    const auto of_product = hn::NegMulAdd(hn::Set(d, scale), difference, lanes.product);
    const auto of_rest =
        hn::NegMulAdd(hn::Set(d, scale), lost, hn::NegMulAdd(hn::Set(d, scale_low), difference, hn::Set(d, gap_low)));
    const auto low = hn::Add(hn::Add(LostByAnySum(hn::Set(d, gap), hn::Neg(lanes.product), less), of_product), of_rest);
    const auto v = hn::Add(less, low);
    const auto distance = hn::Sub(x, hn::Set(d, p_top));
    const auto floor = hn::Set(d, least);
    const auto reduced = ReduceBelow(d, scaling, x, hn::Set(d, p_top), distance, floor);
    const auto most = hn::Set(d, 80.0f);
    lanes.e = ExpScaled(d, reduced, reduced.shifted);
    lanes.v = hn::Min(v, most);
    lanes.v_low = hn::Sub(low, hn::Sub(v, less));
    lanes.is_below = hn::Lt(distance, floor);
    lanes.is_kept = hn::AndNot(lanes.is_below, hn::Lt(v, most));
    return lanes;
  }

  // Whether p and q are nothing, both, in all other lanes, and so is p log(p / q). q is where y is below `bound`.
  template <class D>
  HWY_INLINE bool AreNothing(D d, hn::Vec<D> x, const Lanes<D>& lanes, float bound) const {
    const auto minus_infinity = hn::Set(d, -std::numeric_limits<float>::infinity());
    const auto is_nothing = hn::Lt(lanes.y, hn::Set(d, bound));
    const auto is_p_nothing = hn::Or(lanes.is_below, hn::Ge(lanes.v, hn::Set(d, 80.0f)));
    const auto is_near = hn::And(is_p_nothing, hn::Lt(lanes.product, hn::Set(d, 0x1p20f)));
    const auto are_nothing = hn::And(is_nothing, hn::Or(is_near, hn::Eq(x, minus_infinity)));
    return hn::AllTrue(d, hn::Or(lanes.is_kept, are_nothing));
  }

  Scaling scaling;
  const T* y;
  int64_t n;
  float p_top;
  float negligible;
  float nothing;
  float least;
  float scale;
  float scale_low;
  float gap;
  float gap_low;
};

// e^(z - top) (u - 1 + e^-u), u = log(p / q). What the gap lacks comes in by its square. (The sums of p - q are 0.)
template <class T, class Scaling>
struct LogitTerms {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) {
    const auto lanes = pair(d, x, i);
    if (HWY_UNLIKELY(!hn::AllTrue(d, lanes.is_kept))) {
      is_usual &= pair.AreNothing(d, x, lanes, pair.negligible);
      has_gradient &= pair.AreNothing(d, x, lanes, pair.nothing);
    }
    const ExpLess<D> exp(d, lanes.v, lanes.v_low);
    return hn::IfThenElseZero(lanes.is_kept, hn::Mul(lanes.e, exp.less_line));
  }

  HWY_INLINE bool AreUsual() const { return is_usual; }

  LogitPair<T, Scaling> pair;
  bool is_usual = true;
  bool has_gradient = true;
};

template <class T>
bool SumDivergenceOfLogits(const LogitRows& rows, const void* x, const void* y, int64_t n, MeasureSums* sums) {
  sums->differences = 0.0;
  return WithScale<T, false>(rows.scale, [&](const auto& scaling) {
    using Pair = LogitPair<T, std::decay_t<decltype(scaling)>>;
    LogitTerms<T, std::decay_t<decltype(scaling)>> terms = {Pair(rows, scaling, static_cast<const T*>(y), n)};
    const bool is_usual = SumTerms(static_cast<const T*>(x), n, terms, &sums->terms);
    sums->terms *= rows.p_share;
    sums->has_gradient = terms.has_gradient;
    return is_usual && sums->terms >= kLeastOfLogits;
  });
}

// By x, factor e (v + value); by y, factor e (e^v - 1).
template <bool kByP, class T, class Scaling>
struct LogitGradient {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const auto lanes = pair(d, x, i);
    const auto size = kByP ? hn::Add(lanes.v, hn::Set(d, value)) : ExpLess<D>(d, lanes.v, lanes.v_low).less_one;
    return hn::IfThenElseZero(lanes.is_kept, hn::Mul(hn::Mul(lanes.e, size), hn::Set(d, factor)));
  }

  LogitPair<T, Scaling> pair;
  float value;
  float factor;
};

template <class T>
void WriteDivergenceGradients(const LogitRows& rows, const void* x, const void* y, double value, double p_slope,
                              double q_slope, int64_t n, void* of_p, void* of_q) {
  const T* const from = static_cast<const T*>(x);
  WithScale<T, false>(rows.scale, [&](const auto& scaling) {
    using Scaling = std::decay_t<decltype(scaling)>;
    const LogitPair<T, Scaling> pair(rows, scaling, static_cast<const T*>(y), n);
    const LogitGradient<true, T, Scaling> by_p = {pair, static_cast<float>(value),
                                                  static_cast<float>(-p_slope * rows.p_share)};
    const LogitGradient<false, T, Scaling> by_q = {pair, 0.0f, static_cast<float>(q_slope * rows.p_share)};
    if (of_p == nullptr) return Map(from, n, by_q, static_cast<T*>(of_q));
    if (of_q == nullptr) return Map(from, n, by_p, static_cast<T*>(of_p));
    // Either may take the place of what both are made of.
    for (int64_t first = 0; first < n; first += kChunk) {
      const int64_t count = std::min(kChunk, n - first);
      const auto from_here = [first](auto gradient) {
        gradient.pair.y += first;
        gradient.pair.n -= first;
        return gradient;
      };
      T kept[kChunk];
      Map(from + first, count, from_here(by_p), kept);
      Map(from + first, count, from_here(by_q), static_cast<T*>(of_q) + first);
      std::memcpy(static_cast<void*>(static_cast<T*>(of_p) + first), kept, static_cast<size_t>(count) * sizeof(T));
    }
  });
}

// factor e^(z - top) (scale (x - top) + offset).
template <class T, class Scaling>
struct EntropyGradient {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const auto distance = hn::Sub(x, hn::Set(d, top));
    const auto floor = hn::Set(d, least);
    const auto reduced = ReduceBelow(d, scaling, x, hn::Set(d, top), distance, floor);
    const auto e = ExpScaled(d, reduced, reduced.shifted);
    const auto size = hn::MulAdd(hn::Set(d, scale), distance, hn::Set(d, offset));
    return hn::IfThenElseZero(hn::Ge(distance, floor), hn::Mul(hn::Mul(e, size), hn::Set(d, factor)));
  }

  Scaling scaling;
  float top;
  float least;
  float scale;
  float offset;
  float factor;
};

template <class T>
void WriteEntropyGradient(const LogitRows& rows, const void* x, double value, double slope, int64_t n, void* out) {
  WithScale<T, false>(rows.scale, [&](const auto& scaling) {
    const EntropyGradient<T, std::decay_t<decltype(scaling)>> gradient = {scaling,
                                                                          static_cast<float>(rows.p_top),
                                                                          static_cast<float>(-87.0 / rows.scale),
                                                                          static_cast<float>(rows.scale),
                                                                          static_cast<float>(value - rows.gap),
                                                                          static_cast<float>(-slope * rows.p_share)};
    Map(static_cast<const T*>(x), n, gradient, static_cast<T*>(out));
  });
}

template <class T>
constexpr MeasureKernels MeasuresOf() {
  return {SumEntropy<T>,          SumCrossEntropy<T>,       SumDivergence<T>,
          SumMixture<T>,          SumDivergenceOfLogits<T>, WriteDivergenceGradients<T>,
          WriteEntropyGradient<T>};
}

const MeasureKernels& ChooseMeasures(Dtype dtype) {
  static constexpr MeasureKernels kF32 = MeasuresOf<float>();
  static constexpr MeasureKernels kBF16 = MeasuresOf<BF16>();
  static constexpr MeasureKernels kF16 = MeasuresOf<F16>();
  return dtype == Dtype::kF32 ? kF32 : dtype == Dtype::kBF16 ? kBF16 : kF16;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const MeasureKernels& MeasureKernelsFor(int isa, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseMeasures)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseMeasures),
                                                                              HWY_CHOOSE_FALLBACK(ChooseMeasures)};
  return kTable[isa](dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
