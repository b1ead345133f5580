// Information measures, element by element. log(p / q) and p log(p / q) - (p - q) come from d = (p - q) / q, whose
// difference is exact where p and q are close, so that measures of nearly equal distributions keep their digits and are
// never negative.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/information.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lib/kernels.h"
#include "lib/simd/log-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

using InformationTag = hn::CappedTag<double, 8>;
using Numbers = hn::Vec<InformationTag>;

// x y, but 0 where x is 0.
HWY_INLINE Numbers Product(Numbers x, Numbers y) {
  return hn::IfThenZeroElse(hn::Eq(x, hn::Zero(InformationTag())), hn::Mul(x, y));
}

// A number and its logarithm, of what is given as either.
struct Probability {
  HWY_INLINE Probability(Given given, Numbers x, double top, double gap) {
    const InformationTag d;
    if (given == Given::kProbabilities) {
      value = x;
      log = Log()(d, x, 0);
    } else {
      log = given == Given::kLogs ? x : hn::Sub(hn::Sub(x, hn::Set(d, top)), hn::Set(d, gap));
      value = Exp()(d, log, 0);
    }
  }

  Numbers value;
  Numbers log;
};

// Of numbers a, b >= 0: log(a / b), and a log(a / b) - (a - b) >= 0.
struct Ratio {
  HWY_INLINE Ratio(Numbers a, Numbers b) : Ratio(a, b, hn::Sub(a, b)) {}

  // `difference` may know more of a - b than they do.
  HWY_INLINE Ratio(Numbers a, Numbers b, Numbers difference) {
    const InformationTag d;
    const auto zero = hn::Zero(d);
    const auto relative = hn::Div(difference, b);
    // log(1 + d) = 2 atanh(s), s = d / (2 + d): the log's polynomial reaches as far as that.
    const auto is_near = hn::And(hn::Gt(relative, hn::Set(d, -0.3)), hn::Lt(relative, hn::Set(d, 0.39)));
    const auto near = hn::IfThenElseZero(is_near, relative);
    const auto s = hn::Div(near, hn::Add(hn::Set(d, 2.0), near));
    const auto z = hn::Mul(s, s);
    const auto tail = hn::Mul(hn::Mul(s, z), LogTail(d, z));
    log = hn::Add(hn::Add(s, s), tail);
    divergence = hn::Mul(b, hn::MulAdd(near, s, hn::MulAdd(near, tail, tail)));
    if (hn::AllTrue(d, is_near)) return;
    const auto ratio = hn::Div(a, b);
    const auto is_usual = hn::And(hn::Gt(ratio, hn::Set(d, 0x1p-1000)), hn::Lt(ratio, hn::Set(d, 0x1p1000)));
    auto far = Log()(d, hn::IfThenElse(is_usual, ratio, hn::Set(d, 1.0)), 0);
    if (!hn::AllTrue(d, is_usual)) far = hn::IfThenElse(is_usual, far, hn::Sub(Log()(d, a, 0), Log()(d, b, 0)));
    log = hn::IfThenElse(is_near, log, far);
    divergence = hn::IfThenElse(is_near, divergence, hn::Sub(Product(a, far), difference));
    // Where both are 0 there is nothing.
    const auto are_zero = hn::And(hn::Eq(a, zero), hn::Eq(b, zero));
    log = hn::IfThenZeroElse(are_zero, log);
    divergence = hn::IfThenZeroElse(are_zero, divergence);
  }

  Numbers log;
  Numbers divergence;
};

// The same of numbers whose logarithms are known, u their difference: a (u - 1 + e^-u), and a - b = a (1 - e^-u).
struct RatioOfLogs {
  HWY_INLINE RatioOfLogs(const Probability& a, const Probability& b) {
    const InformationTag d;
    const auto zero = hn::Zero(d);
    const auto is_nothing = hn::Eq(a.value, zero);
    log = hn::IfThenZeroElse(hn::And(is_nothing, hn::Eq(b.value, zero)), hn::Sub(a.log, b.log));
    const auto of_minus = Expm1()(d, hn::Neg(log), 0);
    difference = hn::Neg(hn::Mul(a.value, of_minus));
    const auto is_near = hn::Lt(hn::Abs(log), hn::Set(d, 0.34));
    const auto near = hn::IfThenElseZero(is_near, hn::Neg(log));
    const auto square = hn::Mul(near, near);
    const auto of_near = hn::Mul(square, ExpTail(d, near, square));
    divergence = hn::Mul(a.value, hn::IfThenElse(is_near, of_near, hn::Add(log, of_minus)));
    // Where a is nothing beside b, e^-u may be infinite.
    const auto is_beyond = hn::Or(is_nothing, hn::Lt(log, hn::Set(d, -700.0)));
    const auto plain = hn::Sub(a.value, b.value);
    difference = hn::IfThenElse(is_beyond, plain, difference);
    divergence = hn::IfThenElse(is_beyond, hn::Sub(Product(a.value, log), plain), divergence);
  }

