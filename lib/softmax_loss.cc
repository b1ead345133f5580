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
#include "lib/row_state.h"
#include "lib/scratch.h"
#include "lib/softmax_general.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_totals.h"
#include "lib/targets.h"

namespace xent {
namespace {

// Elements of a tile of rows too long to stage; they stay in the L2 cache until the gradient is written. Rows of half
// as many and more are a tile each.
constexpr int64_t kTileElements = 16384;
constexpr int64_t kMostLongRows = kTileElements / (kChunk + 1) + 1;
// Slices that are shared among threads at most; their states fit a small stack.
constexpr int64_t kMaxSlices = 192;
// A sum of f32 products below this may have lost digits of them.
constexpr double kLeastSum = 0x1p-100;

// What a thread works in: room for the exponentials of several rows, or of a single row or chunk.
struct Stage {
  alignas(64) char memory[2 * kStageBytes + kStageSlack];
};
static_assert(kChunk * 8 <= 2 * kStageBytes, "a chunk of doubles fits");

// Long rows of a tile whose gradient is not written yet: each leaves while the same row of the next tile is folded, so
// that memory is read and written at the same time. Their exponentials lie where those of that row go.
struct Unwritten {
  PendingWrite row;  // what is left of the row begun last
  int64_t next;      // the row to begin next
  int64_t count;
  int64_t first;
  char* kept;
  int64_t read[kMostLongRows];
  RowGrad grads[kMostLongRows];
};

// What rows with nothing unusual are worked on with, many at a time.
struct PlainWork {
  alignas(64) char columns[kColumnWorkBytes];
  int64_t labels[kMostColumns];
  double sums[kMostColumns];
  double logit[kMostColumns];
  double gap[kMostColumns];
  double factor[kMostColumns];
  double mark[kMostColumns];
};
static_assert(kMostColumns >= kPlainTileRows && kMostColumns % kRowLanes == 0, "the arrays suffice");

class Softmax {
 public:
  Softmax(const SoftmaxTask& task, const Team& team);
  bool Run() const;

