// With p_m the distribution that sample m of M gives to a row, and q their mean:
//   predictive entropy  H(q)        expected entropy  mean of H(p_m)        their difference  mean of KL(p_m, q)
// The difference is a sum of p log(p / q) - (p - q), none of them negative, since p - q sums to 0 over the samples. The
// derivatives by p_mj are -log q - 1, -log p - 1 and log(p / q), over M.
#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "lib/information.h"
#include "lib/isa.h"
#include "lib/lots.h"
#include "lib/reduce.h"
#include "lib/softmax_general.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

constexpr int kMeasures = 3;

struct EnsembleTotals {
  Sum sums[kMeasures];
  void Add(const EnsembleTotals& other) {
    for (int i = 0; i < kMeasures; ++i) sums[i].Add(other.sums[i]);
  }
};

// What is known of one row of one sample: its logits' top and gap, and the mean of its derivatives.
struct Member {
  double top;
  double gap;
  Sum mean;
};

// Rows that are worked on together, as many as one piece holds.
struct EnsembleWork {
  Rows rows;
  Piece piece;
  Sum values[kMeasures][kTileRows];
  double mean[kPieceRoom];  // of the samples' probabilities
  double values_of[kPieceRoom];
  double probabilities[kPieceRoom];
  double difference[kPieceRoom];
};

class Ensemble {
 public:
  Ensemble(const EnsembleTask& task, const Team& team)
      : task_(task),
        team_(team),
        kernels_(InformationKernelsFor(IsaChosen().slot)),
        sums_(TermKernelsFor(IsaChosen().slot)),
        wide_(task.samples, IsaChosen().slot),
        rows_(task.rows),
        classes_(task.samples.logits.classes),
        tile_rows_(RowsOfPiece(classes_)) {}

