#include "lib/capped_rows.h"

#include <algorithm>
#include <cmath>

#include "lib/row_state.h"
#include "lib/scratch.h"
#include "lib/target_terms.h"

namespace xent {
namespace {

// Several shorter rows at a time take less in f64.
constexpr int64_t kLeastCappedClasses = 192;
// With more, a probability could be no normal number, and what is kept would not fit the scratch memory.
constexpr int64_t kMostCappedClasses = (int64_t{1} << 20) - 64;

// Beyond, factors and their products with exponentials would be no normal floats.
constexpr double kFarFactor = 0x1p60;

bool IsUsual(double factor) { return std::fabs(factor) > 1.0 / kFarFactor && std::fabs(factor) < kFarFactor; }

bool HasShortCap(const SoftmaxTask& task, const CappedKernels& kernels) {
  const xent_softmax_options& options = task.options;
  const Matrix& x = task.logits;
  const bool has_cap = options.softcap > 0.0 && options.softcap <= kMostShortCap;
  const bool is_usual = IsUsual(options.softcap) && IsUsual(options.scale) && IsUsual(options.scale / options.softcap);
  const bool is_long = x.classes >= kLeastCappedClasses && x.classes <= kMostCappedClasses;
  const bool has_terms = TargetTerms(task).HasTermPerClass() || WantsEntropy(task) || options.live_classes != 0;
  return has_cap && is_usual && is_long && !x.IsDouble() && kernels.sum != nullptr && x.HasPlainRows() && !has_terms &&
         task.product != Product::kLogProbabilities;
}

}  // namespace

CappedRows::CappedRows(const SoftmaxTask& task, int isa_slot)
    : task_(task),
      kernels_(SoftmaxKernelsFor(isa_slot, task.logits.dtype)),
      capped_(CappedKernelsFor(isa_slot, task.logits.dtype)),
      terms_{task.options.scale, task.options.softcap, true},
      are_known_(HasShortCap(task, capped_)) {}

bool CappedRows::FindLargest(int64_t row, int64_t* largest, double* value) const {
  const Matrix& x = task_.logits;
  constexpr int64_t kRead = 0;
  Tile tile = {x.Row(row), x.outer_stride, 1, 1, x.classes, &kRead, nullptr, nullptr, false, true, 1.0, nullptr};
  kernels_.find_largest(tile, largest);
  if (*largest < 0) return false;
  tile.labels = largest;
  kernels_.gather(tile, value);
  return true;
}

bool CappedRows::HasGradient() const {
  const Matrix& gradient = task_.gradient;
  return task_.outputs.gradient != nullptr && gradient.dtype == task_.logits.dtype && gradient.HasPlainRows();
}

bool CappedRows::FindState(int64_t row, int64_t without, RowState* state, const float** kept) const {
  const int64_t classes = task_.logits.classes;
  constexpr int64_t kElement = sizeof(float);
  float* const room = HasGradient() ? static_cast<float*>(ThreadScratch(classes * kElement + kStageSlack)) : nullptr;
  *kept = room;
  return capped_.sum(terms_, task_.logits.Row(row), classes, without, HasSlopes(), room, state);
}

// Where nothing could be kept: the same, piece by piece.
void CappedRows::WriteAgain(int64_t row, double factor, char* out) const {
  alignas(64) float kept[kPieceRoom];
  const Matrix& x = task_.logits;
  for (int64_t begin = 0; begin < x.classes; begin += kPiece) {
    const int64_t n = std::min(kPiece, x.classes - begin);
    const int64_t offset = begin * x.ElementBytes();
    RowState unused;
    capped_.sum(terms_, x.Row(row) + offset, n, -1, HasSlopes(), kept, &unused);
    capped_.write(factor, kept, n, out + offset);
  }
}

bool CappedRows::WriteGradient(const Rows& rows, const WideRows& wide, const float* kept) const {
  const Matrix& x = task_.logits;
  if (!HasGradient() || IsFlat(rows, 0) || rows.labels[0] == kInvalidLabel || std::isnan(rows.cross[0])) return false;
  const double share = TimesPowerOfTwo(1.0 / rows.total[0], -static_cast<int64_t>(rows.total_exponent[0]));
  const double factor = rows.a[0] * share * (HasSlopes() ? 4.0 * terms_.scale : 1.0);
  if (!IsUsual(factor)) return false;
  const int64_t mark = task_.HasLabels() ? rows.labels[0] : rows.read[0];
  double slope;
  wide.At(rows.first, mark, &slope);  // before the gradient takes the logit's place
  const double of_kept = HasSlopes() ? factor / kCappedLift : factor;
  char* const out = const_cast<char*>(task_.gradient.Row(rows.first));
  if (kept != nullptr) {
    capped_.write(of_kept, kept, x.classes, out);
  } else {
    WriteAgain(rows.first, of_kept, out);
  }
  const double element = HasSlopes() ? rows.mark[0] * slope : rows.mark[0];
  StoreRow(task_.gradient, kernels_, rows.first, mark, 1, &element);
  return true;
}

}  // namespace xent
