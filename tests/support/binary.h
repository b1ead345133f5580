// A binary cross-entropy with memory of its own: what goes in, what came out, and what should have, in long double from
// the formulas of xent.h as they stand there.
#ifndef XENT_TESTS_SUPPORT_BINARY_H_
#define XENT_TESTS_SUPPORT_BINARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "support/inputs.h"
#include "support/storage.h"
#include "xent/xent.h"

namespace xent_test {

struct BinaryProblem {
  BinaryProblem(xent_dtype inputs, xent_dtype target_type, int64_t outer_count, int64_t class_count,
                int64_t inner_count);

  int64_t count() const { return outer * classes * inner; }
  xent_dtype real() const { return RowType(dtype); }
  // Where element i, of the order o, j, i, stands in the inputs.
  int64_t Place(int64_t i) const;
  double Input(int64_t i) const { return Element(x.data(), dtype, Place(i)); }
  void SetInput(int64_t i, double value) { SetElement(x.data(), dtype, Place(i), value); }
  void SetTarget(int64_t i, double value);
  double Target(int64_t i) const;
  // Gives the inputs and the gradient other strides; elements keep their values.
  void SetStrides(int64_t outer_step, int64_t class_step, int64_t inner_step);
  // An array of the real type.
  Bytes Array(const std::vector<double>& values) const;

  bool from_probabilities = false;
  xent_dtype dtype;
  xent_dtype target_dtype;  // an integer type: labels
  int64_t outer;
  int64_t classes;
  int64_t inner;
  int64_t strides[3];
  Bytes x;
  Bytes targets;
  xent_binary_options options = xent_binary_options_default();
};

struct BinaryResults {
  xent_status status = -1;
  double total = 0;
  double sum = 0;
  double denominator = 0;
  int64_t counted = 0;
  int64_t ignored = 0;
  int64_t outside = 0;
  Bytes loss;
  Bytes gradient;  // with the inputs' strides
};

enum class BinaryWant { kTotals, kGradient, kAll };

BinaryResults TryBinary(const BinaryProblem& problem, BinaryWant want = BinaryWant::kAll);
BinaryResults MustRunBinary(const BinaryProblem& problem, BinaryWant want = BinaryWant::kAll);

// What an element should be: of weight and upstream 1.
struct BinaryExpected {
  long double loss;
  long double gradient;
  long double magnitude;  // the sum of the magnitudes of the gradient's terms
};

struct BinaryFormula {
  long double pos_weight = 1;
  long double smoothing = 0;
  long double gamma = 0;
  long double alpha = -1;
  xent_log_rule rule = XENT_LOG_EXACT;
  long double epsilon = 0;
};

BinaryExpected ExpectLogit(const BinaryFormula& formula, long double x, long double target);
BinaryExpected ExpectProbability(const BinaryFormula& formula, long double p, long double target);

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_BINARY_H_
