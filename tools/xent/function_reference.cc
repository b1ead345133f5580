// Each function is composed so that nothing cancels: with e = exp(-|x|), sigmoid is 1 / (1 + e) or e / (1 + e), and
// softplus max(x, 0) + log1p(e). Arguments of exp are limited, since it takes much longer where it underflows.
#include "function_reference.h"

#include <cmath>

namespace xent_command {
namespace {

// e^x is 0 or infinite far within these, in f32 and in f64.
constexpr double ExpLimit(double) { return 200; }
constexpr long double ExpLimit(long double) { return 2000; }

// NaN stays.
template <typename Work>
Work Limit(Work x) {
  const Work limit = ExpLimit(x);
  return x < -limit ? -limit : x > limit ? limit : x;
}

template <typename Work>
Work Sigmoid(Work x) {
  const Work e = std::exp(Limit(-std::fabs(x)));
  return (x < 0 ? e : 1) / (1 + e);
}

template <typename Work>
Work Softplus(Work x) {
  const Work log = std::log1p(std::exp(Limit(-std::fabs(x))));
  return x > 0 ? x + log : log;
}

template <typename Work, typename Function>
void Apply(const Work* x, int64_t n, Work* y, Function function) {
  for (int64_t i = 0; i < n; ++i) y[i] = function(x[i]);
}

template <typename Work>
void ApplyNamed(xent_function function, const Work* x, int64_t n, Work* y) {
  switch (function) {
    case XENT_EXP:
      return Apply(x, n, y, [](Work v) { return std::exp(Limit(v)); });
    case XENT_LOG:
      return Apply(x, n, y, [](Work v) { return std::log(v); });
    case XENT_LOG1P:
      return Apply(x, n, y, [](Work v) { return std::log1p(v); });
    case XENT_EXPM1:
      return Apply(x, n, y, [](Work v) { return std::expm1(Limit(v)); });
    case XENT_SIGMOID:
      return Apply(x, n, y, [](Work v) { return Sigmoid(v); });
    case XENT_LOG_SIGMOID:
      return Apply(x, n, y, [](Work v) { return -Softplus(-v); });
    case XENT_SOFTPLUS:
      return Apply(x, n, y, [](Work v) { return Softplus(v); });
    case XENT_TANH:
      return Apply(x, n, y, [](Work v) { return std::tanh(v); });
    default:
      return Apply(x, n, y, [](Work) { return std::nan(""); });
  }
}

}  // namespace

void ApplyReference(xent_function function, const double* x, int64_t n, double* y) { ApplyNamed(function, x, n, y); }

void ApplyReference(xent_function function, const long double* x, int64_t n, long double* y) {
  ApplyNamed(function, x, n, y);
}

}  // namespace xent_command
