// With n cells, n_x and n_y the sums of rows and columns and T that of all, each entropy is a sum of numbers that are
// not negative, a log(b / a) with a <= b:
//   T H(X, Y) = sum n log(T / n)    T H(X) = sum n_x log(T / n_x)    T H(Y given X) = sum n log(n_x / n)
// and T I(X; Y) = sum n log(n T / (n_x n_y)) is one of n log(n / e) - (n - e), e = n_x n_y / T, since both sum to T.
// The derivatives by a cell are these logarithms less the measure, over T. The table is scaled by a power of two, so
// that its largest cell is near 1 and no product of two sums overflows.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <new>

#include "lib/information.h"
#include "lib/isa.h"
#include "lib/reduce.h"
#include "lib/row_state.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

// A product of two sums below 2^-900 is lifted: its rounding error would be no normal number.
constexpr int64_t kLeastExponent = -900;

class Joint {
 public:
  explicit Joint(const JointTask& task)
      : task_(task),
        kernels_(InformationKernelsFor(IsaChosen().slot)),
        sums_(TermKernelsFor(IsaChosen().slot)),
        rows_(task.table.rows),
        columns_(task.table.classes),
        words_(SoftmaxKernelsFor(IsaChosen().slot, task.table.dtype)),
        of_columns_(new (std::nothrow) Sum[static_cast<size_t>(columns_)]),
        of_rows_(new (std::nothrow) Sum[static_cast<size_t>(rows_)]),
        behind_(new (std::nothrow) Sum[static_cast<size_t>(std::max(rows_, columns_))]) {}

  bool HasMemory() const { return of_columns_ != nullptr && of_rows_ != nullptr && behind_ != nullptr; }

  void Run() {
    FindScale();
    FindSums();
    double values[6] = {};
    for (int64_t row = 0; row < rows_; ++row) AddRow(row);
    values[XENT_JOINT_ENTROPY] = joint_.Value();
    values[XENT_CONDITIONAL_ENTROPY] = conditional_.Value();
    values[XENT_MUTUAL_INFORMATION] = mutual_.Value();
    values[XENT_ROW_ENTROPY] = EntropyOf(of_rows_.get(), rows_);
    values[XENT_COLUMN_ENTROPY] = EntropyOf(of_columns_.get(), columns_);
    for (double& value : values) value /= total_.Value();
    for (int i = 0; i < 5 && task_.values != nullptr; ++i) task_.values[i] = task_.unit * values[i + 1];
    if (task_.gradient_of == 0) return;
    for (int64_t row = 0; row < rows_; ++row) WriteGradient(row, values[task_.gradient_of]);
  }

 private:
  // body(first column, n) for each piece of a row, whose cells are in n_ then.
  template <class Body>
  void ForPieces(int64_t row, const Body& body) {
    double packed[kPiece];
    for (int64_t begin = 0; begin < columns_; begin += kPiece) {
      const int64_t n = std::min(kPiece, columns_ - begin);
      words_.widen(PackedRow(task_.table, row, begin, n, packed), n, n_);
      for (int64_t i = 0; i < n; ++i) n_[i] = TimesPowerOfTwo(n_[i], -scale_);
      body(begin, n);
    }
  }

  void FindScale() {
    double largest = 0.0;
    for (int64_t row = 0; row < rows_; ++row) {
      ForPieces(row, [&](int64_t, int64_t n) { largest = std::max(largest, *std::max_element(n_, n_ + n)); });
    }
    if (largest > 0.0 && std::isfinite(largest)) scale_ = std::ilogb(largest);
  }

