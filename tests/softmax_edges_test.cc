// Where parts of the softmax family meet: states that one way saved and another reads, rows that hold nothing, options
// whose product leaves the range of a type, and targets that are not numbers. Values were computed by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/inputs.h"
#include "support/problem.h"

namespace xent_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

xent_softmax_options Sum() {
  xent_softmax_options options = xent_softmax_options_default();
  options.reduction = XENT_REDUCTION_SUM;
  return options;
}

// What a call gives of rows of floats and one kind of targets.
struct Found {
  std::vector<float> loss, lse, gradient;
};

Found Find(const std::vector<float>& x, int64_t classes, const xent_targets& targets,
           const xent_softmax_options& options) {
  const int64_t rows = static_cast<int64_t>(x.size()) / classes;
  Found found = {std::vector<float>(static_cast<size_t>(rows)), std::vector<float>(static_cast<size_t>(rows)),
                 std::vector<float>(x.size())};
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.row_loss = found.loss.data();
  outputs.lse = found.lse.data();
  outputs.gradient = found.gradient.data();
  const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, rows, classes);
  EXPECT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
  return found;
}

// Asking for entropy, or for an f32 gradient of halves, makes the first call take another way than the second.
TEST(SoftmaxEdges, StatesSavedByAnyCallGiveTheGradientOfTheLogits) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {3, 10, 300, 5000}) {
      constexpr int64_t kRows = 4;
      Bytes x(static_cast<size_t>(kRows * classes) * SizeOf(dtype));
      Random random(static_cast<uint64_t>(classes));
      for (int64_t i = 0; i < kRows * classes; ++i) SetElement(x.data(), dtype, i, random.Normal());
      const std::vector<int64_t> labels = {0, 1, 2, 0};
      const xent_logits logits = xent_logits_rows(x.data(), dtype, kRows, classes);
      const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
      xent_softmax_options options = xent_softmax_options_default();

      Bytes saved_gradient(x.size()), gradient(x.size()), entropy(kRows * 8), loss(kRows * 8), saved_loss(kRows * 8);
      std::vector<xent_row_state> states(kRows);
      xent_softmax_outputs outputs = xent_softmax_outputs_none();
      outputs.row_state = states.data();
      outputs.entropy = entropy.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK);
      outputs = xent_softmax_outputs_none();
      outputs.gradient = gradient.data();
      outputs.row_loss = loss.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK);
      options.row_state = states.data();
      outputs.gradient = saved_gradient.data();
      outputs.row_loss = saved_loss.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK);
      EXPECT_TRUE(std::equal(gradient.data(), gradient.data() + gradient.size(), saved_gradient.data())) << classes;
      const size_t losses = kRows * SizeOf(RowType(dtype));
      EXPECT_TRUE(std::equal(loss.data(), loss.data() + losses, saved_loss.data())) << classes;
    }
  });
}

TEST(SoftmaxEdges, SavedStatesOfMaskedRowsStayMasked) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {3, 300, 5000}) {
      Bytes x(static_cast<size_t>(2 * classes) * SizeOf(dtype)), gradient(x.size()), loss(16);
      for (int64_t j = 0; j < classes; ++j) SetElement(x.data(), dtype, j, 0);
      for (int64_t j = classes; j < 2 * classes; ++j) SetElement(x.data(), dtype, j, -kInf);
      const std::vector<int64_t> labels = {0, 0};
      const xent_logits logits = xent_logits_rows(x.data(), dtype, 2, classes);
      const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
      std::vector<xent_row_state> states(2);
      xent_softmax_options options = Sum();
      options.masked_row = XENT_MASKED_ROW_ZERO;
      xent_softmax_outputs outputs = xent_softmax_outputs_none();
      outputs.row_state = states.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK);
      outputs = xent_softmax_outputs_none();
      outputs.gradient = gradient.data();
      outputs.row_loss = loss.data();
      options.row_state = states.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK);
      EXPECT_EQ(Element(loss.data(), RowType(dtype), 1), 0);
      for (int64_t j = classes; j < 2 * classes; ++j) ASSERT_EQ(Element(gradient.data(), dtype, j), 0) << j;
      EXPECT_GT(Element(gradient.data(), dtype, 1), 0);
    }
  });
}

