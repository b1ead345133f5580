// Softmax cross-entropy of a task whose rows the kernels for labels know. Rows come in tiles that fit the cache: states
// (kernels), scalars (arrays with one value per row), gradient (kernels, the rows still in cache). The order of work is
// in softmax_loss.cc; rows too long to stage, and the slices of few such rows, in softmax_long.cc.
#ifndef XENT_LIB_SOFTMAX_TILES_H_
#define XENT_LIB_SOFTMAX_TILES_H_

#include <cstdint>

#include "lib/kernels.h"
#include "lib/parallel.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_totals.h"
#include "lib/task.h"

namespace xent {

// Elements of a tile of rows too long to stage; they stay in the L2 cache until the gradient is written. Rows of half
// as many and more are a tile each.
constexpr int64_t kTileElements = 16384;
constexpr int64_t kMostLongRows = kTileElements / (kChunk + 1) + 1;
// Slices that are shared among threads at most; their states fit a small stack.
constexpr int64_t kMaxSlices = 192;

// What a thread works in: room for the exponentials of several rows, or of a single row or chunk.
struct Stage {
  alignas(64) char memory[2 * kStageBytes + kStageSlack];
};
static_assert(kChunk * 8 <= 2 * kStageBytes, "a chunk of doubles fits");

// What a thread takes from one tile to the next. Long rows whose gradient is not written yet: each leaves while the
// same row of the next tile is folded, so that memory is read and written at the same time. Their exponentials lie
// where those of that row go.
struct Carried {
  PendingWrite row;  // what is left of the row begun last
  int64_t next;      // the row to begin next
  int64_t count;
  int64_t first;
  char* kept;
  int64_t read[kMostLongRows];
  RowGrad grads[kMostLongRows];
  Expected expected;  // see Tile
};

class Softmax {
 public:
  Softmax(const SoftmaxTask& task, const Team& team);
  bool Run() const;

 private:
  bool RunAll(Totals* totals) const;
  bool AreRowsShared() const;
  bool RunTogether(Totals* totals) const;
  void RunRows(int64_t first, int64_t count, Carried* before, Rows* rows, RowTotals* totals) const;
  void RunOnStack(int64_t first, int64_t count, Carried* before, Rows* rows, RowTotals* totals) const;
  bool RunPlain(int64_t first, int64_t count, Carried* before, RowTotals* totals) const;
  bool RunTile(int64_t first, int64_t count, const Team& team, Stage* stage, Carried* before, Rows* rows,
               RowTotals* totals) const;
  bool FindStates(const Tile& tile, const Team& team, Carried* before, Rows* rows) const;
  void KeepExponentials(Rows* rows) const;
  Slice SliceOf(int64_t row, int64_t label, int64_t begin, int64_t classes, char* kept) const;
  char* KeptOf(char* kept, int64_t row) const {
    return kept == nullptr ? nullptr : kept + row * task_.logits.classes * ComputedBytes();
  }
  bool FoldSlices(const Tile& tile, const Team& team, Carried* before, Rows* rows) const;
  bool FoldSlicesTogether(const Team& team, Rows* rows) const;
  RowState FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, Carried* before) const;
  void RunColumns(int64_t first, int64_t count, Rows* rows, RowTotals* totals) const;
  void MarkLargest(const Tile& tile, Rows* rows) const;
  void FindTargets(const Tile& tile, Rows* rows) const;
  void SumWidened(int64_t row, int64_t label, TargetSums* sums) const;
  void WriteEntropies(int64_t first, int64_t count, const int64_t* labels) const;
  bool FindEntropies(const Team& team, Rows* rows) const;
  void FindScalars(const Tile& tile, Rows* rows) const;
  void FindFewLosses(Tile tile, Rows* rows) const;
  void WriteFewGradient(const Tile& tile, const Rows& rows) const;
  void WriteFewRows(Tile tile, int64_t first, const int64_t* labels, double* losses) const;
  GradientTile PlainGradient(int64_t first) const;
  void FindGradients(Rows* rows) const;
  bool WriteGradient(const Tile& tile, const Team& team, Carried* before, const Rows& rows) const;
  void WriteRowsUntil(int64_t end, Carried* before) const;

  char* GradientData(int64_t row) const { return const_cast<char*>(task_.gradient.Row(row)); }
  // dz / dx; probabilities are no derivative.
  double SlopeOfLogits() const { return task_.product == Product::kGradient ? task_.options.scale : 1.0; }
  int64_t ComputedBytes() const { return task_.logits.IsDouble() ? 8 : 4; }
  TargetRows TargetsOf(int64_t row, int64_t begin) const {
    if (!is_dense_) return TargetRows{};
    const Matrix& t = task_.targets.dense;
    return TargetRows{t.Row(row) + begin * t.ElementBytes(), t.outer_stride, t.dtype == Dtype::kF32};
  }
  bool HasOwnLoop() const { return task_.logits.classes >= kOwnLoop; }
  int64_t SlicesPerRow() const { return (task_.logits.classes + kSlice - 1) / kSlice; }

  const SoftmaxTask& task_;
  const Team team_;
  const int isa_slot_;
  const SoftmaxKernels& kernels_;
  const SoftmaxKernels& doubles_;
  const MathKernels& math_;
  const bool staged_;
  const bool has_columns_;
  const bool is_dense_;
  const bool may_be_plain_;  // RunPlain is worth a try
  const bool has_own_slopes_;
  const bool is_few_;      // losses of rows of few classes, lane = row
  const double slope_;     // d(objective) / d(row loss), but for what rows have of their own
  bool has_few_gradient_;  // and so are their gradients: no product is too large or small for it
  int64_t unit_rows_;      // rows of a unit, of which lots consist
  int64_t tile_units_;     // units that are worked on together
  int64_t plain_units_;    // the same of RunPlain
  bool stream_;
};

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_TILES_H_
