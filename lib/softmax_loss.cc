// With S the sum of e^x over a row's classes but the label y, and e = e^x_y, both from the same anchor:
//   loss = log1p(S / e)        1 - p_y = S / (S + e)        dL/dx_y = -(1 - p_y)        dL/dx_j = e^x_j / (S + e)
// Nothing that was added is subtracted, so confident rows keep their relative accuracy. Rows come in tiles that fit the
// cache: states (kernels), scalars (arrays with one value per row, here), gradient (kernels, the rows still in cache).
// Few rows of many classes are one tile, whose slices are shared among the threads instead.
#include "lib/softmax_loss.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/isa.h"
#include "lib/labels.h"
#include "lib/reduce.h"
#include "lib/row_state.h"
#include "lib/scratch.h"

namespace xent {
namespace {

constexpr int64_t kTileRows = 48;
// Elements of a tile of rows too long to stage; they stay in the L2 cache between the two passes. Rows of half as many
// and more are a tile each, whose gradient is written while the next one is folded.
constexpr int64_t kTileElements = 16384;
// Classes of a slice, the piece of a long row that a thread takes; its chunks' states are merged first.
constexpr int64_t kSlice = 16 * kChunk;
constexpr int64_t kMaxSlices = 192;
// Shares of the work whose losses are summed first; a constant, so that the sum does not depend on threads.
constexpr int64_t kMaxLots = 128;
// Labels this far from the rest: the far form, where e^x_y is 0 or all there is.
constexpr double kFar = 524288.0;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One value per row of a tile.
struct Rows {
  int64_t first;
  int64_t count;
  char* kept;  // long rows: where their exponentials stay until the gradient is written; null: nowhere
  int64_t labels[kTileRows];  // a class, kSkipRow or kInvalidLabel
  int64_t read[kTileRows];    // a class or kSkipRow: what the kernels see
  RowState states[kTileRows];
  double logit[kTileRows];  // of the label
  double mantissa[kTileRows];
  double exponent[kTileRows];
  double ratio[kTileRows];
  double ratio_exponent[kTileRows];
  double loss[kTileRows];
  double lse[kTileRows];
  double total[kTileRows];  // S + e = total * 2^total_exponent, from the anchor
  double total_exponent[kTileRows];
  RowGrad grads[kTileRows];
};

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
  void ScaleByLse(Rows* rows) const;
  void AddLabels(Rows* rows) const;
  double UnusualLoss(const RowState& state, double logit) const;
  void FindTotals(Rows* rows) const;
  void FindLse(Rows* rows) const;
  double CloseLse(const char* x) const;
  void WriteRowOutputs(const Rows& rows, Sum* sum) const;
  void PrepareGradient(Rows* rows) const;
  bool WriteGradient(const Tile& tile, const Team& team, PendingWrite* pending, const Rows& rows) const;
  void WriteTotals(const Sum& sum) const;

  const char* RowData(int64_t row) const {
    const Matrix& x = task_.logits;
    return static_cast<const char*>(x.data) + row * x.stride * x.ElementBytes();
  }
  char* GradientData(int64_t row) const {
    return static_cast<char*>(task_.outputs.gradient) + row * task_.gradient_stride * task_.logits.ElementBytes();
  }
  int64_t ComputedBytes() const { return task_.logits.IsDouble() ? 8 : 4; }
  int64_t SlicesPerRow() const { return (task_.logits.classes + kSlice - 1) / kSlice; }

