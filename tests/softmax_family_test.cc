// The whole softmax family against its formulas: every pair of options, thousands of random calls, and the gradients
// against differences of the losses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "support/every_isa.h"
#include "support/family.h"
#include "support/tier.h"

namespace xent_test {
namespace {

int64_t Cases(int64_t quick) {
  const char* text = std::getenv("XENT_TEST_CASES");
  return text != nullptr ? std::atoll(text) : IsLongTier() ? 10 * quick : quick;
}

// Random calls with each option that likely, on every instruction set.
void ExpectRandomCalls(uint64_t seed, int64_t cases, double likelihood) {
  const std::vector<std::string> isas = SupportedIsas();
  Random random(seed);
  for (int64_t i = 0; i < cases && !testing::Test::HasFailure(); ++i) {
    const Family family = RandomFamily(&random, likelihood);
    const FamilyReference reference = ReferenceOf(family);
    for (const std::string& isa : isas) {
      SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << seed << ", " << isa);
      const IsaCap cap(isa);
      ExpectFamily(family, reference, RunFamily(family));
      if (testing::Test::HasFailure()) break;
    }
  }
}

TEST(SoftmaxFamily, OfEveryPairOfOptionsIsWithinItsBounds) {
  Random random(5);
  for (int first = 0; first < kOptions; ++first) {
    for (int second = first; second < kOptions; ++second) {
      for (int64_t i = 0; i < std::max<int64_t>(Cases(2000) / 100, 1); ++i) {
        int asked = 0;
        const Family family = RandomFamily(&random, [&] {
          const int option = asked++;
          return option == first || option == second;
        });
        ASSERT_EQ(asked, kOptions);
        ExpectFamily(family, ReferenceOf(family), RunFamily(family));
        ASSERT_FALSE(testing::Test::HasFailure()) << "options " << first << " and " << second;
      }
    }
  }
}

TEST(SoftmaxFamily, OfAFewOptionsIsWithinItsBounds) { ExpectRandomCalls(1, Cases(4000), 0.1); }
TEST(SoftmaxFamily, OfSeveralOptionsIsWithinItsBounds) { ExpectRandomCalls(2, Cases(4000), 0.3); }
TEST(SoftmaxFamily, OfMostOptionsIsWithinItsBounds) { ExpectRandomCalls(3, Cases(2000), 0.7); }

// The reference's own gradient, by central differences of its objective.
TEST(SoftmaxFamily, ReferenceGradientIsTheDifferenceOfLosses) {
  Random random(4);
  int64_t compared = 0;
  for (int64_t i = 0; i < Cases(400); ++i) {
    const Family family = RandomFamily(&random, 0.4);
    if (family.classes > 9) continue;
    const FamilyReference reference = ReferenceOf(family);
    for (int64_t r = 0; r < family.rows(); ++r) {
      const FamilyRow& row = reference.rows[static_cast<size_t>(r)];
      if (!row.is_read || row.is_nan || row.gradient.empty()) continue;
      if (!(row.loss < static_cast<Quad>(1e300))) continue;
      std::vector<Quad> x;
      for (int64_t j = 0; j < family.classes; ++j) x.push_back(static_cast<Quad>(family.Logit(r, j)));
      const Quad objective = RowObjective(family, r, x, reference.denominator);
      for (size_t j = 0; j < x.size() && objective - objective == 0; ++j) {
        if (x[j] < static_cast<Quad>(-1e300)) continue;
        const Quad step = static_cast<Quad>(0x1p-40);
        std::vector<Quad> above = x, below = x;
        above[j] += step;
        below[j] -= step;
        const Quad difference = (RowObjective(family, r, above, reference.denominator) -
                                 RowObjective(family, r, below, reference.denominator)) /
                                (2 * step);
        const double error = static_cast<double>(difference - row.gradient[j]);
        const double size = static_cast<double>(row.gradient_size[j]);
        ASSERT_LE(std::fabs(error), 1e-15 * (size + 1)) << "row " << r << ", class " << j << "\n"
                                                        << DescribeFamily(family);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

}  // namespace
}  // namespace xent_test
