// Errors in real units in the last place: |result - exact| / ulp(exact), where `exact` is a long double and ulp is the
// spacing of the result type in the binade of `exact` (of the smallest normal number below it). Never the distance
// between two rounded numbers, which hides up to half a unit. An infinite result stands for the first power of two that
// the type lacks, so that a correct overflow has no error and a false one a large one.
#ifndef XENT_TESTS_SUPPORT_ULP_H_
#define XENT_TESTS_SUPPORT_ULP_H_

#include <algorithm>
#include <cmath>
#include <limits>

namespace xent_test {

static_assert(std::numeric_limits<long double>::digits >= 64, "the reference needs a long double wider than double");

// A binary floating-point type: `precision` bits, the leading one included, and the exponents of its normal numbers.
struct Format {
  int precision;
  int min_exponent;
  int max_exponent;
};

constexpr Format kFormatF32{24, -126, 127};
constexpr Format kFormatF64{53, -1022, 1023};
constexpr Format kFormatBf16{8, -126, 127};
constexpr Format kFormatF16{11, -14, 15};

constexpr long double kInfinity = std::numeric_limits<long double>::infinity();

inline long double Ulp(long double exact, Format format) {
  const int exponent = exact == 0 ? format.min_exponent : std::ilogb(exact);
  return std::ldexp(1.0L, std::clamp(exponent, format.min_exponent, format.max_exponent) - format.precision + 1);
}

// Error of `result` where `exact` is a number or an infinity. A NaN result has an infinite error.
inline long double UlpError(long double result, long double exact, Format format) {
  if (std::isnan(result)) return kInfinity;
  if (std::isinf(exact)) return result == exact ? 0.0L : kInfinity;
  if (std::isinf(result)) {
    const long double beyond = std::copysign(std::ldexp(1.0L, format.max_exponent + 1), result);
    if (std::fabs(exact) >= std::fabs(beyond) && std::signbit(exact) == std::signbit(result)) return 0.0L;
    result = beyond;
  }
  return std::fabs(result - exact) / Ulp(exact, format);
}

// `value` rounded once to `format`, to nearest with ties to even, subnormals and overflow included.
inline long double RoundTo(long double value, Format format) {
  if (!std::isfinite(value) || value == 0) return value;
  const long double spacing = Ulp(value, format);
  const long double rounded = std::nearbyint(value / spacing) * spacing;
  return std::ilogb(rounded) > format.max_exponent ? std::copysign(kInfinity, value) : rounded;
}

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_ULP_H_