 private:
  bool RunAll(Totals* totals) const;
  bool RunTogether(Totals* totals) const;
  void RunRows(int64_t first, int64_t count, Unwritten* before, Rows* rows, Totals* totals) const;
  void RunOnStack(int64_t first, int64_t count, Unwritten* before, Rows* rows, Totals* totals) const;
  bool RunPlain(int64_t first, int64_t count, PendingWrite* pending, Totals* totals) const;
  bool RunTile(int64_t first, int64_t count, const Team& team, Stage* stage, Unwritten* before, Rows* rows,
               Totals* totals) const;
  bool FindStates(const Tile& tile, const Team& team, Unwritten* before, Rows* rows) const;
  void KeepExponentials(Rows* rows) const;
  Slice SliceOf(int64_t row, int64_t label, int64_t begin, int64_t classes, char* kept) const;
  char* KeptOf(char* kept, int64_t row) const {
    return kept == nullptr ? nullptr : kept + row * task_.logits.classes * ComputedBytes();
  }
  bool FoldSlices(const Tile& tile, const Team& team, Unwritten* before, Rows* rows) const;
  bool FoldSlicesTogether(const Team& team, Rows* rows) const;
  RowState FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, PendingWrite* pending) const;
  void RunColumns(int64_t first, int64_t count, Rows* rows, Totals* totals) const;
  void MarkLargest(const Tile& tile, Rows* rows) const;
  void FindTargets(const Tile& tile, Rows* rows) const;
  void SumWidened(int64_t row, int64_t label, TargetSums* sums) const;
  void FindScalars(const Tile& tile, Rows* rows) const;
  void FindPairLosses(Tile tile, Rows* rows) const;
  void WritePairGradient(Tile tile, int64_t first, const int64_t* labels, double* losses) const;
  GradientTile PlainGradient(int64_t first) const;
  void FindGradients(Rows* rows) const;
  bool WriteGradient(const Tile& tile, const Team& team, Unwritten* before, const Rows& rows) const;
  void WriteRowsUntil(int64_t end, Unwritten* before) const;

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
  const bool is_pair_;       // two classes, whose losses have a closed form
  bool has_pair_gradient_;   // and so do their gradients: no product is too large or small for it
  int64_t part_rows_;        // rows whose losses are added first; the bits of totals depend on it
  int64_t unit_rows_;        // rows of a unit, of which lots consist
  int64_t tile_units_;       // units that are worked on together
  int64_t plain_units_;      // the same of RunPlain
  bool stream_;
};

Softmax::Softmax(const SoftmaxTask& task, const Team& team)
    : task_(task),
      team_(team),
      isa_slot_(IsaChosen().slot),
      kernels_(SoftmaxKernelsFor(isa_slot_, task.logits.dtype)),
      doubles_(SoftmaxKernelsFor(isa_slot_, Dtype::kF64)),
      math_(MathKernelsFor(isa_slot_)),
      staged_(task.logits.classes <= kChunk),
      has_columns_(HasColumns(task)),
      is_dense_(HasDenseRows(task)),
      may_be_plain_(IsPlainLoss(task) && (staged_ || has_columns_)),
      is_pair_(task.logits.classes == 2 && kernels_.pair_rows != nullptr && HasPlainOptions(task) &&
               task.options.scale == 1.0 && task.options.masked_row != XENT_MASKED_ROW_ZERO) {
  const Matrix& x = task.logits;
  constexpr double kFar = 0x1p60;
  const double slope = std::fabs(GradientScale(task));
  has_pair_gradient_ = is_pair_ && slope > 1.0 / kFar && slope <= 1.0;
  const int64_t classes = std::max<int64_t>(x.classes, 1);
  const int64_t stage_elements = kStageBytes / ComputedBytes();
  part_rows_ = std::min(kTileRows, std::max<int64_t>((staged_ ? stage_elements : kTileElements) / classes, 1));
  unit_rows_ = part_rows_;
  // Of rows that are written one by one, a stage holds one if no gradient follows.
  const int64_t fitting = 2 * stage_elements / classes;
  const bool is_kept = task.outputs.gradient != nullptr || !HasOwnLoop();
  const int64_t most = is_kept ? fitting : kPlainTileRows;
  tile_units_ = staged_ && HasOwnLoop() ? std::max<int64_t>(std::min(most, kTileRows) / unit_rows_, 1) : 1;
  plain_units_ = std::max<int64_t>(std::min(most, kPlainTileRows) / unit_rows_, 1);
  if (has_columns_) {
    part_rows_ = kTileRows;
    unit_rows_ = kMostColumns;
    tile_units_ = plain_units_ = 1;
  }
  const bool in_place = task.outputs.gradient == x.data;
  stream_ = !in_place && GoesPastCache(x.rows * x.classes * x.ElementBytes());
}

bool Softmax::Run() const {
  Totals totals;
  if (WantsRows(task_) && task_.logits.rows > 0 && !RunAll(&totals)) return false;
  WriteTotals(task_, totals);
  return true;
}

// Units of equal length in lots of consecutive units; or the whole matrix as one tile whose slices are shared.
bool Softmax::RunAll(Totals* totals) const {
  const Matrix& x = task_.logits;
  const bool is_few_rows = x.rows < 4 * int64_t{team_.threads} && x.rows <= kTileRows;
  if (!staged_ && team_.threads > 1 && is_few_rows && x.rows * SlicesPerRow() <= kMaxSlices) {
    return RunTogether(totals);
  }
  // Tiles are runs of rows at equal distances.
  const int64_t run_rows = x.inner == 1 ? x.rows : x.inner;
  const int64_t units_per_run = (run_rows + unit_rows_ - 1) / unit_rows_;
  const int64_t units = x.rows / run_rows * units_per_run;
  const int64_t step = may_be_plain_ ? plain_units_ : tile_units_;
  const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_unit, Totals* parts) {
    Unwritten before;
    before.row = {};
    before.next = before.count = 0;
    Rows rows;
    rows.count = 0;
    for (int64_t lot = first_lot; lot < last_lot; ++lot) {
      const int64_t end = first_unit(lot + 1);
      for (int64_t unit = first_unit(lot); unit < end; unit += step) {
        // Divisions would be felt in each of many small tiles.
        const int64_t run = has_columns_ ? unit / units_per_run : 0;
        const int64_t begin = (unit - run * units_per_run) * unit_rows_;
        const int64_t first = run * run_rows + begin;
        const int64_t count = std::min(std::min(step, end - unit) * unit_rows_, run_rows - begin);
        if (may_be_plain_ && RunPlain(first, count, &before.row, &parts[lot])) continue;
        RunRows(first, count, &before, &rows, &parts[lot]);
      }
    }
    WriteRowsUntil(before.count, &before);
    kernels_.finish_write(&before.row);
  };
  return RunLots(team_, units, range, totals);
}

