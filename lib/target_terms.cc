#include "lib/target_terms.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/isa.h"
#include "lib/reduce.h"
#include "lib/targets.h"

namespace xent {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void TargetTerms::AddDense(int64_t row, int64_t begin, int64_t n, double* u) const {
  const Matrix& t = task_.targets.dense;
  const SoftmaxKernels& kernels = SoftmaxKernelsFor(IsaChosen().slot, t.dtype);
  double packed[kPiece], values[kPiece];
  kernels.widen(PackedRow(t, row, begin, n, packed), n, values);
  const double kept = 1.0 - task_.options.label_smoothing;
  for (int64_t j = 0; j < n; ++j) u[j] += values[j] >= 0.0 ? kept * values[j] : kNaN;
}

// What the pairs of a row lack to 1, in equal parts for the classes that none of them names.
double TargetTerms::ShareOfUnnamed(int64_t row) const {
  if (task_.targets.rest != XENT_REST_SPREAD) return 0.0;
  const int64_t classes = task_.logits.classes;
  Sum missing;
  missing.Add(1.0);
  int64_t unnamed = 0;
  for (int64_t begin = 0; begin < classes; begin += kPiece) {
    const int64_t n = std::min(kPiece, classes - begin);
    bool is_named[kPiece] = {};
    for (int64_t i = 0; i < task_.targets.per_row; ++i) {
      const Pair pair = SparsePair(task_, row, i);
      if (pair.label < begin || pair.label >= begin + n) continue;
      is_named[pair.label - begin] = true;
      missing.Add(-pair.weight);
    }
    unnamed += std::count(is_named, is_named + n, false);
  }
  const double left = (1.0 - task_.options.label_smoothing) * std::max(missing.Value(), 0.0);
  return unnamed > 0 ? left / static_cast<double>(unnamed) : 0.0;
}

// Classes that are named have a minus sign until the others have their share.
void TargetTerms::AddSparse(const Rows& rows, int64_t r, int64_t begin, int64_t n, double* u) const {
  const double kept = 1.0 - task_.options.label_smoothing;
  const double share = rows.unnamed_share[r];
  const auto for_pairs = [&](const auto& body) {
    for (int64_t i = 0; i < task_.targets.per_row; ++i) {
      const Pair pair = SparsePair(task_, rows.first + r, i);
      if (pair.label >= begin && pair.label < begin + n) body(pair, &u[pair.label - begin]);
    }
  };
  for_pairs([](const Pair&, double* own) { *own = -std::fabs(*own); });
  for (int64_t j = 0; j < n; ++j) u[j] = std::signbit(u[j]) ? -u[j] : u[j] + share;
  for_pairs([kept](const Pair& pair, double* own) { *own += kept * (pair.weight >= 0.0 ? pair.weight : kNaN); });
}

void TargetTerms::Prepare(Rows* rows) const {
  for (int64_t r = 0; r < rows->count && task_.targets.kind == XENT_TARGET_SPARSE; ++r) {
    if (rows->read[r] != kSkipRow) rows->unnamed_share[r] = ShareOfUnnamed(rows->first + r);
  }
}

void TargetTerms::Fill(const Rows& rows, int64_t r, int64_t live, const Piece& piece, double* u) const {
  const xent_softmax_options& options = task_.options;
  const int64_t n = piece.classes;
  const double eps = options.label_smoothing;
  const bool is_uniform = options.smoothing == XENT_SMOOTHING_UNIFORM;
  const int64_t classes = (options.live_classes != 0 ? live : task_.logits.classes) - (is_uniform ? 0 : 1);
  const double share = classes > 0 ? eps / static_cast<double>(classes) : 0.0;
  std::fill(u, u + n, share);
  if (options.live_classes != 0) {
    const double* const z = piece.Row(r);
    for (int64_t j = 0; j < n; ++j) u[j] = z[j] > -kInfinity ? share : 0.0;
  }
  const int64_t row = rows.first + r;
  if (task_.targets.kind == XENT_TARGET_DENSE) {
    AddDense(row, piece.begin, n, u);
  } else if (task_.targets.kind == XENT_TARGET_SPARSE) {
    AddSparse(rows, r, piece.begin, n, u);
  } else {
    const int64_t label = rows.labels[r] - piece.begin;
    if (label >= 0 && label < n) u[label] = (1.0 - eps) + (is_uniform ? u[label] : 0.0);
  }
  for (int64_t j = 0; j < n && options.class_weight != nullptr; ++j) {
    u[j] *= task_.RowValue(options.class_weight, piece.begin + j, 1.0);
  }
}

}  // namespace xent
