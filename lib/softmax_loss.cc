// With S the sum of e^x over a row's classes but the label y, and e = e^x_y, both from the same anchor:
//   loss = log1p(S / e)        1 - p_y = S / (S + e)        dL/dx_y = -(1 - p_y)        dL/dx_j = e^x_j / (S + e)
// Nothing that was added is subtracted, so confident rows keep their relative accuracy.
#include "lib/softmax_loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/cache.h"
#include "lib/isa.h"
#include "lib/log_softmax.h"
#include "lib/row_state.h"
#include "lib/scratch.h"
#include "lib/softmax_general.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_tiles.h"
#include "lib/softmax_totals.h"
#include "lib/targets.h"

namespace xent {
namespace {

// Logits of a lot: sums of fewer rows would be felt.
constexpr int64_t kLeastLot = 8192;

// What rows with nothing unusual are worked on with, many at a time.
struct PlainWork {
  alignas(64) char columns[kColumnWorkBytes];
  int64_t labels[kMostColumns];
  double sums[kMostColumns];
  double logit[kMostColumns];
  double gap[kMostColumns];
  double factor[kMostColumns];
  double mark[kMostColumns];
  bool is_unusual[kMostColumns];
  // Where rows have their own: what their losses are multiplied by, that of their class first; and their slopes.
  double class_weight[kMostColumns];
  double weight[kMostColumns];
  double slope[kMostColumns];
};
static_assert(kFewTileRows >= kPlainTileRows && kMostColumns >= kFewTileRows && kMostColumns % kRowLanes == 0 &&
                  kMostColumns % kFewTogether == 0,
              "the arrays suffice");

// Rows of weight 0 become kSkipRow. Zeros have the signs of the long way.
void LoadOwnSlopes(const SoftmaxTask& task, double shared, int64_t first, int64_t count, PlainWork* work) {
  std::fill(work->weight, work->weight + count, 1.0);
  std::fill(work->slope, work->slope + count, shared);
  std::fill(work->slope + count, work->slope + (count + kRowLanes - 1) / kRowLanes * kRowLanes, 0.0);
  LoadSlopes(task, first, count, work->labels, work->weight, work->slope);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t label = work->labels[r];
    const double weight = label >= 0 ? task.RowValue(task.options.class_weight, label, 1.0) : 1.0;
    work->class_weight[r] = weight;
    const double slope = work->slope[r] + 0.0;
    work->slope[r] = label == kSkipRow ? 0.0 : slope * weight + slope * 0.0;
  }
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

}  // namespace

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
      has_own_slopes_(HasOwnSlopes(task)),
      is_few_(task.logits.classes >= 2 && task.logits.classes <= kernels_.few_classes && HasPlainOptions(task) &&
              (task.logits.classes == 2 || task.logits.HasPlainRows()) && task.options.scale == 1.0 &&
              task.options.masked_row != XENT_MASKED_ROW_ZERO),
      slope_(GradientScale(task)) {
  const Matrix& x = task.logits;
  constexpr double kFar = 0x1p60;
  const double slope = std::fabs(slope_);
  has_few_gradient_ = is_few_ && slope > 1.0 / kFar && slope <= (task.logits.classes == 2 ? 1.0 : kFar / 2);
  const int64_t classes = std::max<int64_t>(x.classes, 1);
  const int64_t stage_elements = kStageBytes / ComputedBytes();
  unit_rows_ = std::min(kTileRows, std::max<int64_t>((staged_ ? stage_elements : kTileElements) / classes, 1));
  // Of rows that are written one by one, a stage holds one if no gradient follows.
  const int64_t fitting = 2 * stage_elements / classes;
  const bool is_kept = task.outputs.gradient != nullptr || !HasOwnLoop();
  const int64_t most = is_kept ? fitting : kPlainTileRows;
  // Long rows whose gradient does not follow get their scalars together: memory waits meanwhile.
  const int64_t most_together = staged_ && HasOwnLoop()                        ? std::min(most, kTileRows)
                                : !staged_ && task.outputs.gradient == nullptr ? kMostLongRows
                                                                               : 1;
  tile_units_ = std::max<int64_t>(most_together / unit_rows_, 1);
  const int64_t most_plain = is_few_ ? kFewTileRows : std::min(most, kPlainTileRows);
  plain_units_ = std::max<int64_t>(most_plain / unit_rows_, 1);
  if (has_columns_) {
    unit_rows_ = kMostColumns;
    tile_units_ = plain_units_ = 1;
  }
  const bool in_place = task.outputs.gradient == x.data;
  stream_ = task.outputs.gradient != nullptr && !in_place && GoesPastCache(x.rows * x.classes * x.ElementBytes());
}

bool Softmax::Run() const {
  Totals totals;
  if (WantsRows(task_) && task_.logits.rows > 0 && !RunAll(&totals)) return false;
  WriteTotals(task_, totals);
  return true;
}

// Whether the slices of long rows are shared, and not the rows: there are few, and some threads would be idle
// meanwhile. The exponentials of shared rows are computed twice if there is a gradient.
bool Softmax::AreRowsShared() const {
  const int64_t rows = task_.logits.rows;
  const int64_t threads = team_.threads;
  const int64_t turns = (rows + threads - 1) / threads;
  const double busy = static_cast<double>(rows) / static_cast<double>(turns * threads);
  const bool is_few = rows < 4 * threads && rows <= kTileRows && rows * SlicesPerRow() <= kMaxSlices;
  return threads > 1 && is_few && busy < (task_.outputs.gradient != nullptr ? 0.7 : 0.95);
}

// Units of equal length in lots of consecutive units; or the whole matrix as one tile whose slices are shared.
bool Softmax::RunAll(Totals* totals) const {
  const Matrix& x = task_.logits;
  if (!staged_ && AreRowsShared()) return RunTogether(totals);
  // Tiles are runs of rows at equal distances.
  const int64_t run_rows = x.inner == 1 ? x.rows : x.inner;
  const int64_t units_per_run = (run_rows + unit_rows_ - 1) / unit_rows_;
  const int64_t units = x.rows / run_rows * units_per_run;
  const int64_t step = may_be_plain_ ? plain_units_ : tile_units_;
  const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_unit, Totals* parts) {
    Carried before;
    before.row = {};
    before.row.stream = stream_;
    before.next = before.count = 0;
    before.expected = Expected::kPlain;
    Rows rows;
    rows.count = 0;
    for (int64_t lot = first_lot; lot < last_lot; ++lot) {
      const int64_t end = first_unit(lot + 1);
      RowTotals of_rows;
      for (int64_t unit = first_unit(lot); unit < end; unit += step) {
        // Divisions would be felt in each of many small tiles.
        const int64_t run = has_columns_ ? unit / units_per_run : 0;
        const int64_t begin = (unit - run * units_per_run) * unit_rows_;
        const int64_t first = run * run_rows + begin;
        const int64_t count = std::min(std::min(step, end - unit) * unit_rows_, run_rows - begin);
        if (may_be_plain_ && RunPlain(first, count, &before, &of_rows)) continue;
        RunRows(first, count, &before, &rows, &of_rows);
      }
      parts[lot].Add(of_rows);
    }
    WriteRowsUntil(before.count, &before);
    kernels_.finish_write(&before.row);
  };
  const int64_t unit = unit_rows_ * std::max<int64_t>(x.classes, 1);
  return RunLots(team_, units, range, totals, units == 1 || unit >= kLeastLot ? 1 : kLeastLot / unit);
}

