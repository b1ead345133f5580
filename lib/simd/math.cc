// Functions of arrays of doubles, for the numbers that stand once per row. One evaluation order, exact roundings.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/math.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/kernels.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/log-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/packs-inl.h"

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

// LogScaled; kShort: as the losses of plain rows of f32 lanes have it, where that row could be plain.
template <bool kShort>
HWY_INLINE hn::Vec<Doubles> LogOf(double one, hn::Vec<Doubles> x, hn::Vec<Doubles> k) {
  const Doubles d;
  if constexpr (!kShort) return LogScaled(d, one, x, k);
  const auto is_near = hn::And(hn::Lt(hn::Abs(k), hn::Set(d, 700.0)),
                               hn::And(hn::Gt(x, hn::Set(d, 0x1p-250)), hn::Lt(x, hn::Set(d, 0x1p250))));
  const auto scaled = hn::Mul(x, PowerOfTwo(d, hn::IfThenElseZero(is_near, k)));
  const auto near = ShortLogOnePlus(d, scaled);
  if (HWY_LIKELY(hn::AllTrue(d, is_near))) return near;
  return hn::IfThenElse(is_near, near, LogScaled(d, one, x, k));
}

template <bool kShort>
void LogArray(double one, const double* x, const double* exponent, int64_t n, double* result) {
  const Doubles d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(LogOf<kShort>(one, hn::LoadU(d, x + i), hn::LoadU(d, exponent + i)), d, result + i);
  }
  if (i < n) {
    double padded[HWY_MAX_BYTES / sizeof(double)] = {};
    double exponents[HWY_MAX_BYTES / sizeof(double)] = {};
    double results[HWY_MAX_BYTES / sizeof(double)];
    std::copy(x + i, x + n, padded);
    std::copy(exponent + i, exponent + n, exponents);
    hn::StoreU(LogOf<kShort>(one, hn::LoadU(d, padded), hn::LoadU(d, exponents)), d, results);
    std::copy(results, results + (n - i), result + i);
  }
}

void LogScaledArray(double one, const double* x, const double* exponent, int64_t n, double* result) {
  LogArray<false>(one, x, exponent, n, result);
}

void LogOnePlusArray(const double* x, const double* exponent, int64_t n, double* result) {
  LogArray<true>(1.0, x, exponent, n, result);
}

// Numbers of these sizes may be multiplied and divided without a thought of overflow, or of losing bits below it; and
// factors of f32 gradients are normal numbers, as are the probabilities that they make (PlainFactor).
constexpr double kUsualLogit = 128.0;
constexpr double kLeastUsual = 0x1p-200;
constexpr double kMostUsualTotal = 0x1p59;
constexpr double kLeastUsualFactor = 0x1p-120;
constexpr double kMostUsualFactor = 0x1p120;
constexpr double kLeastProbability = std::numeric_limits<float>::min();  // a smaller one counts as 0 in a gradient

using RowTag = hn::CappedTag<double, kRowLanes>;
constexpr int64_t kRowVector = static_cast<int64_t>(hn::MaxLanes(RowTag()));

// Vectors of rows that take every step together.
constexpr int kRowPack = HWY_CAP_GE256 ? 2 : 1;

// Results in f64 accuracy, or, of f32 lanes, with fewer divisions. No number is NaN.
template <bool kGradient, bool kIsDouble, bool kOwnSlopes = false, bool kSmoothed = false>
bool FindPlainRows(const PlainRows& rows) {
  bool is_normal = true;
  auto least = hn::Set(RowTag(), 1.0);
  auto most = least;
  auto farthest = least;
  const auto find = [&](auto d, int64_t i) XENT_LAMBDA {
    const hn::RebindToUnsigned<decltype(d)> du;
    auto others = hn::LoadU(d, rows.sums + i);
    auto x = hn::LoadU(d, rows.logit + i);
    const auto reduced = ReduceExp(d, x);
    const auto mantissa = ExpMantissa(d, reduced.remainder);
    const auto n = hn::ShiftLeft<52>(hn::BitCast(du, reduced.shifted));  // in the place of the exponent
    const auto ratio = hn::BitCast(d, hn::Sub(hn::BitCast(du, hn::Div(others, mantissa)), n));
    hn::StoreU(kIsDouble ? LogOnePlus(d, ratio) : ShortLogOnePlus(d, ratio), d, rows.gap + i);
    auto total = others;
    if constexpr (kGradient) {
      const auto scale = hn::Set(d, rows.scale);
      const auto slope = kOwnSlopes ? hn::LoadU(d, rows.slopes + i) : hn::Set(d, rows.slope);
      const auto target_sum = hn::Set(d, rows.target_own + rows.target_rest);
      const auto product = hn::Mul(kSmoothed ? hn::Mul(slope, target_sum) : slope, scale);
      const auto own = hn::BitCast(d, hn::Add(hn::BitCast(du, mantissa), n));
      total = hn::Add(others, own);
      const auto inverse = hn::Div(hn::Set(d, 1.0), total);
      const auto factor = kIsDouble ? hn::Div(product, total) : hn::Mul(product, inverse);
      const auto rest = kIsDouble ? hn::Div(others, total) : hn::Mul(others, inverse);
      hn::StoreU(factor, d, rows.factor + i);
      const auto of_own = kSmoothed ? hn::Mul(slope, hn::Set(d, rows.target_own)) : slope;
      auto mark = hn::Sub(hn::Zero(d), hn::Mul(of_own, rest));
      if constexpr (kSmoothed) {
        const auto p = hn::Div(own, total);
        const auto of_rest = hn::Mul(p, hn::Mul(slope, hn::Set(d, rows.target_rest)));
        mark = hn::Add(mark, hn::IfThenElseZero(hn::Ge(p, hn::Set(d, kLeastProbability)), of_rest));
      }
      hn::StoreU(hn::Mul(scale, mark), d, rows.mark + i);
      if constexpr (kOwnSlopes) {
        const auto size = hn::Abs(factor);
        const auto is_usual =
            hn::And(hn::Gt(size, hn::Set(d, kLeastUsualFactor)), hn::Lt(size, hn::Set(d, kMostUsualFactor)));
        is_normal &= hn::AllTrue(d, hn::Or(is_usual, hn::Eq(slope, hn::Zero(d))));
      }
    }
    for (int v = 0; v < hn::VectorCount(d); ++v) {
      least = hn::Min(least, hn::VectorOf(others, v));
      most = hn::Max(most, hn::VectorOf(total, v));
      farthest = hn::Max(farthest, hn::Abs(hn::VectorOf(x, v)));
    }
  };
  int64_t i = 0;
  for (; i + kRowPack * kRowVector <= rows.count; i += kRowPack * kRowVector) {
    find(hn::PackTag<RowTag, kRowPack>(), i);
  }
  for (; i < rows.count; i += kRowVector) find(RowTag(), i);
  // Every total is more than the least of the others.
  const double low = hn::GetLane(hn::MinOfLanes(RowTag(), least));
  const double high = hn::GetLane(hn::MaxOfLanes(RowTag(), most));
  if constexpr (kGradient && !kOwnSlopes) {
    const double size = std::fabs(rows.slope * rows.scale);
    is_normal = size / high > kLeastUsualFactor && size / low < kMostUsualFactor;
  }
  return is_normal && low > kLeastUsual && high < kMostUsualTotal &&
         hn::GetLane(hn::MaxOfLanes(RowTag(), farthest)) < kUsualLogit;
}

