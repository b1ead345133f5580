// Functions of arrays of doubles, for the numbers that stand once per row. One evaluation order, exact roundings.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/math.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>

#include "lib/kernels.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/log-inl.h"

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

const MathKernels& ChooseMath() {
  static constexpr MathKernels kKernels = {ExpParts, LogScaledArray};
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
