// What is kept of millions of errors: a histogram, a curve over the inputs, and the candidates for the largest one.
#ifndef XENT_TOOLS_ULP_STATISTICS_H_
#define XENT_TOOLS_ULP_STATISTICS_H_

#include <array>
#include <cstdint>
#include <vector>

namespace xent_command {

// Bin k holds the errors above k/10 and up to (k + 1)/10 ULP, the first also 0 and below (NaN that is right), the last
// all beyond 1.
constexpr int kErrorBins = 11;
using ErrorHistogram = std::array<int64_t, kErrorBins>;

inline int ErrorBin(double error) {
  if (error > 1) return kErrorBins - 1;
  if (error <= 0) return 0;
  const double tenths = error * 10;
  const int bin = static_cast<int>(tenths);
  return bin > 0 && bin == tenths ? bin - 1 : bin;
}

// The inputs in their order from the most negative to the largest finite number, cut into bins of as many numbers each.
// Infinities belong to the outermost bins.
template <typename Format>
class InputAxis {
 public:
  using Bits = typename Format::Bits;

  explicit InputAxis(int64_t bins) : bins_(static_cast<uint64_t>(bins)) {}

  // Finite numbers, both zeros counted as one.
  static constexpr uint64_t Numbers() { return 2 * kLargest + 1; }

  size_t BinOf(Bits bits) const {
    const uint64_t magnitude = bits & ~kSign;
    const uint64_t finite = magnitude < kLargest ? magnitude : kLargest;
    const uint64_t place = (bits & kSign) != 0 ? kLargest - finite : kLargest + finite;
    return static_cast<size_t>(static_cast<unsigned __int128>(place) * bins_ / Numbers());
  }

  double From(size_t bin) const { return NumberAt(FirstPlace(bin)); }
  double To(size_t bin) const { return NumberAt(FirstPlace(bin + 1) - 1); }

 private:
  static constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  static constexpr uint64_t kInfinity = kSign - (uint64_t{1} << (Format::kShape.precision - 1));
  static constexpr uint64_t kLargest = kInfinity - 1;

  uint64_t FirstPlace(size_t bin) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(bin) * Numbers() + bins_ - 1) / bins_);
  }

  static double NumberAt(uint64_t place) {
    const uint64_t bits = place < kLargest ? kSign | (kLargest - place) : place - kLargest;
    return static_cast<double>(Format::Widen(static_cast<Bits>(bits)));
  }

  uint64_t bins_;
};

// An input, its place among all, and between which bounds the error of its result lies.
struct Candidate {
  double least = -1;
  double most = -1;
  int64_t place = 0;
  uint64_t input = 0;
  uint64_t result = 0;
};

// The candidates that may have the largest error, to be told apart exactly in the end. There is room for as many as a
// library that works can need; one that errs everywhere gets a largest error that is right within the bounds.
class Candidates {
 public:
  void Add(const Candidate& candidate) {
    if (candidate.most < least_) return;
    if (candidate.least > least_) least_ = candidate.least;
    if (list_.size() == kRoom && pruned_at_ < least_) Prune();
    if (list_.size() < kRoom) list_.push_back(candidate);
  }

  void Merge(const Candidates& other) {
    for (const Candidate& candidate : other.list_) Add(candidate);
  }

  const std::vector<Candidate>& Pruned() {
    Prune();
    return list_;
  }

 private:
  static constexpr size_t kRoom = 1 << 14;

  void Prune() {
    size_t kept = 0;
    for (const Candidate& candidate : list_) {
      if (candidate.most >= least_) list_[kept++] = candidate;
    }
    list_.resize(kept);
    pruned_at_ = least_;
  }

  double least_ = -1;  // the largest error is at least this
  double pruned_at_ = -1;
  std::vector<Candidate> list_;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_ULP_STATISTICS_H_
