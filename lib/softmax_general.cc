// Rows are widened to doubles z = scale * x (or softcapped), piece by piece, and the class of the largest is left out
// of the sums: with max = z_h and T = sum of e^(z_j - max), j != h,
//   lse - z_j = log1p(T) + (max - z_j)       sum_j u_j (lse - z_j) = U log1p(T) + sum_j u_j (max - z_j)
//   H = log1p(T) + sum_j p_j (max - z_j)
// in which no term is negative, so that nothing cancels. A piece is several short rows or a part of a long one. What is
// needed of it is computed anew in each pass over the row: doubles of a whole long row would not fit the cache.
#include "lib/softmax_general.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/capped_rows.h"
#include "lib/isa.h"
#include "lib/row_entropy.h"
#include "lib/row_state.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_totals.h"
#include "lib/target_terms.h"
#include "lib/targets.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A tile of rows and the piece of them that is at work.
struct Work {
  Rows rows;
  double max[kTileRows];
  int64_t largest[kTileRows];
  int64_t live[kTileRows];  // classes that are not at -inf
  double label_logit[kTileRows];
  double top_probability[kTileRows];  // p of the class left out
  bool is_capped;                     // the tile's row is worked on by CappedRows
  const float* kept;                  // what it keeps of it; null: nothing
  bool has_probabilities;             // of the piece
  Piece piece;
  double stage[kPieceRoom];
  double probabilities[kPieceRoom];
  double targets[kPieceRoom];
};

class General {
 public:
  General(const SoftmaxTask& task, const Team& team)
      : task_(task),
        team_(team),
        isa_slot_(IsaChosen().slot),
        doubles_(SoftmaxKernelsFor(isa_slot_, Dtype::kF64)),
        math_(MathKernelsFor(isa_slot_)),
        terms_(TermKernelsFor(isa_slot_)),
        wide_(task, isa_slot_),
        targets_(task),
        capped_(task, isa_slot_),
        tile_rows_(capped_.AreKnown() ? 1 : RowsOfPiece(task.logits.classes)) {}

  bool Run() {
    Totals totals;
    const int64_t rows = task_.logits.rows;
    const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_tile, Totals* parts) {
      for (int64_t lot = first_lot; lot < last_lot; ++lot) {
        const int64_t first = first_tile(lot) * tile_rows_;
        RowTotals of_rows;
        RunRows(first, std::min(first_tile(lot + 1) * tile_rows_, rows) - first, &of_rows);
        parts[lot].Add(of_rows);
      }
    };
    const int64_t tiles = (rows + tile_rows_ - 1) / tile_rows_;
    if (WantsRows(task_) && rows > 0 && !RunLots(team_, tiles, range, &totals)) return false;
    WriteTotals(task_, totals);
    return true;
  }

  void RunRows(int64_t first, int64_t count, RowTotals* totals) const {
    alignas(64) Work work;
    StartRows(task_, std::min(tile_rows_, count), &work.rows);
    for (int64_t row = first; row < first + count; row += tile_rows_) {
      RunTile(row, std::min(tile_rows_, first + count - row), &work, totals);
    }
  }

  void FindGaps(int64_t first, int64_t count, double* max, double* gap) const {
    alignas(64) Work work;
    for (int64_t row = 0; row < count; row += tile_rows_) {
      LoadRows(task_, first + row, std::min(tile_rows_, count - row), &work.rows);
      FindLargest(&work);
      FindStates(&work);
      AddLeftOut(math_, false, &work.rows);
      std::copy(work.max, work.max + work.rows.count, max + row);
      std::copy(work.rows.gap, work.rows.gap + work.rows.count, gap + row);
    }
  }

 private:
  void RunTile(int64_t first, int64_t count, Work* work, RowTotals* totals) const;
  template <class Body>
  void ForPieces(Work* work, bool wants_slopes, const Body& body) const;
  bool FindLargestCapped(Work* work, double* largest) const;
  void FindLargestWidened(Work* work, double* largest) const;
  void FindLargest(Work* work) const;
  void FindStates(Work* work) const;
  void FindMarks(Work* work) const;
  void FindTargets(Work* work) const;
  void FindEntropies(Work* work) const;
  void FindProbabilities(Work* work) const;
  void WriteTokens(const Work& work) const;
  void WriteLogProbabilities(Work* work) const;
  void WriteGradient(Work* work) const;

  // Whether a tile is widened as a whole, once.
  bool IsOnePiece() const { return task_.logits.classes <= kPiece && !capped_.AreKnown(); }

  const SoftmaxTask& task_;
  const Team team_;
  const int isa_slot_;
  const SoftmaxKernels& doubles_;
  const MathKernels& math_;
  const TermKernels& terms_;
  const WideRows wide_;
  const TargetTerms targets_;
  const CappedRows capped_;
  const int64_t tile_rows_;
};

