// What a call says about all rows together: total, sum, denominator and counts under each reduction, and what happens
// where nothing counts: no rows, no classes, all rows ignored.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/every_isa.h"
#include "support/expected.h"
#include "support/problem.h"

namespace xent_test {
namespace {

constexpr xent_reduction kReductions[] = {XENT_REDUCTION_MEAN, XENT_REDUCTION_SUM, XENT_REDUCTION_NONE};

// Rows 0, 3, 6, ... are ignored.
Problem PartlyIgnored(xent_dtype dtype, int64_t rows, int64_t classes) {
  Problem problem(dtype, rows, classes);
  problem.Fill("wide_10", 11);
  for (int64_t r = 0; r < rows; r += 3) problem.labels[static_cast<size_t>(r)] = problem.options.ignore_index;
  return problem;
}

// The sum of the exact losses, and by how much the sum of losses within their bounds may differ from it.
struct ExactSum {
  explicit ExactSum(const Problem& problem) {
    const Expected expected(problem);
    long double magnitude = 0;
    for (int64_t r = 0; r < problem.rows; ++r) {
      if (expected.kind(r) == RowKind::kIgnored) continue;
      const long double loss = expected.row(r).loss;
      value += loss;
      magnitude += std::fabs(loss);
      slack += 4 * Ulp(loss, FormatOf(RowType(problem.dtype)));
      ++counted;
    }
    slack += magnitude * static_cast<long double>(problem.rows) * 0x1p-53L;
  }

  long double value = 0;
  long double slack = 0;
  int64_t counted = 0;
};

TEST(SoftmaxTotals, SumIsThatOfTheRowLossesUnderEveryReduction) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t rows : {1, 2, 7, 64, 1000}) {
      for (const xent_reduction reduction : kReductions) {
        Problem problem = PartlyIgnored(dtype, rows, 12);
        if (rows == 1) problem.labels[0] = 5;
        problem.options.reduction = reduction;
        const ExactSum exact(problem);
        const Results results = MustRun(problem);
        EXPECT_LE(std::fabs(results.sum - exact.value), exact.slack) << rows << " rows";
        EXPECT_EQ(results.counted, exact.counted);
        EXPECT_EQ(results.ignored, rows - exact.counted);
        EXPECT_EQ(results.denominator, static_cast<double>(exact.counted));
        const bool mean = reduction == XENT_REDUCTION_MEAN;
        EXPECT_EQ(results.total, mean ? results.sum / results.denominator : results.sum);
      }
    }
  });
}

TEST(SoftmaxTotals, OnlyTheMeanDividesTheGradientAndOnlyByTheCountedRows) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const xent_reduction reduction : kReductions) {
      Problem problem = PartlyIgnored(dtype, 20, 33);
      problem.options.reduction = reduction;
      ExpectWithinBounds(problem, MustRun(problem));  // knows the reduction, and that ignored rows are zero
    }
  });
}

TEST(SoftmaxTotals, SumDoesNotLoseSmallLossesBesideLargeOnes) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Problem problem(dtype, 4001, 2);
    problem.options.reduction = XENT_REDUCTION_SUM;
    for (int64_t r = 0; r < problem.rows; ++r) problem.SetRow(r, {0, 0}, 0);
    problem.SetRow(0, {0, 60000}, 0);
    const ExactSum exact(problem);
    EXPECT_LE(std::fabs(MustRun(problem).total - exact.value), exact.slack);
  });
}

TEST(SoftmaxTotals, NoRowsGiveSumZeroAndTheMeanOfThePolicy) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {0, 1, 5}) {
      for (const xent_reduction reduction : kReductions) {
        Problem problem(dtype, 0, classes);
        problem.options.reduction = reduction;
        const bool mean = reduction == XENT_REDUCTION_MEAN;
        Results results = MustRun(problem);
        EXPECT_TRUE(mean ? std::isnan(results.total) : results.total == 0) << results.total;
        problem.options.empty_mean = XENT_EMPTY_MEAN_ZERO;
        results = MustRun(problem);
        EXPECT_EQ(results.total, 0);
        EXPECT_EQ(results.sum, 0);
        EXPECT_EQ(results.denominator, 0);
        EXPECT_EQ(results.counted, 0);
        EXPECT_EQ(results.ignored, 0);
      }
    }
  });
}