TEST(SoftmaxEdges, MaskedRowsHaveAnInfiniteLseOnEveryWay) {
  ForEveryIsa([](const std::string&) {
    const std::vector<float> x = {-kInf, -kInf, -kInf, 1, 2, 3};
    const std::vector<int32_t> labels = {1, 1};
    const std::vector<float> dense = {0.5f, 0.25f, 0.25f, 0, 1, 0};
    xent_softmax_options options = xent_softmax_options_default();
    options.masked_row = XENT_MASKED_ROW_ZERO;
    for (const xent_targets& targets :
         {xent_targets_labels(labels.data(), XENT_I32), xent_targets_dense(dense.data(), XENT_F32)}) {
      const Found found = Find(x, 3, targets, options);
      EXPECT_EQ(found.loss[0], 0);
      EXPECT_EQ(found.lse[0], -kInf);
      for (int j = 0; j < 3; ++j) EXPECT_EQ(found.gradient[static_cast<size_t>(j)], 0);
      EXPECT_FLOAT_EQ(found.lse[1], 3.4076059f);
    }
    const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 2, 3);
    std::vector<float> lse(2), p(6), log_p(6);
    ASSERT_EQ(xent_logsumexp(&logits, &options, lse.data()), XENT_OK);
    ASSERT_EQ(xent_softmax(&logits, &options, p.data()), XENT_OK);
    ASSERT_EQ(xent_log_softmax(&logits, &options, log_p.data()), XENT_OK);
    EXPECT_EQ(lse[0], -kInf);
    for (size_t j = 0; j < 3; ++j) EXPECT_EQ(std::exp(log_p[j]), p[j]) << j;
    // A row that is left out is not read, masked or not.
    const std::vector<uint8_t> mask = {0, 1};
    options.row_mask = mask.data();
    ASSERT_EQ(xent_logsumexp(&logits, &options, lse.data()), XENT_OK);
    EXPECT_EQ(lse[0], 0);
  });
}

TEST(SoftmaxEdges, AnInvalidTokenLeavesTheOthersOfItsRowAlone) {
  const std::vector<float> x = {1, 2, 3, 4, 5};
  const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 1, 5);
  xent_softmax_options options = xent_softmax_options_default();
  options.invalid_label = XENT_INVALID_LABEL_NAN;
  for (const std::vector<int64_t>& tokens : {std::vector<int64_t>{9, 1, 2}, {1, 9, 2}, {-100, 9, 2}, {9, 9, -7}}) {
    std::vector<float> log_p(3), entropy(1);
    ASSERT_EQ(xent_token_logprob(&logits, tokens.data(), XENT_I64, 3, &options, log_p.data(), entropy.data()), XENT_OK);
    for (size_t i = 0; i < 3; ++i) {
      const float expected = tokens[i] == -100 ? 0 : tokens[i] == 1 ? -3.4519144f : tokens[i] == 2 ? -2.4519144f : kNan;
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(log_p[i])) << i;
      } else {
        EXPECT_FLOAT_EQ(log_p[i], expected) << i;
      }
    }
    EXPECT_GT(entropy[0], 0.5f);
  }
}