// Rows of which some may be unusual. Not inline: most calls have none, and need no such stack.
__attribute__((noinline)) void Softmax::RunRows(int64_t first, int64_t count, Unwritten* before, Rows* rows,
                                                Totals* totals) const {
  if (rows->count == 0) StartRows(task_, std::min(kTileRows, task_.logits.rows), rows);
  if (has_columns_) {
    RunColumns(first, count, rows, totals);
    return;
  }
  const int64_t most = tile_units_ * unit_rows_;
  for (int64_t from = 0; from < count; from += most) {
    const int64_t n = std::min(most, count - from);
    if (may_be_plain_ && n < count && RunPlain(first + from, n, &before->row, totals)) continue;
    if (staged_) kernels_.finish_write(&before->row);  // it lies in the same scratch memory
    // Longer rows keep exponentials in the scratch memory.
    Stage* const stage = staged_ ? static_cast<Stage*>(ThreadScratch(sizeof(Stage))) : nullptr;
    if (stage != nullptr) {
      RunTile(first + from, n, Team{1, nullptr}, stage, before, rows, totals);
    } else {
      RunOnStack(first + from, n, before, rows, totals);
    }
  }
}

__attribute__((noinline)) void Softmax::RunOnStack(int64_t first, int64_t count, Unwritten* before, Rows* rows,
                                                   Totals* totals) const {
  Stage stage;
  RunTile(first, count, Team{1, nullptr}, &stage, before, rows, totals);
}

// Rows with nothing unusual: the same bits as the ways below, in a few loops. False: there is something, and nothing
// was written.
bool Softmax::RunPlain(int64_t first, int64_t count, PendingWrite* pending, Totals* totals) const {
  const Matrix& x = task_.logits;
  const xent_softmax_outputs& out = task_.outputs;
  const bool wants_gradient = out.gradient != nullptr;
  const int64_t column_bytes = wants_gradient ? kMostColumns * x.classes * ComputedBytes() : 0;
  const int64_t stage_bytes = std::max(has_columns_ ? column_bytes : 0, 2 * kStageBytes);
  const int64_t work_bytes = static_cast<int64_t>(sizeof(PlainWork));
  // What is pending lies in one of two stages.
  const int64_t room = stage_bytes + kStageSlack;
  char* const scratch = static_cast<char*>(ThreadScratch(work_bytes + (stream_ && HasOwnLoop() ? 2 : 1) * room));
  if (scratch == nullptr) return false;
  PlainWork* const work = reinterpret_cast<PlainWork*>(scratch);
  char* stage = scratch + work_bytes;
  if (pending->left > 0 && static_cast<const char*>(pending->stage) < stage + room) stage += room;
  LoadLabels(task_, first, count, work->labels);
  int64_t signs = 0;
  for (int64_t r = 0; r < count; ++r) signs |= work->labels[r];
  const bool is_read = signs >= 0;
  if (is_pair_ && wants_gradient && !has_pair_gradient_) return false;
  if (!is_pair_ && !is_read && std::count(work->labels, work->labels + count, kInvalidLabel) > 0) return false;
  const Tile tile = {x.Row(first),
                     has_columns_ ? 1 : x.outer_stride,
                     has_columns_ ? x.class_stride : 1,
                     count,
                     x.classes,
                     work->labels,
                     has_columns_ && !wants_gradient && !is_pair_ ? nullptr : stage,
                     work->columns,
                     wants_gradient || !HasOwnLoop(),
                     is_read,
                     task_.options.scale};
  const double slope = GradientScale(task_);
  int64_t largest[kPlainTileRows];
  if (WantsClasses(task_)) kernels_.find_largest(tile, largest);
  const GradientTile gradient = wants_gradient ? PlainGradient(first) : GradientTile{};
  if (is_pair_) {
    kernels_.pair_rows(tile, slope, work->gap, wants_gradient ? &gradient : nullptr);
  } else {
    if (!kernels_.stage_plain(tile, work->sums, work->logit, pending)) return false;
    for (int64_t r = 0; r < count && task_.options.scale != 1.0; ++r) work->logit[r] *= task_.options.scale;
    if (!math_.plain_rows(PlainRows{count, x.IsDouble(), work->sums, work->logit, slope, SlopeOfLogits(), work->gap,
                                    wants_gradient ? work->factor : nullptr, work->mark})) {
      return false;
    }
    if (wants_gradient) kernels_.write_plain(tile, work->factor, work->mark, gradient, pending);
  }
  if (WantsClasses(task_)) WriteClasses(task_, first, count, work->labels, work->gap, largest, totals);
  WriteLosses(task_, math_, first, count, work->gap, is_read ? nullptr : work->labels, part_rows_, totals);
  return true;
}

