// With y = softmax(s x):       dx_j = s y_j (g_j - sum_i y_i g_i)
// with y = log softmax(s x):   dx_j = s (g_j - e^(y_j) sum_i g_i)
// each row twice: for its sum and for its gradient. Rows of adjacent classes and f32 lanes in f32, where that suffices;
// others in f64, piece by piece.
#include "lib/softmax_backward.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/cache.h"
#include "lib/isa.h"
#include "lib/reduce.h"
#include "lib/targets.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class Backward {
 public:
  Backward(const SoftmaxTask& task, const SoftmaxTask& upstream)
      : task_(task),
        terms_(TermKernelsFor(IsaChosen().slot)),
        exp_(MapKernelFor(IsaChosen().slot, Function::kExp, Dtype::kF64)),
        softmax_(SoftmaxKernelsFor(IsaChosen().slot, task.logits.dtype)),
        results_(task, IsaChosen().slot),
        upstream_(upstream, IsaChosen().slot),
        upstream_rows_(upstream.logits),
        short_row_(ShortRow(task, upstream.logits)),
        stream_(short_row_ != nullptr && task.gradient.data != task.logits.data &&
                task.gradient.data != upstream.logits.data &&
                GoesPastCache(task.logits.rows * task.logits.classes * task.logits.ElementBytes())) {}

  // Of a row that is read. False: f32 does not suffice, and nothing was written.
  bool RunShortRow(int64_t row) const {
    return short_row_ != nullptr &&
           short_row_(task_.logits.Row(row), upstream_rows_.Row(row), task_.options.scale, task_.logits.classes,
                      const_cast<char*>(task_.gradient.Row(row)), stream_);
  }

  // What went past the cache can be read by other threads then.
  void Finish() const {
    PendingWrite nothing = {};
    nothing.stream = stream_;
    softmax_.finish_write(&nothing);
  }

  void RunRow(int64_t row, Rows* rows, Piece* y, Piece* g) const {
    rows->first = row;
    rows->count = 1;
    if (LoadLabels(task_, row, 1, rows->read) && RunShortRow(row)) return;
    const int64_t classes = task_.logits.classes;
    Sum sum;
    for (int64_t begin = 0; begin < classes && rows->read[0] != kSkipRow; begin += kPiece) {
      Load(*rows, begin, y, g);
      sum.Add(IsLog() ? terms_.sum(g->z, g->classes, -1) : 0.0 - terms_.sum_of_gaps(y->z, g->z, g->classes, 0.0));
    }
    const double scale = task_.options.scale;
    const double total = sum.Value();
    // p (a - d (gap + top - z)) - b u: with z = g of softmax, with u = g of log-softmax.
    const GradientTerms terms = IsLog() ? GradientTerms{-scale * total, -scale, 0.0, 0.0, 0.0, 0.0}
                                        : GradientTerms{0.0, 0.0, scale, total, 0.0, 0.0};
    for (int64_t begin = 0; begin < classes; begin += kPiece) {
      Load(*rows, begin, y, g);
      if (rows->read[0] == kSkipRow) {
        std::fill(y->z, y->z + y->classes, 0.0);
      } else {
        if (IsLog()) exp_(y->z, y->classes, y->z, false);
        terms_.combine(terms, y->z, g->z, IsLog() ? g->z : nullptr, nullptr, y->classes, y->z);
      }
      // Whatever the sign of a NaN that came in.
      for (int64_t j = 0; j < y->classes; ++j) y->z[j] = std::isnan(y->z[j]) ? kNaN : y->z[j];
      results_.Store(*rows, *y, y->z);
    }
  }

 private:
  using RowKernel = decltype(RowFunctionKernels::softmax_backward);

  static RowKernel ShortRow(const SoftmaxTask& task, const Matrix& upstream) {
    const Matrix& y = task.logits;
    const bool are_rows = y.HasPlainRows() && upstream.HasPlainRows() && task.gradient.HasPlainRows();
    const bool are_alike = upstream.dtype == y.dtype && task.gradient.dtype == y.dtype;
    if (y.IsDouble() || !are_rows || !are_alike || task.options.scale < 0x1p-4 || task.options.scale > 1.0) {
      return nullptr;
    }
    const RowFunctionKernels& kernels = RowFunctionKernelsFor(IsaChosen().slot, y.dtype);
    return task.product == Product::kLogProbabilities ? kernels.log_softmax_backward : kernels.softmax_backward;
  }

  bool IsLog() const { return task_.product == Product::kLogProbabilities; }

  void Load(const Rows& rows, int64_t begin, Piece* y, Piece* g) const {
    const int64_t n = std::min(kPiece, task_.logits.classes - begin);
    results_.Load(rows, begin, n, y);
    upstream_.Load(rows, begin, n, g);
  }

  const SoftmaxTask& task_;
  const TermKernels& terms_;
  const MapKernel exp_;
  const SoftmaxKernels& softmax_;
  const WideRows results_;
  const WideRows upstream_;
  const Matrix& upstream_rows_;
  const RowKernel short_row_;  // null: f64
  const bool stream_;
};

}  // namespace

bool SoftmaxBackward(const SoftmaxTask& task, const Matrix& upstream, const Team& team) {
  SoftmaxTask upstream_task = task;
  upstream_task.logits = upstream;
  const Backward backward(task, upstream_task);
  auto range = [&](int64_t first, int64_t last) {
    Rows rows;
    Piece y, g;
    for (int64_t row = first; row < last; ++row) backward.RunRow(row, &rows, &y, &g);
    backward.Finish();
  };
  return ParallelRanges(team, task.logits.rows, range);
}

}  // namespace xent
