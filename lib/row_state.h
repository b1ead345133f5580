// Row states: exact scaling by powers of two, merging, and the sum of all classes once the label joins.
#ifndef XENT_LIB_ROW_STATE_H_
#define XENT_LIB_ROW_STATE_H_

#include <cstdint>
#include <cstring>

#include "lib/kernels.h"

namespace xent {

// x * 2^exponent, exact unless it overflows or underflows; any exponent.
inline double TimesPowerOfTwo(double x, int64_t exponent) {
  const auto power = [](int64_t n) {
    const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52;
    double value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  };
  if (exponent >= -1022 && exponent <= 1023) return x * power(exponent);
  if (exponent > 0) return x * power(1023) * power(exponent > 2046 ? 1023 : exponent - 1023);
  return x * power(-1022) * power(exponent < -2044 ? -1022 : exponent + 1022);
}

// floor(log2(x)) of a positive normal number.
inline int64_t ExponentOf(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return static_cast<int64_t>((bits >> 52) & 0x7FF) - 1023;
}

// The state of two pieces of a row. The order of merging is part of a result's bits.
RowState MergeStates(const RowState& first, const RowState& second, const MathKernels& math);

// The state of `count` pieces, at least one, merged from the first on.
RowState MergeStates(const RowState* states, int64_t count, const MathKernels& math);

}  // namespace xent

#endif  // XENT_LIB_ROW_STATE_H_
