// Which outputs are asked for, where they go and what was saved before change no bit: any subset, in place, padded
// rows, a gradient with strides of its own, and backward calls from a row state. From a plain lse there is a bound
// instead.
#include <gtest/gtest.h>

#include <bitset>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/every_isa.h"
#include "support/expected.h"
#include "support/problem.h"
#include "support/reference.h"

namespace xent_test {
namespace {

constexpr int64_t kClassCounts[] = {1, 2, 10, 33, 100, 2048, 2049, 5000};

// Rows of every kind: ordinary, confident, far from zero, masked, ignored and NaN.
Problem MixedProblem(xent_dtype dtype, int64_t classes, int64_t row_stride = 0) {
  Problem problem(dtype, 8, classes, row_stride);
  const char* const kNames[] = {"normal",  "confident",    "very_negative",  "masked",
                                "wide_30", "label_masked", "leading_masked", "mixed"};
  for (int64_t r = 0; r < problem.rows; ++r) {
    problem.labels[static_cast<size_t>(r)] =
        FillRow(*FindDistribution(kNames[r]), dtype, classes, 77 + r, problem.logits.data(), r * problem.row_stride);
  }
  problem.labels[4] = problem.options.ignore_index;
  problem.Set(7, classes / 2, std::numeric_limits<double>::quiet_NaN());
  problem.options.upstream = 0.7;
  return problem;
}

// Few or nearly all of the outputs: what long rows are tried with, to save time.
bool IsSmallOrLarge(unsigned want) {
  const int64_t bits = static_cast<int64_t>(std::bitset<9>(want).count());
  return bits <= 2 || bits >= 8;
}

// Rows without anything unusual among them, ignored and invalid ones apart: a tile of them takes a short cut if no more
// than losses and gradients are wanted.
Problem UsualProblem(xent_dtype dtype, int64_t classes, double upstream) {
  Problem problem(dtype, 53, classes);
  problem.Fill("normal", 3);
  problem.options.upstream = upstream;
  problem.options.invalid_label = XENT_INVALID_LABEL_NAN;
  problem.labels[2] = problem.labels[50] = problem.options.ignore_index;
  if (upstream == 1.5) problem.labels[7] = classes;
  return problem;
}

void ExpectEverySubsetHasTheSameBits(const Problem& problem) {
  const Results all = MustRun(problem);
  for (unsigned want = 0; want <= kEverything; ++want) {
    if (problem.classes > 100 && !IsSmallOrLarge(want)) continue;
    const Results some = MustRun(problem, want);
    ASSERT_EQ(FirstDifference(some, all), "") << problem.classes << " classes, outputs " << want;
  }
}

TEST(SoftmaxOutputs, EverySubsetHasTheBitsOfAllTogether) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) ExpectEverySubsetHasTheSameBits(MixedProblem(dtype, classes));
  });
}

// The upstream of some is so large or small that the factor of the gradient is not a normal number.
TEST(SoftmaxOutputs, EverySubsetOfUsualRowsHasTheBitsOfAllTogether) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {2, 3, 10, 17, 32, 33, 100, 1537, 2048}) {
      for (const double upstream : {1.0, 1.5, -3e-37, 1e-300, 3e38, 0.0}) {
        const Problem problem = UsualProblem(dtype, classes, upstream);
        const Results all = MustRun(problem);
        for (const unsigned want :
             {kTotal | kRowLoss, kTotal | kRowLoss | kGradient, kGradient | 0u, kGradient | kLse}) {
          ASSERT_EQ(FirstDifference(MustRun(problem, want), all), "")
              << problem.classes << " classes, upstream " << upstream << ", outputs " << want;
        }
      }
    }
  });
}

// What a call gives of the rows' values, in f32.
struct RowValues {
  explicit RowValues(size_t rows)
      : entropy(rows, -1), probability(rows, -1), log_probability(rows, 1), argmax(rows, -7) {}

  std::vector<float> entropy, probability, log_probability;
  std::vector<int64_t> argmax;
  int64_t correct = -1;
  double z_loss = -1;
};

