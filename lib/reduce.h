// Sums of row losses in a fixed order, in double with the rounding errors kept (Neumaier).
#ifndef XENT_LIB_REDUCE_H_
#define XENT_LIB_REDUCE_H_

#include <cmath>

#include "lib/kernels.h"

namespace xent {

class Sum {
 public:
  Sum() = default;
  Sum(double sum, double low) : sum_(sum), low_(low) {}

  void Add(double value) {
    const double sum = sum_ + value;
    low_ += std::fabs(sum_) >= std::fabs(value) ? (sum_ - sum) + value : (value - sum) + sum_;
    sum_ = sum;
  }

  void Add(const Sum& other) {
    Add(other.sum_);
    low_ += other.low_;
  }

  // Both parts: the value before rounding is High() + Low().
  double High() const { return sum_; }
  double Low() const { return low_; }

  // An infinite sum has no meaningful rounding error.
  double Value() const { return std::isfinite(sum_) ? sum_ + low_ : sum_; }

 private:
  double sum_ = 0.0;
  double low_ = 0.0;
};

// The sum of all lanes. (Of few rows most are empty.)
inline Sum SumOf(const LaneSums& lanes) {
  Sum sum;
  for (int64_t i = 0; i < kRowLanes; ++i) {
    if (lanes.sum[i] != 0.0 || lanes.low[i] != 0.0) sum.Add(Sum(lanes.sum[i], lanes.low[i]));
  }
  return sum;
}

}  // namespace xent

#endif  // XENT_LIB_REDUCE_H_
