// Dense targets of rows that the kernels for labels know: a row leaves out its largest class in the place of a label,
// and what it adds to loss and gradient are two sums over targets.
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/reduce.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_tiles.h"

namespace xent {
namespace {

// A sum of f32 products below this may have lost digits of them.
constexpr double kLeastSum = 0x1p-100;

}  // namespace

// A row with dense targets leaves out its largest class; one that holds NaN or +inf any.
__attribute__((noinline)) void Softmax::MarkLargest(const Tile& tile, Rows* rows) const {
  int64_t largest[kTileRows];
  kernels_.find_largest(tile, largest);
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] != kSkipRow) rows->read[r] = std::max<int64_t>(largest[r], 0);
  }
}

__attribute__((noinline)) void Softmax::FindTargets(const Tile& tile, Rows* rows) const {
  TargetSums sums[kTileRows];
  kernels_.sum_targets(tile, TargetsOf(rows->first, 0), sums);
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) continue;
    const TargetSums& one = sums[r];
    const bool is_lost = one.rest > 0.0 && one.gaps < kLeastSum;
    if (!std::isfinite(one.gaps) || !std::isfinite(one.rest) || is_lost) {
      SumWidened(rows->first + r, rows->read[r], &sums[r]);
    }
    const double own = one.own >= 0.0 ? one.own : std::numeric_limits<double>::quiet_NaN();
    SetTarget(own, one.rest, task_.options.scale * one.gaps, r, rows);
  }
}

// The same sums in f64, where f32 does not hold them. Not inline, as FindTargets: their arrays would stay on a small
// stack.
__attribute__((noinline)) void Softmax::SumWidened(int64_t row, int64_t label, TargetSums* sums) const {
  const Matrix& t = task_.targets.dense;
  const SoftmaxKernels& of_targets = SoftmaxKernelsFor(isa_slot_, t.dtype);
  const TermKernels& terms = TermKernelsFor(isa_slot_);
  double x[kWiden], u[kWiden + kStageSlack / sizeof(double)], top;
  kernels_.widen(task_.logits.Row(row) + label * task_.logits.ElementBytes(), 1, &top);
  Sum gaps, rest;
  for (int64_t begin = 0; begin < task_.logits.classes; begin += kWiden) {
    const int64_t n = std::min(kWiden, task_.logits.classes - begin);
    kernels_.widen(task_.logits.Row(row) + begin * task_.logits.ElementBytes(), n, x);
    of_targets.widen(t.Row(row) + begin * t.ElementBytes(), n, u);
    for (int64_t j = 0; j < n; ++j) {
      if (!(u[j] >= 0.0)) u[j] = std::numeric_limits<double>::quiet_NaN();
    }
    gaps.Add(terms.sum_of_gaps(u, x, n, top));
    rest.Add(terms.sum(u, n, label - begin));
  }
  sums->gaps = gaps.Value();
  sums->rest = rest.Value();
}

}  // namespace xent
