// Functions of arrays of doubles, for the numbers that stand once per row. One evaluation order, exact roundings.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/math.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>

#include "lib/kernels.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/log-inl.h"
#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

using Doubles = hn::ScalableTag<double>;

void ExpParts(const double* x, int64_t n, double* mantissa, double* exponent) {
  const Doubles d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto part = [&](const double* from, double* mantissas, double* exponents) HWY_ATTR {
    const auto reduced = ReduceExp(d, hn::LoadU(d, from));
    hn::StoreU(ExpMantissa(d, reduced.remainder), d, mantissas);
    hn::StoreU(hn::Sub(reduced.shifted, hn::Set(d, ExpConstants<double>::kMagic)), d, exponents);
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) part(x + i, mantissa + i, exponent + i);
  if (i < n) {
    double padded[HWY_MAX_BYTES / sizeof(double)] = {};
    double mantissas[HWY_MAX_BYTES / sizeof(double)];
    double exponents[HWY_MAX_BYTES / sizeof(double)];
    std::copy(x + i, x + n, padded);
    part(padded, mantissas, exponents);
    std::copy(mantissas, mantissas + (n - i), mantissa + i);
    std::copy(exponents, exponents + (n - i), exponent + i);
  }
}

void LogScaledArray(double one, const double* x, const double* exponent, int64_t n, double* result) {
  const Doubles d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(LogScaled(d, one, hn::LoadU(d, x + i), hn::LoadU(d, exponent + i)), d, result + i);
  }
  if (i < n) {
    double padded[HWY_MAX_BYTES / sizeof(double)] = {};
    double exponents[HWY_MAX_BYTES / sizeof(double)] = {};
    double results[HWY_MAX_BYTES / sizeof(double)];
    std::copy(x + i, x + n, padded);
    std::copy(exponent + i, exponent + n, exponents);
    hn::StoreU(LogScaled(d, one, hn::LoadU(d, padded), hn::LoadU(d, exponents)), d, results);
    std::copy(results, results + (n - i), result + i);
  }
}

// Numbers of these sizes may be multiplied and divided without a thought of overflow, or of losing bits below it; and
// factors of f32 gradients are normal numbers, as are the probabilities that they make (PlainFactor).
constexpr double kUsualLogit = 128.0;
constexpr double kLeastUsual = 0x1p-200;
constexpr double kMostUsualTotal = 0x1p59;
constexpr double kLeastUsualFactor = 0x1p-120;
constexpr double kMostUsualFactor = 0x1p120;

using RowTag = hn::CappedTag<double, kRowLanes>;
constexpr int64_t kRowVector = static_cast<int64_t>(hn::MaxLanes(RowTag()));

template <bool kGradient>
bool FindPlainRows(const PlainRows& rows) {
  const RowTag d;
  const hn::RebindToSigned<RowTag> di;
  const auto zero = hn::Zero(d);
  const auto slope = hn::Set(d, rows.slope);
  auto is_usual = hn::Eq(zero, zero);
  for (int64_t i = 0; i < rows.count; i += kRowVector) {
    auto labels = hn::LoadU(di, rows.labels + i);
    if (i + kRowVector > rows.count) {
      const auto is_row = hn::FirstN(di, static_cast<size_t>(rows.count - i));
      labels = hn::IfThenElse(is_row, labels, hn::Set(di, kSkipRow));
    }
    const auto is_read = hn::RebindMask(d, hn::Gt(labels, hn::Set(di, kSkipRow)));
    hn::Vec<RowTag> high, low, anchor, plan;  // and exponent
    hn::LoadInterleaved4(d, reinterpret_cast<const double*>(rows.states + i), high, low, anchor, plan);
    const auto others = hn::IfThenElse(is_read, hn::Add(high, low), hn::Set(d, 1.0));
    const auto x = hn::IfThenElseZero(is_read, hn::LoadU(d, rows.logit + i));
    const auto is_plain = hn::Eq(hn::Or(hn::BitCast(di, anchor), hn::BitCast(di, plan)), hn::Zero(di));
    const auto is_near = hn::Lt(hn::Abs(x), hn::Set(d, kUsualLogit));
    is_usual = hn::And(is_usual, hn::Or(hn::And(hn::RebindMask(d, is_plain), is_near), hn::Not(is_read)));
    is_usual = hn::And(is_usual,
                       hn::And(hn::Gt(others, hn::Set(d, kLeastUsual)), hn::Lt(others, hn::Set(d, kMostUsualTotal))));

    const auto reduced = ReduceExp(d, x);
    const auto mantissa = ExpMantissa(d, reduced.remainder);
    const auto n = hn::Sub(reduced.shifted, hn::Set(d, ExpConstants<double>::kMagic));
    const auto ratio = hn::Mul(hn::Div(others, mantissa), PowerOfTwo(d, hn::Neg(n)));
    hn::StoreU(LogOnePlus(d, ratio), d, rows.gap + i);
    if constexpr (kGradient) {
      const auto total = hn::Add(others, AddExponent(d, mantissa, reduced.shifted));
      const auto factor = hn::Div(slope, total);
      const auto size = hn::Abs(factor);
      const auto is_normal =
          hn::And(hn::Gt(size, hn::Set(d, kLeastUsualFactor)), hn::Lt(size, hn::Set(d, kMostUsualFactor)));
      is_usual = hn::And(is_usual, hn::And(is_normal, hn::Lt(total, hn::Set(d, kMostUsualTotal))));
      hn::StoreU(hn::IfThenElseZero(is_read, factor), d, rows.factor + i);
      hn::StoreU(hn::IfThenElseZero(is_read, hn::Sub(zero, hn::Mul(slope, hn::Div(others, total)))), d, rows.mark + i);
    }
  }
  return hn::AllTrue(d, is_usual);
}

