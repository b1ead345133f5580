// With S the sum of e^x over a row's classes but the label y, and e = e^x_y, both from the same anchor:
//   loss = log1p(S / e)        1 - p_y = S / (S + e)        dL/dx_y = -(1 - p_y)        dL/dx_j = e^x_j / (S + e)
// Nothing that was added is subtracted, so confident rows keep their relative accuracy. Rows come in tiles that fit the
// cache: states (kernels), scalars (arrays with one value per row, here), gradient (kernels, the rows still in cache).
// Few rows of many classes are one tile, whose slices are shared among the threads instead.
#include "lib/softmax_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/cache.h"
#include "lib/isa.h"
#include "lib/labels.h"
#include "lib/reduce.h"
#include "lib/row_state.h"
#include "lib/scratch.h"
#include "lib/softmax_rows.h"

namespace xent {
namespace {

// Elements of a tile of rows too long to stage; they stay in the L2 cache between the two passes. Rows of half as many
// and more are a tile each, whose gradient is written while the next one is folded.
constexpr int64_t kTileElements = 16384;
// Slices that are shared among threads at most; their states fit a small stack.
constexpr int64_t kMaxSlices = 192;
// Shares of the work whose losses are summed first; a constant, so that the sum does not depend on threads.
constexpr int64_t kMaxLots = 128;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// What a thread works in: two stages for several rows, or one for a single row or chunk.
struct Stages {
  char* First() { return memory; }
  char* Second() { return memory + kStageBytes + kStageSlack; }
  alignas(64) char memory[2 * (kStageBytes + kStageSlack)];
};
static_assert(kChunk * 8 <= 2 * kStageBytes, "a chunk of doubles fits");

class Softmax {
 public:
  Softmax(const SoftmaxTask& task, const Team& team);
  bool Run();

 private:
  bool RunLots(Sum* sum);
  void RunTiles(int64_t first, int64_t last, PendingWrite* pending, Sum* sum) const;
  bool RunTile(int64_t first, int64_t count, const Team& team, Stages* stages, PendingWrite* pending, Sum* sum) const;
  bool FindStates(const Tile& tile, const Team& team, PendingWrite* pending, Rows* rows) const;
  void KeepExponentials(PendingWrite* pending, Rows* rows) const;
  Slice SliceOf(const Rows& rows, int64_t row, int64_t begin, int64_t classes, void* stage) const;
  bool FoldSlices(const Tile& tile, const Team& team, PendingWrite* pending, Rows* rows) const;
  RowState FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, PendingWrite* pending) const;
  void WriteRowOutputs(const Rows& rows, Sum* sum) const;
  void PrepareGradient(Rows* rows) const;
  bool WriteGradient(const Tile& tile, const Team& team, PendingWrite* pending, const Rows& rows) const;
  void WriteTotals(const Sum& sum) const;

  char* GradientData(int64_t row) const {
    return static_cast<char*>(task_.outputs.gradient) + row * task_.gradient_stride * task_.logits.ElementBytes();
  }
  int64_t ComputedBytes() const { return task_.logits.IsDouble() ? 8 : 4; }
  int64_t SlicesPerRow() const { return (task_.logits.classes + kSlice - 1) / kSlice; }