TEST(SoftmaxTotals, EveryRowIgnoredGivesTheMeanOfThePolicyAndAZeroGradient) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const xent_empty_mean policy : {XENT_EMPTY_MEAN_NAN, XENT_EMPTY_MEAN_ZERO}) {
      for (const int64_t classes : {3, 40, 2200}) {
        Problem problem(dtype, 3, classes);
        problem.Fill("normal", 3);
        problem.labels.assign(3, problem.options.ignore_index);
        problem.options.empty_mean = policy;
        const Results results = MustRun(problem);
        EXPECT_TRUE(policy == XENT_EMPTY_MEAN_NAN ? std::isnan(results.total) : results.total == 0) << results.total;
        EXPECT_EQ(results.sum, 0);
        EXPECT_EQ(results.denominator, 0);
        EXPECT_EQ(results.counted, 0);
        EXPECT_EQ(results.ignored, 3);
        for (int64_t r = 0; r < 3; ++r) {
          EXPECT_TRUE(IsZeroRow(results, r));
          EXPECT_EQ(results.Loss(r), 0);
          EXPECT_EQ(results.Lse(r), 0);
        }
      }
    }
  });
}

TEST(SoftmaxTotals, EmptyMeanIsAnErrorThatWritesNothingWhereThePolicySaysSo) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t rows : {0, 3}) {
      Problem problem(dtype, rows, 4);
      problem.labels.assign(static_cast<size_t>(rows), problem.options.ignore_index);
      problem.options.empty_mean = XENT_EMPTY_MEAN_ERROR;
      const Results results = Try(problem, kEverything);
      EXPECT_EQ(results.status, XENT_EMPTY_MEAN);
      EXPECT_STRNE(xent_last_error(), "");
      EXPECT_EQ(FirstDifference(results, UnwrittenResults(problem, kEverything)), "");
    }
  });
}

TEST(SoftmaxTotals, EmptySumIsZeroUnderEveryMeanPolicy) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const xent_empty_mean policy : {XENT_EMPTY_MEAN_NAN, XENT_EMPTY_MEAN_ZERO, XENT_EMPTY_MEAN_ERROR}) {
      for (const xent_reduction reduction : {XENT_REDUCTION_SUM, XENT_REDUCTION_NONE}) {
        Problem problem(dtype, 3, 4);
        problem.labels.assign(3, problem.options.ignore_index);
        problem.options.empty_mean = policy;
        problem.options.reduction = reduction;
        const Results results = MustRun(problem);
        EXPECT_EQ(results.total, 0);
        for (int64_t r = 0; r < 3; ++r) EXPECT_TRUE(IsZeroRow(results, r));
      }
    }
  });
}

TEST(SoftmaxTotals, NoClassesWithRowsIsAnError) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Problem problem(dtype, 2, 0);
    const double logits[8] = {};
    const xent_logits no_classes = xent_logits_rows(logits, dtype, 2, 0);
    const xent_targets targets = problem.Targets();
    Results results = UnwrittenResults(problem, kEverything & ~kGradient);
    const xent_softmax_outputs outputs = OutputsOf(results);
    EXPECT_EQ(xent_softmax_cross_entropy(&no_classes, &targets, nullptr, &outputs), XENT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(xent_last_error()).find("classes"), std::string::npos) << xent_last_error();
    EXPECT_EQ(FirstDifference(results, UnwrittenResults(problem, kEverything & ~kGradient)), "");
  });
}

TEST(SoftmaxTotals, IgnoreIndexMayBeAClassOrAnyOtherNumber) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const int64_t smallest = std::numeric_limits<int64_t>::min();
    for (const int64_t ignored : {int64_t{0}, int64_t{4}, int64_t{-1}, int64_t{1} << 40, smallest}) {
      Problem problem(dtype, 4, 5);
      problem.Fill("normal", 9);
      problem.labels = {1, ignored, 2, ignored};
      problem.options.ignore_index = ignored;
      const Results results = MustRun(problem);
      EXPECT_EQ(results.counted, 2) << ignored;
      ExpectWithinBounds(problem, results);
    }
  });
}

}  // namespace
}  // namespace xent_test
