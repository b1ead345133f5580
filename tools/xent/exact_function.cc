// MPFR has unlimited exponents for our purpose, so that only what is asked for is rounded to the format.
#include "exact_function.h"

#include <mpfr.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace xent_command {
namespace {

constexpr mpfr_prec_t kBits = 300;
constexpr double kExpLimit = 2000;  // as in function_reference.cc
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Limit(double x) { return x < -kExpLimit ? -kExpLimit : x > kExpLimit ? kExpLimit : x; }

}  // namespace

struct ExactFunction::Numbers {
  Numbers() { mpfr_inits2(kBits, exact, other, static_cast<mpfr_ptr>(nullptr)); }
  ~Numbers() { mpfr_clears(exact, other, static_cast<mpfr_ptr>(nullptr)); }

  // exact = e^x.
  void Exp(double x) {
    mpfr_set_d(exact, Limit(x), MPFR_RNDN);
    mpfr_exp(exact, exact, MPFR_RNDN);
  }

  // exact = f(x) by a function of MPFR.
  template <typename Function>
  void Call(Function function, double x) {
    mpfr_set_d(exact, x, MPFR_RNDN);
    function(exact, exact, MPFR_RNDN);
  }

  void Sigmoid(double x) {
    Exp(-x);
    mpfr_add_ui(exact, exact, 1, MPFR_RNDN);
    mpfr_ui_div(exact, 1, exact, MPFR_RNDN);
  }

  void Softplus(double x) {
    Exp(-std::fabs(x));
    mpfr_log1p(exact, exact, MPFR_RNDN);
    if (x > 0) mpfr_add_d(exact, exact, x, MPFR_RNDN);
  }

  mpfr_t exact;
  mpfr_t other;
};

ExactFunction::ExactFunction(xent_function function, const FormatShape& shape)
    : function_(function), shape_(shape), numbers_(std::make_unique<Numbers>()) {}

ExactFunction::~ExactFunction() = default;

void ExactFunction::EndThread() { mpfr_free_cache(); }

void ExactFunction::SetArgument(double x) {
  Numbers& numbers = *numbers_;
  switch (function_) {
    case XENT_EXP:
      return numbers.Exp(x);
    case XENT_LOG:
      return numbers.Call(mpfr_log, x);
    case XENT_LOG1P:
      return numbers.Call(mpfr_log1p, x);
    case XENT_EXPM1:
      return numbers.Call(mpfr_expm1, Limit(x));
    case XENT_SIGMOID:
      return numbers.Sigmoid(x);
    case XENT_LOG_SIGMOID:
      numbers.Softplus(-x);
      mpfr_neg(numbers.exact, numbers.exact, MPFR_RNDN);
      return;
    case XENT_SOFTPLUS:
      return numbers.Softplus(x);
    case XENT_TANH:
      return numbers.Call(mpfr_tanh, x);
    default:
      mpfr_set_nan(numbers.exact);
  }
}

int ExactFunction::UlpExponent() const {
  if (mpfr_regular_p(numbers_->exact) == 0) return shape_.least_exponent;
  const int64_t exponent = static_cast<int64_t>(mpfr_get_exp(numbers_->exact)) - shape_.precision;
  return static_cast<int>(std::max<int64_t>(exponent, shape_.least_exponent));
}

double ExactFunction::Rounded() const {
  mpfr_t& rounded = numbers_->other;
  const int ulp = UlpExponent();
  mpfr_mul_2si(rounded, numbers_->exact, -ulp, MPFR_RNDN);
  mpfr_rint(rounded, rounded, MPFR_RNDN);
  mpfr_mul_2si(rounded, rounded, ulp, MPFR_RNDN);
  if (mpfr_regular_p(rounded) != 0 && mpfr_get_exp(rounded) > shape_.largest_exponent) {
    return std::copysign(kInfinity, mpfr_sgn(rounded));
  }
  return mpfr_get_d(rounded, MPFR_RNDN);
}

double ExactFunction::ErrorOf(long double result) const {
  const double right = Rounded();
  if (std::isnan(result) || std::isnan(right)) return std::isnan(result) && std::isnan(right) ? 0 : kInfinity;
  if (std::isinf(result) || std::isinf(right)) return result == right ? 0 : kInfinity;
  mpfr_t& distance = numbers_->other;
  mpfr_set_ld(distance, result, MPFR_RNDN);
  mpfr_sub(distance, numbers_->exact, distance, MPFR_RNDN);
  mpfr_mul_2si(distance, distance, -UlpExponent(), MPFR_RNDN);
  return std::fabs(mpfr_get_d(distance, MPFR_RNDN));
}

}  // namespace xent_command
