// The corner cases of softmax cross-entropy, each a named test: what infinities, NaN, masked, confident and vanishing
// classes give, and what they leave alone. Every test runs on every instruction set and storage type.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/expected.h"
#include "support/problem.h"
#include "support/storage.h"
#include "support/ulp.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Class counts on both sides of a vector, of a step of 32 lanes, and of a chunk of 2048 classes.
constexpr int64_t kFewClassCounts[] = {2, 3, 8, 17, 33, 100, 2049, 4500};

// `classes` logits of a modest size, all different.
std::vector<double> PlainRow(int64_t classes) {
  std::vector<double> row;
  for (int64_t j = 0; j < classes; ++j) row.push_back(static_cast<double>(j * 7 % 23) * 0.25 - 3);
  return row;
}

Problem SumProblem(xent_dtype dtype, int64_t rows, int64_t classes) {
  Problem problem(dtype, rows, classes);
  problem.options.reduction = XENT_REDUCTION_SUM;
  for (int64_t r = 0; r < rows; ++r) problem.SetRow(r, PlainRow(classes), r % classes);
  return problem;
}

// Runs a one-row problem with all outputs and judges them by the reference.
Results RunAndJudge(const Problem& problem) {
  const Results results = MustRun(problem);
  ExpectWithinBounds(problem, results);
  return results;
}

// A row that must be told from a plain one, and in the same lane of the next row a NaN of any kind: the first row's
// loss is that of the row alone, and every NaN stays one.
TEST(SoftmaxNaN, OfAnyKindLeavesTheRowBeforeItAlone) {
  ForEveryIsa([](const std::string&) {
    for (const double far : {100.0, 300.0, -100.0, -1e9, -kInf}) {
      for (const uint64_t bits : {0x7FF8000000000000u, 0x7FF8000000000001u, 0xFFF8000000000ABCu, 0x7FF0000000000001u}) {
        double x[2 * 64];
        float y[2 * 64];
        std::fill(x, x + 128, 0.5);
        x[3] = far;
        std::memcpy(&x[64 + 3], &bits, sizeof(bits));
        std::copy(x, x + 128, y);
        const int64_t labels[] = {7, 7};
        const double others = far > 0 ? 0 : 63;
        const double exact = far > 0 ? far - 0.5 : std::log(others);
        double losses[2];
        float float_losses[2];
        const xent_targets targets = xent_targets_labels(labels, XENT_I64);
        xent_softmax_outputs out = xent_softmax_outputs_none();
        xent_logits logits = xent_logits_rows(x, XENT_F64, 2, 64);
        out.row_loss = losses;
        ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &out), XENT_OK);
        logits = xent_logits_rows(y, XENT_F32, 2, 64);
        out.row_loss = float_losses;
        ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &out), XENT_OK);
        EXPECT_DOUBLE_EQ(losses[0], exact) << far;
        EXPECT_FLOAT_EQ(float_losses[0], static_cast<float>(exact)) << far;
        EXPECT_TRUE(std::isnan(losses[1])) << std::hex << bits;
        EXPECT_TRUE(std::isnan(float_losses[1])) << std::hex << bits;
      }
    }
  });
}

// Every word of bf16 and f16 among logits of 0, in each vector of a step: none that is too large for a plain row passes
// for a small one.
TEST(SoftmaxRange, EveryWordOfSixteenBitsIsToldFromSmallOnes) {
  constexpr int64_t kWords = 1 << 16;
  constexpr int64_t kClasses = 256;
  const auto place = [](int64_t word) { return static_cast<size_t>(word * kClasses + 64 + word * 16 % 64); };
  ForEveryIsa([&](const std::string&) {
    for (const xent_dtype dtype : {XENT_BF16, XENT_F16}) {
      SCOPED_TRACE(TypeName(dtype));
      std::vector<uint16_t> words(kWords * kClasses);
      const std::vector<int64_t> labels(kWords, 7);
      for (int64_t w = 0; w < kWords; ++w) words[place(w)] = static_cast<uint16_t>(w);
      std::vector<float> losses(kWords);
      const xent_logits logits = xent_logits_rows(words.data(), dtype, kWords, kClasses);
      const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
      xent_softmax_outputs out = xent_softmax_outputs_none();
      out.row_loss = losses.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &out), XENT_OK);
      for (int64_t w = 0; w < kWords; ++w) {
        const long double x = Element(words.data(), dtype, static_cast<int64_t>(place(w)));
        const float loss = losses[static_cast<size_t>(w)];
        if (std::isfinite(x) || x < 0) {
          // log(255 + e^x), which e^x alone decides once it is large.
          const long double exact = x > 100 ? x : std::log(255.0L + std::exp(x));
          EXPECT_LE(UlpError(loss, exact, kFormatF32), 3.0L) << std::hex << w;
        } else {
          EXPECT_TRUE(std::isnan(loss)) << std::hex << w;
        }
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

TEST(SoftmaxInfinity, AtAnotherClassHasProbabilityZeroAndTheLossStaysFinite) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kFewClassCounts) {
      for (const int64_t masked : {int64_t{0}, classes / 2, classes - 1}) {
        std::vector<double> row = PlainRow(classes);
        row[static_cast<size_t>(masked)] = -kInf;
        const Results results = RunAndJudge(OneRow(dtype, row, masked == 0 ? classes - 1 : 0));
        EXPECT_EQ(results.Gradient(0, masked), 0);
        EXPECT_TRUE(std::isfinite(results.Loss(0)));
      }
    }
  });
}

