// The error of every loss, log-sum-exp and gradient element against the long double reference, in ULP, for each storage
// type, named distribution and class count, on every instruction set. The reference is computed once per batch and all
// instruction sets run on the same input. XENT_TEST_ROWS sets the rows per storage type; XENT_TEST_CASE repeats one
// batch.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/expected.h"
#include "support/inputs.h"
#include "support/problem.h"
#include "support/tier.h"

namespace xent_test {
namespace {

constexpr int64_t kQuickRows = 150000;
constexpr int64_t kLongRows = 1000000;
constexpr int64_t kClassCounts[] = {1,  2,  3,   5,   7,   8,    9,    10,   16,   17,   31,   32,   33,    63,
                                    64, 65, 100, 255, 256, 1000, 1023, 1024, 2047, 2048, 2049, 4097, 10000, 40000};

// What d(objective) / d(row loss) is. Loss scaling and gradients of small batches are the usual ones.
struct Scale {
  xent_reduction reduction;
  double upstream;
};
constexpr Scale kScales[] = {{XENT_REDUCTION_SUM, 1},      {XENT_REDUCTION_MEAN, 1},
                             {XENT_REDUCTION_NONE, -0.37}, {XENT_REDUCTION_MEAN, 65536},
                             {XENT_REDUCTION_SUM, 1.7e-5}, {XENT_REDUCTION_NONE, 1 / 3.0}};

struct Batch {
  const Distribution* distribution;
  int64_t classes;
  int64_t rows;
  uint64_t seed;

  Scale scale() const { return kScales[seed % std::size(kScales)]; }
  std::string Name() const {
    std::ostringstream name;
    name << distribution->name << ':' << classes << ':' << rows << ':' << seed;
    return name.str();
  }
};

// A batch from what Name() printed.
Batch ParseBatch(const std::string& name) {
  char distribution[64] = "";
  long long classes = 0;
  long long rows = 0;
  unsigned long long seed = 0;
  if (std::sscanf(name.c_str(), "%63[^:]:%lld:%lld:%llu", distribution, &classes, &rows, &seed) != 4) classes = 0;
  return {FindDistribution(distribution), classes, rows, seed};
}

// The largest error of one quantity and where it was.
struct Worst {
  void See(long double error, const Batch& batch, int64_t row, int64_t column) {
    if (error <= largest) return;
    largest = error;
    std::ostringstream text;
    text << batch.Name() << " row " << row;
    if (column >= 0) text << " class " << column;
    witness = text.str();
  }

  long double largest = -1;
  std::string witness;
};

struct Tally {
  int64_t rows = 0;
  Worst loss;
  Worst lse;
  Worst gradient;
  Worst label_gradient;
};

class SoftmaxAccuracy : public testing::TestWithParam<xent_dtype> {
 protected:
  void Check(const Batch& batch);
  void CheckRows(const Batch& batch, const Expected& expected, const Results& results, const std::string& isa);
  void CheckGradient(const Batch& batch, const Problem& problem, const Expected& expected, const Results& results,
                     const std::string& isa);
  void Fail(const Batch& batch, const std::string& isa, const std::string& what);
  void PrintTable() const;