// Rows of which some may be unusual. Not inline: most calls have none, and need no such stack.
__attribute__((noinline)) void Softmax::RunRows(int64_t first, int64_t count, Carried* before, Rows* rows,
                                                RowTotals* totals) const {
  if (rows->count == 0) StartRows(task_, std::min(kTileRows, task_.logits.rows), rows);
  if (has_columns_) {
    RunColumns(first, count, rows, totals);
    return;
  }
  const int64_t most = tile_units_ * unit_rows_;
  for (int64_t from = 0; from < count; from += most) {
    const int64_t n = std::min(most, count - from);
    if (may_be_plain_ && n < count && RunPlain(first + from, n, before, totals)) continue;
    if (staged_ && before->row.left > 0) kernels_.finish_write(&before->row);  // it lies in the same scratch memory
    // Longer rows keep exponentials in the scratch memory.
    Stage* const stage = staged_ ? static_cast<Stage*>(ThreadScratch(sizeof(Stage))) : nullptr;
    if (stage != nullptr) {
      RunTile(first + from, n, Team{1, nullptr}, stage, before, rows, totals);
    } else {
      RunOnStack(first + from, n, before, rows, totals);
    }
  }
}

__attribute__((noinline)) void Softmax::RunOnStack(int64_t first, int64_t count, Carried* before, Rows* rows,
                                                   RowTotals* totals) const {
  Stage stage;
  RunTile(first, count, Team{1, nullptr}, &stage, before, rows, totals);
}