void General::RunTile(int64_t first, int64_t count, Work* work, RowTotals* totals) const {
  Rows& rows = work->rows;
  LoadRows(task_, first, count, &rows);
  FindLargest(work);
  FindStates(work);
  AddLeftOut(math_, false, &rows);
  FindTotals(&rows);
  for (int64_t r = 0; r < count; ++r) rows.lse[r] = std::isnan(rows.gap[r]) ? kNaN : work->max[r] + rows.gap[r];
  FindRest(true, &rows);
  FindProbability(&rows);
  FindMarks(work);
  FindTargets(work);
  if (WantsEntropy(task_)) FindEntropies(work);
  FindLosses(task_, math_, &rows);
  WriteRows(task_, rows);
  AddRows(task_, math_, rows, 0, count, totals);
  for (int64_t r = 0; r < count && task_.outputs.row_state != nullptr; ++r)
    MarkAsOther(&task_.outputs.row_state[first + r]);
  WriteClasses(task_, first, count, rows.labels, rows.gap, work->largest, totals);
  if (task_.token_log_probability != nullptr) WriteTokens(*work);
  if (task_.product == Product::kLogProbabilities) {
    WriteLogProbabilities(work);
  } else if (task_.outputs.gradient != nullptr) {
    WriteGradient(work);
  }
}

// body() for each piece of the tile, widened and transformed. A single piece still is.
template <class Body>
void General::ForPieces(Work* work, bool wants_slopes, const Body& body) const {
  for (int64_t begin = 0; begin < task_.logits.classes; begin += kPiece) {
    if (!IsOnePiece()) {
      wide_.Load(work->rows, begin, std::min(kPiece, task_.logits.classes - begin), &work->piece);
      wide_.Transform(work->rows, wants_slopes, &work->piece);
      work->has_probabilities = false;
    }
    body();
  }
}

bool General::FindLargestCapped(Work* work, double* largest) const {
  if (!capped_.AreKnown()) return false;
  return work->rows.read[0] == kSkipRow || capped_.FindLargest(work->rows.first, &work->largest[0], &largest[0]);
}

void General::FindLargestWidened(Work* work, double* largest) const {
  Rows& rows = work->rows;
  Piece& piece = work->piece;
  for (int64_t begin = 0; begin < task_.logits.classes; begin += kPiece) {
    wide_.Load(rows, begin, std::min(kPiece, task_.logits.classes - begin), &piece);
    double value[kTileRows];
    int64_t index[kTileRows];
    for (int64_t r = 0; r < rows.count; ++r) terms_.largest(piece.Row(r), piece.classes, &value[r], &index[r]);
    for (int64_t r = 0; r < rows.count; ++r) {
      if (rows.read[r] == kSkipRow) continue;
      const double* const x = piece.Row(r);
      // NaN and +inf stay.
      if (largest[r] < kInfinity && !(value[r] <= largest[r])) {
        largest[r] = value[r];
        work->largest[r] = begin + index[r];
      }
      if (task_.options.live_classes != 0) {
        for (int64_t j = 0; j < piece.classes; ++j) work->live[r] += x[j] > -kInfinity;
      }
    }
  }
}

// Of logits as they are: a cap may make equals of the largest.
void General::FindLargest(Work* work) const {
  Rows& rows = work->rows;
  Piece& piece = work->piece;
  double largest[kTileRows];
  for (int64_t r = 0; r < rows.count; ++r) {
    largest[r] = work->max[r] = -kInfinity;
    work->largest[r] = work->live[r] = 0;
    work->label_logit[r] = 0.0;
  }
  if (!FindLargestCapped(work, largest)) FindLargestWidened(work, largest);
  if (IsOnePiece()) wide_.Transform(rows, task_.outputs.gradient != nullptr, &piece);
  const auto z_of = [&](int64_t r, int64_t j) { return IsOnePiece() ? piece.Row(r)[j] : wide_.At(rows.first + r, j); };
  for (int64_t r = 0; r < rows.count; ++r) {
    if (rows.read[r] == kSkipRow) continue;
    work->max[r] = largest[r] < kInfinity ? z_of(r, work->largest[r]) : largest[r];
    work->label_logit[r] = task_.HasLabels() ? z_of(r, rows.labels[r]) : 0.0;
  }
  work->has_probabilities = false;
  for (int64_t r = 0; r < rows.count; ++r) {
    rows.logit[r] = rows.read[r] == kSkipRow ? 0.0 : work->max[r];
    if (rows.read[r] == kSkipRow) continue;
    const bool is_masked = work->max[r] == -kInfinity && task_.options.masked_row == XENT_MASKED_ROW_ZERO;
    if (is_masked) rows.labels[r] = kSkipRow;
    rows.read[r] = is_masked ? kSkipRow : work->largest[r];
  }
}

