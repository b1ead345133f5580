// The four storage types as numbers: from bits to values, rounding of values to bits, the unit in the last place. Work
// is the type of values, which holds a reference result with some ten bits or more to spare.
#ifndef XENT_TOOLS_NUMBER_FORMAT_H_
#define XENT_TOOLS_NUMBER_FORMAT_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace xent_command {

struct FormatShape {
  int precision;         // bits of a normal significand
  int least_exponent;    // the least subnormal number is 2^least_exponent
  int largest_exponent;  // all finite numbers are below 2^largest_exponent
};

template <typename To, typename From>
To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits do not fit");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

struct F32 {
  using Bits = uint32_t;
  using Work = double;
  static constexpr FormatShape kShape = {24, -149, 128};
  static Work Widen(Bits bits) { return BitCast<float>(bits); }
  static Bits Round(Work value) { return BitCast<Bits>(static_cast<float>(value)); }
};

struct F64 {
  using Bits = uint64_t;
  using Work = long double;
  static_assert(std::numeric_limits<long double>::digits >= 64, "the reference for f64 needs more bits than f64 has");
  static constexpr FormatShape kShape = {53, -1074, 1024};
  static Work Widen(Bits bits) { return BitCast<double>(bits); }
  static Bits Round(Work value) { return BitCast<Bits>(static_cast<double>(value)); }
};

// Types of 16 bits, for which no machine instruction is counted on.
template <int kPrecision, int kLeastExponent, int kLargestExponent>
struct SmallFormat {
  using Bits = uint16_t;
  using Work = double;
  static constexpr FormatShape kShape = {kPrecision, kLeastExponent, kLargestExponent};
  static constexpr int kMantissaBits = kPrecision - 1;
  static constexpr int kLeastNormal = kLeastExponent + kMantissaBits;
  static constexpr Bits kInfinity = static_cast<Bits>((kLargestExponent - kLeastNormal + 1) << kMantissaBits);

  static Work Widen(Bits bits) {
    const int magnitude = bits & 0x7fff;
    const int exponent = magnitude >> kMantissaBits;
    const int mantissa = magnitude - (exponent << kMantissaBits);
    double value = std::scalbn(mantissa, kLeastExponent);
    if (exponent > 0) value = std::scalbn(mantissa + (1 << kMantissaBits), kLeastExponent + exponent - 1);
    if (magnitude == kInfinity) value = std::numeric_limits<double>::infinity();
    if (magnitude > kInfinity) value = std::numeric_limits<double>::quiet_NaN();
    return bits >> 15 != 0 ? -value : value;
  }

  // A significand that rounds up to the next power of two carries into the exponent, and into infinity, by itself.
  static Bits Round(Work value) {
    const int sign = std::signbit(value) ? 0x8000 : 0;
    if (std::isnan(value)) return static_cast<Bits>(kInfinity | 1 << (kMantissaBits - 1));
    if (std::fabs(value) >= std::ldexp(1.0, kLargestExponent)) return static_cast<Bits>(sign | kInfinity);
    const int exponent = value == 0 ? kLeastNormal : std::max(std::ilogb(value), kLeastNormal);
    const int significand = static_cast<int>(std::nearbyint(std::scalbn(std::fabs(value), kMantissaBits - exponent)));
    return static_cast<Bits>(sign | (((exponent - kLeastNormal) << kMantissaBits) + significand));
  }
};

using BF16 = SmallFormat<8, -133, 128>;
using F16 = SmallFormat<11, -24, 16>;

// 1 / ulp of the binade of a value that is a number; of the subnormal numbers' for all below.
template <typename Format>
double InverseUlp(double value) {
  constexpr FormatShape kShape = Format::kShape;
  constexpr int kLeastNormal = kShape.least_exponent + kShape.precision - 1;
  const int found = static_cast<int>(BitCast<uint64_t>(value) >> 52 & 0x7ff) - 1023;
  const int exponent = found < kLeastNormal ? kLeastNormal : found;
  return BitCast<double>(static_cast<uint64_t>(1023 + kShape.precision - 1 - exponent) << 52);
}

template <typename Format>
long double InverseUlp(long double value) {
  constexpr FormatShape kShape = Format::kShape;
  const int found = value == 0 ? kShape.least_exponent : std::ilogb(value) - (kShape.precision - 1);
  return std::scalbn(1.0L, -(found < kShape.least_exponent ? kShape.least_exponent : found));
}

}  // namespace xent_command

#endif  // XENT_TOOLS_NUMBER_FORMAT_H_
