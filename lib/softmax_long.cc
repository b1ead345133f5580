// Rows of more classes than are staged. A row is folded slice by slice; where a gradient follows, its exponentials stay
// in the cache. Few rows of many classes are one tile, whose slices are shared among the threads instead.
#include <algorithm>

#include "lib/row_state.h"
#include "lib/scratch.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_tiles.h"

namespace xent {

// Room for the exponentials of the tile, if there is any, in one place for all tiles: two rows of vocabularies would
// not fit the L2 cache. (Intel, 64 x 256000 f32: 5.1 ms with a place for each of two tiles.)
void Softmax::KeepExponentials(Rows* rows) const {
  rows->kept = static_cast<char*>(ThreadScratch(unit_rows_ * task_.logits.classes * ComputedBytes() + kStageSlack));
}

// Classes from `begin` of a row that leaves out this label. kept: where the row keeps its exponentials, or null.
Slice Softmax::SliceOf(int64_t row, int64_t label, int64_t begin, int64_t classes, char* kept) const {
  return Slice{task_.logits.Row(row) + begin * task_.logits.ElementBytes(),
               std::min(classes, task_.logits.classes - begin),
               label - begin,
               kept == nullptr ? nullptr : kept + begin * ComputedBytes(),
               kept != nullptr,
               task_.options.scale,
               TargetsOf(row, begin),
               nullptr};
}

// stage: room for a chunk, if the row's exponentials are not kept. before: null where slices are shared.
RowState Softmax::FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, Carried* before) const {
  RowState states[kSliceStates];
  Slice slice = SliceOf(rows.first + row, rows.read[row], index * kSlice, kSlice, KeptOf(rows.kept, row));
  if (!slice.keeps_stage) slice.stage = stage;
  if (before != nullptr) slice.expected = &before->expected;
  const int64_t count = kernels_.fold_slice(slice, states, before != nullptr ? &before->row : nullptr);
  return MergeStates(states, count, math_);
}

// States of long rows: slices in any order, merged in index order.
bool Softmax::FoldSlices(const Tile& tile, const Team& team, Carried* before, Rows* rows) const {
  if (tile.stage == nullptr) return FoldSlicesTogether(team, rows);
  for (int64_t r = 0; r < rows->count; ++r) {
    WriteRowsUntil(r + 1, before);
    if (rows->read[r] == kSkipRow) continue;
    rows->states[r] = FoldSlice(*rows, r, 0, tile.stage, before);
    for (int64_t s = 1; s < SlicesPerRow(); ++s) {
      rows->states[r] = MergeStates(rows->states[r], FoldSlice(*rows, r, s, tile.stage, before), math_);
    }
  }
  return true;
}

// Not inline: its states would stay on a small stack.
__attribute__((noinline)) bool Softmax::FoldSlicesTogether(const Team& team, Rows* rows) const {
  const int64_t per_row = SlicesPerRow();
  RowState states[kMaxSlices];
  auto task = [&](int64_t i) {
    Stage stage;
    if (rows->read[i / per_row] == kSkipRow) return;
    states[i] = FoldSlice(*rows, i / per_row, i % per_row, stage.memory, nullptr);
  };
  if (!ParallelFor(team, rows->count * per_row, task)) return false;
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) continue;
    rows->states[r] = MergeStates(states + r * per_row, per_row, math_);
  }
  return true;
}

bool Softmax::WriteGradient(const Tile& tile, const Team& team, Carried* before, const Rows& rows) const {
  if (staged_) {
    const GradientTile out = {GradientData(rows.first),
                              task_.gradient.outer_stride,
                              1,
                              stream_,
                              task_.options.label_smoothing == 0.0 && !HasEntropyGradient(task_),
                              0.0,
                              TargetsOf(rows.first, 0)};
    kernels_.write_staged(tile, rows.states, rows.grads, out);
    return true;
  }
  if (tile.stage != nullptr) {
    WriteRowsUntil(before->count, before);
    before->next = 0;
    before->count = rows.count;
    before->first = rows.first;
    before->kept = rows.kept;
    std::copy(rows.read, rows.read + rows.count, before->read);
    std::copy(rows.grads, rows.grads + rows.count, before->grads);
    // What has to be computed again is in the cache now.
    if (rows.kept == nullptr) WriteRowsUntil(rows.count, before);
    return true;
  }
  const int64_t per_row = SlicesPerRow();
  auto write = [&](int64_t i) {
    const int64_t row = i / per_row;
    const int64_t begin = i % per_row * kSlice;
    PendingWrite left = {};
    char* const out = GradientData(rows.first + row) + begin * task_.logits.ElementBytes();
    const Slice slice = SliceOf(rows.first + row, rows.read[row], begin, kSlice, nullptr);
    kernels_.begin_write(slice, rows.grads[row], out, stream_, &left);
    kernels_.finish_write(&left);
  };
  return ParallelFor(team, rows.count * per_row, write);
}

// Finishes and begins the rows before `end`, as far as there are any: the last of them is left pending.
void Softmax::WriteRowsUntil(int64_t end, Carried* before) const {
  for (; before->next < std::min(end, before->count); ++before->next) {
    const int64_t r = before->next;
    const Slice slice = SliceOf(before->first + r, before->read[r], 0, task_.logits.classes, KeptOf(before->kept, r));
    kernels_.begin_write(slice, before->grads[r], GradientData(before->first + r), stream_, &before->row);
  }
}

}  // namespace xent
