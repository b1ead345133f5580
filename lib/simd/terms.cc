// What rows of doubles are folded into and mapped to when every class has a term of its own: targets, entropies.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/terms.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/kernels.h"
#include "lib/simd/logistic-inl.h"
#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Of so few numbers that ordering them into lanes takes longer than going over them.
constexpr int64_t kFewTerms = 16;

// Without branches on what is larger: they would be foreseen in no row.
void FindLargestOfFew(const double* z, int64_t n, double* value, int64_t* index) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double largest = -kInfinity;
  int64_t at = 0;
  bool are_numbers = true;
  for (int64_t i = 0; i < n; ++i) {
    const bool is_larger = z[i] > largest;
    largest = is_larger ? z[i] : largest;
    at = is_larger ? i : at;
    are_numbers &= z[i] < kInfinity;
  }
  for (int64_t i = 0; i < n && !are_numbers; ++i) {
    if (z[i] < kInfinity) continue;
    largest = z[i];
    at = 0;
    break;
  }
  *value = largest;
  *index = at;
}

void FindLargest(const double* z, int64_t n, double* value, int64_t* index) {
  if (n <= kFewTerms) {
    FindLargestOfFew(z, n, value, index);
    return;
  }
  Itself itself;
  MaxAccumulator<double> largest;
  Fold<false>(z, n, -1, itself, largest, static_cast<double*>(nullptr));
  *value = largest.Finish();
  const bool is_number = *value < std::numeric_limits<double>::infinity();
  *index = is_number ? std::find(z, z + n, *value) - z : 0;
}

// Weights times how far each z lies below `top`. A weight of 0 makes 0, of an infinite gap too.
struct WeightedGap {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> weight, int64_t i) const {
    const auto gap = hn::Sub(hn::Set(d, top), hn::LoadU(d, z + i));
    return hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Mul(weight, gap));
  }

  const double* z;
  double top;
};

// With the rounding errors.
template <class TermAt>
double SumOfFew(int64_t n, const TermAt& term) {
  double sum = 0.0;
  double low = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    const double x = term(i);
    const double before = sum;
    sum = before + x;
    const double from_x = sum - before;
    low += (before - (sum - from_x)) + (x - from_x);
  }
  return std::fabs(sum) < std::numeric_limits<double>::infinity() ? sum + low : sum;
}

double SumOf(const double* x, int64_t n, int64_t without) {
  if (n <= kFewTerms) return SumOfFew(n, [=](int64_t i) { return i == without ? 0.0 : x[i]; });
  Itself itself;
  DoublesSum sum;
  Fold<false>(x, n, without, itself, sum, static_cast<double*>(nullptr));
  double high, low;
  sum.Finish(&high, &low);
  return std::fabs(high) < std::numeric_limits<double>::infinity() ? high + low : high;
}

double SumOfGaps(const double* weights, const double* z, int64_t n, double top) {
  if (n <= kFewTerms)
    return SumOfFew(n, [=](int64_t i) { return weights[i] == 0.0 ? 0.0 : weights[i] * (top - z[i]); });
  WeightedGap gap = {z, top};
  DoublesSum sum;
  Fold<false>(weights, n, -1, gap, sum, static_cast<double*>(nullptr));
  double high, low;
  sum.Finish(&high, &low);
  return high < std::numeric_limits<double>::infinity() ? high + low : high;
}

// p (a - d (gap + top - z)) - b u, times the slope of z; a class whose probability counts as 0 has no first term.
struct GradientElement {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> p, int64_t i) const {
    auto factor = hn::Set(d, terms.a);
    if (terms.d != 0.0) {
      const auto gap = hn::Add(hn::Set(d, terms.gap), hn::Sub(hn::Set(d, terms.top), hn::LoadU(d, z + i)));
      factor = hn::NegMulAdd(hn::Set(d, terms.d), gap, factor);
    }
    auto element = hn::IfThenZeroElse(hn::Lt(p, hn::Set(d, terms.least)), hn::Mul(p, factor));
    if (u != nullptr) element = hn::NegMulAdd(hn::Set(d, terms.b), hn::LoadU(d, u + i), element);
    return slopes == nullptr ? element : hn::Mul(element, hn::LoadU(d, slopes + i));
  }

  const GradientTerms& terms;
  const double* z;
  const double* u;
  const double* slopes;
};

void CombineTerms(const GradientTerms& terms, const double* p, const double* z, const double* u, const double* slopes,
                  int64_t n, double* out) {
  Map(p, n, GradientElement{terms, z, u, slopes}, out);
}

// The slopes go to their array by the way. What the terms say is copied: what is written might be them, for all that
// the compiler knows.
template <bool kShort>
struct Capped {
  Capped(const CapTerms& terms, double* slopes_or_null)
      : scale(terms.scale), cap(terms.cap), steepness(scale / cap), slopes(slopes_or_null) {}

  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const auto is_finite = hn::Le(hn::Abs(x), hn::Set(d, std::numeric_limits<double>::max()));
    const auto t = Argument(d, hn::IfThenElseZero(is_finite, x));
    const auto found = kShort ? FindShortTanhAndSlope(d, t) : FindTanhAndSlope(d, t);
    const auto steepest = hn::Set(d, scale);
    if (slopes != nullptr) {
      Store<false>(hn::IfThenElse(is_finite, hn::Mul(steepest, found.slope), steepest), d, slopes + i);
    }
    return hn::IfThenElse(is_finite, hn::Mul(hn::Set(d, cap), found.tanh), x);
  }

  // scale x / cap, of which the factor alone may be out of range.
  template <class D>
  HWY_INLINE hn::Vec<D> Argument(D d, hn::Vec<D> x) const {
    if (HWY_LIKELY(std::isnormal(steepness))) return hn::Mul(hn::Set(d, steepness), x);
    const auto scaled = hn::Div(hn::Mul(hn::Set(d, scale), x), hn::Set(d, cap));
    return hn::IfThenZeroElse(hn::Eq(x, hn::Zero(d)), scaled);
  }

  double scale;
  double cap;
  double steepness;
  double* slopes;
};

void CapLogits(const CapTerms& terms, int64_t n, double* z, double* slopes) {
  if (terms.is_short) {
    Map(z, n, Capped<true>(terms, slopes), z);
  } else {
    Map(z, n, Capped<false>(terms, slopes), z);
  }
}

const TermKernels& ChooseTerms() {
  static constexpr TermKernels kKernels = {FindLargest, SumOf, SumOfGaps, CombineTerms, CapLogits};
  return kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const TermKernels& TermKernelsFor(int isa) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseTerms)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseTerms),
                                                                           HWY_CHOOSE_FALLBACK(ChooseTerms)};
  return kTable[isa]();
}

}  // namespace xent
#endif  // HWY_ONCE
