// Where binary losses, losses of probabilities, information measures and streamed softmax meet their limits: factors
// beyond a type, tables of any scale, probabilities that vanish, and arrays that overlap. Values were computed by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"

namespace xent_test {
namespace {

template <class Real>
xent_dtype TypeOf() {
  return sizeof(Real) == 8 ? XENT_F64 : XENT_F32;
}

// What a binary loss of some elements is.
template <class Real>
struct BinaryFound {
  double total = -1, sum = -1;
  int64_t counted = -1;
  std::vector<Real> loss, gradient;
};

template <class Real, class Call>
BinaryFound<Real> FindBinary(Call call, const std::vector<Real>& x, const std::vector<Real>& t,
                             const xent_binary_options& options) {
  BinaryFound<Real> found;
  found.loss.resize(x.size());
  found.gradient.resize(x.size());
  const xent_logits inputs = xent_logits_rows(x.data(), TypeOf<Real>(), 1, static_cast<int64_t>(x.size()));
  const xent_targets targets = xent_targets_dense(t.data(), TypeOf<Real>());
  xent_binary_outputs outputs = xent_binary_outputs_none();
  outputs.total = &found.total;
  outputs.sum = &found.sum;
  outputs.counted = &found.counted;
  outputs.loss = found.loss.data();
  outputs.gradient = found.gradient.data();
  EXPECT_EQ(call(&inputs, &targets, &options, &outputs), XENT_OK) << xent_last_error();
  return found;
}

TEST(BinaryEdges, AnyFocalGammaLeavesNothingWhereThePowerVanishes) {
  ForEveryIsa([](const std::string&) {
    for (const double gamma : {2000.0, 2047.0, 2100.0, 3000.0, 1e6, 1e300}) {
      xent_binary_options options = xent_binary_options_default();
      options.focal_gamma = gamma;
      const std::vector<double> x = {-0.8, 0.8, -1e-3, 30}, t = {1, 0, 1, 1};
      const BinaryFound<double> found = FindBinary<double>(xent_sigmoid_cross_entropy, x, t, options);
      for (size_t i = 0; i < x.size(); ++i) {
        const double base = 1 / (1 + std::exp((t[i] == 1 ? 1 : -1) * x[i]));
        const double exact = std::pow(base, gamma) * -std::log1p(-base);
        EXPECT_NEAR(found.loss[i], exact, 1e-10 * exact + 1e-307) << gamma << " " << i;
        EXPECT_TRUE(std::isfinite(found.gradient[i])) << gamma << " " << i;
      }
    }
  });
}

TEST(BinaryEdges, LossesNearTheLargestFloatAddUpInDouble) {
  ForEveryIsa([](const std::string&) {
    for (const size_t n : {2, 17, 64, 700}) {
      const BinaryFound<float> found = FindBinary<float>(xent_sigmoid_cross_entropy, std::vector<float>(n, 3e38f),
                                                         std::vector<float>(n, 0.0f), xent_binary_options_default());
      EXPECT_DOUBLE_EQ(found.total, static_cast<double>(3e38f)) << n;
      EXPECT_DOUBLE_EQ(found.sum, static_cast<double>(n) * static_cast<double>(3e38f)) << n;
    }
  });
}

TEST(BinaryEdges, AnIgnoredTargetThatTargetsCannotBeIgnoresNone) {
  for (const double ignored : {1e-60, 1e300}) {
    xent_binary_options options = xent_binary_options_default();
    options.ignore_target = ignored;
    const float inf = std::numeric_limits<float>::infinity();
    const BinaryFound<float> found = FindBinary<float>(xent_sigmoid_cross_entropy, {0, 1, -2}, {0, inf, 0.5f}, options);
    EXPECT_EQ(found.counted, 3);
    EXPECT_FLOAT_EQ(found.loss[0], std::log(2.0f));
    EXPECT_TRUE(std::isnan(found.loss[1]));
  }
}

TEST(BinaryEdges, ATraceOfSmoothingCountsWhereTheProbabilityIsOne) {
  xent_binary_options options = xent_binary_options_default();
  options.label_smoothing = 1e-8;
  const float near = 1 - 0x1p-24f;
  const BinaryFound<float> found = FindBinary<float>(xent_binary_cross_entropy, {1, near}, {1, 1}, options);
  EXPECT_EQ(found.loss[0], std::numeric_limits<float>::infinity());
  const double exact = -(1 - 5e-9) * std::log1p(-0x1p-24) + 5e-9 * 24 * std::log(2.0);
  EXPECT_NEAR(found.loss[1] / exact, 1, 4 * 0x1p-23);
}

TEST(BinaryEdges, FactorsBeyondAFloatMakeNoNaN) {
  xent_binary_options options = xent_binary_options_default();
  options.pos_weight = 1e300;
  const float x = 1, t = 0;
  const xent_logits inputs = xent_logits_rows(&x, XENT_F32, 1, 1);
  const xent_targets targets = xent_targets_dense(&t, XENT_F32);
  const xent_binary_outputs none = xent_binary_outputs_none();
  EXPECT_EQ(xent_sigmoid_cross_entropy(&inputs, &targets, &options, &none), XENT_INVALID_ARGUMENT);
  EXPECT_NE(std::string(xent_last_error()).find("pos_weight"), std::string::npos);
  options = xent_binary_options_default();
  options.denominator = XENT_ELEMENTS_GIVEN;
  options.denominator_value = 1e-300;
  const BinaryFound<float> found = FindBinary<float>(xent_sigmoid_cross_entropy, {1000, 0}, {1, 1}, options);
  EXPECT_EQ(found.gradient[0], 0);
  EXPECT_LT(found.gradient[1], -1e38f);
}

// ---- losses of probabilities

double CategoricalLoss(const std::vector<double>& p, const xent_targets& targets, std::vector<double>* gradient,
                       xent_distribution given = XENT_PROBABILITIES) {
  gradient->assign(p.size(), -7);
  double total = -1;
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.total = &total;
  outputs.gradient = gradient->data();
  const xent_logits rows = xent_logits_rows(p.data(), XENT_F64, 1, static_cast<int64_t>(p.size()));
  EXPECT_EQ(xent_categorical_cross_entropy(&rows, given, &targets, XENT_LOG_EXACT, 0, nullptr, &outputs, nullptr),
            XENT_OK)
      << xent_last_error();
  return total;
}

TEST(CategoricalEdges, SparseTargetsSpreadWhatIsMissing) {
  const std::vector<double> p = {0.25, 0.5, 0.25}, weight = {0.4};
  const std::vector<int32_t> classes = {1};
  std::vector<double> gradient;
  const xent_targets drop = xent_targets_sparse(classes.data(), XENT_I32, weight.data(), 1, XENT_REST_DROP);
  EXPECT_DOUBLE_EQ(CategoricalLoss(p, drop, &gradient), 0.4 * std::log(2.0));
  EXPECT_EQ(gradient, std::vector<double>({0, -0.8, 0}));
  const xent_targets spread = xent_targets_sparse(classes.data(), XENT_I32, weight.data(), 1, XENT_REST_SPREAD);
  EXPECT_DOUBLE_EQ(CategoricalLoss(p, spread, &gradient), 0.4 * std::log(2.0) + 0.6 * std::log(4.0));
  EXPECT_DOUBLE_EQ(gradient[0], -0.3 / 0.25);
  EXPECT_DOUBLE_EQ(CategoricalLoss(p, drop, &gradient), 0.4 * std::log(2.0));
}

TEST(CategoricalEdges, MinusZeroIsZeroAndNaNMakesTheRowNaN) {
  const std::vector<double> target = {1, 0, 0};
  std::vector<double> gradient;
  const xent_targets dense = xent_targets_dense(target.data(), XENT_F64);
  EXPECT_EQ(CategoricalLoss({-0.0, 0.5, 0.5}, dense, &gradient), std::numeric_limits<double>::infinity());
  EXPECT_EQ(gradient[0], -std::numeric_limits<double>::infinity());
  for (const xent_distribution given : {XENT_PROBABILITIES, XENT_LOG_PROBABILITIES}) {
    EXPECT_TRUE(std::isnan(CategoricalLoss({0, std::nan(""), 0}, dense, &gradient, given)));
    for (const double element : gradient) EXPECT_TRUE(std::isnan(element));
  }
}

TEST(CategoricalEdges, OutsideIsNoPlaceOfAnotherResult) {
  const double p[] = {0.5, 0.5};
  const int32_t label = 0;
  const xent_logits rows = xent_logits_rows(p, XENT_F64, 1, 2);
  const xent_targets targets = xent_targets_labels(&label, XENT_I32);
  int64_t counted = 7;
  double weight = 1;
  xent_softmax_options options = xent_softmax_options_default();
  options.row_weight = &weight;
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.counted = &counted;
  const auto call = [&](void* outside) {
    return xent_categorical_cross_entropy(&rows, XENT_PROBABILITIES, &targets, XENT_LOG_EXACT, 0, &options, &outputs,
                                          static_cast<int64_t*>(outside));
  };
  EXPECT_EQ(call(&counted), XENT_OVERLAP);
  EXPECT_EQ(call(&weight), XENT_OVERLAP);
  EXPECT_EQ(counted, 7);
  options.masked_row = XENT_MASKED_ROW_ZERO;
  EXPECT_EQ(call(nullptr), XENT_UNSUPPORTED);
}

// ---- information

double JensenShannon(const std::vector<double>& p, const std::vector<double>& q, double beta, xent_distribution given,
                     std::vector<double>* gradient) {
  xent_information_options options = xent_information_options_default();
  options.p_given = given;
  options.beta = beta;
  double total = -1;
  gradient->assign(p.size(), -7);
  xent_information_outputs outputs = xent_information_outputs_none();
  outputs.total = &total;
  outputs.p_gradient = gradient->data();
  const xent_logits x = xent_logits_rows(p.data(), XENT_F64, 1, static_cast<int64_t>(p.size()));
  const xent_logits y = xent_logits_rows(q.data(), XENT_F64, 1, static_cast<int64_t>(q.size()));
  EXPECT_EQ(xent_information(XENT_JENSEN_SHANNON, &x, &y, &options, &outputs), XENT_OK) << xent_last_error();
  return total;
}

TEST(InformationEdges, JensenShannonIsFiniteAtEveryShareAndForVanishingProbabilities) {
  ForEveryIsa([](const std::string&) {
    std::vector<double> g;
    EXPECT_EQ(JensenShannon({0.5, 0.5}, {1, 0}, 0, XENT_PROBABILITIES, &g), 0);
    EXPECT_EQ(g, std::vector<double>({0, 0}));
    EXPECT_EQ(JensenShannon({1, 0}, {0.5, 0.5}, 1, XENT_PROBABILITIES, &g), 0);
    EXPECT_NEAR(JensenShannon({0, -745}, {1, 0}, 0.5, XENT_LOGITS, &g), 0, 1e-300);
    for (const double element : g) EXPECT_NEAR(element, 0, 1e-300);
    EXPECT_NEAR(JensenShannon({1, 5e-324}, {1, 0}, 0.5, XENT_PROBABILITIES, &g), 0, 1e-300);
    EXPECT_NEAR(g[1], 0.5 * std::log(2.0), 1e-15);
  });
}

TEST(InformationEdges, AnUpstreamOfZeroMakesNothingOfInfiniteDerivatives) {
  const double p[] = {0, 1};
  double gradient[] = {7, 7};
  xent_information_options options = xent_information_options_default();
  options.upstream = 0;
  xent_information_outputs outputs = xent_information_outputs_none();
  outputs.p_gradient = gradient;
  const xent_logits x = xent_logits_rows(p, XENT_F64, 1, 2);
  ASSERT_EQ(xent_information(XENT_ENTROPY, &x, nullptr, &options, &outputs), XENT_OK);
  EXPECT_EQ(gradient[0], 0);
  EXPECT_EQ(gradient[1], 0);
}

std::vector<double> Joint(const std::vector<double>& table, int64_t rows, std::vector<double>* gradient) {
  std::vector<double> values(5, -7);
  gradient->assign(table.size(), -7);
  const int64_t columns = static_cast<int64_t>(table.size()) / rows;
  const xent_logits x = xent_logits_rows(table.data(), XENT_F64, rows, columns);
  EXPECT_EQ(xent_joint_information(&x, 0, values.data(), XENT_MUTUAL_INFORMATION, gradient->data()), XENT_OK);
  return values;
}

TEST(InformationEdges, JointMeasuresDoNotDependOnTheScaleOfTheTable) {
  ForEveryIsa([](const std::string&) {
    const std::vector<double> table = {4.1, 1, 1.3, 2};
    std::vector<double> at_one, gradient;
    const std::vector<double> expected = Joint(table, 2, &at_one);
    for (const int exponent : {-1000, -530, -60, 60, 511, 1020}) {
      std::vector<double> scaled = table;
      for (double& cell : scaled) cell = std::ldexp(cell, exponent);
      EXPECT_EQ(Joint(scaled, 2, &gradient), expected) << exponent;
      for (size_t i = 0; i < 4; ++i)
        EXPECT_NEAR(std::ldexp(gradient[i], exponent) / at_one[i], 1, exponent > 1000 ? 0.1 : 1e-15);
    }
    // 1e-200 log(1e200) of the last cell, and log(1 + 1e-200) of the first.
    const std::vector<double> extreme = Joint({1, 1e-300, 1e-300, 1e-200}, 2, &gradient);
    EXPECT_NEAR(extreme[XENT_MUTUAL_INFORMATION - 1] / (1e-200 * (200 * std::log(10.0) + 1)), 1, 1e-14);
  });
}

TEST(InformationEdges, EntropiesOfOneRowKeepTheirDigitsHoweverSmall) {
  std::vector<double> gradient;
  const auto exact = [](double small) { return small * (1 - std::log(small)); };
  for (const double small : {1e-20, 1e-28, 1e-33, 1e-200}) {
    const double row = Joint({small, 0, 0.25, 0.75}, 2, &gradient)[XENT_ROW_ENTROPY - 1];
    EXPECT_NEAR(row / exact(small), 1, 20 * 0x1p-53) << small;
    const double column = Joint({small, 0.25, 0, 0.75}, 2, &gradient)[XENT_COLUMN_ENTROPY - 1];
    EXPECT_NEAR(column / exact(small), 1, 20 * 0x1p-53) << small;
  }
  const double row = Joint({1e-33, 0, 1.0 / 3, 0.5}, 2, &gradient)[XENT_ROW_ENTROPY - 1];
  EXPECT_NEAR(row / exact(1e-33 / (1.0 / 3 + 0.5)), 1, 20 * 0x1p-53);
}

// ---- streams

TEST(StreamEdges, WhatIsWrittenOverlapsNothingElse) {
  std::vector<xent_row_state> states(8);
  std::vector<double> memory(64, 1), label_logits(8);
  const std::vector<float> slice(8, 1);
  const std::vector<int64_t> labels(4, 0);
  const xent_logits x = xent_logits_rows(slice.data(), XENT_F32, 4, 2);
  const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
  ASSERT_EQ(xent_softmax_begin(8, states.data(), label_logits.data()), XENT_OK);
  EXPECT_EQ(xent_softmax_merge(4, states.data(), label_logits.data(), states.data(), label_logits.data()),
            XENT_OVERLAP);
  EXPECT_EQ(xent_softmax_merge(4, states.data() + 2, label_logits.data() + 4, states.data(), label_logits.data()),
            XENT_OVERLAP);
  EXPECT_EQ(xent_softmax_merge(4, states.data() + 4, label_logits.data() + 4, states.data(), label_logits.data()),
            XENT_OK);
  const xent_targets of_logits = xent_targets_labels(label_logits.data(), XENT_I64);
  EXPECT_EQ(xent_softmax_push(&x, 0, &of_logits, nullptr, states.data(), label_logits.data()), XENT_OVERLAP);
  xent_softmax_options options = xent_softmax_options_default();
  options.row_mask = reinterpret_cast<const uint8_t*>(states.data());
  EXPECT_EQ(xent_softmax_push(&x, 0, &targets, &options, states.data(), label_logits.data()), XENT_OVERLAP);
  options = xent_softmax_options_default();
  options.class_weight = memory.data();
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  const auto finish = [&](void* loss, double* total) {
    outputs.row_loss = loss;
    outputs.total = total;
    return xent_softmax_finish(4, 10, XENT_F32, states.data(), label_logits.data(), &targets, &options, &outputs);
  };
  EXPECT_EQ(finish(memory.data() + 40, memory.data() + 50), XENT_OK);
  EXPECT_EQ(finish(reinterpret_cast<float*>(memory.data()) + 9, nullptr), XENT_OVERLAP);  // the last class's weight
  EXPECT_EQ(finish(states.data(), nullptr), XENT_OVERLAP);
  EXPECT_EQ(finish(nullptr, label_logits.data()), XENT_OVERLAP);
  EXPECT_EQ(
      xent_softmax_push_gradient(&x, 0, 10, states.data(), label_logits.data(), &targets, &options, memory.data() + 2),
      XENT_OVERLAP);
  EXPECT_EQ(xent_softmax_push_gradient(&x, 0, 10, states.data(), label_logits.data(), &targets, &options,
                                       const_cast<int64_t*>(labels.data())),
            XENT_OVERLAP);
  EXPECT_EQ(xent_softmax_push_gradient(&x, 0, INT64_MIN, states.data(), label_logits.data(), &targets, &options,
                                       memory.data() + 40),
            XENT_INVALID_ARGUMENT);
  EXPECT_NE(std::string(xent_last_error()).find("classes"), std::string::npos);
  options.live_classes = 1;
  EXPECT_EQ(finish(memory.data() + 40, nullptr), XENT_UNSUPPORTED);
}

}  // namespace
}  // namespace xent_test
