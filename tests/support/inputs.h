// Named, seeded rows of logits, each for the kind of bug it hunts (tests/README.md lists them). A row is a function of
// distribution, storage type, class count and seed, on every machine with IEEE doubles and the same libm.
#ifndef XENT_TESTS_SUPPORT_INPUTS_H_
#define XENT_TESTS_SUPPORT_INPUTS_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "xent/xent.h"

namespace xent_test {

// SplitMix64 (Steele, Lea, Flood 2014): any seed will do, 0 and 1 included.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Bits() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t bound) { return static_cast<int64_t>(Bits() % static_cast<uint64_t>(bound)); }
  double Uniform(double low, double high) { return low + (high - low) * (static_cast<double>(Bits() >> 11) * 0x1p-53); }
  double Sign() { return (Bits() & 1) != 0 ? 1.0 : -1.0; }
  double Normal() {
    const double radius = std::sqrt(-2 * std::log(1 - Uniform(0, 1)));
    return radius * std::cos(6.283185307179586 * Uniform(0, 1));
  }

 private:
  uint64_t state_;
};

// A row about to be filled. `largest` is the largest number that the storage type holds, `underflow` the gap below the
// largest logit at which a probability is the smallest normal number of the row type.
struct Row {
  std::vector<double>& x;
  int64_t& label;
  double largest;
  double underflow;

  int64_t classes() const { return static_cast<int64_t>(x.size()); }
};

struct Distribution {
  const char* name;
  void (*fill)(Random& random, Row row);
};

const std::vector<Distribution>& Distributions();

// NULL for a name that is not one.
const Distribution* FindDistribution(const std::string& name);

// Writes logits x[0..classes) of `dtype` to `logits`, starting at element `first`, and returns the label.
int64_t FillRow(const Distribution& distribution, xent_dtype dtype, int64_t classes, uint64_t seed, void* logits,
                int64_t first);

// The seed of a row of a batch.
inline uint64_t RowSeed(uint64_t seed, int64_t row) {
  return Random(seed * 0x100000001B3u + static_cast<uint64_t>(row)).Bits();
}

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_INPUTS_H_