TEST(SoftmaxOutputs, ValuesOfRowsMayBeAskedForAlone) {
  ForEveryIsa([](const std::string&) {
    for (const int64_t classes : {2, 10, 100, 3000}) {
      Problem problem(XENT_F32, 20, classes);
      problem.Fill("normal", 5);
      problem.options.z_loss = 0.25;
      const xent_logits logits = problem.Logits();
      const xent_targets targets = problem.Targets();
      // Bit i of `want` asks for the i-th value.
      const auto values_of = [&](unsigned want) {
        RowValues values(20);
        xent_softmax_outputs out = xent_softmax_outputs_none();
        if (want & 1) out.entropy = values.entropy.data();
        if (want & 2) out.probability = values.probability.data();
        if (want & 4) out.log_probability = values.log_probability.data();
        if (want & 8) out.argmax = values.argmax.data();
        if (want & 16) out.correct = &values.correct;
        if (want & 32) out.z_loss = &values.z_loss;
        EXPECT_EQ(xent_softmax_cross_entropy(&logits, &targets, &problem.options, &out), XENT_OK) << xent_last_error();
        return values;
      };
      const RowValues all = values_of(63);
      const RowValues entropy = values_of(1), probability = values_of(2), log_probability = values_of(4);
      EXPECT_EQ(values_of(8).argmax, all.argmax);
      EXPECT_EQ(values_of(16).correct, all.correct);
      EXPECT_NEAR(values_of(32).z_loss, all.z_loss, 1e-5 * all.z_loss);
      EXPECT_GT(all.z_loss, 0);
      for (size_t r = 0; r < 20; ++r) {
        EXPECT_NEAR(entropy.entropy[r], all.entropy[r], 1e-5f * all.entropy[r]);
        EXPECT_NEAR(probability.probability[r], all.probability[r], 1e-5f * all.probability[r]);
        EXPECT_NEAR(log_probability.log_probability[r], all.log_probability[r], -1e-5f * all.log_probability[r]);
        EXPECT_GT(all.entropy[r], 0);
        EXPECT_LT(all.log_probability[r], 0);
        EXPECT_GE(all.argmax[r], 0);
      }
    }
  });
}

TEST(SoftmaxOutputs, InPlaceHasTheBitsOfOutOfPlace) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      for (const int64_t gap : {0, 3}) {
        Problem problem = MixedProblem(dtype, classes, classes + gap);
        Results separate = MustRun(problem);
        const Bytes before = problem.logits;
        Results in_place = UnwrittenResults(problem, kEverything);
        xent_softmax_outputs outputs = OutputsOf(in_place);
        outputs.gradient = problem.logits.data();
        const xent_logits logits = problem.Logits();
        const xent_targets targets = problem.Targets();
        ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs), XENT_OK)
            << xent_last_error();
        in_place.gradient = problem.logits;
        // The padding of the logits stays what it was; that of a separate gradient is the pattern.
        for (int64_t r = 0; r < problem.rows && gap > 0; ++r) {
          const size_t padding = static_cast<size_t>(r * problem.row_stride + classes) * SizeOf(dtype);
          std::memcpy(separate.gradient.data() + padding, before.data() + padding,
                      static_cast<size_t>(gap) * SizeOf(dtype));
        }
        EXPECT_EQ(FirstDifference(in_place, separate), "") << classes << " classes";
      }
    }
  });
}

TEST(SoftmaxOutputs, PaddingBetweenRowsIsNeitherReadNorWritten) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      const Problem packed = MixedProblem(dtype, classes);
      const Results expected = MustRun(packed);
      for (const int64_t gap : {1, 7, 64}) {
        Problem padded = MixedProblem(dtype, classes, classes + gap);
        for (int64_t r = 0; r < padded.rows; ++r) {
          for (int64_t j = classes; j < classes + gap; ++j) padded.Set(r, j, j % 2 == 0 ? NAN : INFINITY);
        }
        const Results results = MustRun(padded);
        const Results untouched = UnwrittenResults(padded, kGradient);
        for (int64_t r = 0; r < padded.rows; ++r) {
          EXPECT_EQ(std::memcmp(results.row_loss.data(), expected.row_loss.data(), expected.row_loss.size()), 0);
          const unsigned char* row = results.gradient.data() + static_cast<size_t>(r * (classes + gap)) * SizeOf(dtype);
          const size_t row_size = static_cast<size_t>(classes) * SizeOf(dtype);
          EXPECT_EQ(std::memcmp(row, expected.gradient.data() + static_cast<size_t>(r) * row_size, row_size), 0)
              << "gradient of row " << r << ", " << classes << " classes, gap " << gap;
          EXPECT_EQ(std::memcmp(row + row_size, untouched.gradient.data(), static_cast<size_t>(gap) * SizeOf(dtype)), 0)
              << "padding of row " << r << ", " << classes << " classes, gap " << gap;
        }
      }
    }
  });
}

TEST(SoftmaxOutputs, GradientMayHaveARowStrideOfItsOwn) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      const Problem problem = MixedProblem(dtype, classes, classes + 5);
      const Problem packed = MixedProblem(dtype, classes);
      Results results = UnwrittenResults(packed, kEverything);
      xent_softmax_outputs outputs = OutputsOf(results);
      outputs.gradient_dtype = dtype;
      outputs.gradient_outer_stride = classes;
      outputs.gradient_class_stride = 1;
      outputs.gradient_inner_stride = 1;
      const xent_logits logits = problem.Logits();
      const xent_targets targets = problem.Targets();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs), XENT_OK)
          << xent_last_error();
      EXPECT_EQ(FirstDifference(results, MustRun(packed)), "") << classes << " classes";
    }
  });
}