  const SoftmaxTask& task_;
  const Team team_;
  const int isa_slot_;
  const SoftmaxKernels& kernels_;
  const SoftmaxKernels& doubles_;
  const MathKernels& math_;
  const bool staged_;
  const bool wants_losses_;
  const bool wants_rows_;  // whether logits are read at all
  int64_t tile_rows_;
  bool stream_;
  double scale_;  // of the gradient
};

Softmax::Softmax(const SoftmaxTask& task, const Team& team)
    : task_(task),
      team_(team),
      isa_slot_(IsaChosen().slot),
      kernels_(SoftmaxKernelsFor(isa_slot_, task.logits.dtype)),
      doubles_(SoftmaxKernelsFor(isa_slot_, Dtype::kF64)),
      math_(MathKernelsFor(isa_slot_)),
      staged_(task.logits.classes <= kChunk),
      wants_losses_(task.outputs.total != nullptr || task.outputs.sum != nullptr || task.outputs.row_loss != nullptr),
      wants_rows_(wants_losses_ || task.outputs.lse != nullptr || task.outputs.gradient != nullptr ||
                  task.outputs.row_state != nullptr) {
  const Matrix& x = task.logits;
  const int64_t tile_elements = staged_ ? kStageBytes / ComputedBytes() : kTileElements;
  tile_rows_ = std::min(kTileRows, std::max<int64_t>(tile_elements / std::max<int64_t>(x.classes, 1), 1));
  const bool in_place = task.outputs.gradient == x.data;
  stream_ = !in_place && GoesPastCache(x.rows * x.classes * x.ElementBytes());
  const bool is_mean = task.options.reduction == XENT_REDUCTION_MEAN && task.Counted() > 0;
  scale_ = task.options.upstream / (is_mean ? static_cast<double>(task.Counted()) : 1.0);
}

bool Softmax::Run() {
  Sum sum;
  if (wants_rows_ && task_.logits.rows > 0 && !RunLots(&sum)) return false;
  WriteTotals(sum);
  return true;
}

// Tiles of equal length in lots of consecutive tiles; or the whole matrix as one tile whose slices are shared.
bool Softmax::RunLots(Sum* sum) {
  const Matrix& x = task_.logits;
  const bool is_few_rows = x.rows < 4 * int64_t{team_.threads} && x.rows <= kTileRows;
  if (!staged_ && team_.threads > 1 && is_few_rows && x.rows * SlicesPerRow() <= kMaxSlices) {
    PendingWrite pending = {};
    return RunTile(0, x.rows, team_, nullptr, &pending, sum);
  }
  const int64_t tiles = (x.rows + tile_rows_ - 1) / tile_rows_;
  const int64_t lots = std::min(tiles, kMaxLots);
  Sum sums[kMaxLots];
  auto range = [&](int64_t first, int64_t last) {
    PendingWrite pending = {};
    for (int64_t lot = first; lot < last; ++lot) {
      RunTiles(lot * tiles / lots, (lot + 1) * tiles / lots, &pending, &sums[lot]);
    }
    kernels_.finish_write(&pending);
  };
  if (!ParallelRanges(team_, lots, range)) return false;
  for (int64_t i = 0; i < lots; ++i) sum->Add(sums[i]);
  return true;
}

void Softmax::RunTiles(int64_t first, int64_t last, PendingWrite* pending, Sum* sum) const {
  Stages stages;
  for (int64_t tile = first; tile < last; ++tile) {
    const int64_t row = tile * tile_rows_;
    RunTile(row, std::min(tile_rows_, task_.logits.rows - row), Team{1, nullptr}, &stages, pending, sum);
  }
}

// One tile, on this thread in its stages, or its slices shared among the team (then stages is null).
bool Softmax::RunTile(int64_t first, int64_t count, const Team& team, Stages* stages, PendingWrite* pending,
                      Sum* sum) const {
  Rows rows;
  rows.first = first;
  rows.count = count;
  rows.kept = nullptr;
  if (!staged_ && stages != nullptr && task_.outputs.gradient != nullptr && task_.options.row_state == nullptr) {
    KeepExponentials(pending, &rows);
  }
  LoadLabels(task_.labels, first, count, task_.logits.classes, rows.labels);
  for (int64_t r = 0; r < count; ++r) rows.read[r] = std::max(rows.labels[r], kSkipRow);
  const Tile tile = {task_.logits.Row(first), task_.logits.stride, count, task_.logits.classes, rows.read,
                     stages != nullptr ? stages->First() : nullptr,
                     stages != nullptr && tile_rows_ > 1 ? stages->Second() : nullptr};

  if (!FindStates(tile, team, pending, &rows)) return false;
  kernels_.gather(tile, rows.logit);
  if (task_.options.lse != nullptr) {
    ScaleByLse(task_, math_, &rows);
  } else {
    AddLabels(math_, &rows);
    if (task_.outputs.lse != nullptr || task_.outputs.gradient != nullptr) FindTotals(&rows);
    if (task_.outputs.lse != nullptr) FindLse(task_.logits, RowKernels{kernels_, doubles_, math_}, &rows);
  }
  WriteRowOutputs(rows, sum);
  if (task_.outputs.gradient == nullptr) return true;
  PrepareGradient(&rows);
  return WriteGradient(tile, team, pending, rows);
}

// Room for the exponentials of the tile, if there is any. The thread's scratch has two halves of constant size: what is
// pending still needs the other one.
void Softmax::KeepExponentials(PendingWrite* pending, Rows* rows) const {
  const int64_t half = (tile_rows_ * task_.logits.classes * ComputedBytes() + kStageSlack + 63) / 64 * 64;
  char* const scratch = static_cast<char*>(ThreadScratch(2 * half));
  if (scratch == nullptr) return;
  const char* const busy = static_cast<const char*>(pending->stage);
  const bool first_is_busy = pending->left > 0 && busy >= scratch && busy < scratch + half;
  rows->kept = first_is_busy ? scratch + half : scratch;
}

bool Softmax::FindStates(const Tile& tile, const Team& team, PendingWrite* pending, Rows* rows) const {
  const xent_row_state* const saved = task_.options.row_state;
  if (staged_) {
    // Saved states spare the sums, but the gradient needs the exponentials.
    if (saved == nullptr || task_.outputs.gradient != nullptr) kernels_.stage_rows(tile, rows->states);
  } else if (saved == nullptr) {
    if (!FoldSlices(tile, team, pending, rows)) return false;
  }
  if (saved != nullptr) {
    static_assert(sizeof(RowState) == sizeof(xent_row_state), "a saved state is a RowState");
    std::memcpy(rows->states, saved + rows->first, static_cast<size_t>(rows->count) * sizeof(RowState));
  }
  return true;
}

// Classes from `begin` of one of the rows, with their part of what the rows keep, else with the stage given.
Slice Softmax::SliceOf(const Rows& rows, int64_t row, int64_t begin, int64_t classes, void* stage) const {
  const char* const x = task_.logits.Row(rows.first + row) + begin * task_.logits.ElementBytes();
  if (rows.kept != nullptr) stage = rows.kept + (row * task_.logits.classes + begin) * ComputedBytes();
  return Slice{x, std::min(classes, task_.logits.classes - begin), rows.read[row] - begin, stage, rows.kept != nullptr};
}

RowState Softmax::FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, PendingWrite* pending) const {
  RowState states[kSliceStates];
  const int64_t count = kernels_.fold_slice(SliceOf(rows, row, index * kSlice, kSlice, stage), states, pending);
  return MergeStates(states, count, math_);
}