TEST(SoftmaxInfinity, AtTheLabelMakesTheLossInfiniteAndTheGradientThatOfTheOthers) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kFewClassCounts) {
      for (const int64_t label : {int64_t{0}, classes / 2, classes - 1}) {
        std::vector<double> row = PlainRow(classes);
        row[static_cast<size_t>(label)] = -kInf;
        const Results results = RunAndJudge(OneRow(dtype, row, label));
        EXPECT_EQ(results.Loss(0), kInf);
        EXPECT_EQ(results.total, kInf);
        EXPECT_EQ(results.Gradient(0, label), -1);
      }
    }
  });
}

// A block as long as a chunk, a vector or a thread's share holds nothing but -inf: merging its state must not give NaN.
TEST(SoftmaxInfinity, LeadingAndTrailingBlocksOfMinusInfinityGiveNoNan) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {9, 70, 300, 4200}) {
      for (const int64_t block : {1, 2, 7, 8, 15, 16, 31, 32, 33, 64, 299, 2047, 2048, 2049, 4096, 4199}) {
        if (block >= classes) continue;
        for (const bool leading : {true, false}) {
          std::vector<double> row = PlainRow(classes);
          const int64_t first = leading ? 0 : classes - block;
          for (int64_t j = first; j < first + block; ++j) row[static_cast<size_t>(j)] = -kInf;
          SCOPED_TRACE(testing::Message() << classes << " classes, block of " << block);
          RunAndJudge(OneRow(dtype, row, leading ? classes - 1 : 0));  // the label is among the rest
          RunAndJudge(OneRow(dtype, row, first));                      // the label is in the block
        }
      }
    }
  });
}

TEST(SoftmaxInfinity, OnlyTheLabelLeftGivesLossZero) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kFewClassCounts) {
      for (const double logit : {0.0, 5.0, -300.0, 60000.0}) {
        std::vector<double> row(static_cast<size_t>(classes), -kInf);
        row.back() = logit;
        const Results results = RunAndJudge(OneRow(dtype, row, classes - 1));
        EXPECT_EQ(results.Loss(0), 0);
        EXPECT_TRUE(IsZeroRow(results, 0));
      }
    }
  });
}

// Rows that cannot be computed, in the middle of a batch: they are NaN, and every other row keeps its bits.
void ExpectNanRowAlone(xent_dtype dtype, const std::vector<double>& row, int64_t label) {
  Problem problem = SumProblem(dtype, 9, static_cast<int64_t>(row.size()));
  const Results clean = MustRun(problem, kRowLoss | kLse | kGradient);
  problem.SetRow(4, row, label);
  const Results results = MustRun(problem);
  EXPECT_TRUE(std::isnan(results.Loss(4)));
  EXPECT_TRUE(std::isnan(results.Lse(4)));
  EXPECT_TRUE(IsNanRow(results, 4));
  EXPECT_TRUE(std::isnan(results.total));
  EXPECT_TRUE(std::isnan(results.sum));
  EXPECT_EQ(results.counted, 9);
  for (const int64_t r : {0, 1, 2, 3, 5, 6, 7, 8}) {
    EXPECT_EQ(results.Loss(r), clean.Loss(r));
    EXPECT_EQ(results.Lse(r), clean.Lse(r));
    for (int64_t j = 0; j < problem.classes; ++j) EXPECT_EQ(results.Gradient(r, j), clean.Gradient(r, j));
  }
}

TEST(SoftmaxNan, NanOrInfinityAnywhereMakesThatRowNanAndTouchesNoOther) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 5, 16, 33, 70, 2050}) {
      const int64_t step = classes > 100 ? 683 : 1;
      for (int64_t at = 0; at < classes; at += step) {
        for (const double value : {kNaN, -kNaN, kInf}) {
          SCOPED_TRACE(testing::Message() << value << " at class " << at << " of " << classes);
          std::vector<double> row = PlainRow(classes);
          row[static_cast<size_t>(at)] = value;
          ExpectNanRowAlone(dtype, row, at);
          ExpectNanRowAlone(dtype, row, classes - 1 - at);
        }
      }
    }
  });
}