  const SoftmaxTask& task_;
  const Team team_;
  const int isa_slot_;
  const SoftmaxKernels& kernels_;
  const MathKernels& math_;
  const bool staged_;
  const bool wants_losses_;
  const bool wants_rows_;  // whether logits are read at all
  int64_t tile_rows_;
  bool stream_;
  double scale_;  // of the gradient
};

// The last-level cache in bytes. Gradients of half of it and more are written past it.
int64_t CacheBytes() {
  static const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? bytes : int64_t{16} << 20;
}

Softmax::Softmax(const SoftmaxTask& task, const Team& team)
    : task_(task),
      team_(team),
      isa_slot_(IsaChosen().slot),
      kernels_(SoftmaxKernelsFor(isa_slot_, task.logits.dtype)),
      math_(MathKernelsFor(isa_slot_)),
      staged_(task.logits.classes <= kChunk),
      wants_losses_(task.outputs.total != nullptr || task.outputs.sum != nullptr || task.outputs.row_loss != nullptr),
      wants_rows_(wants_losses_ || task.outputs.lse != nullptr || task.outputs.gradient != nullptr ||
                  task.outputs.row_state != nullptr) {
  const Matrix& x = task.logits;
  const int64_t tile_elements = staged_ ? kStageBytes / ComputedBytes() : kTileElements;
  tile_rows_ = std::min(kTileRows, std::max<int64_t>(tile_elements / std::max<int64_t>(x.classes, 1), 1));
  const bool in_place = task.outputs.gradient == x.data;
  stream_ = !in_place && x.rows * x.classes * x.ElementBytes() >= CacheBytes() / 2;
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
  const Tile tile = {RowData(first), task_.logits.stride, count, task_.logits.classes, rows.read,
                     stages != nullptr ? stages->First() : nullptr,
                     stages != nullptr && tile_rows_ > 1 ? stages->Second() : nullptr};

  if (!FindStates(tile, team, pending, &rows)) return false;
  kernels_.gather(tile, rows.logit);
  if (task_.options.lse != nullptr) {
    ScaleByLse(&rows);
  } else {
    AddLabels(&rows);
    if (task_.outputs.lse != nullptr || task_.outputs.gradient != nullptr) FindTotals(&rows);
    if (task_.outputs.lse != nullptr) FindLse(&rows);
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
  const char* const x = RowData(rows.first + row) + begin * task_.logits.ElementBytes();
  if (rows.kept != nullptr) stage = rows.kept + (row * task_.logits.classes + begin) * ComputedBytes();
  return Slice{x, std::min(classes, task_.logits.classes - begin), rows.read[row] - begin, stage, rows.kept != nullptr};
}

RowState Softmax::FoldSlice(const Rows& rows, int64_t row, int64_t index, void* stage, PendingWrite* pending) const {
  RowState chunks[kSlice / kChunk];
  const Slice slice = SliceOf(rows, row, index * kSlice, kSlice, stage);
  kernels_.fold_slice(slice, chunks, pending);
  for (int64_t c = 1; c < (slice.classes + kChunk - 1) / kChunk; ++c) {
    chunks[0] = MergeStates(chunks[0], chunks[c], math_);
  }
  return chunks[0];
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
    rows->states[r] = states[r * per_row];
    for (int64_t s = 1; s < per_row; ++s) {
      rows->states[r] = MergeStates(rows->states[r], states[r * per_row + s], math_);
    }
  }
  return true;
}

// e, and the loss of each row. A row that holds NaN or +inf, or nothing but -inf, gets NaN.
void Softmax::AddLabels(Rows* rows) const {
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) rows->states[r] = RowState{1.0, 0.0, 0.0, 0, kPlain};
    const double distance = rows->logit[r] - rows->states[r].anchor;
    const double not_above = distance < kFar ? distance : kFar;  // NaN becomes kFar
    rows->ratio[r] = not_above > -kFar ? not_above : -kFar;
  }
  math_.exp_parts(rows->ratio, rows->count, rows->mantissa, rows->exponent);
  for (int64_t r = 0; r < rows->count; ++r) {
    rows->ratio[r] = (rows->states[r].sum + rows->states[r].low) / rows->mantissa[r];
    rows->ratio_exponent[r] = rows->states[r].exponent - rows->exponent[r];
  }
  math_.log_scaled(1.0, rows->ratio, rows->ratio_exponent, rows->count, rows->loss);
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    const double distance = rows->logit[r] - state.anchor;
    if (state.sum > 0.0 && distance > -kFar && distance < kFar) continue;
    rows->loss[r] = UnusualLoss(state, rows->logit[r]);
    if (rows->logit[r] == -kInfinity) rows->mantissa[r] = 0.0;
  }
}

// The loss where a term is 0, far away or not finite.
double Softmax::UnusualLoss(const RowState& state, double logit) const {
  if (!(state.sum >= 0.0) || !(logit < kInfinity)) return kNaN;
  if (logit == -kInfinity) return state.sum > 0.0 ? kInfinity : kNaN;
  if (state.sum == 0.0 || logit > state.anchor) return 0.0;
  const double others = state.sum + state.low;
  const double exponent = state.exponent;
  double log;
  math_.log_scaled(0.0, &others, &exponent, 1, &log);
  return log + (state.anchor - logit);
}