// Rows with nothing unusual: the same bits as the ways below, in a few loops. False: there is something, and nothing
// was written.
bool Softmax::RunPlain(int64_t first, int64_t count, Carried* before, RowTotals* totals) const {
  PendingWrite* const pending = &before->row;
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
  bool is_read = LoadLabels(task_, first, count, work->labels);
  if (has_own_slopes_) {
    LoadOwnSlopes(task_, slope_, first, count, work);
    is_read = is_read &&
              (task_.options.row_weight == nullptr || std::count(work->labels, work->labels + count, kSkipRow) == 0);
  }
  if (is_few_ && wants_gradient && !has_few_gradient_) return false;
  if (!is_few_ && !is_read && std::count(work->labels, work->labels + count, kInvalidLabel) > 0) return false;
  const Tile tile = {x.Row(first),
                     has_columns_ ? 1 : x.outer_stride,
                     has_columns_ ? x.class_stride : 1,
                     count,
                     x.classes,
                     work->labels,
                     has_columns_ && !wants_gradient && !is_few_ ? nullptr : stage,
                     work->columns,
                     wants_gradient || !HasOwnLoop(),
                     is_read,
                     task_.options.scale,
                     &before->expected};
  if (task_.outputs.entropy != nullptr) WriteEntropies(first, count, work->labels);
  int64_t largest[kFewTileRows];
  if (WantsClasses(task_)) kernels_.find_largest(tile, largest);
  GradientTile gradient = wants_gradient ? PlainGradient(first) : GradientTile{};
  const bool is_smoothed = task_.options.label_smoothing != 0.0;
  double* const differences = work->sums;  // which are done with by then
  const Smoothing smoothing = is_smoothed ? SmoothingOf(task_) : Smoothing{0.0, 0.0, 1.0, 0.0};
  if (is_smoothed) gradient.offset = smoothing.share * (slope_ * SlopeOfLogits());  // else a product may be -0
  if (is_few_) {
    if (!kernels_.few_rows(tile, slope_, work->gap, wants_gradient ? &gradient : nullptr, work->is_unusual))
      return false;
  } else {
    if (!kernels_.stage_plain(tile, work->sums, work->logit, pending)) return false;
    for (int64_t r = 0; r < count && task_.options.scale != 1.0; ++r) work->logit[r] *= task_.options.scale;
    if (!math_.plain_rows(PlainRows{count, x.IsDouble(), work->sums, work->logit, slope_,
                                    has_own_slopes_ && wants_gradient ? work->slope : nullptr, smoothing.own,
                                    smoothing.rest, SlopeOfLogits(), work->gap, wants_gradient ? work->factor : nullptr,
                                    work->mark})) {
      return false;
    }
    if (is_smoothed) kernels_.sum_differences(tile, differences);
    if (wants_gradient) kernels_.write_plain(tile, work->factor, work->mark, gradient, pending);
  }
  if (WantsClasses(task_)) WriteClasses(task_, first, count, work->labels, work->gap, largest, totals);
  for (int64_t r = 0; is_smoothed && r < count; ++r) {
    if (work->labels[r] == kSkipRow) continue;
    work->gap[r] = SmoothedCross(smoothing, work->gap[r], differences[r]);
  }
  for (int64_t r = 0; has_own_slopes_ && r < count; ++r) {
    const double weight = work->class_weight[r];
    work->gap[r] = work->weight[r] * (weight == 0.0 ? 0.0 : weight * work->gap[r]);
  }
  WriteLosses(task_, math_, first, count, work->gap, is_read ? nullptr : work->labels, totals);
  return true;
}

// All rows as one tile, whose slices are shared. Not inline: its rows would stay on a small stack.
__attribute__((noinline)) bool Softmax::RunTogether(Totals* totals) const {
  Rows rows;
  RowTotals of_tile;
  StartRows(task_, task_.logits.rows, &rows);
  if (!RunTile(0, task_.logits.rows, team_, nullptr, nullptr, &rows, &of_tile)) return false;
  totals->correct += of_tile.correct;
  // As one thread's lots would be.
  for (int64_t begin = 0; begin < rows.count; begin += unit_rows_) {
    RowTotals of_unit;
    AddRows(task_, math_, rows, begin, std::min(begin + unit_rows_, rows.count), &of_unit);
    totals->Add(of_unit);
  }
  return true;
}