TEST(SoftmaxNan, NothingButMinusInfinityMakesThatRowNan) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 5, 16, 33, 70, 2050}) {
      ExpectNanRowAlone(dtype, std::vector<double>(static_cast<size_t>(classes), -kInf), classes / 2);
    }
  });
}

TEST(SoftmaxNan, NanBesideInfinitiesOfEitherSignStaysNan) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    ExpectNanRowAlone(dtype, {kNaN, -kInf, -kInf, -kInf}, 1);
    ExpectNanRowAlone(dtype, {-kInf, kInf, kNaN, 0}, 3);
    ExpectNanRowAlone(dtype, {kInf, kInf, kInf, kInf}, 0);
    ExpectNanRowAlone(dtype, {kInf, -kInf, kInf, -kInf}, 1);
    ExpectNanRowAlone(dtype, {1e4, kNaN, -1e4, 0}, 0);
  });
}

TEST(SoftmaxOffset, LogitsFarFromZeroLoseNothing) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const bool small = dtype == XENT_F16;
    for (const double offset : {1e8, -1e8, 3e38, -3e38, 250.0, 256.0, -256.0, 300.0, 5000.0, -5000.0}) {
      if (small && std::fabs(offset) > 60000) continue;
      for (const int64_t classes : {2, 10, 2500}) {
        std::vector<double> row;
        for (int64_t j = 0; j < classes; ++j) row.push_back(offset * (1 + static_cast<double>(j % 5) * 0x1p-6));
        SCOPED_TRACE(testing::Message() << "offset " << offset << ", " << classes << " classes");
        for (const int64_t label : {int64_t{0}, classes - 1}) RunAndJudge(OneRow(dtype, row, label));
      }
    }
  });
}

TEST(SoftmaxGap, LogitsTensOfThousandsApartGiveAnAccurateLoss) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double gap : {80.0, 104.0, 130.0, 700.0, 750.0, 1e4, 1.1e4, 3e4, 6e4}) {
      RunAndJudge(OneRow(dtype, {0, -gap, -gap / 2}, 0));
      RunAndJudge(OneRow(dtype, {0, -gap, -gap / 2}, 1));
      RunAndJudge(OneRow(dtype, {gap, 0, -gap}, 1));
      RunAndJudge(OneRow(dtype, {gap, 0, -gap}, 2));
    }
  });
}

TEST(SoftmaxConfident, LossAndLabelGradientKeepTheirAccuracyAndAreNeverFlushed) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    // The smallest positive number of the row type is exp(-103.28) or exp(-744.44).
    const double largest_lead = dtype == XENT_F64 ? 744 : 103;
    for (const int64_t classes : {2, 17, 100, 2049}) {
      const double step = largest_lead / (classes < 1000 ? 100 : 10);
      for (double lead = 0; lead <= largest_lead; lead += step) {
        std::vector<double> row(static_cast<size_t>(classes), 0.5);
        row[static_cast<size_t>(classes / 2)] = 0.5 + lead;
        SCOPED_TRACE(testing::Message() << "lead " << lead << ", " << classes << " classes");
        const Results results = RunAndJudge(OneRow(dtype, row, classes / 2));
        EXPECT_GT(results.Loss(0), 0);
        // bf16 and f16 have no number near such a gradient: one rounding gives 0.
        const bool is_half = dtype == XENT_BF16 || dtype == XENT_F16;
        EXPECT_TRUE(is_half || results.Gradient(0, classes / 2) < 0);
      }
    }
  });
}

TEST(SoftmaxConfident, TrailingLabelHasALossOfItsGapAndGradientMinusOne) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kFewClassCounts) {
      for (const double gap : {20.0, 88.75, 104.0, 1000.0, 60000.0}) {
        std::vector<double> row(static_cast<size_t>(classes), 0.0);
        row[0] = -gap;
        const Results results = RunAndJudge(OneRow(dtype, row, 0));
        EXPECT_GE(results.Loss(0), gap * 0.99);
        EXPECT_TRUE(gap < 800 || results.Gradient(0, 0) == -1);
      }
    }
  });
}

TEST(SoftmaxOneClass, HasNoLossAndNoGradientWhateverTheLogit) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double logit : {0.0, -0.0, 1.5, -80.0, 255.0, 1e4, -6e4, 1e-7}) {
      const Problem problem = OneRow(dtype, {logit}, 0);
      const Results results = RunAndJudge(problem);
      EXPECT_EQ(results.Loss(0), 0);
      EXPECT_EQ(results.Gradient(0, 0), 0);
      EXPECT_EQ(results.Lse(0), problem.At(0, 0));
    }
  });
}

