// The inputs that xent ulp measures a function at, as bit patterns of a storage type. Input i depends on the plan and
// on i alone, so that any thread may make any part of them.
#ifndef XENT_TOOLS_ULP_INPUTS_H_
#define XENT_TOOLS_ULP_INPUTS_H_

#include <cstdint>
#include <vector>

#include "xent/xent.h"

namespace xent_command {

struct InputPlan {
  xent_function function;
  xent_dtype dtype;
  bool exhaustive;  // every bit pattern; not for f64
  int64_t samples;
  uint64_t seed;
};

// Unless all bit patterns are taken, the first inputs are the same for every seed: both ends of every exponent, thus
// zeros, infinities, NaN, the least and largest numbers; and what lies around arguments where implementations change
// their ways. Samples follow. Types below f64: one from each of `samples` equal parts of the bit patterns. f64: by
// turns any bit pattern, a number from where the function is not trivial, a number close to a threshold.
class InputSet {
 public:
  explicit InputSet(const InputPlan& plan);

  int64_t size() const { return static_cast<int64_t>(fixed_.size()) + samples_; }
  // Whether every bit pattern is one of the inputs.
  bool exhaustive() const { return exhaustive_; }
  uint64_t BitsAt(int64_t i) const { return exhaustive_ ? static_cast<uint64_t>(i) : SampleAt(i); }

 private:
  uint64_t SampleAt(int64_t i) const;
  void AddExponentEnds();
  void AddThresholds();
  template <typename Format>
  void AddAround(double value);

  InputPlan plan_;
  int bits_;  // of the storage type
  bool exhaustive_;
  int64_t samples_;
  std::vector<uint64_t> fixed_;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_ULP_INPUTS_H_