  void FindSums() {
    for (int64_t row = 0; row < rows_; ++row) {
      ForPieces(row, [&](int64_t begin, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          const double cell = n_[i] >= 0.0 ? n_[i] : std::numeric_limits<double>::quiet_NaN();
          of_rows_[row].Add(cell);
          of_columns_[begin + i].Add(cell);
        }
      });
      total_.Add(of_rows_[row]);
    }
  }

  // p log(q / p), or divergences.
  void FindTerms(Measure measure, int64_t n) {
    InformationTerms terms = {};
    terms.measure = measure;
    kernels_.terms(terms, n_, q_, n, terms_, difference_, nullptr);
  }

  double SumOf(Measure measure, int64_t n) {
    FindTerms(measure, n);
    return sums_.sum(terms_, n, -1);
  }

  // All of the piece beside one number.
  double SumBeside(const Sum& all, int64_t n) {
    std::fill(q_, q_ + n, all.Value());
    for (int64_t i = 0; i < n; ++i) difference_[i] = (all.High() - n_[i]) + all.Low();
    return SumOf(Measure::kConditional, n);
  }

  // What independent rows and columns would have, e, and n - e = (n T - n_x n_y) / T from exact products. Where these
  // are too small, all three are larger by 2^lift_.
  void FillExpected(int64_t row, int64_t begin, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      Sum x = of_rows_[row];
      const Sum& y = of_columns_[begin + i];
      const int64_t exponent = ExponentOf(x.High()) + ExponentOf(y.High());
      lift_[i] = x.High() > 0.0 && exponent < kLeastExponent ? -ExponentOf(x.High()) : 0;
      x = Sum(TimesPowerOfTwo(x.High(), lift_[i]), TimesPowerOfTwo(x.Low(), lift_[i]));
      n_[i] = TimesPowerOfTwo(n_[i], lift_[i]);
      const double found = n_[i] * total_.High();
      const double expected = x.High() * y.High();
      const double found_low = std::fma(n_[i], total_.High(), -found) + n_[i] * total_.Low();
      const double expected_low = std::fma(x.High(), y.High(), -expected) + (x.High() * y.Low() + x.Low() * y.High());
      q_[i] = (expected + expected_low) / total_.Value();
      difference_[i] = ((found - expected) + (found_low - expected_low)) / total_.Value();
    }
  }

  void AddRow(int64_t row) {
    ForPieces(row, [&](int64_t begin, int64_t n) {
      joint_.Add(SumBeside(total_, n));
      conditional_.Add(SumBeside(of_rows_[row], n));
      FillExpected(row, begin, n);
      FindTerms(Measure::kIndependence, n);
      for (int64_t i = 0; i < n; ++i) terms_[i] = TimesPowerOfTwo(terms_[i], -lift_[i]);
      mutual_.Add(sums_.sum(terms_, n, -1));
    });
  }

  // The sum of n log(T / n) of rows' or columns' n. T - n is the sum of the others: those before and those behind.
  double EntropyOf(const Sum* counts, int64_t count) {
    if (count == 0) return 0.0;
    behind_[count - 1] = Sum();
    for (int64_t i = count - 1; i > 0; --i) {
      behind_[i - 1] = behind_[i];
      behind_[i - 1].Add(counts[i]);
    }
    Sum sum, before;
    for (int64_t begin = 0; begin < count; begin += kPiece) {
      const int64_t n = std::min(kPiece, count - begin);
      for (int64_t i = 0; i < n; ++i) {
        Sum others = before;
        others.Add(behind_[begin + i]);
        before.Add(counts[begin + i]);
        n_[i] = counts[begin + i].Value();
        q_[i] = total_.Value();
        difference_[i] = others.Value();
      }
      sum.Add(SumOf(Measure::kConditional, n));
    }
    return sum.Value();
  }

  // The logarithm's p and q of a cell.
  void FillPair(int64_t row, int64_t begin, int64_t n) {
    switch (task_.gradient_of) {
      case XENT_CONDITIONAL_ENTROPY:
        std::fill(q_, q_ + n, of_rows_[row].Value());
        return;
      case XENT_MUTUAL_INFORMATION:
        // log(n / e) is -log(e / n). In a row that is empty so far n is all of the row, and so in a column.
        FillExpected(row, begin, n);
        for (int64_t i = 0; i < n; ++i) {
          const double x = of_rows_[row].Value(), y = of_columns_[begin + i].Value();
          if (x != 0.0 && y != 0.0) continue;
          n_[i] = total_.Value();
          q_[i] = x == 0.0 ? y : x;
        }
        return;
      case XENT_ROW_ENTROPY:
        std::fill(n_, n_ + n, of_rows_[row].Value());
        break;
      case XENT_COLUMN_ENTROPY:
        for (int64_t i = 0; i < n; ++i) n_[i] = of_columns_[begin + i].Value();
        break;
    }
    std::fill(q_, q_ + n, total_.Value());
  }

  void WriteGradient(int64_t row, double value) {
    ForPieces(row, [&](int64_t begin, int64_t n) {
      FillPair(row, begin, n);
      InformationTerms terms = {};
      terms.measure = Measure::kConditional;
      kernels_.gradients(terms, n_, q_, n, terms_, nullptr);
      const double sign = task_.gradient_of == XENT_MUTUAL_INFORMATION ? -1.0 : 1.0;
      for (int64_t i = 0; i < n; ++i) {
        terms_[i] = TimesPowerOfTwo(task_.unit * ((sign * terms_[i] - value) / total_.Value()), -scale_);
      }
      StoreRow(task_.gradient, words_, row, begin, n, terms_);
    });
  }

  const JointTask& task_;
  const InformationKernels& kernels_;
  const TermKernels& sums_;
  const int64_t rows_;
  const int64_t columns_;
  const SoftmaxKernels& words_;
  const std::unique_ptr<Sum[]> of_columns_;
  const std::unique_ptr<Sum[]> of_rows_;
  const std::unique_ptr<Sum[]> behind_;
  int64_t scale_ = 0;
  int64_t lift_[kPiece];
  Sum total_;
  Sum joint_;
  Sum conditional_;
  Sum mutual_;
  alignas(64) double n_[kPieceRoom] = {};
  double q_[kPieceRoom] = {};
  double terms_[kPieceRoom];
  double difference_[kPieceRoom] = {};
};

}  // namespace

bool InformationOfTable(const JointTask& task) {
  Joint joint(task);
  if (!joint.HasMemory()) return false;
  joint.Run();
  return true;
}

}  // namespace xent
