#include "support/binary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace xent_test {
namespace {

constexpr unsigned char kPattern = 0xA5;

bool IsInteger(xent_dtype dtype) { return dtype >= XENT_U8; }

long double Softplus(long double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }

long double Sigmoid(long double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

// A term whose coefficient is 0 is 0.
long double Term(long double coefficient, long double value) { return coefficient == 0 ? 0 : coefficient * value; }

}  // namespace

BinaryProblem::BinaryProblem(xent_dtype inputs, xent_dtype target_type, int64_t outer_count, int64_t class_count,
                             int64_t inner_count)
    : dtype(inputs),
      target_dtype(target_type),
      outer(outer_count),
      classes(class_count),
      inner(inner_count),
      strides{class_count * inner_count, inner_count, 1},
      x(static_cast<size_t>(count()) * SizeOf(inputs)),
      targets(static_cast<size_t>(count()) * SizeOf(target_type)) {}

int64_t BinaryProblem::Place(int64_t i) const {
  return i / inner / classes * strides[0] + i / inner % classes * strides[1] + i % inner * strides[2];
}

void BinaryProblem::SetTarget(int64_t i, double value) {
  if (!IsInteger(target_dtype)) {
    SetElement(targets.data(), target_dtype, i, value);
    return;
  }
  const int64_t label = static_cast<int64_t>(value);
  std::memcpy(targets.data() + static_cast<size_t>(i) * SizeOf(target_dtype), &label, SizeOf(target_dtype));
}

double BinaryProblem::Target(int64_t i) const {
  if (!IsInteger(target_dtype)) return Element(targets.data(), target_dtype, i);
  return static_cast<double>(targets.data()[static_cast<size_t>(i) * SizeOf(target_dtype)]);  // 0 or 1
}

void BinaryProblem::SetStrides(int64_t outer_step, int64_t class_step, int64_t inner_step) {
  std::vector<double> values;
  for (int64_t i = 0; i < count(); ++i) values.push_back(Input(i));
  strides[0] = outer_step;
  strides[1] = class_step;
  strides[2] = inner_step;
  const int64_t extent = 1 + (outer - 1) * outer_step + (classes - 1) * class_step + (inner - 1) * inner_step;
  x = Bytes(static_cast<size_t>(extent) * SizeOf(dtype), 0, kPattern);
  for (int64_t i = 0; i < count(); ++i) SetInput(i, values[static_cast<size_t>(i)]);
}

Bytes BinaryProblem::Array(const std::vector<double>& values) const {
  Bytes bytes(values.size() * SizeOf(real()));
  for (size_t i = 0; i < values.size(); ++i) SetElement(bytes.data(), real(), static_cast<int64_t>(i), values[i]);
  return bytes;
}

BinaryResults TryBinary(const BinaryProblem& problem, BinaryWant want) {
  BinaryResults results;
  results.loss = Bytes(static_cast<size_t>(problem.count()) * SizeOf(problem.real()), 0, kPattern);
  results.gradient = Bytes(problem.x.size(), 0, kPattern);
  xent_logits inputs =
      xent_logits_channels(problem.x.data(), problem.dtype, problem.outer, problem.classes, problem.inner);
  inputs.outer_stride = problem.strides[0];
  inputs.class_stride = problem.strides[1];
  inputs.inner_stride = problem.strides[2];
  const xent_targets targets = IsInteger(problem.target_dtype)
                                   ? xent_targets_labels(problem.targets.data(), problem.target_dtype)
                                   : xent_targets_dense(problem.targets.data(), problem.target_dtype);
  xent_binary_outputs outputs = xent_binary_outputs_none();
  outputs.total = &results.total;
  outputs.sum = &results.sum;
  outputs.denominator = &results.denominator;
  outputs.counted = &results.counted;
  outputs.ignored = &results.ignored;
  if (problem.from_probabilities) outputs.outside = &results.outside;
  if (want != BinaryWant::kTotals) outputs.gradient = results.gradient.data();
  if (want == BinaryWant::kAll) outputs.loss = results.loss.data();
  const auto call = problem.from_probabilities ? xent_binary_cross_entropy : xent_sigmoid_cross_entropy;
  results.status = call(&inputs, &targets, &problem.options, &outputs);
  return results;
}

BinaryResults MustRunBinary(const BinaryProblem& problem, BinaryWant want) {
  BinaryResults results = TryBinary(problem, want);
  EXPECT_EQ(results.status, XENT_OK) << xent_last_error();
  return results;
}

BinaryExpected ExpectLogit(const BinaryFormula& formula, long double x, long double target) {
  const long double t = target * (1 - formula.smoothing) + formula.smoothing / 2;
  const long double rest = (1 - target) * (1 - formula.smoothing) + formula.smoothing / 2;
  const long double a = formula.pos_weight * t;
  const long double loss = Term(a, Softplus(-x)) + Term(rest, Softplus(x));
  const long double up = rest * Sigmoid(x);
  const long double down = a * Sigmoid(-x);
  const long double q = t * Sigmoid(-x) + rest * Sigmoid(x);
  const long double power = formula.gamma == 0 ? 1 : std::pow(q, formula.gamma);
  const long double balance = formula.alpha < 0 ? 1 : formula.alpha * t + (1 - formula.alpha) * rest;
  const long double factor = balance * power;
  const long double slope = (rest - t) * Sigmoid(x) * Sigmoid(-x);
  const long double of_power = q == 0 || slope == 0 ? 0 : formula.gamma * slope / q * loss;
  return {Term(factor, loss), Term(factor, up - down + of_power), factor * (up + down + std::fabs(of_power))};
}

BinaryExpected ExpectProbability(const BinaryFormula& formula, long double p, long double target) {
  if (!(p >= 0 && p <= 1)) return {NAN, NAN, NAN};
  const long double t = target * (1 - formula.smoothing) + formula.smoothing / 2;
  const long double rest = (1 - target) * (1 - formula.smoothing) + formula.smoothing / 2;
  const long double a = formula.pos_weight * t;
  bool is_clipped = false;
  long double log_p, log_rest;
  if (formula.rule == XENT_LOG_EPSILON) {
    const long double most = static_cast<double>(1 - formula.epsilon);
    is_clipped = p < formula.epsilon || p > most;
    p = p < formula.epsilon ? formula.epsilon : p > most ? most : p;
  }
  log_p = std::log(p);
  log_rest = std::log1p(-p);
  if (formula.rule == XENT_LOG_CLAMP) {
    log_p = std::fmax(log_p, -100.0L);
    log_rest = std::fmax(log_rest, -100.0L);
  }
  const long double loss = -(Term(a, log_p) + Term(rest, log_rest));
  if (is_clipped) return {loss, 0, 0};
  if (formula.rule == XENT_LOG_CLAMP) {
    const long double divisor = std::fmax(p * (1 - p), 1e-12L);
    return {loss, (rest * p - a * (1 - p)) / divisor, (rest * p + a * (1 - p)) / divisor};
  }
  const long double up = rest == 0 ? 0 : rest / (1 - p);
  const long double down = a == 0 ? 0 : a / p;
  return {loss, up - down, up + down};
}

}  // namespace xent_test
