// Merging rescales the smaller exponent by a power of two, exactly, and adds with the rounding error kept. Only states
// of different anchors (logits beyond the anchor-free range) need an exponential.
#include "lib/row_state.h"

#include <algorithm>
#include <cmath>

namespace xent {
namespace {

// Beyond this, e^-distance is 0 beside anything.
constexpr double kFar = 524288.0;

RowState MoveAnchor(const RowState& state, double anchor, const MathKernels& math) {
  RowState moved = state;
  moved.anchor = anchor;
  const double distance = state.anchor - anchor;
  if (distance == 0.0) return moved;
  if (!(distance > -kFar)) {
    moved.sum = moved.low = 0.0;
    return moved;
  }
  double mantissa, exponent;
  math.exp_parts(&distance, 1, &mantissa, &exponent);
  moved.sum *= mantissa;
  moved.low *= mantissa;
  moved.exponent += static_cast<int32_t>(exponent);
  return moved;
}

}  // namespace

RowState MergeStates(const RowState& first, const RowState& second, const MathKernels& math) {
  const int32_t plan = first.plan | second.plan;
  RowState merged = std::isnan(first.sum) || second.sum == 0.0 ? first : second;
  merged.plan = plan;
  const bool both_count = first.sum != 0.0 && second.sum != 0.0 && !std::isnan(first.sum) && !std::isnan(second.sum);
  if (!both_count) return merged;

  const double anchor = std::max(first.anchor, second.anchor);
  const RowState a = MoveAnchor(first, anchor, math);
  const RowState b = MoveAnchor(second, anchor, math);
  // One of them may be nothing from the other's anchor: then its exponent means nothing either.
  if (a.sum == 0.0 || b.sum == 0.0) {
    merged = a.sum == 0.0 ? b : a;
    merged.plan = plan;
    return merged;
  }
  merged.anchor = anchor;
  merged.exponent = std::max(a.exponent, b.exponent);
  const int64_t shift_a = int64_t{a.exponent} - merged.exponent;
  const int64_t shift_b = int64_t{b.exponent} - merged.exponent;
  const double x = TimesPowerOfTwo(a.sum, shift_a);
  const double y = TimesPowerOfTwo(b.sum, shift_b);
  merged.sum = x + y;
  const double from_y = merged.sum - x;
  const double error = (x - (merged.sum - from_y)) + (y - from_y);
  merged.low = error + TimesPowerOfTwo(a.low, shift_a) + TimesPowerOfTwo(b.low, shift_b);
  return merged;
}

RowState MergeStates(const RowState* states, int64_t count, const MathKernels& math) {
  RowState merged = states[0];
  for (int64_t i = 1; i < count; ++i) merged = MergeStates(merged, states[i], math);
  return merged;
}

}  // namespace xent
