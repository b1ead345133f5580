// bf16 and f16 words to and from float, one element at a time and written plainly: round to nearest, ties to even,
// with subnormals, infinities and NaN kept. Slow on purpose: the library's own conversions are judged with it.
#ifndef XENT_TESTS_SUPPORT_HALF_H_
#define XENT_TESTS_SUPPORT_HALF_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace xent_test {

inline float FloatFromBf16(uint16_t word) {
  const uint32_t bits = static_cast<uint32_t>(word) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint16_t Bf16FromFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x0040);
  const uint32_t last_kept_bit = (bits >> 16) & 1;
  return static_cast<uint16_t>((bits + 0x7FFF + last_kept_bit) >> 16);
}

inline float FloatFromF16(uint16_t word) {
  const int exponent = (word >> 10) & 0x1F;
  const int mantissa = word & 0x3FF;
  float magnitude;
  if (exponent == 31) {
    magnitude = mantissa == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  }
  return (word & 0x8000) != 0 ? -magnitude : magnitude;
}

inline uint16_t F16FromFloat(float value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude >= 65520.0f) return static_cast<uint16_t>(sign | 0x7C00);
  if (magnitude < 0x1p-14f) return static_cast<uint16_t>(sign | std::lrint(magnitude * 0x1p24f));
  const int exponent = std::ilogb(magnitude);
  const long mantissa = std::lrint(std::ldexp(magnitude, 10 - exponent));  // 1024..2048; 2048 carries by itself
  return static_cast<uint16_t>(sign | (((exponent + 15) << 10) + (mantissa - 1024)));
}

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_HALF_H_