bool FindAnyPlainRows(const PlainRows& rows) {
  return rows.factor == nullptr ? FindPlainRows<false>(rows) : FindPlainRows<true>(rows);
}

// Sums of the values at kRowVector lanes of eight, whose rounding errors are kept.
struct RowSums {
  HWY_INLINE RowSums() : sum(hn::Zero(RowTag())), low(hn::Zero(RowTag())) {}

  HWY_INLINE void Add(const double* values, const int64_t* labels) {
    const RowTag d;
    const hn::RebindToSigned<RowTag> di;
    const auto label = hn::LoadU(di, labels);
    const auto is_invalid = hn::RebindMask(d, hn::Eq(label, hn::Set(di, kInvalidLabel)));
    const auto instead = hn::IfThenElseZero(is_invalid, hn::Set(d, CanonicalNaN<double>()));
    const auto is_read = hn::RebindMask(d, hn::Gt(label, hn::Set(di, kSkipRow)));
    const auto term = hn::IfThenElse(is_read, hn::LoadU(d, values), instead);
    const auto before = sum;
    sum = hn::Add(before, term);
    const auto from_term = hn::Sub(sum, before);
    low = hn::Add(low, hn::Add(hn::Sub(before, hn::Sub(sum, from_term)), hn::Sub(term, from_term)));
  }

  hn::Vec<RowTag> sum;
  hn::Vec<RowTag> low;
};

// Eight sums, whatever the width of a vector.
void SumRows(const double* values, const int64_t* labels, int64_t n, double* sum, double* low) {
  const int64_t whole = n / kRowLanes * kRowLanes;
  double last_values[kRowLanes] = {};
  int64_t last_labels[kRowLanes];
  std::fill(last_labels, last_labels + kRowLanes, kSkipRow);
  std::copy(values + whole, values + n, last_values);
  std::copy(labels + whole, labels + n, last_labels);
  alignas(64) double sums[kRowLanes];
  alignas(64) double lows[kRowLanes];
  for (int64_t lane = 0; lane < kRowLanes; lane += kRowVector) {
    RowSums lanes;
    for (int64_t i = lane; i < whole; i += kRowLanes) lanes.Add(values + i, labels + i);
    if (whole < n) lanes.Add(last_values + lane, last_labels + lane);
    hn::Store(lanes.sum, RowTag(), sums + lane);
    hn::Store(lanes.low, RowTag(), lows + lane);
  }
  AddLanes(sums, lows);
  *sum = sums[0];
  *low = lows[0];
}

const MathKernels& ChooseMath() {
  static constexpr MathKernels kKernels = {ExpParts, LogScaledArray, FindAnyPlainRows, SumRows};
  return kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const MathKernels& MathKernelsFor(int isa) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseMath)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseMath),
                                                                          HWY_CHOOSE_FALLBACK(ChooseMath)};
  return kTable[isa]();
}

}  // namespace xent
#endif  // HWY_ONCE