TEST(SoftmaxUnderflow, ProbabilitiesBelowTheSmallestNormalAreExactlyZero) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const double edge = dtype == XENT_F64 ? 708.3964185322641 : 87.33654475055310;
    for (const double base : {0.0, 30.0, -30.0, 300.0, -5000.0}) {
      for (const int64_t classes : {2, 10, 40, 3000}) {
        std::vector<double> row(static_cast<size_t>(classes), base - edge - 1);
        row[0] = base;
        for (int64_t j = 1; j < classes; ++j) row[static_cast<size_t>(j)] -= static_cast<double>(j % 97) * 0.25;
        const Problem problem = OneRow(dtype, row, 0);
        const Results results = RunAndJudge(problem);
        for (int64_t j = 1; j < classes; ++j) {
          const bool is_below = problem.At(0, 0) - problem.At(0, j) > edge + 0.5;
          EXPECT_TRUE(!is_below || results.Gradient(0, j) == 0) << j;
        }
      }
    }
  });
}

// A large upstream gradient must not bring probabilities back that count as zero, nor multiply 0 by infinity.
TEST(SoftmaxUnderflow, StaysZeroUnderAHugeUpstreamGradient) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double upstream : {1e30, 1e38, -3e38, 1e60, 1e300, -1e300}) {
      if (dtype != XENT_F64 && std::fabs(upstream) > 3e38) continue;  // beyond the gradient's arithmetic
      Problem problem = OneRow(dtype, {0, -40000, -kInf, -1}, 0);
      problem.options.upstream = upstream;
      const Results results = MustRun(problem);
      EXPECT_EQ(results.Gradient(0, 1), 0) << upstream;
      EXPECT_EQ(results.Gradient(0, 2), 0) << upstream;
      ExpectWithinBounds(problem, results);
    }
  });
}

TEST(SoftmaxUpstream, ScalesEveryGradientElementWithinItsBound) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double upstream : {-1.0, 0.1, 3.0, 65536.0, 1e-3, 1e-20, 1e-38, 1e-42, 1e-60, -1e20, 1e38, -3e38, 1e60,
                                  1e300, 5e-324, std::numeric_limits<double>::max()}) {
      if (dtype != XENT_F64 && std::fabs(upstream) > 3e38) continue;  // beyond the gradient's arithmetic
      for (const int64_t classes : {1, 3, 64, 2300}) {
        for (const double spread : {1.0, 12.0, 40.0}) {
          SCOPED_TRACE(testing::Message() << "upstream " << upstream << ", " << classes << " classes");
          Problem problem = SumProblem(dtype, 2, classes);
          for (int64_t j = 0; j < classes; ++j) problem.Set(1, j, problem.At(1, j) * spread);
          problem.options.upstream = upstream;
          ExpectWithinBounds(problem, MustRun(problem));
        }
      }
    }
  });
}

TEST(SoftmaxUpstream, ZeroGivesAZeroGradientAndLeavesTheLossesAlone) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 3, 64, 2300}) {
      Problem problem = SumProblem(dtype, 3, classes);
      problem.Set(1, 0, kNaN);  // 0 all the same: no gradient flows
      const Results one = MustRun(problem, kEverything & ~kGradient);
      for (const double zero : {0.0, -0.0}) {
        problem.options.upstream = zero;
        const Results results = MustRun(problem);
        for (int64_t r = 0; r < 3; ++r) EXPECT_TRUE(IsZeroRow(results, r));
        EXPECT_EQ(FirstDifference(results, one), "");
      }
    }
  });
}

// Equal logits in a power of two of classes have exact probabilities, so that an upstream can put every gradient
// element on a tie between two words: truncation and rounding half up give other words.
TEST(SoftmaxRounding, TiesOfHalfGradientsGoToEven) {
  ForEveryIsa([](const std::string&) {
    for (const xent_dtype dtype : {XENT_BF16, XENT_F16}) {
      const Format format = FormatOf(dtype);
      for (int odd = 1; odd < 16; odd += 2) {
        // Long rows leave while the next ones are folded.
        for (const int64_t classes : {2, 8, 64, 512, 4096}) {
          const double tie = 1 + std::ldexp(odd, -format.precision);
          const int64_t rows = classes < 256 ? 1 : 40;
          Problem problem(dtype, rows, classes);
          problem.options.upstream = tie * static_cast<double>(classes) * static_cast<double>(rows);
          const Results results = MustRun(problem);
          for (const int64_t element : {int64_t{1}, classes - 1}) {
            EXPECT_EQ(results.Gradient(0, element), static_cast<double>(RoundTo(tie, format)))
                << TypeName(dtype) << ' ' << tie << ' ' << classes << " classes";
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace xent_test