// All rows as one tile, whose slices are shared. Not inline: its rows would stay on a small stack.
__attribute__((noinline)) bool Softmax::RunTogether(Totals* totals) const {
  Rows rows;
  StartRows(task_, task_.logits.rows, &rows);
  return RunTile(0, task_.logits.rows, team_, nullptr, nullptr, &rows, totals);
}

// One tile, on this thread in its stage, or its slices shared among the team (then stage is null).
bool Softmax::RunTile(int64_t first, int64_t count, const Team& team, Stage* stage, Unwritten* before, Rows* rows,
                      Totals* totals) const {
  LoadRows(task_, first, count, rows);
  if (!staged_ && stage != nullptr && task_.outputs.gradient != nullptr && task_.options.row_state == nullptr) {
    KeepExponentials(rows);
  }
  const Tile tile = {task_.logits.Row(first),
                     task_.logits.outer_stride,
                     1,
                     count,
                     task_.logits.classes,
                     rows->read,
                     stage != nullptr ? stage->memory : nullptr,
                     nullptr,
                     task_.outputs.gradient != nullptr,
                     false,
                     task_.options.scale};

  if (is_dense_) MarkLargest(tile, rows);
  if (!FindStates(tile, team, before, rows)) return false;
  FindScalars(tile, rows);
  if (is_pair_) FindPairLosses(tile, rows);
  WriteRows(task_, math_, *rows, part_rows_, totals);
  if (WantsClasses(task_)) {
    int64_t largest[kTileRows];
    kernels_.find_largest(tile, largest);
    WriteClasses(task_, first, count, rows->labels, rows->gap, largest, totals);
  }
  if (task_.outputs.gradient == nullptr) return true;
  if (has_pair_gradient_) {
    WritePairGradient(tile, first, rows->labels, rows->loss);
    return true;
  }
  FindGradients(rows);
  return WriteGradient(tile, team, before, *rows);
}

// The losses that the short way gives. The tile's stage may be needed still.
__attribute__((noinline)) void Softmax::FindPairLosses(Tile tile, Rows* rows) const {
  alignas(64) float stage[2 * kMostColumns + kStageSlack / sizeof(float)];
  tile.stage = stage;
  tile.labels = rows->labels;
  kernels_.pair_rows(tile, 0.0, rows->loss, nullptr);
  std::copy(rows->loss, rows->loss + rows->count, rows->mark_gap);
}

// The gradient that it gives; losses: room for those of the tile.
void Softmax::WritePairGradient(Tile tile, int64_t first, const int64_t* labels, double* losses) const {
  tile.labels = labels;
  const GradientTile gradient = PlainGradient(first);
  kernels_.pair_rows(tile, GradientScale(task_), losses, &gradient);
}

// Where the gradient of a tile goes that is products only.
GradientTile Softmax::PlainGradient(int64_t first) const {
  const int64_t stride = has_columns_ ? 1 : task_.gradient.outer_stride;
  const int64_t class_stride = has_columns_ ? task_.gradient.class_stride : 1;
  return GradientTile{GradientData(first), stride, class_stride, stream_, false, {}};
}

