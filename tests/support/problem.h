// One call of xent_softmax_cross_entropy with memory of its own: Problem holds what goes in, Results what came out,
// MustRun makes the call. Outputs start out as a pattern, so that what a call did not write is seen; comparing is by
// bits.
#ifndef XENT_TESTS_SUPPORT_PROBLEM_H_
#define XENT_TESTS_SUPPORT_PROBLEM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "support/inputs.h"
#include "support/storage.h"
#include "xent/xent.h"

namespace xent_test {

// Labels are i64. Stride 0 means no gaps. `offset` is the distance of the logits from a 64-byte boundary in bytes.
struct Problem {
  Problem(xent_dtype storage, int64_t row_count, int64_t class_count, int64_t stride = 0, size_t offset = 0);

  // Every row from one distribution, row r with RowSeed(seed, r).
  void Fill(const Distribution& distribution, uint64_t seed);
  void Fill(const char* distribution, uint64_t seed);

  double At(int64_t row, int64_t column) const { return Element(logits.data(), dtype, row * row_stride + column); }
  void Set(int64_t row, int64_t column, double value) {
    SetElement(logits.data(), dtype, row * row_stride + column, value);
  }
  void SetRow(int64_t row, const std::vector<double>& values, int64_t label);

  xent_logits Logits() const { return xent_logits_strided(logits.data(), dtype, rows, classes, row_stride); }
  xent_targets Targets() const { return xent_targets_labels(labels.data(), XENT_I64); }

  xent_dtype dtype;
  int64_t rows;
  int64_t classes;
  int64_t row_stride;
  Bytes logits;
  std::vector<int64_t> labels;
  xent_softmax_options options = xent_softmax_options_default();
};

// A problem of a single row.
Problem OneRow(xent_dtype dtype, const std::vector<double>& values, int64_t label);

// The outputs of a call, as a set of bits.
enum Want : unsigned {
  kTotal = 1,
  kSum = 2,
  kDenominator = 4,
  kCounted = 8,
  kIgnored = 16,
  kRowLoss = 32,
  kLse = 64,
  kGradient = 128,
  kRowState = 256,
  kEverything = 511
};

struct Results {
  double Loss(int64_t row) const { return Element(row_loss.data(), RowType(dtype), row); }
  double Lse(int64_t row) const { return Element(lse.data(), RowType(dtype), row); }
  double Gradient(int64_t row, int64_t column) const {
    return Element(gradient.data(), dtype, row * row_stride + column);
  }

  xent_dtype dtype = 0;
  int64_t rows = 0;
  int64_t classes = 0;
  int64_t row_stride = 0;
  unsigned want = 0;
  xent_status status = -1;
  double total = 0;
  double sum = 0;
  double denominator = 0;
  int64_t counted = 0;
  int64_t ignored = 0;
  Bytes row_loss;
  Bytes lse;
  Bytes gradient;  // strides as the logits
  std::vector<xent_row_state> row_state;
};

// Outputs that only hold the pattern. `offset` is the distance of the gradient from a 64-byte boundary.
Results UnwrittenResults(const Problem& problem, unsigned want, size_t offset = 0);

// Pointers to those outputs that were wanted.
xent_softmax_outputs OutputsOf(Results& results);

// Makes the call, whatever comes of it.
Results Try(const Problem& problem, unsigned want, size_t gradient_offset = 0);

// Makes a call that must succeed: anything else is a test failure.
Results MustRun(const Problem& problem, unsigned want = kEverything, size_t gradient_offset = 0);

// "" if the outputs that both wanted have the same bits (NaN included), else what differs first. Padding of a gradient
// counts: no call writes it, so it still holds the pattern.
std::string FirstDifference(const Results& a, const Results& b);

// Whether the gradient of a row holds nothing but zeros (of either sign).
bool IsZeroRow(const Results& results, int64_t row);
bool IsNanRow(const Results& results, int64_t row);

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_PROBLEM_H_
