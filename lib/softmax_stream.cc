// Slices are folded as those of long rows are (softmax_loss.cc), in the same pieces, so that a row that comes in whole
// pieces has the same bits.
#include "lib/softmax_stream.h"

#include <algorithm>
#include <limits>

#include "lib/isa.h"
#include "lib/lots.h"
#include "lib/row_state.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_totals.h"
#include "lib/targets.h"

namespace xent {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// No class has come yet, or none but the label and -inf, which merging would not change.
bool IsUntouched(const RowState& state) {
  return state.sum == 0.0 && state.low == 0.0 && state.anchor == 0.0 && state.exponent == 0 && state.plan == kPlain;
}

RowState Merge(const RowState& first, const RowState& second, const MathKernels& math) {
  return IsUntouched(first) ? second : MergeStates(first, second, math);
}

class Stream {
 public:
  explicit Stream(const StreamTask& task)
      : task_(task),
        whole_(task.whole),
        isa_slot_(IsaChosen().slot),
        kernels_(SoftmaxKernelsFor(isa_slot_, task.whole.logits.dtype)),
        doubles_(SoftmaxKernelsFor(isa_slot_, Dtype::kF64)),
        math_(MathKernelsFor(isa_slot_)) {}

  void PushRow(int64_t row) const {
    int64_t label;
    LoadLabels(whole_, row, 1, &label);
    if (label == kSkipRow) return;
    const int64_t own = label - task_.first_class;  // outside the slice: not in it
    const Matrix& x = task_.slice;
    alignas(64) double stage[kChunk + kStageSlack];
    for (int64_t begin = 0; begin < x.classes; begin += kSlice) {
      const int64_t n = std::min(kSlice, x.classes - begin);
      const char* const from = x.Row(row) + begin * x.ElementBytes();
      RowState states[kSliceStates];
      const int64_t count =
          kernels_.fold_slice(Slice{from, n, own - begin, stage, false, 1.0, {}, nullptr}, states, nullptr);
      task_.states[row] = Merge(task_.states[row], MergeStates(states, count, math_), math_);
    }
    if (label >= 0 && own >= 0 && own < x.classes) {
      kernels_.widen(x.Row(row) + own * x.ElementBytes(), 1, &task_.label_logits[row]);
    }
  }

  // Everything about the rows but their gradients.
  void FindRows(int64_t first, int64_t count, Rows* rows) const {
    const xent_softmax_options& options = whole_.options;
    const xent_softmax_outputs& out = whole_.outputs;
    LoadRows(whole_, first, count, rows);
    std::copy(task_.states + first, task_.states + first + count, rows->states);
    for (int64_t r = 0; r < count; ++r) {
      rows->logit[r] = rows->read[r] == kSkipRow ? 0.0 : task_.label_logits[first + r];
    }
    AddLeftOut(math_, false, rows);
    FindTotals(rows);
    if (options.z_loss != 0.0 || out.lse != nullptr) {
      FindLse(whole_.logits, 1.0, RowKernels{kernels_, doubles_, math_}, rows);
    }
    FindRest(whole_.logits.IsDouble(), rows);
    FindProbability(rows);
    std::copy(rows->gap, rows->gap + rows->count, rows->mark_gap);
    TargetLabels(whole_, rows);
    FindLosses(whole_, math_, rows);
  }

  void WriteRowGradient(int64_t row, Rows* rows) const {
    FindRows(row, 1, rows);
    FindGrads(rows->a, 0.0, rows->mark, rows);
    if (IsFlat(*rows, 0)) rows->grads[0].kind = RowGrad::kZero;
    const Matrix& x = task_.slice;
    const int64_t own = rows->labels[0] - task_.first_class;
    for (int64_t begin = 0; begin < x.classes; begin += kSlice) {
      const int64_t n = std::min(kSlice, x.classes - begin);
      const int64_t offset = begin * x.ElementBytes();
      PendingWrite pending = {};
      const Slice slice = {x.Row(row) + offset, n, own - begin, nullptr, false, 1.0, {}, nullptr};
      kernels_.begin_write(slice, rows->grads[0], const_cast<char*>(task_.gradient.Row(row)) + offset, false, &pending);
      kernels_.finish_write(&pending);
    }
  }

  const MathKernels& math() const { return math_; }

 private:
  const StreamTask& task_;
  const SoftmaxTask& whole_;
  const int isa_slot_;
  const SoftmaxKernels& kernels_;
  const SoftmaxKernels& doubles_;
  const MathKernels& math_;
};

}  // namespace

void BeginStates(int64_t rows, RowState* states, double* label_logits) {
  std::fill(states, states + rows, RowState{0.0, 0.0, 0.0, 0, kPlain});
  std::fill(label_logits, label_logits + rows, -kInfinity);
}

bool PushClasses(const StreamTask& task, const Team& team) {
  const Stream stream(task);
  auto row = [&](int64_t r) { stream.PushRow(r); };
  return ParallelFor(team, task.slice.rows, row);
}

void MergeRows(int64_t rows, const RowState* more, const double* more_label_logits, RowState* states,
               double* label_logits) {
  const MathKernels& math = MathKernelsFor(IsaChosen().slot);
  for (int64_t r = 0; r < rows; ++r) {
    if (!IsUntouched(more[r])) states[r] = Merge(states[r], more[r], math);
    // One of them has the label; NaN counts as having it.
    if (label_logits[r] == -kInfinity) label_logits[r] = more_label_logits[r];
  }
}

bool FinishRows(const StreamTask& task, const Team& team) {
  const Stream stream(task);
  const int64_t rows = task.whole.logits.rows;
  Totals totals;
  const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_tile, Totals* parts) {
    Rows work;
    StartRows(task.whole, std::min(kTileRows, rows), &work);
    for (int64_t lot = first_lot; lot < last_lot; ++lot) {
      RowTotals of_rows;
      for (int64_t row = first_tile(lot); row < first_tile(lot + 1); row += kTileRows) {
        stream.FindRows(row, std::min(kTileRows, first_tile(lot + 1) - row), &work);
        WriteRows(task.whole, work);
        AddRows(task.whole, stream.math(), work, 0, work.count, &of_rows);
      }
      parts[lot].Add(of_rows);
    }
  };
  if (WantsRows(task.whole) && rows > 0 && !RunLots(team, rows, range, &totals)) return false;
  WriteTotals(task.whole, totals);
  return true;
}

bool PushGradient(const StreamTask& task, const Team& team) {
  const Stream stream(task);
  auto range = [&](int64_t first, int64_t last) {
    Rows rows;
    StartRows(task.whole, 1, &rows);
    for (int64_t row = first; row < last; ++row) stream.WriteRowGradient(row, &rows);
  };
  return ParallelRanges(team, task.slice.rows, range);
}

}  // namespace xent