  const std::vector<std::string> isas_ = SupportedIsas();
  std::map<std::string, Tally> tallies_;
  int failures_ = 0;
};

void SoftmaxAccuracy::Fail(const Batch& batch, const std::string& isa, const std::string& what) {
  if (++failures_ > 20) return;
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  ADD_FAILURE() << isa << ", " << batch.Name() << ": " << what << "\n  repeat: XENT_TEST_CASE=" << batch.Name()
                << " softmax_accuracy_test --gtest_filter=" << test->test_suite_name() << '.' << test->name();
}

void SoftmaxAccuracy::CheckRows(const Batch& batch, const Expected& expected, const Results& results,
                                const std::string& isa) {
  Tally& tally = tallies_[isa];
  tally.rows += batch.rows;
  for (int64_t r = 0; r < batch.rows; ++r) {
    long double error;
    if (!expected.LossHolds(results, r, &error)) {
      Fail(batch, isa, Describe("loss", r, -1, results.Loss(r), expected.row(r).loss, error));
    }
    tally.loss.See(error, batch, r, -1);
    if (!expected.LseHolds(results, r, &error)) {
      Fail(batch, isa, Describe("lse", r, -1, results.Lse(r), expected.row(r).lse, error));
    }
    tally.lse.See(error, batch, r, -1);
  }
}

void SoftmaxAccuracy::CheckGradient(const Batch& batch, const Problem& problem, const Expected& expected,
                                    const Results& results, const std::string& isa) {
  Tally& tally = tallies_[isa];
  for (int64_t r = 0; r < batch.rows; ++r) {
    for (int64_t j = 0; j < batch.classes; ++j) {
      const bool is_label = j == problem.labels[static_cast<size_t>(r)];
      long double error;
      if (!expected.GradientHolds(results, r, j, &error)) {
        const char* name = is_label ? "label's gradient" : "gradient";
        Fail(batch, isa, Describe(name, r, j, results.Gradient(r, j), expected.element(r, j).exact, error));
      }
      (is_label ? tally.label_gradient : tally.gradient).See(error, batch, r, j);
    }
  }
}

void SoftmaxAccuracy::Check(const Batch& batch) {
  Problem problem(GetParam(), batch.rows, batch.classes);
  problem.Fill(*batch.distribution, batch.seed);
  problem.options.reduction = batch.scale().reduction;
  problem.options.upstream = batch.scale().upstream;
  problem.options.num_threads = 1;
  const Expected expected(problem);
  for (const std::string& isa : isas_) {
    const IsaCap cap(isa);
    const Results results = MustRun(problem, kRowLoss | kLse | kGradient);
    ASSERT_EQ(results.status, XENT_OK) << batch.Name();
    CheckRows(batch, expected, results, isa);
    CheckGradient(batch, problem, expected, results, isa);
  }
}

void SoftmaxAccuracy::PrintTable() const {
  for (const std::string& isa : isas_) {
    const Tally& tally = tallies_.at(isa);
    std::printf("%-4s %-7s %8lld rows", TypeName(GetParam()), isa.c_str(), static_cast<long long>(tally.rows));
    const auto print = [](const char* name, const Worst& worst) {
      std::printf(" | %s %.3Lf ULP (%s)", name, worst.largest, worst.witness.c_str());
    };
    print("loss", tally.loss);
    print("lse", tally.lse);
    print("gradient", tally.gradient);
    print("label", tally.label_gradient);
    std::printf("\n");
  }
}

int64_t RowsWanted() {
  const char* rows = std::getenv("XENT_TEST_ROWS");
  if (rows != nullptr) return std::atoll(rows);
  return IsLongTier() ? kLongRows : kQuickRows;
}

TEST_P(SoftmaxAccuracy, EveryErrorIsWithinItsBoundOnEveryInstructionSet) {
  const char* only = std::getenv("XENT_TEST_CASE");
  if (only != nullptr) {
    const Batch batch = ParseBatch(only);
    ASSERT_TRUE(batch.distribution != nullptr && batch.classes > 0 && batch.rows > 0) << only;
    Check(batch);
    PrintTable();
    return;
  }
  uint64_t seed = 0;
  int64_t rows = 0;
  const auto check = [&](const Distribution& distribution, int64_t classes, int64_t batch_rows) {
    Check({&distribution, classes, batch_rows, ++seed});
    rows += batch_rows;
  };
  for (const int64_t classes : kClassCounts) {
    for (const Distribution& distribution : Distributions())
      check(distribution, classes, classes < 500 ? 7 : classes < 5000 ? 4 : 1);
  }
  Random random(GetParam());
  while (rows < RowsWanted() && !HasFatalFailure()) {
    for (const Distribution& distribution : Distributions()) check(distribution, 2 + random.Below(63), 61);
  }
  EXPECT_EQ(failures_, 0);
  PrintTable();
  for (const std::string& isa : isas_) EXPECT_EQ(tallies_[isa].rows, rows) << isa << " did not run on every row";
}

INSTANTIATE_TEST_SUITE_P(Storage, SoftmaxAccuracy, testing::ValuesIn(kStorageTypes),
                         [](const testing::TestParamInfo<xent_dtype>& storage) { return TypeName(storage.param); });

}  // namespace
}  // namespace xent_test
