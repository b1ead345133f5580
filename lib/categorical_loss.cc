// Of labels only p_y is read; other targets have a term per class. The rules for the logarithm of 0 change what is read
// before its logarithm is taken, and what the gradient divides by.
#include "lib/categorical_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/isa.h"
#include "lib/softmax_rows.h"
#include "lib/softmax_totals.h"
#include "lib/target_terms.h"
#include "lib/targets.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLeastLog = -100.0;
constexpr double kLeastDivisor = 1e-12;

struct CategoricalTotals {
  Totals rows;
  int64_t outside = 0;

  void Add(const CategoricalTotals& other) {
    rows.Add(other.rows);
    outside += other.outside;
  }
};

// A tile and the piece of it that is at work.
struct CategoricalWork {
  Rows rows;
  Piece piece;
  double u[kPieceRoom];
  double divisor[kPieceRoom];  // what the gradient divides by; NaN stays, 0: the gradient is 0
  double terms[kPieceRoom];
  double gradient[kPieceRoom];
};

class Categorical {
 public:
  Categorical(const CategoricalTask& task, const Team& team)
      : task_(task),
        rows_(task.rows),
        team_(team),
        isa_slot_(IsaChosen().slot),
        math_(MathKernelsFor(isa_slot_)),
        kernels_(InformationKernelsFor(isa_slot_)),
        sums_(TermKernelsFor(isa_slot_)),
        wide_(task.rows, isa_slot_),
        targets_(task.rows),
        is_of_logs_(task.given == Given::kLogs),
        tile_rows_(RowsOfPiece(rows_.logits.classes)) {
    const double ends[] = {task.epsilon, 1.0 - task.epsilon};
    if (is_of_logs_) {
      MapKernelFor(isa_slot_, Function::kLog, Dtype::kF64)(ends, 2, ends_, false);
    } else {
      std::copy(ends, ends + 2, ends_);
    }
  }