// S + e. NaN where the loss is.
void Softmax::FindTotals(Rows* rows) const {
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    const double others = state.sum + state.low;
    const double label = rows->mantissa[r];
    const int64_t label_exponent = static_cast<int64_t>(rows->exponent[r]);
    int64_t exponent = std::max<int64_t>(state.exponent, label_exponent);
    if (others == 0.0) exponent = label_exponent;
    if (label == 0.0) exponent = state.exponent;
    rows->total_exponent[r] = static_cast<double>(exponent);
    rows->total[r] = std::isnan(rows->loss[r]) ? kNaN
                                               : TimesPowerOfTwo(others, state.exponent - exponent) +
                                                     TimesPowerOfTwo(label, label_exponent - exponent);
  }
}

// lse = x_y + loss where the label leads, else anchor + log(S + e). Near 0 that logarithm would lose the digits of the
// largest logit beside 1.
void Softmax::FindLse(Rows* rows) const {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  constexpr double kNearZero = 2.0;
  math_.log_scaled(0.0, rows->total, rows->total_exponent, rows->count, rows->lse);
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) continue;
    const bool leads = rows->loss[r] < kLn2;
    rows->lse[r] = leads ? rows->logit[r] + rows->loss[r] : rows->states[r].anchor + rows->lse[r];
    if (std::isnan(rows->total[r])) rows->lse[r] = kNaN;
    if (!leads && std::fabs(rows->lse[r]) < kNearZero) rows->lse[r] = CloseLse(RowData(rows->first + r));
  }
}

// max + log1p(sum of e^(x - max) over all classes but the first largest), in double.
double Softmax::CloseLse(const char* x) const {
  const int64_t classes = task_.logits.classes;
  double max = -kInfinity;
  int64_t largest = 0;
  double values[kWiden];
  for (int64_t first = 0; first < classes; first += kWiden) {
    const int64_t n = std::min(kWiden, classes - first);
    kernels_.widen(x + first * task_.logits.ElementBytes(), n, values);
    const double* const here = std::max_element(values, values + n);
    if (*here > max) {
      max = *here;
      largest = first + (here - values);
    }
  }
  double mantissas[kWiden];
  double exponents[kWiden];
  Sum others;
  for (int64_t first = 0; first < classes; first += kWiden) {
    const int64_t n = std::min(kWiden, classes - first);
    kernels_.widen(x + first * task_.logits.ElementBytes(), n, values);
    for (int64_t i = 0; i < n; ++i) values[i] = std::max(values[i] - max, -kFar);
    math_.exp_parts(values, n, mantissas, exponents);
    for (int64_t i = 0; i < n; ++i) {
      if (first + i != largest) others.Add(TimesPowerOfTwo(mantissas[i], static_cast<int64_t>(exponents[i])));
    }
  }
  const double ratio = others.Value();
  const double exponent = 0.0;
  double log;
  math_.log_scaled(1.0, &ratio, &exponent, 1, &log);
  return max + log;
}

// S + e as the caller's log-sum-exp says.
void Softmax::ScaleByLse(Rows* rows) const {
  for (int64_t r = 0; r < rows->count; ++r) {
    const int64_t row = rows->first + r;
    const double lse = task_.logits.IsDouble() ? static_cast<const double*>(task_.options.lse)[row]
                                               : static_cast<const float*>(task_.options.lse)[row];
    if (rows->read[r] == kSkipRow) rows->states[r] = RowState{1.0, 0.0, 0.0, 0, kPlain};
    const double distance = lse - rows->states[r].anchor;
    const bool usable = distance > -kFar && distance < kFar && rows->logit[r] < kInfinity;
    rows->loss[r] = usable ? 0.0 : kNaN;
    rows->ratio[r] = usable ? distance : 0.0;
  }
  math_.exp_parts(rows->ratio, rows->count, rows->total, rows->total_exponent);
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    if (std::isnan(rows->loss[r]) || std::isnan(state.sum)) rows->total[r] = kNaN;
  }
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
  for (int64_t r = 0; r < rows.count; ++r) {
    const bool skipped = rows.read[r] == kSkipRow;
    const double instead = rows.labels[r] == kInvalidLabel ? kNaN : 0.0;
    const double loss = skipped ? instead : rows.loss[r];
    write(task_.outputs.row_loss, r, loss);
    if (task_.outputs.lse != nullptr) write(task_.outputs.lse, r, skipped ? instead : rows.lse[r]);
    if (task_.outputs.row_state != nullptr) {
      std::memcpy(task_.outputs.row_state + rows.first + r, &rows.states[r], sizeof(RowState));
    }
    if (wants_losses_) sum->Add(loss);
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
      const double share = scale_ * ((state.sum + state.low) / rows->total[r]);
      grad.label_value = 0.0 - TimesPowerOfTwo(share, state.exponent - exponent);
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