// One invalid class makes its row NaN, wherever it stands; so does a target that is no weight, in classes too whose
// probability is nothing.
TEST(SoftmaxEdges, WhatIsNaNIsNaNInEveryClass) {
  const std::vector<float> x = {0, -300, -kInf, 1, 2, 3, 4, 5};
  const std::vector<float> weights = {0.5f, 0.5f, 0.5f, 0.5f};
  xent_softmax_options options = Sum();
  options.invalid_label = XENT_INVALID_LABEL_NAN;
  for (const std::vector<int32_t>& classes : {std::vector<int32_t>{9, 0, 1, 2}, {0, 9, 1, 2}, {-100, 9, 1, 2}}) {
    const Found found =
        Find(x, 4, xent_targets_sparse(classes.data(), XENT_I32, weights.data(), 2, XENT_REST_DROP), options);
    EXPECT_TRUE(std::isnan(found.loss[0]) && std::isnan(found.lse[0]));
    for (size_t j = 0; j < 4; ++j) EXPECT_TRUE(std::isnan(found.gradient[j])) << j;
    for (size_t j = 4; j < 8; ++j) EXPECT_FALSE(std::isnan(found.gradient[j])) << j;
  }
  for (const float bad : {-0.25f, kNan}) {
    const std::vector<float> dense = {bad, 0, 0, 1, 0.25f, 0.25f, 0.25f, 0.25f};
    const Found found = Find(x, 4, xent_targets_dense(dense.data(), XENT_F32), options);
    for (size_t j = 0; j < 4; ++j) EXPECT_TRUE(std::isnan(found.gradient[j])) << j;
    for (size_t j = 4; j < 8; ++j) EXPECT_FALSE(std::isnan(found.gradient[j])) << j;
  }
}

TEST(SoftmaxEdges, CapsAndScalesOfAnySizeKeepTheirLimits) {
  const auto lse_of = [](double x, double scale, double softcap) {
    const double row[] = {x, 0};
    const xent_logits logits = xent_logits_rows(row, XENT_F64, 1, 2);
    xent_softmax_options options = xent_softmax_options_default();
    options.scale = scale;
    options.softcap = softcap;
    double lse = 0;
    EXPECT_EQ(xent_logsumexp(&logits, &options, &lse), XENT_OK) << xent_last_error();
    return lse;
  };
  EXPECT_DOUBLE_EQ(lse_of(0, 1, 5e-324), std::log(2.0));
  EXPECT_DOUBLE_EQ(lse_of(7, 1, 5e-324), std::log(2.0));
  EXPECT_DOUBLE_EQ(lse_of(1e300, 1e-200, 1e200), 1e100);
  EXPECT_DOUBLE_EQ(lse_of(7, 1, 1e300), 7 + std::log1p(std::exp(-7.0)));
  EXPECT_DOUBLE_EQ(lse_of(1e-300, 1e300, 1e-300), std::log(2.0));
}

// However large the scale, and the factors that follow it.
TEST(SoftmaxEdges, ACapThatIsReachedLeavesNoGradient) {
  ForEveryIsa([](const std::string&) {
    for (const double scale : {1.0, 1e40, 1e90, 1e180, 1e300}) {
      const std::vector<float> x = {1, 1}, factor = {3e38f};
      const std::vector<int32_t> label = {0};
      xent_softmax_options options = Sum();
      options.scale = scale;
      options.softcap = scale / 1000;
      options.upstream = 3e38;
      options.row_upstream = factor.data();
      const Found found = Find(x, 2, xent_targets_labels(label.data(), XENT_I32), options);
      EXPECT_EQ(found.gradient[0], 0) << scale;
      EXPECT_EQ(found.gradient[1], 0) << scale;
    }
  });
}

// Factors beyond f32 overflow where the product does, and only there.
TEST(SoftmaxEdges, LargeFactorsReachTheClassesWhoseGradientIsFinite) {
  ForEveryIsa([](const std::string&) {
    for (const size_t classes : {4, 40, 3000}) {
      SCOPED_TRACE(classes);
      std::vector<float> x(classes, -kInf), dense(classes, 0.0f);
      x[0] = 0;
      x[1] = -20;
      x[3] = 1;
      dense[3] = 1;
      const std::vector<float> weight = {100};
      const std::vector<int32_t> label = {3};
      xent_softmax_options options = Sum();
      options.row_weight = weight.data();
      options.upstream = 3e38;
      for (const xent_targets& targets :
           {xent_targets_labels(label.data(), XENT_I32), xent_targets_dense(dense.data(), XENT_F32)}) {
        const Found found = Find(x, static_cast<int64_t>(classes), targets, options);
        EXPECT_EQ(found.gradient[0], kInf);
        EXPECT_NEAR(found.gradient[1] / (3e40 * std::exp(-20.0) / (1 + std::exp(1.0))), 1, 1e-6);
        EXPECT_EQ(found.gradient[2], 0);
        EXPECT_EQ(found.gradient[3], -kInf);
      }
      options = Sum();
      options.z_loss = 1e308;
      const Found found = Find(x, static_cast<int64_t>(classes), xent_targets_labels(label.data(), XENT_I32), options);
      EXPECT_EQ(found.gradient[0], kInf);
      EXPECT_EQ(found.gradient[2], 0);
    }
  });
}

