// Results against the reference: one worker's share of xent ulp. Most results are the right ones, so everything about
// the right results is counted once for all instruction sets, and what each does wrong is set off against it.
#ifndef XENT_TOOLS_ULP_COMPARISON_H_
#define XENT_TOOLS_ULP_COMPARISON_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "exact_function.h"
#include "function_reference.h"
#include "number_format.h"
#include "ulp_statistics.h"

namespace xent_command {

// Of the correctly rounded results, or what one instruction set adds to that.
struct ErrorCount {
  int64_t wrong = 0;
  ErrorHistogram histogram{};
  std::vector<double> curve;  // the largest error per bin; below 0: no input there has a number as its result
  Candidates candidates;

  void Merge(const ErrorCount& other) {
    wrong += other.wrong;
    for (int i = 0; i < kErrorBins; ++i) histogram[i] += other.histogram[i];
    for (size_t i = 0; i < curve.size(); ++i) curve[i] = std::max(curve[i], other.curve[i]);
    candidates.Merge(other.candidates);
  }
};

template <typename Format>
class Comparison {
 public:
  using Bits = typename Format::Bits;
  using Work = typename Format::Work;

  // 0 bins: no curve.
  Comparison(xent_function function, size_t isas, int64_t bins)
      : function_(function), exact_(function, Format::kShape), axis_(bins), isas_(isas) {
    right_count_.curve.assign(static_cast<size_t>(bins), -1);
    for (ErrorCount& isa : isas_) isa.curve = right_count_.curve;
  }

  // Takes `count` inputs in, the first of which has this place among all, and each instruction set's results.
  void Add(const Bits* x, const std::vector<const Bits*>& results, int64_t count, int64_t place) {
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t size = std::min(kChunk, count - begin);
      Refer(x + begin, size);
      CountRight(x + begin, size, place + begin);
      for (size_t isa = 0; isa < isas_.size(); ++isa) {
        CountWrong(x + begin, results[isa] + begin, size, place + begin, &isas_[isa]);
      }
    }
  }

  void Merge(const Comparison& other) {
    right_count_.Merge(other.right_count_);
    for (size_t isa = 0; isa < isas_.size(); ++isa) isas_[isa].Merge(other.isas_[isa]);
  }

  // All that was counted for an instruction set.
  ErrorCount CountOf(size_t isa) const {
    ErrorCount count = right_count_;
    count.Merge(isas_[isa]);
    return count;
  }

 private:
  static constexpr int64_t kChunk = 1024;
  static constexpr Work kRelative = ReferenceError<Work>::kRelative;
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  static bool IsNaN(Bits bits) { return std::isnan(Format::Widen(bits)); }

  // The right results and their errors; -1 for the error of NaN.
  void Refer(const Bits* x, int64_t count) {
    for (int64_t i = 0; i < count; ++i) widened_[i] = Format::Widen(x[i]);
    ApplyReference(function_, widened_, count, reference_);
    for (int64_t i = 0; i < count; ++i) {
      const Work reference = reference_[i];
      const Bits least = Format::Round(reference * (1 - kRelative));
      right_[i] = Format::Round(reference * (1 + kRelative));
      if (least != right_[i]) {
        exact_.SetArgument(static_cast<double>(widened_[i]));
        const double rounded = exact_.Rounded();
        right_[i] = Format::Round(rounded);
        error_[i] = exact_.ErrorOf(rounded);
      } else {
        error_[i] = ErrorOfRight(Format::Widen(right_[i]), reference);
      }
    }
  }

  // No correctly rounded result is further off than half a unit, whatever the reference's own error makes of it.
  static double ErrorOfRight(Work right, Work reference) {
    if (std::isnan(right)) return -1;
    if (std::isinf(right)) return 0;
    return std::min(0.5, static_cast<double>(std::fabs(right - reference) * InverseUlp<Format>(reference)));
  }

  void CountRight(const Bits* x, int64_t count, int64_t place) {
    for (int64_t i = 0; i < count; ++i) {
      ++right_count_.histogram[ErrorBin(error_[i])];
      if (error_[i] <= largest_right_) continue;
      largest_right_ = error_[i];
      right_count_.candidates.Add({error_[i], error_[i], place + i, x[i], right_[i]});
    }
    if (!right_count_.curve.empty()) DrawRight(x, count);
  }

  void DrawRight(const Bits* x, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      double& largest = right_count_.curve[axis_.BinOf(x[i])];
      largest = std::max(largest, error_[i]);
    }
  }

  void CountWrong(const Bits* x, const Bits* results, int64_t count, int64_t place, ErrorCount* isa) {
    if (std::memcmp(results, right_, static_cast<size_t>(count) * sizeof(Bits)) == 0) return;
    for (int64_t i = 0; i < count; ++i) {
      if (results[i] == right_[i] || (IsNaN(results[i]) && IsNaN(right_[i]))) continue;
      ++isa->wrong;
      const double error = AddCandidate({0, 0, place + i, x[i], results[i]}, i, &isa->candidates);
      --isa->histogram[ErrorBin(error_[i])];
      ++isa->histogram[ErrorBin(error)];
      if (isa->curve.empty()) continue;
      double& largest = isa->curve[axis_.BinOf(x[i])];
      largest = std::max(largest, error);
    }
  }

  // Adds the bounds; returns the error as the reference has it.
  double AddCandidate(Candidate candidate, int64_t i, Candidates* candidates) {
    const Work result = Format::Widen(static_cast<Bits>(candidate.result));
    const Work reference = reference_[i];
    double error = kInfinity;
    candidate.least = candidate.most = kInfinity;
    if (std::isfinite(result) && std::isfinite(Format::Widen(right_[i]))) {
      constexpr double kMargin = static_cast<double>(kRelative * (uint64_t{1} << Format::kShape.precision));
      const Work distance = std::fabs(result - reference);
      error = static_cast<double>(distance * InverseUlp<Format>(reference));
      // The reference may lie beside a power of two, and the exact value on its other side.
      const Work below = distance * InverseUlp<Format>(reference * (1 - kRelative));
      const Work above = distance * InverseUlp<Format>(reference * (1 + kRelative));
      candidate.least = static_cast<double>(above) - kMargin;
      candidate.most = static_cast<double>(below) + kMargin;
    }
    candidates->Add(candidate);
    return error;
  }

  xent_function function_;
  ExactFunction exact_;
  InputAxis<Format> axis_;
  ErrorCount right_count_;
  double largest_right_ = -1;
  std::vector<ErrorCount> isas_;
  Work widened_[kChunk];
  Work reference_[kChunk];
  Bits right_[kChunk];
  double error_[kChunk];
};

}  // namespace xent_command

#endif  // XENT_TOOLS_ULP_COMPARISON_H_