// States of long rows: slices in any order, merged in index order.
bool Softmax::FoldSlices(const Tile& tile, const Team& team, PendingWrite* pending, Rows* rows) const {
  const int64_t per_row = SlicesPerRow();
  if (tile.stage != nullptr) {
    for (int64_t r = 0; r < rows->count; ++r) {
      if (rows->read[r] == kSkipRow) continue;
      rows->states[r] = FoldSlice(*rows, r, 0, tile.stage, pending);
      for (int64_t s = 1; s < per_row; ++s) {
        rows->states[r] = MergeStates(rows->states[r], FoldSlice(*rows, r, s, tile.stage, pending), math_);
      }
    }
    return true;
  }
  RowState states[kMaxSlices];
  auto task = [&](int64_t i) {
    Stages stages;
    if (rows->read[i / per_row] == kSkipRow) return;
    states[i] = FoldSlice(*rows, i / per_row, i % per_row, stages.First(), nullptr);
  };
  if (!ParallelFor(team, rows->count * per_row, task)) return false;
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) continue;
    rows->states[r] = MergeStates(states + r * per_row, per_row, math_);
  }
  return true;
}

void Softmax::WriteRowOutputs(const Rows& rows, Sum* sum) const {
  const bool is_double = task_.logits.IsDouble();
  const auto write = [&](void* array, int64_t r, double value) {
    if (array == nullptr) return;
    if (is_double) {
      static_cast<double*>(array)[rows.first + r] = value;
    } else {
      static_cast<float*>(array)[rows.first + r] = static_cast<float>(value);
    }
  };
  // Losses are summed in parts of tile_rows_ rows, also where more rows are one tile: the same order on any team.
  Sum part;
  for (int64_t r = 0; r < rows.count; ++r) {
    const bool skipped = rows.read[r] == kSkipRow;
    const double instead = rows.labels[r] == kInvalidLabel ? kNaN : 0.0;
    const double loss = skipped ? instead : rows.loss[r];
    write(task_.outputs.row_loss, r, loss);
    if (task_.outputs.lse != nullptr) write(task_.outputs.lse, r, skipped ? instead : rows.lse[r]);
    if (task_.outputs.row_state != nullptr) {
      std::memcpy(task_.outputs.row_state + rows.first + r, &rows.states[r], sizeof(RowState));
    }
    if (wants_losses_) part.Add(loss);
    if ((r + 1) % tile_rows_ == 0 || r + 1 == rows.count) {
      sum->Add(part);
      part = Sum();
    }
  }
}