TEST(SoftmaxEdges, ProbabilitiesBelowTheNormalNumbersAreZeroInEveryClass) {
  ForEveryIsa([](const std::string&) {
    std::vector<float> x = {-90, -90, 0}, p(3);
    const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 1, 3);
    ASSERT_EQ(xent_softmax(&logits, nullptr, p.data()), XENT_OK);
    EXPECT_EQ(p, std::vector<float>({0, 0, 1}));
  });
}

TEST(SoftmaxEdges, AnUpstreamOfZeroMakesNothingOfInfiniteWeights) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const std::vector<int32_t> labels = {0, 1};
  const std::vector<float> infinite = {kInf, kNan};
  xent_softmax_options options = Sum();
  options.upstream = 0;
  for (const bool is_weight : {true, false}) {
    (is_weight ? options.row_weight : options.row_upstream) = infinite.data();
    const Found found = Find(x, 3, xent_targets_labels(labels.data(), XENT_I32), options);
    EXPECT_EQ(found.gradient, std::vector<float>(6, 0.0f));
  }
}

// With nearly all of the target on the others, what cancels among them is not hidden by the label's own term.
TEST(SoftmaxEdges, SmoothingUpToOneKeepsTheBoundOfTheLoss) {
  const std::vector<float> x = {0, 0, -0x1p40f};
  const std::vector<int32_t> label = {2};
  for (const double eps : {0.5, 0.9, 0.95, 1 - 0x1p-40, 1.0}) {
    xent_softmax_options options = Sum();
    options.label_smoothing = eps;
    options.smoothing = XENT_SMOOTHING_OTHERS;
    const Found found = Find(x, 3, xent_targets_labels(label.data(), XENT_I32), options);
    const double exact = (1 - eps) * (0x1p40 + std::log(2.0)) + eps * std::log(2.0);
    EXPECT_NEAR(found.loss[0] / exact, 1, 4 * 0x1p-23) << eps;
  }
}

TEST(SoftmaxEdges, SparseClassesThatStandTwiceAreNamedOnce) {
  const std::vector<float> x(600, 0.0f);
  std::vector<int32_t> classes = {5, 5, 599, -100, 300};
  const std::vector<float> weights = {0.125f, 0.125f, 0.25f, 7, 0.125f};
  const Found found =
      Find(x, 600, xent_targets_sparse(classes.data(), XENT_I32, weights.data(), 5, XENT_REST_SPREAD), Sum());
  EXPECT_FLOAT_EQ(found.loss[0], std::log(600.0f));
  const float p = 1.0f / 600;
  EXPECT_NEAR(found.gradient[5], p - 0.25f, 1e-7);
  EXPECT_NEAR(found.gradient[300], p - 0.125f, 1e-7);
  EXPECT_NEAR(found.gradient[599], p - 0.25f, 1e-7);
  EXPECT_NEAR(found.gradient[0], p - 0.375f / 597, 1e-7);
}

// Gaps, and sums of targets, that f32 does not hold on the way to results that it does.
TEST(SoftmaxEdges, DenseTargetsReachAcrossTheWholeRangeOfFloats) {
  ForEveryIsa([](const std::string&) {
    for (const size_t classes : {2, 70, 3000}) {
      std::vector<float> x(classes, -3e38f), dense(classes, 0.0f);
      x[1] = 3e38f;
      dense[0] = 0.5f;
      dense[1] = 0.5f;
      const Found far = Find(x, static_cast<int64_t>(classes), xent_targets_dense(dense.data(), XENT_F32), Sum());
      EXPECT_FLOAT_EQ(far.loss[0], 3e38f);
      EXPECT_EQ(far.gradient[0], -0.5f);
      EXPECT_EQ(far.gradient[1], 0.5f);
      std::fill(x.begin(), x.end(), 0.0f);
      std::fill(dense.begin(), dense.end(), 3e38f);
      xent_softmax_options options = Sum();
      options.upstream = 1e-38;
      const Found many = Find(x, static_cast<int64_t>(classes), xent_targets_dense(dense.data(), XENT_F32), options);
      for (const float element : many.gradient) EXPECT_NEAR(element, 0, 1e-3);
    }
  });
}