TEST(SoftmaxRowState, BackwardFromItHasTheBitsOfTheFusedCall) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      Problem problem = MixedProblem(dtype, classes);
      const Results forward = MustRun(problem, kRowState | kTotal);
      for (const double upstream : {0.7, -3.0, 1e-40}) {
        problem.options.upstream = upstream;
        problem.options.row_state = nullptr;
        const Results fused = MustRun(problem);
        problem.options.row_state = forward.row_state.data();
        EXPECT_EQ(FirstDifference(MustRun(problem, kGradient), fused), "") << classes << " classes";
        EXPECT_EQ(FirstDifference(MustRun(problem, kEverything), fused), "") << classes << " classes";
      }
    }
  });
}

TEST(SoftmaxRowState, WorksInPlace) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      Problem problem = MixedProblem(dtype, classes);
      const Results fused = MustRun(problem);
      problem.options.row_state = fused.row_state.data();
      Results in_place = UnwrittenResults(problem, kGradient);
      xent_softmax_outputs outputs = OutputsOf(in_place);
      outputs.gradient = problem.logits.data();
      const xent_logits logits = problem.Logits();
      const xent_targets targets = problem.Targets();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs), XENT_OK)
          << xent_last_error();
      in_place.gradient = problem.logits;
      EXPECT_EQ(FirstDifference(in_place, fused), "") << classes << " classes";
    }
  });
}

// The correctly rounded log-sum-exps of a problem without NaN rows, in its row type.
Bytes RoundedLse(const Problem& problem) {
  const xent_dtype row_type = RowType(problem.dtype);
  Bytes lse(static_cast<size_t>(problem.rows) * SizeOf(row_type));
  const Expected expected(problem);
  for (int64_t r = 0; r < problem.rows; ++r) {
    const long double exact = expected.kind(r) == RowKind::kNumbers ? expected.row(r).lse : 0;
    SetElement(lse.data(), row_type, r, static_cast<double>(RoundTo(exact, FormatOf(row_type))));
  }
  return lse;
}

// |error| of every element <= (4 + |lse|) ULP, plus half a unit of bf16 or f16, or a zero below the smallest normal.
void ExpectWithinLseBounds(const Problem& problem, const Results& results) {
  const Expected expected(problem);
  const Format format = FormatOf(problem.dtype);
  const bool is_half = problem.dtype == XENT_BF16 || problem.dtype == XENT_F16;
  for (int64_t r = 0; r < problem.rows; ++r) {
    const long double units = 4 + std::fabs(expected.row(r).lse);
    for (int64_t j = 0; j < problem.classes; ++j) {
      const ExpectedElement& element = expected.element(r, j);
      const double result = results.Gradient(r, j);
      if (element.rule != Rule::kAccurate) {
        ASSERT_TRUE(std::fabs(result) <= units * element.ulp) << Describe("gradient", r, j, result, 0, 0);
        continue;
      }
      const long double slack = units * element.ulp + (is_half ? Ulp(element.exact, format) / 2 : 0);
      const long double error = std::fabs(result - element.exact);
      ASSERT_TRUE(error <= slack) << Describe("gradient", r, j, result, element.exact, error / element.ulp)
                                  << ", allowed " << units;
    }
  }
}

TEST(SoftmaxLse, BackwardFromItIsWithinFourPlusLseUlp) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 10, 33, 100, 2049}) {
      for (const char* name : {"normal", "wide_10", "wide_30", "ascending", "confident", "trailing", "masked",
                               "leading_masked", "near_50", "near_256", "very_negative"}) {
        SCOPED_TRACE(testing::Message() << name << ", " << classes << " classes");
        Problem problem(dtype, 5, classes);
        problem.Fill(name, 21);
        problem.labels[2] = problem.options.ignore_index;
        problem.options.upstream = 0.7;
        const Bytes lse = RoundedLse(problem);
        problem.options.lse = lse.data();
        const Results results = MustRun(problem, kGradient | kDenominator | kCounted | kIgnored);
        ExpectWithinLseBounds(problem, results);
        EXPECT_EQ(results.counted, 4);
        EXPECT_EQ(results.ignored, 1);
        EXPECT_EQ(results.denominator, 4);
      }
    }
  });
}

TEST(SoftmaxLse, NanRowsStayNanAndTouchNoOther) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {2, 33, 2500}) {
      Problem problem(dtype, 5, classes);
      problem.Fill("normal", 22);
      const Bytes lse = RoundedLse(problem);
      problem.options.lse = lse.data();
      const Results clean = MustRun(problem, kGradient);
      problem.Set(2, classes - 1, std::numeric_limits<double>::quiet_NaN());
      problem.labels[2] = 0;
      const Results results = MustRun(problem, kGradient);
      EXPECT_TRUE(IsNanRow(results, 2));
      for (const int64_t r : {0, 1, 3, 4}) {
        for (int64_t j = 0; j < classes; ++j) EXPECT_EQ(results.Gradient(r, j), clean.Gradient(r, j));
      }
    }
  });
}

}  // namespace
}  // namespace xent_test