  Numbers log;
  Numbers divergence;
  Numbers difference;
};

// NaN where a probability is negative or NaN.
HWY_INLINE Numbers OrNaN(Numbers y, Numbers p) {
  const InformationTag d;
  return hn::IfThenElse(hn::Ge(p, hn::Zero(d)), y, hn::Set(d, CanonicalNaN<double>()));
}

// Both distributions of a row's elements.
struct Pair {
  HWY_INLINE Pair(const InformationTerms& row, Numbers x, Numbers y)
      : p(row.p, x, row.p_top, row.p_gap), q(row.q, y, row.q_top, row.q_gap) {}

  struct Comparison {
    Numbers log;  // of p / q
    Numbers divergence;
    Numbers difference;
  };

  HWY_INLINE Comparison Compare(const InformationTerms& row) const {
    if (row.p == Given::kProbabilities && row.q == Given::kProbabilities) {
      const Ratio ratio(p.value, q.value);
      return {ratio.log, ratio.divergence, hn::Sub(p.value, q.value)};
    }
    const RatioOfLogs ratio(p, q);
    return {ratio.log, ratio.divergence, ratio.difference};
  }

  Probability p;
  Probability q;
};

// p and q beside m = beta p + (1 - beta) q: p - m = (1 - beta) (p - q), q - m = -beta (p - q).
struct Mixture {
  HWY_INLINE Mixture(const InformationTerms& row, const Pair& pair)
      : Mixture(row.beta, pair.p.value, pair.q.value, pair.Compare(row).difference) {}

  HWY_INLINE Mixture(double beta, Numbers p, Numbers q, Numbers difference)
      : Mixture(beta, p, q, hn::Mul(hn::Set(InformationTag(), 1.0 - beta), difference),
                hn::Neg(hn::Mul(hn::Set(InformationTag(), beta), difference)),
                hn::MulAdd(hn::Set(InformationTag(), beta), p, hn::Mul(hn::Set(InformationTag(), 1.0 - beta), q))) {}

  HWY_INLINE Mixture(double beta, Numbers p, Numbers q, Numbers p_less, Numbers q_less, Numbers m)
      : of_p(p, m, p_less), of_q(q, m, q_less) {
    const InformationTag d;
    const auto is_lost = hn::AndNot(hn::Eq(hn::Max(p, q), hn::Zero(d)), hn::Eq(m, hn::Zero(d)));
    if (HWY_LIKELY(hn::AllFalse(d, is_lost))) return;
    // p or q is so small that beta p is 0, and beside 0: p / m is 1 / beta.
    const auto log_of = [&](double share) HWY_ATTR { return Log()(d, hn::Set(d, share), 0); };
    of_p.log = hn::IfThenElse(is_lost, hn::Neg(log_of(beta)), of_p.log);
    of_q.log = hn::IfThenElse(is_lost, hn::Neg(log_of(1.0 - beta)), of_q.log);
    of_p.divergence = hn::IfThenZeroElse(is_lost, of_p.divergence);
    of_q.divergence = hn::IfThenZeroElse(is_lost, of_q.divergence);
  }

  Ratio of_p;
  Ratio of_q;
};

void Terms(const InformationTerms& row, const double* p, const double* q, int64_t n, double* value, double* p_part,
           double* q_part) {
  const InformationTag d;
  const auto beta = hn::Set(d, row.beta);
  const auto rest = hn::Set(d, 1.0 - row.beta);
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::MaxLanes(d))) {
    const auto x = hn::LoadU(d, p + i);
    if (row.measure == Measure::kEntropy) {
      const Probability one(row.p, x, row.p_top, row.p_gap);
      const auto minus_infinity = hn::Set(d, -std::numeric_limits<double>::infinity());
      auto term = hn::Neg(Product(one.value, one.log));
      if (row.p == Given::kProbabilities) term = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), minus_infinity, term);
      hn::StoreU(hn::Add(term, hn::Zero(d)), d, value + i);
      hn::StoreU(one.value, d, p_part + i);
      continue;
    }
    if (row.measure == Measure::kConditional) {
      const Ratio ratio(hn::LoadU(d, q + i), x, hn::LoadU(d, p_part + i));
      hn::StoreU(OrNaN(Product(x, ratio.log), x), d, value + i);
      continue;
    }
    if (row.measure == Measure::kIndependence) {
      const Ratio ratio(x, hn::LoadU(d, q + i), hn::LoadU(d, p_part + i));
      hn::StoreU(OrNaN(ratio.divergence, x), d, value + i);
      continue;
    }
    const Pair pair(row, x, hn::LoadU(d, q + i));
    if (row.measure == Measure::kCrossEntropy) {
      hn::StoreU(OrNaN(OrNaN(hn::Neg(Product(pair.p.value, pair.q.log)), pair.p.value), pair.q.value), d, value + i);
      hn::StoreU(pair.p.value, d, p_part + i);
    } else if (row.measure == Measure::kKullbackLeibler) {
      const Pair::Comparison both = pair.Compare(row);
      hn::StoreU(OrNaN(OrNaN(both.divergence, pair.p.value), pair.q.value), d, value + i);
      hn::StoreU(pair.p.value, d, p_part + i);
      hn::StoreU(both.difference, d, q_part + i);
    } else {
      const Mixture m(row, pair);
      const auto term = hn::Add(Product(beta, m.of_p.divergence), Product(rest, m.of_q.divergence));
      hn::StoreU(OrNaN(OrNaN(term, pair.p.value), pair.q.value), d, value + i);
      hn::StoreU(Product(beta, Product(pair.p.value, m.of_p.log)), d, p_part + i);
      hn::StoreU(Product(rest, Product(pair.q.value, m.of_q.log)), d, q_part + i);
    }
  }
}