// Neither a target, nor its product with the factors, nor anything between has to be a normal float.
TEST(SoftmaxEdges, FactorsOfDenseTargetsMayBeOfAnySize) {
  ForEveryIsa([](const std::string&) {
    for (const size_t classes : {8, 100, 3000}) {
      const std::vector<float> x(classes, 0.0f);
      const double p = 1.0 / static_cast<double>(classes);
      const auto element = [&](float target, double upstream, float of_row, double scale) {
        std::vector<float> dense(classes, 0.0f);
        dense[2] = target;
        xent_softmax_options options = Sum();
        options.upstream = upstream;
        options.row_upstream = &of_row;
        options.scale = scale;
        const Found found = Find(x, static_cast<int64_t>(classes), xent_targets_dense(dense.data(), XENT_F32), options);
        const double exact = static_cast<double>(target) * (p - 1) * upstream * static_cast<double>(of_row) * scale;
        EXPECT_NEAR(found.gradient[2] / exact, 1, 4 * 0x1p-23) << target << " " << upstream << " " << scale;
        EXPECT_NEAR(found.loss[0] / (static_cast<double>(target) * std::log(static_cast<double>(classes))), 1, 1e-6);
      };
      element(1e-10f, 1e30, 1e10f, 1.0);
      element(1e-10f, 1e30, 1, 0x1p40);
      element(1e10f, 1e-30, 1e-13f, 1.0);
      element(1e8f, 1e-23, 1, 0x1p-59);
    }
    std::vector<float> x = {1, 0.5f, 0, -1}, dense(4, 1e-42f);
    const float weight = 1e35f;
    xent_softmax_options options = Sum();
    options.row_weight = &weight;
    double exact = 0;
    for (const float one : x)
      exact += std::log(std::exp(1.0) + std::exp(0.5) + 1 + std::exp(-1.0)) - static_cast<double>(one);
    const Found found = Find(x, 4, xent_targets_dense(dense.data(), XENT_F32), options);
    EXPECT_NEAR(found.loss[0] / (exact * static_cast<double>(dense[0]) * static_cast<double>(weight)), 1, 4 * 0x1p-23);
  });
}

// Halves are reduced with a bias that grows with the logits; without its correction losses would be 3.2 units off.
TEST(SoftmaxEdges, HalvesFarFromZeroLoseAsLittleAsOthers) {
  ForEveryIsa([](const std::string&) {
    Random random(5);
    for (const double offset : {-40.0, -20.0, 20.0, 40.0}) {
      for (const int64_t classes : {2, 3, 100, 3000}) {
        for (int repeat = 0; repeat < 100; ++repeat) {
          Bytes x(static_cast<size_t>(classes) * 2);
          for (int64_t j = 0; j < classes; ++j) SetElement(x.data(), XENT_F16, j, offset + random.Normal());
          SetElement(x.data(), XENT_F16, 0, offset + 3);
          const int64_t label = 0;
          float loss = 0;
          xent_softmax_outputs outputs = xent_softmax_outputs_none();
          outputs.row_loss = &loss;
          const xent_logits logits = xent_logits_rows(x.data(), XENT_F16, 1, classes);
          const xent_targets targets = xent_targets_labels(&label, XENT_I64);
          ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &outputs), XENT_OK);
          long double others = 0;
          for (int64_t j = 1; j < classes; ++j) {
            others +=
                std::exp(static_cast<long double>(Element(x.data(), XENT_F16, j)) - Element(x.data(), XENT_F16, 0));
          }
          const long double exact = std::log1p(others);
          ASSERT_LE(std::fabs(loss - exact), 2 * Ulp(exact, FormatOf(XENT_F32))) << offset << " " << classes;
        }
      }
    }
  });
}