// States of the rows without their largest logit. Exponentials of a tile that is one piece stay in the stage.
void General::FindStates(Work* work) const {
  Rows& rows = work->rows;
  const Piece& piece = work->piece;
  work->is_capped = false;
  for (int64_t r = 0; r < rows.count; ++r) rows.states[r] = RowState{0.0, 0.0, 0.0, 0, kPlain};
  if (IsOnePiece()) {
    Expected expected = Expected::kPlain;
    const Tile tile = {piece.z,     piece.classes, 1,    rows.count, piece.classes, rows.read,
                       work->stage, nullptr,       true, false,      1.0,           &expected};
    doubles_.stage_rows(tile, rows.states);
    return;
  }
  if (rows.read[0] == kSkipRow) return;
  work->is_capped = capped_.AreKnown() && capped_.FindState(rows.first, rows.read[0], &rows.states[0], &work->kept);
  if (work->is_capped) return;
  ForPieces(work, false, [&] {
    RowState states[kSliceStates];
    const Slice slice = {piece.z, piece.classes, rows.read[0] - piece.begin, work->stage, false, 1.0, {}, nullptr};
    const int64_t count = doubles_.fold_slice(slice, states, nullptr);
    rows.states[0] = MergeStates(rows.states[0], MergeStates(states, count, math_), math_);
  });
}

// What is known of the mark: the label if there is one, else the class of the largest logit, of which all is known.
void General::FindMarks(Work* work) const {
  Rows& rows = work->rows;
  std::copy(rows.probability, rows.probability + rows.count, work->top_probability);
  double distance[kTileRows], mantissa[kTileRows], exponent[kTileRows];
  for (int64_t r = 0; r < rows.count; ++r) {
    rows.mark_gap[r] = rows.gap[r];
    const double below = work->label_logit[r] - rows.states[r].anchor;
    distance[r] = below > -1048576.0 ? std::min(below, 1048576.0) : -1048576.0;
  }
  if (!task_.HasLabels()) return;
  math_.exp_parts(distance, rows.count, mantissa, exponent);
  for (int64_t r = 0; r < rows.count; ++r) {
    if (rows.labels[r] < 0 || rows.labels[r] == work->largest[r] || std::isnan(rows.gap[r])) continue;
    const bool exists = work->label_logit[r] > -kInfinity;
    const double p = exists ? mantissa[r] / rows.total[r] : 0.0;
    rows.probability[r] = TimesPowerOfTwo(p, static_cast<int64_t>(exponent[r] - rows.total_exponent[r]));
    rows.mark_gap[r] = rows.gap[r] + (work->max[r] - work->label_logit[r]);
    rows.rest[r] = 1.0 - rows.probability[r];
    rows.rest_exponent[r] = 0.0;
  }
}

void General::FindTargets(Work* work) const {
  Rows& rows = work->rows;
  if (!targets_.HasTermPerClass()) {
    TargetLabels(task_, &rows);
    return;
  }
  Sum rest[kTileRows], gaps[kTileRows];
  targets_.Prepare(&rows);
  std::fill(rows.target_own, rows.target_own + rows.count, 0.0);
  ForPieces(work, false, [&] {
    const Piece& piece = work->piece;
    for (int64_t r = 0; r < rows.count; ++r) {
      if (rows.read[r] == kSkipRow) continue;
      double* const u = work->targets + r * piece.classes;
      targets_.Fill(rows, r, work->live[r], piece, u);
      const int64_t mark = (task_.HasLabels() ? rows.labels[r] : rows.read[r]) - piece.begin;
      if (mark >= 0 && mark < piece.classes) rows.target_own[r] = u[mark];
      rest[r].Add(terms_.sum(u, piece.classes, mark));
      gaps[r].Add(terms_.sum_of_gaps(u, piece.Row(r), piece.classes, work->max[r]));
    }
  });
  for (int64_t r = 0; r < rows.count; ++r) {
    SetTarget(rows.target_own[r], rest[r].Value(), gaps[r].Value(), r, &rows);
  }
}

