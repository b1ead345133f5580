// References with their bounds, and judging by them; see expected.h.
#include "support/expected.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "support/ulp.h"

namespace xent_test {
namespace {

bool IsHalf(xent_dtype dtype) { return dtype == XENT_BF16 || dtype == XENT_F16; }

// Probabilities below the smallest normal number count as 0. At that edge, where p itself has an error, both will do.
Rule RuleFor(long double probability, bool is_label, Format format) {
  if (is_label) return Rule::kAccurate;
  const long double edge = std::ldexp(1.0L, format.min_exponent);
  const long double width = std::ldexp(edge, 4 - format.precision);
  if (probability == 0 || probability < edge - width) return Rule::kZero;
  return probability < edge + width ? Rule::kZeroOrAccurate : Rule::kAccurate;
}

ExpectedElement ExpectElement(long double probability, bool is_label, long double scale, xent_dtype dtype) {
  const Format row_format = FormatOf(RowType(dtype));
  ExpectedElement expected{};
  expected.exact = probability * scale;
  expected.ulp = Ulp(expected.exact, row_format);
  expected.rule = scale == 0 ? Rule::kZero : RuleFor(probability, is_label, row_format);
  if (IsHalf(dtype)) {
    expected.low = static_cast<float>(RoundTo(expected.exact - 4 * expected.ulp, FormatOf(dtype)));
    expected.high = static_cast<float>(RoundTo(expected.exact + 4 * expected.ulp, FormatOf(dtype)));
  }
  return expected;
}

bool IsValidLabel(const Problem& problem, int64_t label) { return label >= 0 && label < problem.classes; }

// What upstream and reduction multiply every gradient by.
long double ScaleOf(const Problem& problem) {
  const auto& labels = problem.labels;
  const auto counted = problem.rows - std::count(labels.begin(), labels.end(), problem.options.ignore_index);
  const long double upstream = problem.options.upstream;
  return problem.options.reduction == XENT_REDUCTION_MEAN ? upstream / static_cast<long double>(counted) : upstream;
}

}  // namespace

Expected::Expected(const Problem& problem) : dtype_(problem.dtype), classes_(problem.classes) {
  elements_.reserve(static_cast<size_t>(problem.rows * problem.classes));
  const long double scale = ScaleOf(problem);
  for (int64_t r = 0; r < problem.rows; ++r) AddRow(problem, r, scale);
}

void Expected::AddRow(const Problem& problem, int64_t r, long double scale) {
  const int64_t label = problem.labels[static_cast<size_t>(r)];
  const size_t classes = static_cast<size_t>(classes_);
  if (label == problem.options.ignore_index) {
    kinds_.push_back(RowKind::kIgnored);
    rows_.push_back({});
    elements_.insert(elements_.end(), classes, ExpectedElement{0, 1, 0, 0, Rule::kZero});
    return;
  }
  std::vector<long double> x(classes);
  std::vector<long double> gradient(classes);
  for (int64_t j = 0; j < classes_; ++j) x[static_cast<size_t>(j)] = problem.At(r, j);
  const bool valid = IsValidLabel(problem, label);
  rows_.push_back(SoftmaxReference(x.data(), classes_, valid ? label : 0, gradient.data()));
  if (!valid || rows_.back().nan) {
    kinds_.push_back(RowKind::kNan);
    elements_.insert(elements_.end(), classes, ExpectedElement{0, 1, 0, 0, Rule::kNan});
    return;
  }
  kinds_.push_back(RowKind::kNumbers);
  for (int64_t j = 0; j < classes_; ++j) {
    elements_.push_back(ExpectElement(gradient[static_cast<size_t>(j)], j == label, scale, dtype_));
  }
}

bool Expected::LossHolds(const Results& results, int64_t r, long double* error) const {
  *error = 0;
  if (kind(r) == RowKind::kIgnored) return results.Loss(r) == 0;
  if (kind(r) == RowKind::kNan) return std::isnan(results.Loss(r));
  *error = UlpError(results.Loss(r), row(r).loss, FormatOf(RowType(dtype_)));
  return *error <= (dtype_ == XENT_F64 ? 4 : 3);
}

bool Expected::LseHolds(const Results& results, int64_t r, long double* error) const {
  *error = 0;
  if (kind(r) == RowKind::kIgnored) return results.Lse(r) == 0;
  if (kind(r) == RowKind::kNan) return !row(r).nan || std::isnan(results.Lse(r));
  const RowReference& exact = row(r);
  const long double largest = std::max({std::fabs(exact.max), std::fabs(exact.log_sum), std::fabs(exact.lse)});
  *error = std::fabs(results.Lse(r) - exact.lse) / Ulp(largest, FormatOf(RowType(dtype_)));
  return *error <= (dtype_ == XENT_F64 ? 3 : 1);
}

bool Expected::GradientHolds(const Results& results, int64_t r, int64_t column, long double* error) const {
  const ExpectedElement& expected = element(r, column);
  const double result = results.Gradient(r, column);
  *error = 0;
  if (expected.rule == Rule::kNan) return std::isnan(result);
  if (expected.rule == Rule::kZero) return result == 0;
  if (expected.rule == Rule::kZeroOrAccurate && result == 0) return true;
  if (IsHalf(dtype_) || !std::isfinite(result)) {
    *error = UlpError(result, expected.exact, FormatOf(dtype_));
  } else {
    *error = std::fabs(result - expected.exact) / expected.ulp;
  }
  if (IsHalf(dtype_)) return expected.low <= result && result <= expected.high;
  return *error <= (dtype_ == XENT_F64 ? 8 : 4);
}

std::string Describe(const char* quantity, int64_t row, int64_t column, double result, long double exact,
                     long double error) {
  std::ostringstream text;
  text << quantity << " of row " << row;
  if (column >= 0) text << ", class " << column;
  text.precision(21);
  text << " is " << result << "; exact " << exact << "; ";
  text.precision(4);
  text << error << " ULP";
  return text.str();
}

void ExpectWithinBounds(const Problem& problem, const Results& results) {
  const Expected expected(problem);
  int failures = 0;
  const auto check = [&](bool holds, const char* quantity, int64_t row, int64_t column, double result,
                         long double exact, long double error) {
    if (!holds && ++failures <= 5) ADD_FAILURE() << Describe(quantity, row, column, result, exact, error);
  };
  for (int64_t r = 0; r < problem.rows; ++r) {
    long double error;
    if (results.want & kRowLoss) {
      const bool holds = expected.LossHolds(results, r, &error);
      check(holds, "loss", r, -1, results.Loss(r), expected.row(r).loss, error);
    }
    if (results.want & kLse) {
      const bool holds = expected.LseHolds(results, r, &error);
      check(holds, "lse", r, -1, results.Lse(r), expected.row(r).lse, error);
    }
    for (int64_t j = 0; (results.want & kGradient) != 0 && j < problem.classes; ++j) {
      const bool holds = expected.GradientHolds(results, r, j, &error);
      check(holds, "gradient", r, j, results.Gradient(r, j), expected.element(r, j).exact, error);
    }
  }
}

}  // namespace xent_test
