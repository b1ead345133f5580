// Filling, calling and comparing; see problem.h.
#include "support/problem.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

namespace xent_test {
namespace {

constexpr unsigned char kPattern = 0xA5;

size_t Size(int64_t count, xent_dtype dtype) { return static_cast<size_t>(count) * SizeOf(dtype); }

template <typename T>
void CompareScalar(const char* name, T a, T b, std::string* difference) {
  if (difference->empty() && std::memcmp(&a, &b, sizeof(T)) != 0) {
    std::ostringstream text;
    text.precision(17);
    text << name << ": " << a << " and " << b;
    *difference = text.str();
  }
}

void CompareArray(const char* name, const void* a, const void* b, int64_t count, xent_dtype dtype, int64_t row_stride,
                  std::string* difference) {
  if (!difference->empty() || std::memcmp(a, b, Size(count, dtype)) == 0) return;
  const size_t size = SizeOf(dtype);
  int64_t i = 0;
  while (std::memcmp(static_cast<const char*>(a) + static_cast<size_t>(i) * size,
                     static_cast<const char*>(b) + static_cast<size_t>(i) * size, size) == 0) {
    ++i;
  }
  std::ostringstream text;
  text << name << "[" << i / row_stride << "][" << i % row_stride << "]: " << std::hexfloat << Element(a, dtype, i)
       << " and " << Element(b, dtype, i);
  *difference = text.str();
}

template <typename Holds>
bool EachOfRow(const Results& results, int64_t row, Holds holds) {
  for (int64_t j = 0; j < results.classes; ++j) {
    if (!holds(results.Gradient(row, j))) return false;
  }
  return true;
}

}  // namespace

Problem::Problem(xent_dtype storage, int64_t row_count, int64_t class_count, int64_t stride, size_t offset)
    : dtype(storage),
      rows(row_count),
      classes(class_count),
      row_stride(stride == 0 ? class_count : stride),
      logits(Size(rows * row_stride, storage), offset),
      labels(static_cast<size_t>(row_count)) {
  labels.reserve(1);  // so that data() is not NULL without rows
}

void Problem::Fill(const Distribution& distribution, uint64_t seed) {
  for (int64_t r = 0; r < rows; ++r) {
    labels[static_cast<size_t>(r)] =
        FillRow(distribution, dtype, classes, RowSeed(seed, r), logits.data(), r * row_stride);
  }
}

void Problem::Fill(const char* distribution, uint64_t seed) {
  const Distribution* found = FindDistribution(distribution);
  ASSERT_NE(found, nullptr) << distribution;
  Fill(*found, seed);
}

void Problem::SetRow(int64_t row, const std::vector<double>& values, int64_t label) {
  ASSERT_EQ(static_cast<int64_t>(values.size()), classes);
  for (int64_t j = 0; j < classes; ++j) Set(row, j, values[static_cast<size_t>(j)]);
  labels[static_cast<size_t>(row)] = label;
}

Problem OneRow(xent_dtype dtype, const std::vector<double>& values, int64_t label) {
  Problem problem(dtype, 1, static_cast<int64_t>(values.size()));
  problem.SetRow(0, values, label);
  return problem;
}

Results UnwrittenResults(const Problem& problem, unsigned want, size_t offset) {
  Results results;
  results.dtype = problem.dtype;
  results.rows = problem.rows;
  results.classes = problem.classes;
  results.row_stride = problem.row_stride;
  results.want = want;
  std::memset(&results.total, kPattern, sizeof(double));
  std::memset(&results.sum, kPattern, sizeof(double));
  std::memset(&results.denominator, kPattern, sizeof(double));
  std::memset(&results.counted, kPattern, sizeof(int64_t));
  std::memset(&results.ignored, kPattern, sizeof(int64_t));
  const size_t row_bytes = Size(problem.rows, RowType(problem.dtype));
  results.row_loss = Bytes(row_bytes, 0, kPattern);
  results.lse = Bytes(row_bytes, 0, kPattern);
  if (want & kGradient) results.gradient = Bytes(problem.logits.size(), offset, kPattern);
  results.row_state.resize(static_cast<size_t>(problem.rows));
  if (problem.rows > 0) {
    std::memset(static_cast<void*>(results.row_state.data()), kPattern,
                sizeof(xent_row_state) * results.row_state.size());
  }
  return results;
}

xent_softmax_outputs OutputsOf(Results& results) {
  const unsigned want = results.want;
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.total = want & kTotal ? &results.total : nullptr;
  outputs.sum = want & kSum ? &results.sum : nullptr;
  outputs.denominator = want & kDenominator ? &results.denominator : nullptr;
  outputs.counted = want & kCounted ? &results.counted : nullptr;
  outputs.ignored = want & kIgnored ? &results.ignored : nullptr;
  outputs.row_loss = want & kRowLoss ? results.row_loss.data() : nullptr;
  outputs.lse = want & kLse ? results.lse.data() : nullptr;
  outputs.gradient = want & kGradient ? results.gradient.data() : nullptr;
  outputs.row_state = want & kRowState ? results.row_state.data() : nullptr;
  return outputs;
}

Results Try(const Problem& problem, unsigned want, size_t gradient_offset) {
  Results results = UnwrittenResults(problem, want, gradient_offset);
  const xent_logits logits = problem.Logits();
  const xent_targets targets = problem.Targets();
  const xent_softmax_outputs outputs = OutputsOf(results);
  results.status = xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs);
  return results;
}

Results MustRun(const Problem& problem, unsigned want, size_t gradient_offset) {
  Results results = Try(problem, want, gradient_offset);
  EXPECT_EQ(results.status, XENT_OK) << xent_status_name(results.status) << ": " << xent_last_error();
  return results;
}

std::string FirstDifference(const Results& a, const Results& b) {
  std::string difference;
  const unsigned both = a.want & b.want;
  if (a.rows != b.rows || a.classes != b.classes || a.row_stride != b.row_stride) return "different shapes";
  if (both & kTotal) CompareScalar("total", a.total, b.total, &difference);
  if (both & kSum) CompareScalar("sum", a.sum, b.sum, &difference);
  if (both & kDenominator) CompareScalar("denominator", a.denominator, b.denominator, &difference);
  if (both & kCounted) CompareScalar("counted", a.counted, b.counted, &difference);
  if (both & kIgnored) CompareScalar("ignored", a.ignored, b.ignored, &difference);
  const xent_dtype row_type = RowType(a.dtype);
  const auto compare = [&](const char* name, const void* left, const void* right, int64_t count, xent_dtype dtype,
                           int64_t row_stride) {
    if (count > 0) CompareArray(name, left, right, count, dtype, row_stride, &difference);
  };
  if (both & kRowLoss) compare("row_loss", a.row_loss.data(), b.row_loss.data(), a.rows, row_type, 1);
  if (both & kLse) compare("lse", a.lse.data(), b.lse.data(), a.rows, row_type, 1);
  if (both & kGradient) {
    compare("gradient", a.gradient.data(), b.gradient.data(), a.rows * a.row_stride, a.dtype, a.row_stride);
  }
  if (both & kRowState) compare("row_state", a.row_state.data(), b.row_state.data(), a.rows * 4, XENT_F64, 4);
  return difference;
}

bool IsZeroRow(const Results& results, int64_t row) {
  return EachOfRow(results, row, [](double element) { return element == 0; });
}

bool IsNanRow(const Results& results, int64_t row) {
  return EachOfRow(results, row, [](double element) { return std::isnan(element); });
}

}  // namespace xent_test
