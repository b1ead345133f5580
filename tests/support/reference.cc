// With m the largest logit, e_j = exp(x_j - m), and y the label:
//   loss = log1p(sum_{j != y} e_j)                       where x_y = m
//   loss = (m - x_y) + log1p(sum_{j != argmax} e_j)      elsewhere
//   gradient_j = e_j / sum e, gradient_y = -(sum_{j != y} e_j) / sum e
#include "support/reference.h"

#include <cmath>
#include <limits>
#include <vector>

namespace xent_test {
namespace {

// exp(x - m) for x <= m. The rounding error of the difference, at most 2^-64 of it, is put back: for f64 logits near
// 700 it would be a tenth of a unit in the last place.
long double ExpOfDifference(long double x, long double m) {
  const long double difference = x - m;
  if (difference < -12000.0L) return std::exp(difference);
  const long double subtracted = x - difference;
  const long double error = (x - (difference + subtracted)) + (subtracted - m);
  const long double result = std::exp(difference);
  return result + result * error;
}

int64_t IndexOfLargest(const long double* x, int64_t classes) {
  int64_t largest = 0;
  for (int64_t j = 1; j < classes; ++j) {
    if (x[j] > x[largest]) largest = j;
  }
  return largest;
}

bool IsNanRow(const long double* x, int64_t classes) {
  bool only_minus_infinity = true;
  for (int64_t j = 0; j < classes; ++j) {
    if (std::isnan(x[j]) || (std::isinf(x[j]) && x[j] > 0)) return true;
    if (!std::isinf(x[j])) only_minus_infinity = false;
  }
  return only_minus_infinity;
}

}  // namespace

RowReference SoftmaxReference(const long double* x, int64_t classes, int64_t label, long double* gradient) {
  const long double nan = std::numeric_limits<long double>::quiet_NaN();
  if (IsNanRow(x, classes)) return {true, nan, nan, nan, nan};
  int64_t largest = IndexOfLargest(x, classes);
  if (x[label] == x[largest]) largest = label;
  const long double m = x[largest];

  std::vector<long double> own;
  if (gradient == nullptr) {
    own.resize(static_cast<size_t>(classes));
    gradient = own.data();
  }
  long double others_than_largest = 0;  // 1 is left out: added, it could not be taken away again
  long double others_than_label = 0;
  for (int64_t j = 0; j < classes; ++j) {
    gradient[j] = ExpOfDifference(x[j], m);
    if (j != largest) others_than_largest += gradient[j];
    if (j != label) others_than_label += gradient[j];
  }
  const long double sum = 1 + others_than_largest;
  for (int64_t j = 0; j < classes; ++j) gradient[j] /= sum;
  gradient[label] = -(others_than_label / sum);

  const long double log_sum = std::log1p(others_than_largest);
  const long double loss = largest == label ? log_sum : (m - x[label]) + log_sum;
  return {false, m, log_sum, m + log_sum, loss};
}

long double FunctionReference(xent_function function, long double x) {
  switch (function) {
    case XENT_EXP:
      return std::exp(x);
    case XENT_LOG:
      return std::log(x);
    case XENT_LOG1P:
      return std::log1p(x);
    case XENT_EXPM1:
      return std::expm1(x);
    case XENT_SIGMOID:
      return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
    case XENT_LOG_SIGMOID:
      return -FunctionReference(XENT_SOFTPLUS, -x);
    case XENT_SOFTPLUS:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case XENT_TANH:
      return std::tanh(x);
  }
  return std::numeric_limits<long double>::quiet_NaN();
}

}  // namespace xent_test
