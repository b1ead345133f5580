// Softmax cross-entropy of one row in long double, in textbook order: this is the specification that results are judged
// by. It is careful only where the textbook is not: a loss is a log1p plus a gap and the label's gradient a sum of the
// others' probabilities, so nothing cancels. Relative error about 2^-60 (worst seen against 200-bit arithmetic). And
// the functions of xent_map in the same way.
#ifndef XENT_TESTS_SUPPORT_REFERENCE_H_
#define XENT_TESTS_SUPPORT_REFERENCE_H_

#include <cstdint>

#include "xent/xent.h"

namespace xent_test {

struct RowReference {
  bool nan;             // the row holds NaN or +inf, or nothing but -inf: the other members mean nothing
  long double max;      // largest logit
  long double log_sum;  // log sum_j exp(x_j - max)
  long double lse;      // max + log_sum
  long double loss;     // lse - x_label
};

// Reference of the row x[0..classes) with a label in [0, classes). If `gradient` is not NULL, it gets `classes`
// elements of d loss / d x: probabilities, and at the label minus the sum of the other probabilities.
RowReference SoftmaxReference(const long double* x, int64_t classes, int64_t label, long double* gradient);

// f(x), by textbook forms in which nothing cancels; NaN where f has no value.
long double FunctionReference(xent_function function, long double x);

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_REFERENCE_H_