// Rows side by side, their classes apart: states and gradients of many rows at a time, scalars of kTileRows.
void Softmax::RunColumns(int64_t first, int64_t count, Rows* rows, Totals* totals) const {
  struct OfRows {
    alignas(64) char work[kColumnWorkBytes];
    RowState states[kMostColumns];
    RowGrad grads[kMostColumns];
    int64_t labels[kMostColumns];
    int64_t read[kMostColumns];
    double losses[kMostColumns];
  };
  const Matrix& x = task_.logits;
  const bool wants_gradient = task_.outputs.gradient != nullptr;
  const int64_t stage_bytes = wants_gradient ? kMostColumns * x.classes * ComputedBytes() + kStageSlack : 0;
  char* const scratch = static_cast<char*>(ThreadScratch(static_cast<int64_t>(sizeof(OfRows)) + stage_bytes));
  if (scratch == nullptr) {
    RunGeneralRows(task_, first, count, totals);
    return;
  }
  OfRows* const all = reinterpret_cast<OfRows*>(scratch);
  const auto tile_of = [&](int64_t from, int64_t n) {
    return Tile{x.Row(first + from),
                1,
                x.class_stride,
                n,
                x.classes,
                all->read + from,
                wants_gradient ? scratch + sizeof(OfRows) : nullptr,
                all->work,
                wants_gradient,
                false,
                1.0};
  };
  for (int64_t from = 0; from < count; from += kTileRows) {
    LoadRows(task_, first + from, std::min(kTileRows, count - from), rows);
    std::copy(rows->labels, rows->labels + rows->count, all->labels + from);
    std::copy(rows->read, rows->read + rows->count, all->read + from);
  }
  const Tile tile = tile_of(0, count);
  kernels_.stage_rows(tile, all->states);
  for (int64_t from = 0; from < count; from += kTileRows) {
    LoadRows(task_, first + from, std::min(kTileRows, count - from), rows);
    std::copy(all->states + from, all->states + from + rows->count, rows->states);
    FindScalars(tile_of(from, rows->count), rows);
    if (is_pair_) FindPairLosses(tile_of(from, rows->count), rows);
    WriteRows(task_, math_, *rows, part_rows_, totals);
    if (!wants_gradient || has_pair_gradient_) continue;
    FindGradients(rows);
    std::copy(rows->states, rows->states + rows->count, all->states + from);
    std::copy(rows->grads, rows->grads + rows->count, all->grads + from);
  }
  if (!wants_gradient) return;
  if (has_pair_gradient_) {
    WritePairGradient(tile, first, all->labels, all->losses);
  } else {
    kernels_.write_staged(tile, all->states, all->grads, PlainGradient(first));
  }
}

void Softmax::FindGradients(Rows* rows) const {
  if (SlopeOfLogits() != 1.0) ScaleGradients(task_, SlopeOfLogits(), rows);
  FindGrads(rows->a, SmoothingShare(task_), rows->mark, rows);
  for (int64_t r = 0; r < rows->count && is_dense_; ++r) {
    if (rows->grads[r].kind == RowGrad::kSoftmax && std::isnan(rows->cross[r])) rows->grads[r].kind = RowGrad::kNaN;
  }
  // Without factors of their own all rows have the slope of the first, or are not read.
  const bool may_be_flat = task_.options.row_upstream != nullptr || rows->slope[0] == 0.0;
  for (int64_t r = 0; r < rows->count && may_be_flat; ++r) {
    if (IsFlat(*rows, r)) rows->grads[r].kind = RowGrad::kZero;
  }
}

// From the states to the losses and the parts of the gradient.
void Softmax::FindScalars(const Tile& tile, Rows* rows) const {
  const xent_softmax_options& options = task_.options;
  const xent_softmax_outputs& out = task_.outputs;
  const bool needs_lse = options.z_loss != 0.0 || out.lse != nullptr;
  const bool needs_probability = options.focal_gamma != 0.0 || out.probability != nullptr || HasBeside(task_);
  const bool needs_rest = needs_probability || out.gradient != nullptr;
  kernels_.gather(tile, rows->logit);
  for (int64_t r = 0; r < rows->count && options.scale != 1.0; ++r) rows->logit[r] *= options.scale;
  if (options.masked_row == XENT_MASKED_ROW_ZERO) SkipMasked(rows);
  if (options.lse != nullptr) {
    ScaleByLse(task_, math_, rows);
  } else {
    AddLeftOut(math_, !task_.logits.IsDouble() && (staged_ || has_columns_), rows);
    if (needs_lse || needs_rest) FindTotals(rows);
    if (needs_lse) FindLse(task_.logits, options.scale, RowKernels{kernels_, doubles_, math_}, rows);
  }
  if (needs_rest) FindRest(task_.logits.IsDouble(), rows);
  if (needs_probability) FindProbability(rows);
  std::copy(rows->gap, rows->gap + rows->count, rows->mark_gap);
  if (is_dense_) {
    FindTargets(tile, rows);
  } else if (options.label_smoothing == 0.0) {
    TargetLabels(task_, rows);
  } else {
    double differences[kTileRows];
    kernels_.sum_differences(tile, differences);
    TargetSmoothedLabels(task_, differences, rows);
  }
  FindLosses(task_, math_, rows);
}

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