// One tile, on this thread in its stage, or its slices shared among the team (then stage and before are null, and rows
// are not added to the totals).
bool Softmax::RunTile(int64_t first, int64_t count, const Team& team, Stage* stage, Carried* before, Rows* rows,
                      RowTotals* totals) const {
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
                     task_.options.scale,
                     before != nullptr ? &before->expected : nullptr};

  if (is_dense_) MarkLargest(tile, rows);
  if (!FindStates(tile, team, before, rows)) return false;
  if (WantsEntropy(task_) && !FindEntropies(team, rows)) return false;
  FindScalars(tile, rows);
  if (is_few_) FindFewLosses(tile, rows);
  WriteRows(task_, *rows);
  if (before != nullptr) AddRows(task_, math_, *rows, 0, rows->count, totals);
  if (WantsClasses(task_)) {
    int64_t largest[kTileRows];
    kernels_.find_largest(tile, largest);
    WriteClasses(task_, first, count, rows->labels, rows->gap, largest, totals);
  }
  if (task_.outputs.gradient == nullptr) return true;
  FindGradients(rows);
  if (has_few_gradient_) {
    WriteFewGradient(tile, *rows);
    return true;
  }
  return WriteGradient(tile, team, before, *rows);
}

// Where the gradient of a tile goes that is products only.
GradientTile Softmax::PlainGradient(int64_t first) const {
  const int64_t stride = has_columns_ ? 1 : task_.gradient.outer_stride;
  const int64_t class_stride = has_columns_ ? task_.gradient.class_stride : 1;
  return GradientTile{GradientData(first), stride, class_stride, stream_, true, 0.0, {}};
}

// Rows side by side, their classes apart: states and gradients of many rows at a time, scalars of kTileRows.
void Softmax::RunColumns(int64_t first, int64_t count, Rows* rows, RowTotals* totals) const {
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
                1.0,
                nullptr};
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
    if (is_few_) FindFewLosses(tile_of(from, rows->count), rows);
    WriteRows(task_, *rows);
    AddRows(task_, math_, *rows, 0, rows->count, totals);
    if (!wants_gradient || has_few_gradient_) continue;
    FindGradients(rows);
    std::copy(rows->states, rows->states + rows->count, all->states + from);
    std::copy(rows->grads, rows->grads + rows->count, all->grads + from);
  }
  if (!wants_gradient) return;
  if (has_few_gradient_) {
    WriteFewRows(tile, first, all->labels, all->losses);
  } else {
    kernels_.write_staged(tile, all->states, all->grads, PlainGradient(first));
  }
}

void Softmax::FindGradients(Rows* rows) const {
  if (SlopeOfLogits() != 1.0) ScaleGradients(task_, SlopeOfLogits(), rows);
  if (HasEntropyGradient(task_)) {
    FindTiltedGrads(SlopeOfLogits(), SmoothingOf(task_).share, rows);
  } else {
    FindGrads(rows->a, SmoothingOf(task_).share, rows->mark, rows);
  }
  for (int64_t r = 0; r < rows->count && is_dense_; ++r) {
    if (rows->grads[r].kind == RowGrad::kSoftmax && std::isnan(rows->cross[r])) rows->grads[r].kind = RowGrad::kNaN;
  }
  // Without factors of their own all rows have the slope of the first, or are not read.
  const xent_softmax_options& options = task_.options;
  const bool may_be_flat = options.row_upstream != nullptr || options.row_weight != nullptr || rows->slope[0] == 0.0;
  for (int64_t r = 0; r < rows->count && may_be_flat; ++r) {
    if (IsFlat(*rows, r)) rows->grads[r].kind = RowGrad::kZero;
  }
}

// From the states to the losses and the parts of the gradient.
void Softmax::FindScalars(const Tile& tile, Rows* rows) const {
  const xent_softmax_options& options = task_.options;
  const xent_softmax_outputs& out = task_.outputs;
  const bool needs_lse = options.z_loss != 0.0 || out.lse != nullptr;
  const bool wants_gradient = out.gradient != nullptr;
  const bool needs_probability =
      options.focal_gamma != 0.0 || out.probability != nullptr || (wants_gradient && HasBeside(task_));
  const bool needs_rest = needs_probability || wants_gradient;
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
    double differences[kTileRows] = {};
    kernels_.sum_differences(tile, differences);
    TargetSmoothedLabels(task_, differences, rows);
  }
  FindLosses(task_, math_, rows);
}

bool Softmax::FindStates(const Tile& tile, const Team& team, Carried* before, Rows* rows) const {
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

bool SoftmaxLoss(const SoftmaxTask& task, const Team& team) {
  if (HasShortLogs(task)) return LogSoftmax(task, team);
  return IsGeneral(task) ? GeneralSoftmaxLoss(task, team) : Softmax(task, team).Run();
}

}  // namespace xent
