// Functions of rows of adjacent classes, f32 lanes: see RowFunctionKernels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/row_functions.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "lib/kernels.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

struct OneValue {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D>, int64_t) const {
    return hn::Set(d, value);
  }

  float value;
};

// scale (x - top) - gap: both are what is missing to 0, so that nothing cancels.
struct LogProbability {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    return hn::MulSub(hn::Set(d, scale), hn::Sub(x, hn::Set(d, top)), hn::Set(d, gap));
  }

  float scale;
  float top;
  float gap;
};

template <class T>
void WriteLogProbabilities(const LogRow& row, const void* x, int64_t n, void* out, bool stream) {
  const T* const from = static_cast<const T*>(x);
  T* const to = static_cast<T*>(out);
  if (std::isnan(row.gap)) return MapOut(from, n, OneValue{CanonicalNaN<float>()}, to, stream);
  const LogProbability log = {static_cast<float>(row.scale), static_cast<float>(row.top), static_cast<float>(row.gap)};
  MapOut(from, n, log, to, stream);
}

template <class T>
void WriteConstant(float value, int64_t n, void* out) {
  T* const to = static_cast<T*>(out);
  Map(to, n, OneValue{value}, to);
}

// Below, products may have lost digits to numbers that are subnormal; beyond, floats may overflow.
constexpr double kLeastSum = 0x1p-60;
constexpr double kMostSum = 0x1p100;

// y_i g_i.
template <class T>
struct WeighedUpstream {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> y, int64_t i) const {
    return hn::Mul(y, LoadUpTo(d, g + i, n - i));
  }

  static bool Suffices(double sum) { return std::fabs(sum) > kLeastSum && std::fabs(sum) < kMostSum; }

  const T* g;
  int64_t n;
};

// scale y (g - sum). In f64, too, a negative y counts as 0.
template <class T>
struct SoftmaxSlope {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> y, int64_t i) const {
    const auto distance = hn::Sub(LoadUpTo(d, g + i, n - i), hn::Set(d, sum));
    return hn::Mul(hn::Mul(hn::Max(y, hn::Zero(d)), distance), hn::Set(d, scale));
  }

  const T* g;
  int64_t n;
  float sum;
  float scale;
};

// g_i, and whether every y is a logarithm of a probability, or nearly.
template <class T>
struct UpstreamOfLogs {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> y, int64_t i) {
    are_logs &= hn::AllTrue(d, hn::Le(y, hn::Set(d, 1.0f)));
    return LoadUpTo(d, g + i, n - i);
  }

  bool Suffices(double sum) const { return are_logs && std::fabs(sum) < kMostSum; }

  const T* g;
  int64_t n;
  bool are_logs = true;
};

// scale (g - e^y sum).
template <class T>
struct LogSoftmaxSlope {
  template <class>
  static constexpr int kTogether = 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> y, int64_t i) const {
    const auto least = hn::Set(d, -0x1.5d589ep+6f);  // smaller probabilities are no normal numbers
    const auto reduced = ReduceExp(d, hn::Max(y, least));
    const auto p = hn::IfThenElseZero(hn::Ge(y, least), ExpScaled(d, reduced, reduced.shifted));
    const auto slope = hn::NegMulAdd(p, hn::Set(d, sum), LoadUpTo(d, g + i, n - i));
    return hn::Mul(slope, hn::Set(d, scale));
  }

  const T* g;
  int64_t n;
  float sum;
  float scale;
};

// The sum of the terms, in f64, for what cancels must not have been rounded; and the slopes that it makes.
template <class T, class Terms, class Slope>
bool WriteBackward(const void* results, const void* upstream, double scale, int64_t n, void* out, bool stream) {
  const T* const y = static_cast<const T*>(results);
  const T* const g = static_cast<const T*>(upstream);
  Terms terms = {g, n};
  WidenedSum sums;
  double sum, low;
  Fold<false>(y, n, -1, terms, sums, static_cast<float*>(nullptr));
  sums.Finish(&sum, &low);
  if (!terms.Suffices(sum)) return false;
  const Slope slope = {g, n, static_cast<float>(sum), static_cast<float>(scale)};
  MapOut(y, n, slope, static_cast<T*>(out), stream);
  return true;
}

template <class T>
constexpr RowFunctionKernels RowFunctionsOf() {
  return {WriteLogProbabilities<T>, WriteConstant<T>, WriteBackward<T, WeighedUpstream<T>, SoftmaxSlope<T>>,
          WriteBackward<T, UpstreamOfLogs<T>, LogSoftmaxSlope<T>>};
}

const RowFunctionKernels& ChooseRowFunctions(Dtype dtype) {
  static constexpr RowFunctionKernels kF32 = RowFunctionsOf<float>();
  static constexpr RowFunctionKernels kBF16 = RowFunctionsOf<BF16>();
  static constexpr RowFunctionKernels kF16 = RowFunctionsOf<F16>();
  return dtype == Dtype::kF32 ? kF32 : dtype == Dtype::kBF16 ? kBF16 : kF16;
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const RowFunctionKernels& RowFunctionKernelsFor(int isa, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseRowFunctions)) kTable[] = {
      HWY_CHOOSE_TARGET_LIST(ChooseRowFunctions), HWY_CHOOSE_FALLBACK(ChooseRowFunctions)};
  return kTable[isa](dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
