// A row is gone over for its sums and, if a gradient is asked for, once more for that. The derivative of a measure by
// the probability p_j, d_j, makes that by log p_j, p_j d_j, and by a logit, p_j (d_j - sum_i p_i d_i), whose sum is
// known from the measure itself:
//   entropy          d = -log p - 1                  H - 1
//   cross-entropy    by p: -log q    by q: -p / q    H(p, q)             -sum p
//   Kullback-Leibler by p: log(p / q) + 1            KL + sum p          -sum p
//   Jensen-Shannon   beta log(p / m), and so of q    sum beta p log(p / m), and so of q
#include "lib/information.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/isa.h"
#include "lib/lots.h"
#include "lib/reduce.h"
#include "lib/row_entropy.h"
#include "lib/softmax_general.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

struct InformationTotals {
  Sum sum;
  void Add(const InformationTotals& other) { sum.Add(other.sum); }
};

// Rows that are worked on together, as many as one piece holds.
struct RowsAtWork {
  Rows rows;
  double p_top[kTileRows];
  double p_gap[kTileRows];
  double q_top[kTileRows];
  double q_gap[kTileRows];
  double value[kTileRows];
  double p_mean[kTileRows];
  double q_mean[kTileRows];
  LogitRows logits[kTileRows];
  bool has_short_gradient[kTileRows];  // in f32, from these logits and the value
  Piece p;
  Piece q;
  double terms[kPieceRoom];
  double p_part[kPieceRoom];
  double q_part[kPieceRoom];
};

Given GivenAs(xent_distribution distribution) { return static_cast<Given>(distribution - XENT_PROBABILITIES); }

// Whether rows are adjacent probabilities of f32 lanes, in a measure that f32 suffices for.
bool AreShort(const InformationTask& task) {
  if (task.measure == Measure::kJensenShannon && task.options.beta != 0.5) return false;
  const auto is_short = [](const Matrix& x, xent_distribution given) {
    return x.HasPlainRows() && !x.IsDouble() && given == XENT_PROBABILITIES;
  };
  return is_short(task.p.logits, task.options.p_given) &&
         (!task.has_q || (is_short(task.q.logits, task.options.q_given) && task.q.logits.dtype == task.p.logits.dtype));
}

class Information {
 public:
  Information(const InformationTask& task, const Team& team)
      : task_(task),
        team_(team),
        isa_slot_(IsaChosen().slot),
        kernels_(InformationKernelsFor(isa_slot_)),
        sums_(TermKernelsFor(isa_slot_)),
        measures_(MeasureKernelsFor(isa_slot_, task.p.logits.dtype)),
        entropies_(task.p, isa_slot_, !task.has_q),
        q_entropies_(task.has_q ? task.q : task.p, isa_slot_, false),
        is_short_(AreShort(task)),
        has_entropies_(task.measure == Measure::kEntropy && task.options.p_given == XENT_LOGITS &&
                       HasRowEntropies(task.p)),
        are_short_logits_(task.measure == Measure::kKullbackLeibler && task.options.p_given == XENT_LOGITS &&
                          task.options.q_given == XENT_LOGITS && HasRowEntropies(task.p) && HasRowEntropies(task.q) &&
                          task.p.logits.dtype == task.q.logits.dtype),
        classes_(task.p.logits.classes),
        wide_p_(task.p, isa_slot_),
        wide_q_(task.has_q ? task.q : task.p, isa_slot_),
        tile_rows_(RowsOfPiece(classes_)) {}