void General::FindEntropies(Work* work) const {
  Rows& rows = work->rows;
  Sum gaps[kTileRows];
  ForPieces(work, false, [&] {
    FindProbabilities(work);
    const Piece& piece = work->piece;
    for (int64_t r = 0; r < rows.count; ++r) {
      if (rows.read[r] == kSkipRow) continue;
      const double* const p = work->probabilities + r * piece.classes;
      gaps[r].Add(terms_.sum_of_gaps(p, piece.Row(r), piece.classes, work->max[r]));
    }
  });
  for (int64_t r = 0; r < rows.count; ++r) rows.entropy[r] = rows.gap[r] + gaps[r].Value();
}

// p_j of the piece; NaN in rows that are.
void General::FindProbabilities(Work* work) const {
  if (work->has_probabilities) return;
  Rows& rows = work->rows;
  const Piece& piece = work->piece;
  double one[kTileRows];
  std::fill(one, one + rows.count, 1.0);
  FindGrads(one, 0.0, work->top_probability, &rows);
  if (IsOnePiece()) {
    const Tile tile = {piece.z,     piece.classes, 1,    rows.count, piece.classes, rows.read,
                       work->stage, nullptr,       true, false,      1.0,           nullptr};
    doubles_.write_staged(tile, rows.states, rows.grads,
                          GradientTile{work->probabilities, piece.classes, 1, false, true, 0.0, {}});
    work->has_probabilities = true;
    return;
  }
  PendingWrite pending = {};
  const Slice slice = {piece.z, piece.classes, rows.read[0] - piece.begin, nullptr, false, 1.0, {}, nullptr};
  doubles_.begin_write(slice, rows.grads[0], work->probabilities, false, &pending);
  doubles_.finish_write(&pending);
}

// log p of the classes that sparse targets name, 0 of those that are left out.
void General::WriteTokens(const Work& work) const {
  const Rows& rows = work.rows;
  const int64_t per_row = task_.targets.per_row;
  for (int64_t r = 0; r < rows.count; ++r) {
    for (int64_t i = 0; i < per_row; ++i) {
      const int64_t row = rows.first + r;
      const int64_t label = rows.read[r] == kSkipRow ? kSkipRow : SparsePair(task_, row, i).label;
      double value = label == kSkipRow ? 0.0 : kNaN;
      if (label >= 0) value = 0.0 - (rows.gap[r] + (work.max[r] - wide_.At(row, label)));
      if (task_.logits.IsDouble()) {
        static_cast<double*>(task_.token_log_probability)[row * per_row + i] = value;
      } else {
        static_cast<float*>(task_.token_log_probability)[row * per_row + i] = static_cast<float>(value);
      }
    }
  }
}

// The pieces of log p: p (a - d (gap + top - z)) with p = 1, a = 0, d = 1.
void General::WriteLogProbabilities(Work* work) const {
  Rows& rows = work->rows;
  ForPieces(work, false, [&] {
    const Piece& piece = work->piece;
    for (int64_t r = 0; r < rows.count; ++r) {
      double* const p = work->probabilities + r * piece.classes;
      std::fill(p, p + piece.classes, rows.read[r] == kSkipRow ? rows.logit[r] : 1.0);
      if (rows.read[r] == kSkipRow) continue;
      const GradientTerms terms = {0.0, 0.0, 1.0, rows.gap[r], work->max[r], 0.0};
      terms_.combine(terms, p, piece.Row(r), nullptr, nullptr, piece.classes, p);
    }
    wide_.Store(rows, piece, work->probabilities);
  });
}