  bool Run() const {
    const int64_t rows = rows_.logits.rows;
    const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_tile, CategoricalTotals* parts) {
      CategoricalWork work;
      StartRows(rows_, std::min(tile_rows_, rows), &work.rows);
      for (int64_t lot = first_lot; lot < last_lot; ++lot) {
        RowTotals of_rows;
        for (int64_t tile = first_tile(lot); tile < first_tile(lot + 1); ++tile) {
          const int64_t count = std::min(tile_rows_, rows - tile * tile_rows_);
          RunTile(tile * tile_rows_, count, &work, &of_rows, &parts[lot].outside);
        }
        parts[lot].rows.Add(of_rows);
      }
    };
    CategoricalTotals totals;
    if (rows > 0 && !RunLots(team_, (rows + tile_rows_ - 1) / tile_rows_, range, &totals)) return false;
    WriteTotals(rows_, totals.rows);
    if (task_.outside != nullptr) *task_.outside = totals.outside;
    return true;
  }

 private:
  void RunTile(int64_t first, int64_t count, CategoricalWork* work, RowTotals* totals, int64_t* outside) const {
    Rows& rows = work->rows;
    LoadRows(rows_, first, count, &rows);
    targets_.Prepare(&rows);
    if (targets_.HasTermPerClass()) {
      FindLosses(work, outside);
    } else {
      FindLabelLosses(work, outside);
    }
    WriteRows(rows_, rows);
    AddRows(rows_, math_, rows, 0, count, totals);
    if (rows_.outputs.gradient != nullptr) WriteGradient(work);
  }

  // What the rule makes of n numbers, and of the divisors of their gradients. Returns how many are no probabilities.
  int64_t Apply(int64_t n, double* x, double* divisor) const {
    int64_t outside = 0;
    for (int64_t i = 0; i < n; ++i) {
      const bool is_inside = is_of_logs_ ? !std::isnan(x[i]) : x[i] >= 0.0 && x[i] <= 1.0;
      outside += !is_inside;
      x[i] = is_inside ? x[i] + 0.0 : kNaN;  // -0 becomes 0
      divisor[i] = is_of_logs_ ? 1.0 : x[i];
      if (task_.log_rule == XENT_LOG_CLAMP && divisor[i] < kLeastDivisor) divisor[i] = kLeastDivisor;
      if (task_.log_rule == XENT_LOG_CLAMP && is_of_logs_ && x[i] < kLeastLog) x[i] = kLeastLog;
      if (task_.log_rule != XENT_LOG_EPSILON || !(x[i] < ends_[0] || x[i] > ends_[1])) continue;
      x[i] = x[i] < ends_[0] ? ends_[0] : ends_[1];
      divisor[i] = kClipped;
    }
    return outside;
  }

  // -u log p of n numbers.
  void FindTerms(const double* u, const double* x, int64_t n, double* terms, double* unused) const {
    InformationTerms row = {};
    row.measure = Measure::kCrossEntropy;
    row.p = Given::kProbabilities;
    row.q = task_.given;
    kernels_.terms(row, u, x, n, terms, unused, nullptr);
    if (task_.log_rule != XENT_LOG_CLAMP || is_of_logs_) return;
    for (int64_t i = 0; i < n; ++i) {
      if (terms[i] > -kLeastLog * u[i]) terms[i] = -kLeastLog * u[i];
    }
  }

  double LabelWeight(const Rows& rows, int64_t r) const {
    return rows.labels[r] >= 0 ? rows_.RowValue(rows_.options.class_weight, rows.labels[r], 1.0) : 1.0;
  }

  void FindLabelLosses(CategoricalWork* work, int64_t* outside) const {
    Rows& rows = work->rows;
    for (int64_t r = 0; r < rows.count; ++r) {
      const bool is_read = rows.read[r] != kSkipRow;
      work->terms[r] = is_read ? wide_.At(rows.first + r, rows.labels[r]) : (is_of_logs_ ? 0.0 : 1.0);
      work->u[r] = LabelWeight(rows, r);
    }
    *outside += Apply(rows.count, work->terms, work->divisor);
    double losses[kTileRows + kRowLanes], unused[kTileRows + kRowLanes];
    FindTerms(work->u, work->terms, rows.count, losses, unused);
    for (int64_t r = 0; r < rows.count; ++r) rows.loss[r] = rows.weight[r] * losses[r];
    for (int64_t r = 0; r < rows.count; ++r) rows.mark[r] = Element(work->u[r], work->divisor[r]);
  }

  void FindLosses(CategoricalWork* work, int64_t* outside) const {
    Rows& rows = work->rows;
    Sum sums[kTileRows];
    ForPieces(work, [&](int64_t r, int64_t n, double* x) {
      *outside += Apply(n, x, work->divisor);
      FindTerms(work->u, x, n, work->terms, work->gradient);
      sums[r].Add(sums_.sum(work->terms, n, -1));
    });
    for (int64_t r = 0; r < rows.count; ++r) rows.loss[r] = rows.weight[r] * sums[r].Value();
  }

  // body(row, n, its numbers) for each row that is read and each piece, with its targets in u.
  template <class Body>
  void ForPieces(CategoricalWork* work, const Body& body) const {
    const int64_t classes = rows_.logits.classes;
    for (int64_t begin = 0; begin < classes; begin += kPiece) {
      const int64_t n = std::min(kPiece, classes - begin);
      wide_.Load(work->rows, begin, n, &work->piece);
      for (int64_t r = 0; r < work->rows.count; ++r) {
        if (work->rows.read[r] == kSkipRow) continue;
        double x[kPieceRoom];
        std::copy(work->piece.Row(r), work->piece.Row(r) + n, x);
        std::fill(x + n, x + n + kRowLanes, 1.0);
        targets_.Fill(work->rows, r, classes, work->piece, work->u);
        std::fill(work->u + n, work->u + n + kRowLanes, 0.0);
        body(r, n, x);
      }
    }
  }

  // d / dp of -u log p.
  static double Element(double u, double divisor) {
    if (divisor == kClipped || u == 0.0) return std::isnan(divisor) ? kNaN : 0.0;
    return -u / divisor;
  }

  void WriteGradient(CategoricalWork* work) const {
    const Rows& rows = work->rows;
    const int64_t classes = rows_.logits.classes;
    const bool has_terms = targets_.HasTermPerClass();
    for (int64_t begin = 0; begin < classes; begin += kPiece) {
      const int64_t n = std::min(kPiece, classes - begin);
      if (has_terms) wide_.Load(rows, begin, n, &work->piece);
      work->piece.begin = begin;
      work->piece.classes = n;
      for (int64_t r = 0; r < rows.count; ++r) {
        double* const g = work->gradient + r * n;
        const bool is_nan = rows.labels[r] == kInvalidLabel || std::isnan(rows.loss[r]);
        std::fill(g, g + n, is_nan && rows.slope[r] != 0.0 ? kNaN : 0.0);
        if (rows.read[r] == kSkipRow || rows.slope[r] == 0.0 || is_nan) continue;
        const int64_t label = rows.labels[r] - begin;
        if (!has_terms) {
          if (label >= 0 && label < n) g[label] = rows.slope[r] * rows.mark[r];
          continue;
        }
        double x[kPieceRoom];
        std::copy(work->piece.Row(r), work->piece.Row(r) + n, x);
        targets_.Fill(rows, r, classes, work->piece, work->u);
        Apply(n, x, work->divisor);
        for (int64_t j = 0; j < n; ++j) g[j] = rows.slope[r] * Element(work->u[j], work->divisor[j]);
      }
      wide_.Store(rows, work->piece, work->gradient);
    }
  }

  static constexpr double kClipped = -1.0;  // in place of a divisor

  const CategoricalTask& task_;
  const SoftmaxTask& rows_;
  const Team team_;
  const int isa_slot_;
  const MathKernels& math_;
  const InformationKernels& kernels_;
  const TermKernels& sums_;
  const WideRows wide_;
  const TargetTerms targets_;
  const bool is_of_logs_;
  const int64_t tile_rows_;
  double ends_[2];  // between which epsilon leaves what it reads
};

}  // namespace

bool CategoricalLoss(const CategoricalTask& task, const Team& team) { return Categorical(task, team).Run(); }

}  // namespace xent