  bool Run() const {
    const int64_t rows = task_.p.logits.rows;
    const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_tile, InformationTotals* parts) {
      RowsAtWork work;
      for (double* const array : {work.p_top, work.p_gap, work.q_top, work.q_gap, work.p_mean, work.q_mean}) {
        std::fill(array, array + kTileRows, 0.0);
      }
      for (int64_t lot = first_lot; lot < last_lot; ++lot) {
        for (int64_t tile = first_tile(lot); tile < first_tile(lot + 1); ++tile) {
          RunTile(tile * tile_rows_, std::min(tile_rows_, rows - tile * tile_rows_), &work, &parts[lot].sum);
        }
      }
    };
    InformationTotals totals;
    if (rows > 0 && !RunLots(team_, (rows + tile_rows_ - 1) / tile_rows_, range, &totals)) return false;
    const double sum = totals.sum.Value();
    const bool is_mean = task_.options.reduction == XENT_REDUCTION_MEAN;
    if (task_.outputs.sum != nullptr) *task_.outputs.sum = sum;
    if (task_.outputs.total != nullptr) *task_.outputs.total = is_mean ? sum / static_cast<double>(rows) : sum;
    return true;
  }

 private:
  void RunTile(int64_t first, int64_t count, RowsAtWork* work, Sum* sum) const {
    Rows& rows = work->rows;
    rows.first = first;
    rows.count = count;
    std::fill(rows.read, rows.read + count, 0);
    FindValues(work);
    for (int64_t r = 0; r < count; ++r) {
      const double value = task_.unit * work->value[r];
      sum->Add(value);
      if (task_.outputs.rows == nullptr) continue;
      if (task_.p.logits.IsDouble()) {
        static_cast<double*>(task_.outputs.rows)[first + r] = value;
      } else {
        static_cast<float*>(task_.outputs.rows)[first + r] = static_cast<float>(value);
      }
    }
    if (WantsGradient()) WriteGradients(work);
  }

  // body() for each piece of the rows, widened.
  template <class Body>
  void ForPieces(RowsAtWork* work, const Body& body) const {
    for (int64_t begin = 0; begin < classes_; begin += kPiece) {
      const int64_t n = std::min(kPiece, classes_ - begin);
      wide_p_.Load(work->rows, begin, n, &work->p);
      wide_p_.Transform(work->rows, false, &work->p);
      if (task_.has_q) {
        wide_q_.Load(work->rows, begin, n, &work->q);
        wide_q_.Transform(work->rows, false, &work->q);
      }
      body();
    }
  }

  InformationTerms TermsOf(const RowsAtWork& work, int64_t r) const {
    const xent_information_options& options = task_.options;
    InformationTerms terms = {};
    terms.measure = task_.measure;
    terms.p = GivenAs(options.p_given);
    terms.q = GivenAs(options.q_given);
    terms.p_top = work.p_top[r];
    terms.p_gap = work.p_gap[r];
    terms.q_top = work.q_top[r];
    terms.q_gap = work.q_gap[r];
    terms.beta = options.beta;
    return terms;
  }

  // In f32 the values of rows that it suffices for, whatever their neighbours are.
  void FindValues(RowsAtWork* work) const {
    const int64_t count = work->rows.count;
    double value[kTileRows];
    bool is_found[kTileRows] = {};
    std::fill(work->has_short_gradient, work->has_short_gradient + count, false);
    if (has_entropies_) {
      FindEntropies(work);
      return;
    }
    if (are_short_logits_) FindDivergences(work, value, is_found);
    for (int64_t r = 0; r < count && is_short_; ++r) {
      is_found[r] = FindShortValue(work->rows.first + r, &value[r]);
    }
    // Gradients of logits in f64 need what values in f64 do.
    const bool needs_gradients = are_short_logits_ && WantsGradient();
    const bool* const suffices = needs_gradients ? work->has_short_gradient : is_found;
    if (std::count(suffices, suffices + count, true) == count) return FinishValues(work, value, is_found);
    if (GivenAs(task_.options.p_given) == Given::kLogits) {
      FindGaps(task_.p, work->rows.first, count, work->p_top, work->p_gap);
    }
    if (task_.has_q && GivenAs(task_.options.q_given) == Given::kLogits) {
      FindGaps(task_.q, work->rows.first, count, work->q_top, work->q_gap);
    }
    FindWideValues(work);
    FinishValues(work, value, is_found);
  }

  void FinishValues(RowsAtWork* work, const double* value, const bool* is_found) const {
    for (int64_t r = 0; r < work->rows.count; ++r) {
      if (is_found[r]) work->value[r] = value[r];
    }
  }

  // Entropies of logits.
  void FindEntropies(RowsAtWork* work) const {
    const Rows& rows = work->rows;
    EntropyState states[kTileRows];
    entropies_.FindStates(Team{1, nullptr}, rows.first, rows.count, rows.read, states);
    entropies_.Finish(rows.first, rows.count, rows.read, states, work->p_gap, work->value);
    for (int64_t r = 0; r < rows.count; ++r) {
      work->p_top[r] = states[r].top;
      work->p_mean[r] = work->value[r] - 1.0;
      work->logits[r] = {task_.options.scale, states[r].top_logit, 0.0, 1.0 / (1.0 + states[r].others), work->p_gap[r]};
      // (NaN is not above.)
      work->has_short_gradient[r] = states[r].others >= kLeastOthers && HasUsualSlope(rows.first + r);
    }
  }

  // Divergences of logits.
  void FindDivergences(RowsAtWork* work, double* value, bool* is_found) const {
    const Rows& rows = work->rows;
    EntropyState p[kTileRows], q[kTileRows];
    double p_gap[kTileRows], q_gap[kTileRows], entropy[kTileRows];
    entropies_.FindStates(Team{1, nullptr}, rows.first, rows.count, rows.read, p);
    entropies_.Finish(rows.first, rows.count, rows.read, p, p_gap, entropy);
    q_entropies_.FindStates(Team{1, nullptr}, rows.first, rows.count, rows.read, q);
    q_entropies_.Finish(rows.first, rows.count, rows.read, q, q_gap, entropy);
    for (int64_t r = 0; r < rows.count; ++r) {
      work->logits[r] = {task_.options.scale, p[r].top_logit, q[r].top_logit, 1.0 / (1.0 + p[r].others),
                         (p[r].top - q[r].top) + (p_gap[r] - q_gap[r])};
      MeasureSums sums = {};
      constexpr double kFarthest = 0x1p60;  // logits so far apart are no floats, maybe
      is_found[r] = std::fabs(work->logits[r].gap) < kFarthest &&
                    measures_.divergence_of_logits(work->logits[r], task_.p.logits.Row(rows.first + r),
                                                   task_.q.logits.Row(rows.first + r), classes_, &sums);
      value[r] = sums.terms;
      work->has_short_gradient[r] = is_found[r] && sums.has_gradient && HasUsualSlope(rows.first + r);
    }
  }

  // The value of a row of probabilities, if the kernels for f32 know it.
  bool FindShortValue(int64_t row, double* value) const {
    const int64_t n = classes_;
    const void* const p = task_.p.logits.Row(row);
    const void* const q = task_.has_q ? task_.q.logits.Row(row) : nullptr;
    MeasureSums sums;
    bool is_found = false;
    switch (task_.measure) {
      case Measure::kEntropy:
        is_found = measures_.entropy(p, n, &sums);
        break;
      case Measure::kCrossEntropy:
        is_found = measures_.cross_entropy(p, q, n, &sums);
        break;
      case Measure::kKullbackLeibler:
        is_found = measures_.divergence(p, q, n, &sums);
        break;
      default:
        is_found = measures_.mixture(p, q, n, &sums);
    }
    *value = sums.terms + sums.differences;
    return is_found;
  }

  void FindWideValues(RowsAtWork* work) const {
    const int64_t count = work->rows.count;
    Sum values[kTileRows], p_parts[kTileRows], q_parts[kTileRows];
    ForPieces(work, [&] {
      const int64_t n = work->p.classes;
      for (int64_t r = 0; r < count; ++r) {
        kernels_.terms(TermsOf(*work, r), work->p.Row(r), work->q.z + r * n, n, work->terms, work->p_part,
                       work->q_part);
        values[r].Add(sums_.sum(work->terms, n, -1));
        if (task_.has_q) p_parts[r].Add(sums_.sum(work->p_part, n, -1));
        if (HasQPart()) q_parts[r].Add(sums_.sum(work->q_part, n, -1));
      }
    });
    for (int64_t r = 0; r < count; ++r) {
      const double terms = values[r].Value();
      const double p_part = p_parts[r].Value();
      const double q_part = q_parts[r].Value();
      // Softmaxes sum to 1 both.
      const bool is_of_logits = task_.options.p_given == XENT_LOGITS && task_.options.q_given == XENT_LOGITS;
      const bool is_divergence = task_.measure == Measure::kKullbackLeibler;
      work->value[r] = is_divergence && !is_of_logits && std::isfinite(terms) ? terms + q_part : terms;
      switch (task_.measure) {
        case Measure::kEntropy:
          work->p_mean[r] = terms - 1.0;
          break;
        case Measure::kJensenShannon:
          work->p_mean[r] = p_part;
          work->q_mean[r] = q_part;
          break;
        default:
          work->p_mean[r] = work->value[r] + (is_divergence ? p_part : 0.0);
          work->q_mean[r] = 0.0 - p_part;
      }
    }
  }

  bool WantsGradient() const { return task_.outputs.p_gradient != nullptr || task_.outputs.q_gradient != nullptr; }

  bool HasQPart() const {
    return task_.measure == Measure::kKullbackLeibler || task_.measure == Measure::kJensenShannon;
  }

  double SlopeOf(int64_t row, const SoftmaxTask& of) const {
    const bool is_mean = task_.options.reduction == XENT_REDUCTION_MEAN;
    const double upstream = task_.options.upstream * task_.p.RowValue(task_.options.row_upstream, row, 1.0);
    return task_.unit * of.options.scale * (is_mean ? upstream / static_cast<double>(task_.p.logits.rows) : upstream);
  }

  // Beyond, products may be no normal floats.
  bool HasUsualSlope(int64_t row) const {
    constexpr double kFar = 0x1p60;
    const double slope = std::fabs(SlopeOf(row, task_.p));
    return slope > 1.0 / kFar && slope < kFar;
  }

  void WriteGradients(RowsAtWork* work) const {
    const int64_t count = work->rows.count;
    for (int64_t r = 0; r < count; ++r) work->rows.read[r] = work->has_short_gradient[r] ? kSkipRow : 0;
    if (std::count(work->rows.read, work->rows.read + count, 0) > 0) WriteWideGradients(work);
    for (int64_t r = 0; r < count; ++r) {
      if (!work->has_short_gradient[r]) continue;
      const int64_t row = work->rows.first + r;
      const auto to = [&](const SoftmaxTask& of) {
        return of.gradient.data != nullptr ? const_cast<char*>(of.gradient.Row(row)) : nullptr;
      };
      if (has_entropies_) {
        measures_.entropy_gradient(work->logits[r], task_.p.logits.Row(row), work->value[r], SlopeOf(row, task_.p),
                                   classes_, to(task_.p));
        continue;
      }
      measures_.divergence_gradients(work->logits[r], task_.p.logits.Row(row), task_.q.logits.Row(row), work->value[r],
                                     SlopeOf(row, task_.p), SlopeOf(row, task_.q), classes_, to(task_.p), to(task_.q));
    }
  }

  // Of rows that are read.
  void WriteWideGradients(RowsAtWork* work) const {
    const bool of_p = task_.outputs.p_gradient != nullptr;
    const bool of_q = task_.outputs.q_gradient != nullptr;
    ForPieces(work, [&] {
      const int64_t n = work->p.classes;
      for (int64_t r = 0; r < work->rows.count; ++r) {
        if (work->rows.read[r] == kSkipRow) continue;
        InformationTerms terms = TermsOf(*work, r);
        terms.p_slope = SlopeOf(work->rows.first + r, task_.p);
        terms.q_slope = task_.has_q ? SlopeOf(work->rows.first + r, task_.q) : 0.0;
        terms.p_mean = work->p_mean[r];
        terms.q_mean = work->q_mean[r];
        // A kernel writes whole vectors: the last row's end must not reach into the next row's beginning.
        kernels_.gradients(terms, work->p.Row(r), work->q.z + r * n, n, work->terms, of_q ? work->q_part : nullptr);
        std::copy(work->terms, work->terms + n, work->p.z + r * n);
        if (of_q) std::copy(work->q_part, work->q_part + n, work->q.z + r * n);
      }
      if (of_p) wide_p_.Store(work->rows, work->p, work->p.z, true);
      if (of_q) wide_q_.Store(work->rows, work->q, work->q.z, true);
    });
  }

  const InformationTask& task_;
  const Team team_;
  const int isa_slot_;
  const InformationKernels& kernels_;
  const TermKernels& sums_;
  const MeasureKernels& measures_;
  const RowEntropies entropies_;
  const RowEntropies q_entropies_;
  const bool is_short_;
  const bool has_entropies_;
  const bool are_short_logits_;
  const int64_t classes_;
  const WideRows wide_p_;
  const WideRows wide_q_;
  const int64_t tile_rows_;
};

}  // namespace

bool InformationOfRows(const InformationTask& task, const Team& team) { return Information(task, team).Run(); }

}  // namespace xent