void General::WriteGradient(Work* work) const {
  Rows& rows = work->rows;
  if (work->is_capped && capped_.WriteGradient(rows, wide_, work->kept)) return;
  const double least = LeastProbability(task_);
  ForPieces(work, true, [&] {
    FindProbabilities(work);
    const Piece& piece = work->piece;
    for (int64_t r = 0; r < rows.count; ++r) {
      double* const p = work->probabilities + r * piece.classes;
      // What is NaN is NaN in every class, those included whose p_j counts as 0.
      if (IsFlat(rows, r) || rows.labels[r] == kInvalidLabel || std::isnan(rows.cross[r])) {
        std::fill(p, p + piece.classes, IsFlat(rows, r) ? 0.0 : kNaN);
        continue;
      }
      double* const u = targets_.HasTermPerClass() ? work->targets + r * piece.classes : nullptr;
      if (u != nullptr && !IsOnePiece()) targets_.Fill(rows, r, work->live[r], piece, u);
      const bool has_slopes = piece.has_slopes && task_.product == Product::kGradient;
      const double* const slopes = has_slopes ? piece.slopes + r * piece.classes : nullptr;
      const GradientTerms terms = {rows.a[r], rows.b[r], rows.d[r], rows.gap[r], work->max[r], least};
      terms_.combine(terms, p, piece.Row(r), u, slopes, piece.classes, p);
      const int64_t mark = (task_.HasLabels() ? rows.labels[r] : rows.read[r]) - piece.begin;
      if (mark < 0 || mark >= piece.classes || std::isnan(rows.total[r])) continue;
      p[mark] = slopes == nullptr ? rows.mark[r] : rows.mark[r] * slopes[mark];
    }
    wide_.Store(rows, piece, work->probabilities);
  });
}

}  // namespace

bool HasColumns(const SoftmaxTask& task) {
  const auto are_adjacent = [](const Matrix& x) {
    return x.class_stride != 1 && (x.inner == 1 ? x.outer_stride : x.inner_stride) == 1;
  };
  return are_adjacent(task.logits) && are_adjacent(task.gradient) && task.gradient.inner == task.logits.inner &&
         task.logits.classes <= kMostColumnClasses;
}

bool IsScaledEarly(const SoftmaxTask& task) {
  constexpr double kFar = 0x1p60;  // beyond, factors would be no normal floats
  const double scale = task.options.scale;
  return SoftmaxKernelsFor(IsaChosen().slot, task.logits.dtype).knows_scale && task.logits.HasPlainRows() &&
         task.options.label_smoothing == 0.0 && scale > 1.0 / kFar && scale < kFar;
}

bool HasDenseRows(const SoftmaxTask& task) {
  const xent_softmax_options& options = task.options;
  const Matrix& t = task.targets.dense;
  return task.targets.kind == XENT_TARGET_DENSE && !task.logits.IsDouble() && task.logits.HasPlainRows() &&
         t.HasPlainRows() && (t.dtype == Dtype::kF32 || t.dtype == task.logits.dtype) &&
         options.class_weight == nullptr && options.label_smoothing == 0.0;
}

bool IsGeneral(const SoftmaxTask& task) {
  const xent_softmax_options& options = task.options;
  const xent_softmax_outputs& out = task.outputs;
  const bool is_known = (task.logits.HasPlainRows() && task.gradient.HasPlainRows()) || HasColumns(task);
  const bool has_layout = !is_known || task.gradient.dtype != task.logits.dtype;
  const bool is_dense = task.targets.kind == XENT_TARGET_DENSE;
  const bool has_targets = (is_dense && !HasDenseRows(task)) || task.targets.kind == XENT_TARGET_SPARSE;
  const bool has_terms = has_targets || task.product == Product::kLogProbabilities ||
                         (options.scale != 1.0 && !IsScaledEarly(task)) || options.softcap != 0.0;
  // Distances between logits times 2^20 scale, and parts of a gradient, are floats.
  const bool is_stretched = HasEntropyGradient(task) && (options.scale < 0x1p-20 || options.scale > 0x1p20);
  const bool has_entropy = WantsEntropy(task) && (!HasRowEntropies(task) || options.lse != nullptr || is_stretched);
  const bool wants_classes = out.argmax != nullptr || out.correct != nullptr;
  const bool is_smoothed = options.label_smoothing != 0.0;
  // Rows of adjacent classes have a shorter way to these.
  const bool has_short_way = task.logits.HasPlainRows() && !task.logits.IsDouble() && options.class_weight == nullptr &&
                             options.live_classes == 0 &&
                             options.label_smoothing <= 0.9 &&  // what the label keeps hides what cancels
                             options.focal_gamma == 0.0;  // whose slope can pass f32's range when others have targets
  return has_layout || has_terms || has_entropy || (is_smoothed && !has_short_way) ||
         (wants_classes && !task.logits.HasPlainRows());
}

bool GeneralSoftmaxLoss(const SoftmaxTask& task, const Team& team) { return General(task, team).Run(); }

void FindGaps(const SoftmaxTask& task, int64_t first, int64_t count, double* max, double* gap) {
  General(task, Team{1, nullptr}).FindGaps(first, count, max, gap);
}

void RunGeneralRows(const SoftmaxTask& task, int64_t first, int64_t count, RowTotals* totals) {
  General(task, Team{1, nullptr}).RunRows(first, count, totals);
}

}  // namespace xent
