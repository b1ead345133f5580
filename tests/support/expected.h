// What the contract allows a call to answer: the reference of every row of a problem and the bounds in ULP around it.
//   loss      <= 3 ULP (f32, bf16 and f16 logits) or 4 (f64)
//   lse       <= 1 ULP (f64: 3) of max(|max|, |log S|, |lse|): a rounded lse can be a binade above its parts
//   gradient  <= 4 ULP (f32) or 8 (f64); bf16 and f16 rounded once from a value within the f32 bound;
//             0 for probabilities below the smallest normal number, except at the label
#ifndef XENT_TESTS_SUPPORT_EXPECTED_H_
#define XENT_TESTS_SUPPORT_EXPECTED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "support/problem.h"
#include "support/reference.h"

namespace xent_test {

enum class RowKind : char { kNumbers, kIgnored, kNan };

// What a gradient element has to be.
enum class Rule : char { kAccurate, kZero, kZeroOrAccurate, kNan };

struct ExpectedElement {
  long double exact;
  long double ulp;  // of the row type
  float low;        // bf16 and f16: the value is rounded once, from no less than here ...
  float high;       // ... and no more than here
  Rule rule;
};

// Members that take results say whether they hold and write their error in ULP, which is 0 where the answer is not an
// approximation.
class Expected {
 public:
  explicit Expected(const Problem& problem);

  bool LossHolds(const Results& results, int64_t row, long double* error) const;
  bool LseHolds(const Results& results, int64_t row, long double* error) const;
  bool GradientHolds(const Results& results, int64_t row, int64_t column, long double* error) const;

  const RowReference& row(int64_t r) const { return rows_[static_cast<size_t>(r)]; }
  RowKind kind(int64_t r) const { return kinds_[static_cast<size_t>(r)]; }
  const ExpectedElement& element(int64_t row, int64_t column) const {
    return elements_[static_cast<size_t>(row * classes_ + column)];
  }

 private:
  void AddRow(const Problem& problem, int64_t r, long double scale);

  xent_dtype dtype_;
  int64_t classes_;
  std::vector<RowKind> kinds_;
  std::vector<RowReference> rows_;
  std::vector<ExpectedElement> elements_;
};

// One sentence on a result, its exact value and its error. Column -1 is none.
std::string Describe(const char* quantity, int64_t row, int64_t column, double result, long double exact,
                     long double error);

// A test failure for each loss, lse and gradient element that is out of its bounds, up to a few. Outputs that the
// results did not want are not looked at.
void ExpectWithinBounds(const Problem& problem, const Results& results);

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_EXPECTED_H_