// Room for the exponentials of the tile, if there is any, in one place for all tiles: two rows of vocabularies would
// not fit the L2 cache. (Intel, 64 x 256000 f32: 5.1 ms with a place for each of two tiles.)
void Softmax::KeepExponentials(Rows* rows) const {
  rows->kept = static_cast<char*>(ThreadScratch(unit_rows_ * task_.logits.classes * ComputedBytes() + kStageSlack));
}

// The caller's states of the rows, if there are any that leave out the labels.
const xent_row_state* SavedStates(const SoftmaxTask& task, const Rows& rows) {
  const xent_row_state* const saved = task.options.row_state;
  for (int64_t r = rows.first; r < rows.first + rows.count && saved != nullptr; ++r) {
    RowState state;
    std::memcpy(&state, &saved[r], sizeof(state));
    if (state.plan == kOtherClass) return nullptr;
  }
  return saved;
}

bool Softmax::FindStates(const Tile& tile, const Team& team, Unwritten* before, Rows* rows) const {
  const xent_row_state* const saved = SavedStates(task_, *rows);
  if (staged_) {
    // Saved states spare the sums, but the gradient needs the exponentials.
    if (saved == nullptr || task_.outputs.gradient != nullptr) kernels_.stage_rows(tile, rows->states);
  } else if (saved == nullptr) {
    if (!FoldSlices(tile, team, before, rows)) return false;
  }
  // A row that is staged has found its state once more: one that another version or instruction set saved may not fit.
  if (saved != nullptr && !(staged_ && task_.outputs.gradient != nullptr)) {
    static_assert(sizeof(RowState) == sizeof(xent_row_state), "a saved state is a RowState");
    std::memcpy(rows->states, saved + rows->first, static_cast<size_t>(rows->count) * sizeof(RowState));
  }
  return true;
}

// Classes from `begin` of a row that leaves out this label. kept: where the row keeps its exponentials, or null.
Slice Softmax::SliceOf(int64_t row, int64_t label, int64_t begin, int64_t classes, char* kept) const {
  return Slice{task_.logits.Row(row) + begin * task_.logits.ElementBytes(),
               std::min(classes, task_.logits.classes - begin),
               label - begin,
               kept == nullptr ? nullptr : kept + begin * ComputedBytes(),
               kept != nullptr,
               task_.options.scale,
               TargetsOf(row, begin)};
}

// stage: room for a chunk, if the row's exponentials are not kept.
RowState Softmax::FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, PendingWrite* pending) const {
  RowState states[kSliceStates];
  Slice slice = SliceOf(rows.first + row, rows.read[row], index * kSlice, kSlice, KeptOf(rows.kept, row));
  if (!slice.keeps_stage) slice.stage = stage;
  const int64_t count = kernels_.fold_slice(slice, states, pending);
  return MergeStates(states, count, math_);
}

// States of long rows: slices in any order, merged in index order.
bool Softmax::FoldSlices(const Tile& tile, const Team& team, Unwritten* before, Rows* rows) const {
  if (tile.stage == nullptr) return FoldSlicesTogether(team, rows);
  for (int64_t r = 0; r < rows->count; ++r) {
    WriteRowsUntil(r + 1, before);
    if (rows->read[r] == kSkipRow) continue;
    rows->states[r] = FoldSlice(*rows, r, 0, tile.stage, &before->row);
    for (int64_t s = 1; s < SlicesPerRow(); ++s) {
      rows->states[r] = MergeStates(rows->states[r], FoldSlice(*rows, r, s, tile.stage, &before->row), math_);
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

bool Softmax::WriteGradient(const Tile& tile, const Team& team, Unwritten* before, const Rows& rows) const {
  if (staged_) {
    const GradientTile out = {
        GradientData(rows.first), task_.gradient.outer_stride, 1, stream_, task_.options.label_smoothing != 0.0,
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
void Softmax::WriteRowsUntil(int64_t end, Unwritten* before) const {
  for (; before->next < std::min(end, before->count); ++before->next) {
    const int64_t r = before->next;
    kernels_.finish_write(&before->row);
    const Slice slice = SliceOf(before->first + r, before->read[r], 0, task_.logits.classes, KeptOf(before->kept, r));
    kernels_.begin_write(slice, before->grads[r], GradientData(before->first + r), stream_, &before->row);
  }
}

}  // namespace

bool SoftmaxLoss(const SoftmaxTask& task, const Team& team) {
  return IsGeneral(task) ? GeneralSoftmaxLoss(task, team) : Softmax(task, team).Run();
}

}  // namespace xent