// A derivative by a probability, turned into that by what it was given as.
HWY_INLINE Numbers Chain(Given given, const Probability& one, Numbers derivative, double mean, double slope) {
  const InformationTag d;
  if (given == Given::kLogits) derivative = hn::Sub(derivative, hn::Set(d, mean));
  if (given != Given::kProbabilities) derivative = Product(one.value, derivative);
  return Product(hn::Set(d, slope), derivative);
}

void Gradients(const InformationTerms& row, const double* p, const double* q, int64_t n, double* of_p, double* of_q) {
  const InformationTag d;
  const auto one = hn::Set(d, 1.0);
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::MaxLanes(d))) {
    const auto x = hn::LoadU(d, p + i);
    if (row.measure == Measure::kEntropy) {
      const Probability alone(row.p, x, row.p_top, row.p_gap);
      const auto derivative = OrNaN(hn::Neg(hn::Add(alone.log, one)), alone.value);
      hn::StoreU(Chain(row.p, alone, derivative, row.p_mean, row.p_slope), d, of_p + i);
      continue;
    }
    if (row.measure == Measure::kConditional) {
      const auto y = hn::LoadU(d, q + i);
      hn::StoreU(OrNaN(Ratio(y, x).log, x), d, of_p + i);
      continue;
    }
    const Pair pair(row, x, hn::LoadU(d, q + i));
    Numbers by_p, by_q;
    if (row.measure == Measure::kJensenShannon) {
      const Mixture m(row, pair);
      by_p = Product(hn::Set(d, row.beta), m.of_p.log);
      by_q = Product(hn::Set(d, 1.0 - row.beta), m.of_q.log);
    } else {
      by_p = row.measure == Measure::kCrossEntropy ? hn::Neg(pair.q.log) : hn::Add(pair.Compare(row).log, one);
      by_q = hn::Neg(hn::IfThenZeroElse(hn::Eq(pair.p.value, hn::Zero(d)), hn::Div(pair.p.value, pair.q.value)));
    }
    const auto is_pair = [&](Numbers y) HWY_ATTR { return OrNaN(OrNaN(y, pair.p.value), pair.q.value); };
    if (of_p != nullptr) hn::StoreU(Chain(row.p, pair.p, is_pair(by_p), row.p_mean, row.p_slope), d, of_p + i);
    if (of_q == nullptr) continue;
    // q_j times -p_j / q_j, and of logits the row's sum of p, q_j's share of it, given back.
    const bool is_product = row.measure != Measure::kJensenShannon && row.q != Given::kProbabilities;
    auto result = Chain(row.q, pair.q, is_pair(by_q), row.q_mean, row.q_slope);
    if (is_product) {
      auto product = hn::Neg(pair.p.value);
      if (row.q == Given::kLogits) product = hn::NegMulAdd(hn::Set(d, row.q_mean), pair.q.value, product);
      result = Product(hn::Set(d, row.q_slope), is_pair(product));
    }
    hn::StoreU(result, d, of_q + i);
  }
}

const InformationKernels& ChooseInformation() {
  static constexpr InformationKernels kKernels = {Terms, Gradients};
  return kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const InformationKernels& InformationKernelsFor(int isa) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseInformation)) kTable[] = {
      HWY_CHOOSE_TARGET_LIST(ChooseInformation), HWY_CHOOSE_FALLBACK(ChooseInformation)};
  return kTable[isa]();
}

}  // namespace xent
#endif  // HWY_ONCE