TEST(SoftmaxEdges, TheMaskIsNotWrittenOver) {
  std::vector<float> x = {1, 2, 3, 4, 5, 6}, room(8, 1);
  const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 2, 3);
  const int32_t tokens[] = {0, 1};
  xent_softmax_options options = xent_softmax_options_default();
  options.row_mask = reinterpret_cast<const uint8_t*>(room.data());
  const std::vector<xent_status> all = {
      xent_softmax(&logits, &options, room.data()),
      xent_log_softmax(&logits, &options, room.data()),
      xent_logsumexp(&logits, &options, room.data()),
      xent_softmax_backward(&logits, &options, x.data(), room.data()),
      xent_token_logprob(&logits, tokens, XENT_I32, 1, &options, room.data(), nullptr),
      xent_token_logprob(&logits, tokens, XENT_I32, 1, &options, x.data(), room.data())};
  for (size_t i = 0; i + 1 < all.size(); ++i) EXPECT_EQ(all[i], XENT_OVERLAP) << i;
  EXPECT_EQ(room, std::vector<float>(8, 1));
}

// The stage of rows without a gradient holds less than a tile has: more was written once, behind the thread's memory.
TEST(SoftmaxEdges, LossesOfManyRowsWithoutGradientAreThoseWithOne) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {256, 1000, 2048}) {
      Problem problem(dtype, 130 * std::max<int64_t>(3072 / classes, 1), classes);
      problem.Fill("normal", 5);
      EXPECT_EQ(FirstDifference(MustRun(problem, kTotal | kRowLoss), MustRun(problem, kTotal | kRowLoss | kGradient)),
                "")
          << classes << " classes";
    }
  });
}

TEST(SoftmaxEdges, GradientsOfIgnoredRowsArePositiveZerosBesideAnyNeighbour) {
  for (const float beside : {0.0f, kNan}) {
    const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, beside, 9};
    const std::vector<int64_t> labels = {0, -100, 1};
    xent_softmax_options options = Sum();
    options.upstream = -1.0;
    std::vector<float> gradient(x.size());
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.gradient = gradient.data();
    const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 3, 3);
    const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
    ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
    for (size_t i = 3; i < 6; ++i) EXPECT_FALSE(std::signbit(gradient[i])) << "beside " << beside;
  }
}

// Upstream and scale are such that the order of their products can be seen in the label's element.
TEST(SoftmaxEdges, ScaledGradientsOfARowDoNotDependOnItsNeighbour) {
  std::vector<std::vector<float>> gradients;
  for (const float beside : {0.0f, kNan}) {
    const std::vector<float> x = {0, 0, 0, 0, 0, beside};
    const std::vector<int64_t> labels = {0, 0};
    xent_softmax_options options = Sum();
    options.scale = 0x1.b84bb7b4434d8p+0;
    options.upstream = 0x1.ab0eaca71b5d1p-1;
    std::vector<float> gradient(x.size());
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.gradient = gradient.data();
    const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 2, 3);
    const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
    ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
    gradients.emplace_back(gradient.begin(), gradient.begin() + 3);
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

// e^-103 and e^-110 are no normal floats, but become some by their upstream; their sum is a double.
TEST(SoftmaxEdges, TwoClassesKeepTheirDigitsWhereAnUpstreamLiftsThem) {
  for (const double lead : {95.0, 103.0, 110.0, 300.0}) {
    const std::vector<float> x = {static_cast<float>(lead), 0};
    const std::vector<int64_t> labels = {0};
    xent_softmax_options options = Sum();
    options.upstream = 0x1p59;
    std::vector<float> gradient(2);
    double total;
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.gradient = gradient.data();
    outputs.total = &total;
    const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 1, 2);
    const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
    ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
    const double exact = std::exp(-lead);
    EXPECT_NEAR(total / exact, 1.0, 1e-6) << lead;
    if (lead > 120) continue;  // below the smallest float
    EXPECT_NEAR(static_cast<double>(gradient[0]) / (-0x1p59 * exact), 1.0, 1e-6) << lead;
  }
}

}  // namespace
}  // namespace xent_test
