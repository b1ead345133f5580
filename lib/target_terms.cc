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

// Whether no earlier pair of the row has the class of this one.
bool TargetTerms::IsFirstOfClass(int64_t row, int64_t index) const {
  const int64_t label = SparsePair(task_, row, index).label;
  for (int64_t i = 0; i < index; ++i) {
    if (SparsePair(task_, row, i).label == label) return false;
  }
  return label != kSkipRow;
}

// What the pairs of a row, which are few, lack to 1 is spread over the classes that none of them names. Those that are
// named have a minus sign meanwhile.
void TargetTerms::AddSparse(int64_t row, int64_t begin, int64_t n, double* u) const {
  const double kept = 1.0 - task_.options.label_smoothing;
  const int64_t pairs = task_.targets.per_row;
  const auto in_piece = [&](const Pair& pair) { return pair.label >= begin && pair.label < begin + n; };
  Sum missing;
  missing.Add(1.0);
  int64_t named = 0;
  for (int64_t i = 0; i < pairs; ++i) {
    const Pair pair = SparsePair(task_, row, i);
    const bool is_new = IsFirstOfClass(row, i);
    if (pair.label != kSkipRow) missing.Add(-pair.weight);
    named += is_new;
    if (is_new && in_piece(pair)) u[pair.label - begin] = -u[pair.label - begin];
  }
  const int64_t others = task_.logits.classes - named;
  const bool spreads = task_.targets.rest == XENT_REST_SPREAD && others > 0;
  const double share = spreads ? kept * (std::max(missing.Value(), 0.0) / static_cast<double>(others)) : 0.0;
  for (int64_t j = 0; j < n; ++j) u[j] = std::signbit(u[j]) ? -u[j] : u[j] + share;
  for (int64_t i = 0; i < pairs; ++i) {
    const Pair pair = SparsePair(task_, row, i);
    if (in_piece(pair)) u[pair.label - begin] += kept * (pair.weight >= 0.0 ? pair.weight : kNaN);
    if (pair.label == kInvalidLabel) u[0] = kNaN;
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
    AddSparse(row, piece.begin, n, u);
  } else {
    const int64_t label = rows.labels[r] - piece.begin;
    if (label >= 0 && label < n) u[label] = (1.0 - eps) + (is_uniform ? u[label] : 0.0);
  }
  for (int64_t j = 0; j < n && options.class_weight != nullptr; ++j) {
    u[j] *= task_.RowValue(options.class_weight, piece.begin + j, 1.0);
  }
}

}  // namespace xent
