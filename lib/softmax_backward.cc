// With y = softmax(s x):       dx_j = s y_j (g_j - sum_i y_i g_i)
// with y = log softmax(s x):   dx_j = s (g_j - e^(y_j) sum_i g_i)
// in f64, piece by piece, each row twice: for its sum and for its gradient.
#include "lib/softmax_backward.h"

#include <algorithm>

#include "lib/isa.h"
#include "lib/reduce.h"
#include "lib/targets.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

class Backward {
 public:
  Backward(const SoftmaxTask& task, const SoftmaxTask& upstream)
      : task_(task),
        terms_(TermKernelsFor(IsaChosen().slot)),
        exp_(MapKernelFor(IsaChosen().slot, Function::kExp, Dtype::kF64)),
        results_(task, IsaChosen().slot),
        upstream_(upstream, IsaChosen().slot) {}

  void RunRow(int64_t row, Rows* rows, Piece* y, Piece* g) const {
    rows->first = row;
    rows->count = 1;
    LoadLabels(task_, row, 1, rows->read);
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
      results_.Store(*rows, *y, y->z);
    }
  }

 private:
  bool IsLog() const { return task_.product == Product::kLogProbabilities; }

  void Load(const Rows& rows, int64_t begin, Piece* y, Piece* g) const {
    const int64_t n = std::min(kPiece, task_.logits.classes - begin);
    results_.Load(rows, begin, n, y);
    upstream_.Load(rows, begin, n, g);
  }

  const SoftmaxTask& task_;
  const TermKernels& terms_;
  const MapKernel exp_;
  const WideRows results_;
  const WideRows upstream_;
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
  };
  return ParallelRanges(team, task.logits.rows, range);
}

}  // namespace xent