template <bool kIsDouble>
HWY_INLINE bool FindAnyPlainRows(const PlainRows& rows) {
  if (HWY_UNLIKELY(rows.slopes != nullptr)) return FindPlainRows<true, kIsDouble, true>(rows);
  const bool is_smoothed = rows.target_own != 1.0 || rows.target_rest != 0.0;
  if (HWY_UNLIKELY(!kIsDouble && is_smoothed && rows.factor != nullptr)) {
    return FindPlainRows<true, false, false, true>(rows);
  }
  return rows.factor == nullptr ? FindPlainRows<false, kIsDouble>(rows) : FindPlainRows<true, kIsDouble>(rows);
}

bool FindAnyPlainRows(const PlainRows& rows) {
  return rows.is_double ? FindAnyPlainRows<true>(rows) : FindAnyPlainRows<false>(rows);
}

// A row's value to a sum, see LaneSums.
inline void AddRow(double value, int64_t row, LaneSums* sums) {
  const int64_t lane = row % kRowLanes;
  SumAndLost<hn::CappedTag<double, 1>> one(hn::Set(hn::CappedTag<double, 1>(), sums->sum[lane]),
                                           hn::Set(hn::CappedTag<double, 1>(), sums->low[lane]));
  one.Add(hn::Set(hn::CappedTag<double, 1>(), value));
  sums->sum[lane] = hn::GetLane(one.sum);
  sums->low[lane] = hn::GetLane(one.low);
}

// values(tag of one lane or kRowVector, index of the first).
template <class Values>
HWY_INLINE void AddRows(const Values& values, int64_t first, int64_t n, LaneSums* sums) {
  const hn::CappedTag<double, 1> one;
  int64_t i = 0;
  for (; i < n && (first + i) % kRowLanes != 0; ++i) AddRow(hn::GetLane(values(one, i)), first + i, sums);
  const int64_t end = i + (n - i) / kRowLanes * kRowLanes;
  for (int64_t lane = 0; lane < kRowLanes && i < end; lane += kRowVector) {
    const RowTag d;
    SumAndLost<RowTag> lanes(hn::LoadU(d, sums->sum + lane), hn::LoadU(d, sums->low + lane));
    for (int64_t at = i; at < end; at += kRowLanes) lanes.Add(values(d, at + lane));
    hn::StoreU(lanes.sum, d, sums->sum + lane);
    hn::StoreU(lanes.low, d, sums->low + lane);
  }
  for (i = end; i < n; ++i) AddRow(hn::GetLane(values(one, i)), first + i, sums);
}

void SumRows(const double* values, const int64_t* labels, int64_t first, int64_t n, LaneSums* sums) {
  if (labels == nullptr) {
    AddRows([values](auto d, int64_t i) XENT_LAMBDA { return hn::LoadU(d, values + i); }, first, n, sums);
    return;
  }
  const auto of_labels = [values, labels](auto d, int64_t i) XENT_LAMBDA {
    const hn::RebindToSigned<decltype(d)> di;
    const auto label = hn::LoadU(di, labels + i);
    const auto is_invalid = hn::RebindMask(d, hn::Eq(label, hn::Set(di, kInvalidLabel)));
    const auto instead = hn::IfThenElseZero(is_invalid, hn::Set(d, CanonicalNaN<double>()));
    const auto is_read = hn::RebindMask(d, hn::Gt(label, hn::Set(di, kSkipRow)));
    return hn::IfThenElse(is_read, hn::LoadU(d, values + i), instead);
  };
  AddRows(of_labels, first, n, sums);
}

const MathKernels& ChooseMath() {
  static constexpr MathKernels kKernels = {ExpParts, LogScaledArray, LogOnePlusArray, FindAnyPlainRows, SumRows};
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