  xent_status Run() const {
    std::atomic<bool> has_memory{true};
    const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_tile, EnsembleTotals* parts) {
      const std::unique_ptr<Member[]> members(new (std::nothrow) Member[static_cast<size_t>(task_.count * tile_rows_)]);
      if (members == nullptr) {
        has_memory = false;
        return;
      }
      EnsembleWork work;
      for (int64_t lot = first_lot; lot < last_lot; ++lot) {
        for (int64_t tile = first_tile(lot); tile < first_tile(lot + 1); ++tile) {
          RunTile(tile * tile_rows_, std::min(tile_rows_, rows_ - tile * tile_rows_), members.get(), &work,
                  &parts[lot]);
        }
      }
    };
    EnsembleTotals totals;
    if (rows_ > 0 && !RunLots(team_, (rows_ + tile_rows_ - 1) / tile_rows_, range, &totals)) return XENT_RUNNER_FAILED;
    const double denominator = task_.options.reduction == XENT_REDUCTION_MEAN ? static_cast<double>(rows_) : 1.0;
    for (int i = 0; i < kMeasures && task_.outputs.totals != nullptr; ++i) {
      task_.outputs.totals[i] = totals.sums[i].Value() / denominator;
    }
    return has_memory ? XENT_OK : XENT_OUT_OF_MEMORY;
  }

 private:
  Given GivenAs() const { return static_cast<Given>(task_.options.p_given - XENT_PROBABILITIES); }
  Member& MemberOf(Member* members, int64_t sample, int64_t r) const { return members[sample * tile_rows_ + r]; }

  // Rows [first, first + count) of a sample.
  static void Choose(const EnsembleTask& task, int64_t sample, int64_t first, int64_t count, Rows* rows) {
    rows->first = sample * task.rows + first;
    rows->count = count;
    std::fill(rows->read, rows->read + count, 0);
  }

  InformationTerms TermsOf(const Member& member, Measure measure) const {
    InformationTerms terms = {};
    terms.measure = measure;
    terms.p = GivenAs();
    terms.q = Given::kProbabilities;
    terms.p_top = member.top;
    terms.p_gap = member.gap;
    return terms;
  }

  void RunTile(int64_t first, int64_t count, Member* members, EnsembleWork* work, EnsembleTotals* totals) const {
    FindTops(first, count, members);
    FindValues(first, count, members, work);
    const double samples = static_cast<double>(task_.count);
    void* const arrays[kMeasures] = {task_.outputs.predictive_entropy, task_.outputs.expected_entropy,
                                     task_.outputs.mutual_information};
    for (int i = 0; i < kMeasures; ++i) {
      for (int64_t r = 0; r < count; ++r) {
        const double value = task_.unit * (work->values[i][r].Value() / (i == 0 ? 1.0 : samples));
        totals->sums[i].Add(value);
        if (arrays[i] == nullptr) continue;
        if (task_.samples.logits.IsDouble()) {
          static_cast<double*>(arrays[i])[first + r] = value;
        } else {
          static_cast<float*>(arrays[i])[first + r] = static_cast<float>(value);
        }
      }
    }
    if (task_.outputs.gradient != nullptr) WriteGradient(first, count, members, work);
  }

  void FindTops(int64_t first, int64_t count, Member* members) const {
    for (int64_t sample = 0; sample < task_.count; ++sample) {
      double top[kTileRows] = {}, gap[kTileRows] = {};
      if (GivenAs() == Given::kLogits) FindGaps(task_.samples, sample * rows_ + first, count, top, gap);
      for (int64_t r = 0; r < count; ++r) MemberOf(members, sample, r) = {top[r], gap[r], Sum()};
    }
  }

  // body(sample) for each piece of the rows and each sample, whose numbers are in the piece then.
  template <class Body>
  void ForSamples(int64_t first, int64_t count, int64_t begin, EnsembleWork* work, const Body& body) const {
    for (int64_t sample = 0; sample < task_.count; ++sample) {
      Choose(task_, sample, first, count, &work->rows);
      wide_.Load(work->rows, begin, std::min(kPiece, classes_ - begin), &work->piece);
      wide_.Transform(work->rows, false, &work->piece);
      body(sample);
    }
  }

  // The mean of the samples' probabilities; of_member(member, r, -p log p, n) meanwhile.
  template <class OfMember>
  void FindMean(int64_t first, int64_t count, int64_t begin, Member* members, EnsembleWork* work,
                const OfMember& of_member) const {
    const int64_t n = std::min(kPiece, classes_ - begin);
    std::fill(work->mean, work->mean + count * n + kRowLanes, 0.0);
    ForSamples(first, count, begin, work, [&](int64_t sample) {
      for (int64_t r = 0; r < count; ++r) {
        Member& member = MemberOf(members, sample, r);
        kernels_.terms(TermsOf(member, Measure::kEntropy), work->piece.Row(r), nullptr, n, work->values_of,
                       work->probabilities, nullptr);
        for (int64_t j = 0; j < n; ++j) work->mean[r * n + j] += work->probabilities[j];
        of_member(&member, r, n);
      }
    });
    for (int64_t i = 0; i < count * n; ++i) work->mean[i] /= static_cast<double>(task_.count);
  }

  void FindValues(int64_t first, int64_t count, Member* members, EnsembleWork* work) const {
    for (auto& values : work->values) std::fill(values, values + count, Sum());
    const Measure measure = GradientMeasure();
    for (int64_t begin = 0; begin < classes_; begin += kPiece) {
      const int64_t n = std::min(kPiece, classes_ - begin);
      FindMean(first, count, begin, members, work, [&](Member* member, int64_t r, int64_t) {
        const double entropy = sums_.sum(work->values_of, n, -1);
        work->values[1][r].Add(entropy);
        if (measure == Measure::kEntropy) member->mean.Add(entropy);
      });
      for (int64_t r = 0; r < count; ++r) {
        InformationTerms terms = {};
        terms.measure = Measure::kEntropy;
        kernels_.terms(terms, work->mean + r * n, nullptr, n, work->values_of, work->probabilities, nullptr);
        work->values[0][r].Add(sums_.sum(work->values_of, n, -1));
      }
      ForSamples(first, count, begin, work, [&](int64_t sample) {
        for (int64_t r = 0; r < count; ++r) {
          Member& member = MemberOf(members, sample, r);
          const double* const x = work->piece.Row(r);
          kernels_.terms(TermsOf(member, Measure::kKullbackLeibler), x, work->mean + r * n, n, work->values_of,
                         work->probabilities, work->difference);
          work->values[2][r].Add(sums_.sum(work->values_of, n, -1));
          if (measure == Measure::kKullbackLeibler) {
            member.mean.Add(sums_.sum(work->values_of, n, -1));
            member.mean.Add(sums_.sum(work->difference, n, -1));
          } else if (measure == Measure::kCrossEntropy) {
            kernels_.terms(TermsOf(member, Measure::kCrossEntropy), x, work->mean + r * n, n, work->values_of,
                           work->probabilities, nullptr);
            member.mean.Add(sums_.sum(work->values_of, n, -1));
          }
        }
      });
    }
  }

  // Whose derivatives by p_m, q given, are those that are wanted, but for 1.
  Measure GradientMeasure() const {
    switch (task_.outputs.gradient_of) {
      case XENT_PREDICTIVE_ENTROPY:
        return Measure::kCrossEntropy;
      case XENT_EXPECTED_ENTROPY:
        return Measure::kEntropy;
      default:
        return Measure::kKullbackLeibler;
    }
  }

  double SlopeOf(int64_t row) const {
    const xent_information_options& options = task_.options;
    const double upstream = options.upstream * task_.samples.RowValue(options.row_upstream, row, 1.0);
    const double rows = options.reduction == XENT_REDUCTION_MEAN ? static_cast<double>(rows_) : 1.0;
    return task_.unit * task_.samples.options.scale * (upstream / rows / static_cast<double>(task_.count));
  }

  void WriteGradient(int64_t first, int64_t count, Member* members, EnsembleWork* work) const {
    const Measure measure = GradientMeasure();
    // The kernels' derivatives are -log q, -log p - 1 and log(p / q) + 1.
    const bool is_less_one = measure != Measure::kEntropy && GivenAs() != Given::kLogits;
    for (int64_t begin = 0; begin < classes_; begin += kPiece) {
      FindMean(first, count, begin, members, work, [](Member*, int64_t, int64_t) {});
      ForSamples(first, count, begin, work, [&](int64_t sample) {
        const int64_t n = work->piece.classes;
        for (int64_t r = 0; r < count; ++r) {
          double* const x = work->piece.z + r * n;
          InformationTerms terms = TermsOf(MemberOf(members, sample, r), measure);
          terms.p_slope = SlopeOf(first + r);
          // The mean of log(p / q) + 1 is one more; of -log p - 1 one less.
          const double one = measure == Measure::kKullbackLeibler ? 1.0 : measure == Measure::kEntropy ? -1.0 : 0.0;
          terms.p_mean = MemberOf(members, sample, r).mean.Value() + one;
          if (is_less_one) {
            const Member& member = MemberOf(members, sample, r);
            kernels_.terms(TermsOf(member, Measure::kEntropy), x, nullptr, n, work->values_of, work->probabilities,
                           nullptr);
          }
          kernels_.gradients(terms, x, work->mean + r * n, n, work->values_of, nullptr);
          for (int64_t j = 0; j < n && is_less_one; ++j) {
            work->values_of[j] -= terms.p_slope * (GivenAs() == Given::kLogs ? work->probabilities[j] : 1.0);
          }
          std::copy(work->values_of, work->values_of + n, x);
        }
        wide_.Store(work->rows, work->piece, work->piece.z);
      });
    }
  }

  const EnsembleTask& task_;
  const Team team_;
  const InformationKernels& kernels_;
  const TermKernels& sums_;
  const WideRows wide_;
  const int64_t rows_;
  const int64_t classes_;
  const int64_t tile_rows_;
};

}  // namespace

xent_status InformationOfEnsemble(const EnsembleTask& task, const Team& team) { return Ensemble(task, team).Run(); }

}  // namespace xent