void Softmax::PrepareGradient(Rows* rows) const {
  for (int64_t r = 0; r < rows->count; ++r) {
    RowGrad& grad = rows->grads[r];
    const RowState& state = rows->states[r];
    grad = RowGrad{scale_, 4.0, state.anchor, 0.0, 0, state.plan, RowGrad::kSoftmax};
    if (rows->labels[r] == kSkipRow || scale_ == 0.0) {
      grad.kind = RowGrad::kZero;
    } else if (rows->labels[r] == kInvalidLabel || std::isnan(rows->total[r])) {
      grad.kind = RowGrad::kNaN;
    } else {
      const int64_t exponent = static_cast<int64_t>(rows->total_exponent[r]);
      // The power of two comes last: a confident row's share may be below the normal numbers, its gradient above.
      const double ratio = (state.sum + state.low) / rows->total[r];
      const int64_t ratio_exponent = ExponentOf(ratio) + 1;  // a mantissa below 1 overflows with no scale
      const double mantissa = scale_ * TimesPowerOfTwo(ratio, -ratio_exponent);
      grad.label_value = 0.0 - TimesPowerOfTwo(mantissa, state.exponent - exponent + ratio_exponent);
      const int64_t up = 2 - ExponentOf(rows->total[r]);
      grad.total = TimesPowerOfTwo(rows->total[r], up);
      grad.exponent = static_cast<int32_t>(exponent - up);
    }
  }
}

bool Softmax::WriteGradient(const Tile& tile, const Team& team, PendingWrite* pending, const Rows& rows) const {
  if (staged_) {
    const GradientTile out = {GradientData(rows.first), task_.gradient_stride, stream_};
    kernels_.write_staged(tile, rows.states, rows.grads, out);
    return true;
  }
  const auto begin = [&](int64_t row, int64_t first, int64_t classes, PendingWrite* left) {
    char* const out = GradientData(rows.first + row) + first * task_.logits.ElementBytes();
    kernels_.begin_write(SliceOf(rows, row, first, classes, nullptr), rows.grads[row], out, stream_, left);
  };
  if (tile.stage != nullptr) {
    for (int64_t r = 0; r < rows.count; ++r) {
      kernels_.finish_write(pending);
      begin(r, 0, tile.classes, pending);
    }
    return true;
  }
  const int64_t per_row = SlicesPerRow();
  auto write = [&](int64_t i) {
    PendingWrite left = {};
    begin(i / per_row, i % per_row * kSlice, kSlice, &left);
    kernels_.finish_write(&left);
  };
  return ParallelFor(team, rows.count * per_row, write);
}

void Softmax::WriteTotals(const Sum& sum) const {
  const xent_softmax_outputs& out = task_.outputs;
  const int64_t counted = task_.Counted();
  if (out.sum != nullptr) *out.sum = sum.Value();
  if (out.denominator != nullptr) *out.denominator = static_cast<double>(counted);
  if (out.counted != nullptr) *out.counted = counted;
  if (out.ignored != nullptr) *out.ignored = task_.count.ignored;
  if (out.total == nullptr) return;
  if (task_.options.reduction != XENT_REDUCTION_MEAN) {
    *out.total = sum.Value();
  } else if (counted > 0) {
    *out.total = sum.Value() / static_cast<double>(counted);
  } else {
    *out.total = task_.options.empty_mean == XENT_EMPTY_MEAN_ZERO ? 0.0 : kNaN;
  }
}

}  // namespace

bool SoftmaxLoss(const SoftmaxTask& task, const Team& team) {
  return Softmax(task, team).Run();
}

}  // namespace xent
