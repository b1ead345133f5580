// Binary cross-entropy from logits and from probabilities, against the formulas in long double: every size of logit,
// hard and soft targets, focal factors, weights, smoothing, the rules for the logarithm of 0, layouts, ignored
// elements, labels, denominators.
#include "support/binary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/runner.h"
#include "xent/xent.hpp"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Largest errors met, in units in the last place.
struct Worst {
  long double loss = 0;
  long double hard = 0;  // gradients of targets 0 and 1
  long double soft = 0;  // others, of the magnitudes of their terms

  void Print(const char* name) const {
    std::printf("%-40s loss %.3Lf, gradient %.3Lf, of soft targets %.3Lf\n", name, loss, hard, soft);
  }
};

// Compares every element whose weight is 1, of sums.
void Compare(const BinaryProblem& problem, const BinaryFormula& formula, const BinaryResults& results, Worst* worst) {
  const Format loss_format = FormatOf(problem.real());
  for (int64_t i = 0; i < problem.count(); ++i) {
    const long double x = problem.Input(i);
    const long double t = problem.Target(i);
    BinaryExpected expected =
        problem.from_probabilities ? ExpectProbability(formula, x, t) : ExpectLogit(formula, x, t);
    expected.gradient *= static_cast<long double>(problem.options.upstream);
    expected.magnitude *= static_cast<long double>(problem.options.upstream);
    const double loss = Element(results.loss.data(), problem.real(), i);
    const double gradient = Element(results.gradient.data(), problem.dtype, problem.Place(i));
    long double loss_error = UlpError(loss, expected.loss, loss_format);
    // Half a unit of a subnormal number counts as often as the weight says.
    if (std::fabs(expected.loss) < std::ldexp(1.0L, loss_format.min_exponent)) {
      loss_error /= std::max(1.0L, formula.pos_weight);
    }
    const bool is_hard = (t == 0 || t == 1) && formula.smoothing == 0;
    long double gradient_error = UlpError(gradient, expected.gradient, FormatOf(problem.dtype));
    if (std::fabs(expected.gradient) < std::ldexp(1.0L, loss_format.min_exponent)) {
      gradient_error /= std::max(1.0L, formula.pos_weight);
    }
    if (!is_hard && std::isfinite(expected.gradient) && std::isfinite(gradient)) {
      gradient_error = std::fabs(gradient - expected.gradient) / Ulp(expected.magnitude, FormatOf(problem.dtype));
    }
    worst->loss = std::max(worst->loss, loss_error);
    (is_hard ? worst->hard : worst->soft) = std::max(is_hard ? worst->hard : worst->soft, gradient_error);
    ASSERT_TRUE(std::isfinite(loss_error) && std::isfinite(gradient_error))
        << TypeName(problem.dtype) << " x = " << static_cast<double>(x) << ", t = " << static_cast<double>(t)
        << ": loss " << loss << ", gradient " << gradient << ", expected " << static_cast<double>(expected.loss)
        << " and " << static_cast<double>(expected.gradient);
  }
}

double RandomLogit(Random* random, xent_dtype dtype) {
  const double largest = dtype == XENT_F16 ? 6e4 : dtype == XENT_F64 ? 1e300 : 3e38;
  switch (random->Below(8)) {
    case 0:
      return random->Uniform(-1, 1);
    case 1:
      return random->Uniform(-100, 100);
    case 2:
      return random->Sign() * std::exp(random->Uniform(-80, 0));
    case 3:
      return random->Sign() * random->Uniform(80, dtype == XENT_F64 ? 760 : 110);
    case 4:
      return random->Sign() * std::exp(random->Uniform(0, std::log(largest)));
    case 5:
      return random->Below(2) == 0 ? 0.0 : -0.0;
    default:
      return random->Uniform(-20, 20);
  }
}

double RandomTarget(Random* random) {
  switch (random->Below(6)) {
    case 0:
      return random->Uniform(0, 1);
    case 1:
      return std::exp(random->Uniform(-30, 0));
    case 2:
      return 1 - std::exp(random->Uniform(-12, 0));
    default:
      return static_cast<double>(random->Below(2));
  }
}

double RandomProbability(Random* random) {
  switch (random->Below(5)) {
    case 0:
      return std::exp(random->Uniform(-80, 0));
    case 1:
      return 1 - std::exp(random->Uniform(-16, 0));
    default:
      return random->Uniform(0, 1);
  }
}

// Every second stretch has small logits only, which are computed with fewer instructions.
BinaryProblem RandomProblem(xent_dtype dtype, int64_t count, uint64_t seed, bool probabilities = false) {
  BinaryProblem problem(dtype, dtype, count, 1, 1);
  problem.from_probabilities = probabilities;
  problem.options.reduction = XENT_REDUCTION_SUM;
  Random random(seed);
  for (int64_t i = 0; i < count; ++i) {
    double x = probabilities ? RandomProbability(&random) : RandomLogit(&random, dtype);
    while (i / 300 % 2 == 1 && std::fabs(x) > 80) x = RandomLogit(&random, dtype);
    problem.SetInput(i, x);
    problem.SetTarget(i, RandomTarget(&random));
  }
  return problem;
}

constexpr int64_t kMany = 40000;

// f32 and f64; halves have one rounding more.
struct Bounds {
  long double loss;
  long double hard;
  long double soft;
};

void ExpectWithin(xent_dtype dtype, const Worst& worst, const Bounds& f32, const Bounds& f64) {
  const Bounds& bounds = dtype == XENT_F64 ? f64 : f32;
  const bool is_half = dtype == XENT_BF16 || dtype == XENT_F16;
  EXPECT_LE(worst.loss, bounds.loss);
  EXPECT_LE(worst.hard, is_half ? 0.51L : bounds.hard);
  EXPECT_LE(worst.soft, is_half ? 0.51L : bounds.soft);
}

TEST(Sigmoid, HardTargetsAreWithinTwoAndFourUlpAtEveryLogit) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    BinaryProblem problem = RandomProblem(dtype, kMany, 1);
    for (int64_t i = 0; i < kMany; ++i) problem.SetTarget(i, static_cast<double>(i % 2));
    Worst worst;
    Compare(problem, {}, MustRunBinary(problem), &worst);
    worst.Print((std::string(xent_isa_chosen()) + " " + TypeName(dtype)).c_str());
    ExpectWithin(dtype, worst, {2, 4, 4}, {2, 4, 4});
  });
}

TEST(Sigmoid, SoftTargetsWeightsAndSmoothingAreWithinFourUlp) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double smoothing : {0.0, 0.1, 1.0}) {
      for (const double pos_weight : {1.0, 0.0, 7.3}) {
        BinaryProblem problem = RandomProblem(dtype, kMany / 8, 2);
        problem.options.label_smoothing = smoothing;
        problem.options.pos_weight = pos_weight;
        BinaryFormula formula;
        formula.smoothing = smoothing;
        formula.pos_weight = pos_weight;
        Worst worst;
        Compare(problem, formula, MustRunBinary(problem), &worst);
        worst.Print((std::string(xent_isa_chosen()) + " " + TypeName(dtype)).c_str());
        ExpectWithin(dtype, worst, {4, 4.5, 4}, {4, 4.5, 4});
      }
    }
  });
}

TEST(Sigmoid, FocalLossIsWithinBoundsAtEveryGammaAndLogit) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double gamma : {0.0, 0.001, 0.5, 1.0, 2.0, 5.0, 60.0}) {
      for (const double alpha : {-1.0, 0.25, 1.0}) {
        BinaryProblem problem = RandomProblem(dtype, kMany / 16, 3);
        for (int64_t i = 0; i < 201; ++i) problem.SetInput(i, static_cast<double>(i - 100));
        problem.options.focal_gamma = gamma;
        problem.options.focal_alpha = alpha;
        BinaryFormula formula;
        formula.gamma = gamma;
        formula.alpha = alpha;
        Worst worst;
        Compare(problem, formula, MustRunBinary(problem), &worst);
        if (alpha < 0)
          worst.Print(
              (std::string(xent_isa_chosen()) + " " + TypeName(dtype) + " gamma " + std::to_string(gamma)).c_str());
        const bool is_single = gamma == 0 && alpha < 0;  // no focal factor: in f32
        const Bounds rounded_once = {0.51L, 0.51L, 0.6L};
        const Bounds square = {2, 4, 0.6L};  // hard targets in f32
        const long double f64 = 4 + 3 * static_cast<long double>(gamma);
        ExpectWithin(dtype, worst,
                     is_single    ? Bounds{3, 4, 4}
                     : gamma == 2 ? square
                                  : rounded_once,
                     {f64, f64 + 2, f64 + 2});
      }
    }
  });
}

// With what else multiplies them: hard targets in f32.
TEST(Sigmoid, FocalLossOfGammaTwoIsWithinBoundsWithEveryFactor) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double alpha : {-1.0, 0.1, 0.25, 0.9}) {
      for (const double pos_weight : {1.0, 0.1, 1.5e-38}) {
        BinaryProblem problem = RandomProblem(dtype, kMany, 17);
        for (int64_t i = 0; i < kMany; ++i) problem.SetTarget(i, static_cast<double>(i % 2));
        problem.options.focal_gamma = 2;
        problem.options.focal_alpha = alpha;
        problem.options.pos_weight = pos_weight;
        problem.options.upstream = 1.0 / 3000;
        BinaryFormula formula;
        formula.gamma = 2;
        formula.alpha = static_cast<long double>(alpha);
        formula.pos_weight = static_cast<long double>(pos_weight);
        Worst worst;
        Compare(problem, formula, MustRunBinary(problem), &worst);
        worst.Print((std::string(xent_isa_chosen()) + " " + TypeName(dtype)).c_str());
        ExpectWithin(dtype, worst, {pos_weight == 1 ? 2.0L : 3.0L, 4, 4}, {12, 12, 12});
      }
    }
  });
}

// Steps with nothing unusual have a way of their own.
TEST(Binary, HardTargetsAreRoundedRightlyAndHaveTheSameBitsWithWeightsOfOne) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const xent_log_rule rule : {XENT_LOG_EXACT, XENT_LOG_CLAMP}) {
      BinaryProblem problem = RandomProblem(dtype, kMany, 21, true);
      Random random(22);
      const double ends[] = {0.0, 1.0, 0x1p-149, 1 - 0x1p-24, 1 - 0x1p-11, 0x1p-24, 1e-45, -0.0, 0x1p-126};
      for (int64_t i = 0; i < kMany; ++i) {
        problem.SetTarget(i, static_cast<double>(random.Below(2)));
        if (i < kMany / 2 && random.Below(300) == 0) problem.SetInput(i, ends[random.Below(9)]);
        if (i % 5000 == 77) problem.SetTarget(i, 0.25);
        if (i % 7000 == 99) problem.SetTarget(i, -0.0);
      }
      problem.options.log_rule = rule;
      problem.options.upstream = -1.0 / 3;
      const BinaryResults without = MustRunBinary(problem);
      const Bytes ones = problem.Array(std::vector<double>(kMany, 1.0));
      problem.options.element_weight = ones.data();
      const BinaryResults with = MustRunBinary(problem);
      const std::string name = std::string(xent_isa_chosen()) + " " + TypeName(dtype);
      EXPECT_EQ(std::memcmp(without.loss.data(), with.loss.data(), with.loss.size()), 0) << name;
      EXPECT_EQ(std::memcmp(without.gradient.data(), with.gradient.data(), with.gradient.size()), 0) << name;
      EXPECT_EQ(std::memcmp(&without.sum, &with.sum, sizeof(double)), 0) << name;
      if (rule != XENT_LOG_EXACT || dtype != XENT_F32) continue;
      for (int64_t i = 0; i < kMany; ++i) {
        if (problem.Target(i) != 0 && problem.Target(i) != 1) continue;
        const long double expected = ExpectProbability({}, problem.Input(i), problem.Target(i)).loss;
        const double loss = Element(without.loss.data(), XENT_F32, i);
        ASSERT_LE(UlpError(loss, expected, FormatOf(XENT_F32)), 0.5L) << name << ", p = " << problem.Input(i);
      }
    }
  });
}

TEST(Binary, ProbabilitiesAreWithinBoundsUnderEveryRule) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const xent_log_rule rule : {XENT_LOG_EXACT, XENT_LOG_CLAMP, XENT_LOG_EPSILON}) {
      for (const double pos_weight : {1.0, 2.5}) {
        BinaryProblem problem = RandomProblem(dtype, kMany / 8, 4, true);
        const double ends[] = {0.0, 1.0, 0x1p-149, 1 - 0x1p-24, 1 - 0x1p-11, 0x1p-24, 1e-45};
        for (int64_t i = 0; i < 14; ++i) {
          problem.SetInput(i, ends[i / 2]);
          problem.SetTarget(i, static_cast<double>(i % 2));
        }
        problem.options.pos_weight = pos_weight;
        problem.options.log_rule = rule;
        problem.options.epsilon = rule == XENT_LOG_EPSILON ? 1e-7 : 0.0;
        BinaryFormula formula;
        formula.pos_weight = pos_weight;
        formula.rule = rule;
        formula.epsilon = static_cast<long double>(problem.options.epsilon);
        const BinaryResults results = MustRunBinary(problem);
        EXPECT_EQ(results.outside, 0);
        Worst worst;
        Compare(problem, formula, results, &worst);
        worst.Print((std::string(xent_isa_chosen()) + " " + TypeName(dtype)).c_str());
        ExpectWithin(dtype, worst, {2, 3, 3}, {4, 4, 4});
      }
    }
  });
}

// The gradient of the reference is that of its loss.
TEST(BinaryReference, GradientIsTheDerivativeOfTheLoss) {
  Random random(9);
  for (int i = 0; i < 20000; ++i) {
    BinaryFormula formula;
    formula.pos_weight = random.Uniform(0, 3);
    formula.smoothing = random.Uniform(0, 1);
    formula.gamma = random.Below(3) == 0 ? 0 : random.Uniform(0.3, 4);
    formula.alpha = random.Below(2) == 0 ? -1 : random.Uniform(0, 1);
    const long double x = random.Uniform(-8, 8);
    const long double t = RandomTarget(&random);
    const long double h = 1e-6L;
    const long double slope = (ExpectLogit(formula, x + h, t).loss - ExpectLogit(formula, x - h, t).loss) / (2 * h);
    EXPECT_NEAR(static_cast<double>(ExpectLogit(formula, x, t).gradient), static_cast<double>(slope), 1e-8);
    const long double p = random.Uniform(0.01, 0.99);
    const long double of_p =
        (ExpectProbability(formula, p + h, t).loss - ExpectProbability(formula, p - h, t).loss) / (2 * h);
    EXPECT_NEAR(static_cast<double>(ExpectProbability(formula, p, t).gradient), static_cast<double>(of_p), 1e-5);
  }
}

// ---- corner cases

struct Corner {
  const char* name;
  double x;
  double target;
  double loss;
  double gradient;
};

void ExpectCorners(const std::vector<Corner>& corners, const BinaryProblem& like) {
  for (const Corner& corner : corners) {
    BinaryProblem problem(like.dtype, like.dtype, 1, 1, 1);
    problem.from_probabilities = like.from_probabilities;
    problem.options = like.options;
    problem.options.reduction = XENT_REDUCTION_SUM;
    problem.SetInput(0, corner.x);
    problem.SetTarget(0, corner.target);
    const BinaryResults results = MustRunBinary(problem);
    const auto expect = [&](double result, double expected) {
      const double tolerance = std::fabs(expected) * (like.dtype == XENT_BF16 ? 0x1p-8 : 0x1p-10);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(result)) << corner.name << ": " << result;
      } else if (std::isinf(expected)) {
        EXPECT_EQ(result, expected) << corner.name;
      } else {
        EXPECT_NEAR(result, expected, tolerance) << corner.name;
      }
    };
    expect(Element(results.loss.data(), problem.real(), 0), corner.loss);
    expect(Element(results.gradient.data(), problem.dtype, 0), corner.gradient);
  }
}

TEST(SigmoidCorner, InfinitiesNanAndTargets) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    BinaryProblem plain(dtype, dtype, 1, 1, 1);
    const std::vector<Corner> all = {{"+inf as it should be", kInf, 1, 0, 0},
                                     {"+inf wrongly", kInf, 0, kInf, 1},
                                     {"-inf as it should be", -kInf, 0, 0, 0},
                                     {"-inf wrongly", -kInf, 1, kInf, -1},
                                     {"+inf, soft", kInf, 0.5, kInf, 0.5},
                                     {"-inf, soft", -kInf, 0.25, kInf, -0.25},
                                     {"NaN", kNan, 1, kNan, kNan},
                                     {"NaN target", 1, kNan, kNan, kNan},
                                     {"target above 1", 1, 1.5, kNan, kNan},
                                     {"target below 0", 1, -0.5, kNan, kNan},
                                     {"zero", 0, 1, 0.6931471805599453, -0.5},
                                     {"minus zero", -0.0, 0, 0.6931471805599453, 0.5}};
    ExpectCorners(all, plain);
    // f16 has no such gradient.
    if (dtype != XENT_F16) ExpectCorners({{"confident", 30, 1, 9.357622968840175e-14, -9.357622968839300e-14}}, plain);
    for (const double gamma : {0.5, 1.0, 2.0}) {
      BinaryProblem focal(dtype, dtype, 1, 1, 1);
      focal.options.focal_gamma = gamma;
      BinaryProblem weightless = focal;
      weightless.options.focal_alpha = 0;
      ExpectCorners({{"NaN without weight", kNan, 1, 0, 0}}, weightless);
      ExpectCorners({{"+inf as it should be", kInf, 1, 0, 0},
                     {"+inf wrongly", kInf, 0, kInf, 1},
                     {"-inf as it should be", -kInf, 0, 0, 0},
                     {"-inf wrongly", -kInf, 1, kInf, -1},
                     {"NaN", kNan, 0, kNan, kNan}},
                    focal);
    }
  });
}

TEST(BinaryCorner, ProbabilitiesZeroOneAndNone) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    BinaryProblem exact(dtype, dtype, 1, 1, 1);
    exact.from_probabilities = true;
    ExpectCorners({{"certain and right", 1, 1, 0, -1},
                   {"certain and right of 0", 0, 0, 0, 1},
                   {"certain and wrong", 0, 1, kInf, -kInf},
                   {"certain and wrong of 0", 1, 0, kInf, kInf},
                   {"below 0", -0.25, 1, kNan, kNan},
                   {"above 1", 1.25, 1, kNan, kNan},
                   {"NaN", kNan, 0, kNan, kNan},
                   {"minus zero", -0.0, 1, kInf, -kInf}},
                  exact);
    BinaryProblem clamp = exact;
    clamp.options.log_rule = XENT_LOG_CLAMP;
    if (dtype != XENT_F16) {
      ExpectCorners({{"wrong", 0, 1, 100, -1e12}, {"wrong of 0", 1, 0, 100, 1e12}, {"right", 1, 1, 0, 0}}, clamp);
    }
    BinaryProblem epsilon = exact;
    epsilon.options.log_rule = XENT_LOG_EPSILON;
    epsilon.options.epsilon = 1e-3;
    ExpectCorners({{"wrong", 0, 1, 6.907755278982137, 0},
                   {"right", 1, 1, 1.0005003335835335e-3, 0},
                   {"inside", 0.5, 1, 0.6931471805599453, -2}},
                  epsilon);
  });
}

TEST(Binary, ProbabilitiesOutsideAreCounted) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    BinaryProblem problem(dtype, dtype, 1, 103, 1);
    problem.from_probabilities = true;
    for (int64_t i = 0; i < 103; ++i) problem.SetInput(i, i % 10 == 3 ? (i % 20 == 3 ? -0.5 : kNan) : 0.5);
    problem.options.ignore_target = 0.25;
    problem.SetTarget(13, 0.25);  // an ignored element is not counted
    const BinaryResults results = MustRunBinary(problem);
    EXPECT_EQ(results.outside, 9);
    EXPECT_EQ(results.ignored, 1);
  });
}

// ---- options

BinaryProblem MixedProblem(xent_dtype dtype, xent_dtype targets, int64_t outer, int64_t classes, int64_t inner) {
  BinaryProblem problem(dtype, targets, outer, classes, inner);
  Random random(17);
  for (int64_t i = 0; i < problem.count(); ++i) {
    problem.SetInput(i, random.Uniform(-9, 9));
    problem.SetTarget(i, targets >= XENT_U8 ? static_cast<double>(random.Below(2)) : RandomTarget(&random));
  }
  return problem;
}

TEST(Binary, WeightsUpstreamAndDenominatorsMultiplyWhatTheyShould) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    BinaryProblem problem = MixedProblem(dtype, dtype, 5, 7, 3);
    Random random(3);
    const auto draw = [&](int64_t n) {
      std::vector<double> values;
      for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<double>(random.Below(9)) / 4);
      return values;
    };
    const std::vector<double> row = draw(15), cls = draw(7), element = draw(105), upstream = draw(105),
                              cls_pos = draw(7), element_pos = draw(105);
    const Bytes arrays[] = {problem.Array(row),      problem.Array(cls),     problem.Array(element),
                            problem.Array(upstream), problem.Array(cls_pos), problem.Array(element_pos)};
    for (int set = 0; set < 64; ++set) {
      const auto given = [&](int i) { return (set >> i & 1) != 0 ? arrays[i].data() : nullptr; };
      problem.options.row_weight = given(0);
      problem.options.class_weight = given(1);
      problem.options.element_weight = given(2);
      problem.options.element_upstream = given(3);
      problem.options.class_pos_weight = given(4);
      problem.options.element_pos_weight = given(5);
      problem.options.denominator = set % 2 == 0 ? XENT_ELEMENTS_GIVEN : XENT_ELEMENTS_ALL;
      problem.options.denominator_value = set % 2 == 0 ? 12.0 : 0.0;
      problem.options.upstream = 0.75;
      const BinaryResults results = MustRunBinary(problem);
      const double denominator = set % 2 == 0 ? 12.0 : 105.0;
      EXPECT_EQ(results.denominator, denominator);
      long double sum = 0;
      for (int64_t i = 0; i < 105; ++i) {
        const size_t k = static_cast<size_t>(i), c = k / 3 % 7, r = k / 21 * 3 + k % 3;
        const auto value = [&](int bit, double v) {
          return (set >> bit & 1) != 0 ? static_cast<long double>(v) : 1.0L;
        };
        BinaryFormula formula;
        formula.pos_weight = value(4, cls_pos[c]) * value(5, element_pos[k]);
        const BinaryExpected expected = ExpectLogit(formula, problem.Input(i), problem.Target(i));
        const long double weight = value(0, row[r]) * value(1, cls[c]) * value(2, element[k]);
        const long double slope = weight * value(3, upstream[k]) * 0.75L / denominator;
        sum += weight * expected.loss;
        const long double bound = dtype == XENT_BF16 ? 0x1p-7L : dtype == XENT_F16 ? 0x1p-9L : 0x1p-20L;
        EXPECT_NEAR(Element(results.loss.data(), problem.real(), i), static_cast<double>(weight * expected.loss), 1e-5)
            << i;
        EXPECT_NEAR(Element(results.gradient.data(), dtype, i), static_cast<double>(slope * expected.gradient),
                    static_cast<double>(bound * slope * expected.magnitude) + 1e-7)
            << i;
      }
      EXPECT_NEAR(results.sum, static_cast<double>(sum), 1e-3);
      EXPECT_NEAR(results.total, static_cast<double>(sum / denominator), 1e-4);
    }
  });
}

TEST(Binary, LabelsGiveTheBitsOfDenseTargetsWhateverTheirType) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const BinaryProblem as_u8 = MixedProblem(dtype, XENT_U8, 3, 411, 2);
    BinaryProblem dense = MixedProblem(dtype, RowType(dtype), 3, 411, 2);
    for (int64_t i = 0; i < dense.count(); ++i) {
      dense.SetInput(i, as_u8.Input(i));
      dense.SetTarget(i, as_u8.Target(i));
    }
    const BinaryResults expected = MustRunBinary(dense);
    for (const xent_dtype label_type : kLabelTypes) {
      BinaryProblem problem(dtype, label_type, 3, 411, 2);
      for (int64_t i = 0; i < dense.count(); ++i) {
        problem.SetInput(i, dense.Input(i));
        problem.SetTarget(i, dense.Target(i));
      }
      const BinaryResults results = MustRunBinary(problem);
      EXPECT_EQ(results.total, expected.total);
      EXPECT_EQ(std::memcmp(results.gradient.data(), expected.gradient.data(), expected.gradient.size()), 0);
      EXPECT_EQ(std::memcmp(results.loss.data(), expected.loss.data(), expected.loss.size()), 0);
    }
  });
}

TEST(Binary, IgnoredElementsCountForNothing) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const xent_dtype targets : {dtype, RowType(dtype), static_cast<xent_dtype>(XENT_I64)}) {
      for (const xent_element_denominator denominator : {XENT_ELEMENTS_ALL, XENT_ELEMENTS_COUNTED}) {
        BinaryProblem problem = MixedProblem(dtype, targets, 1, 1501, 1);
        const double ignored = targets == XENT_I64 ? -7 : 0.25;
        problem.options.ignore_index = -7;
        problem.options.ignore_target = 0.25;
        problem.options.denominator = denominator;
        BinaryProblem fewer = problem;
        for (int64_t i = 0; i < 1501; i += 10) {
          problem.SetTarget(i, ignored);
          problem.SetInput(i, kNan);
        }
        const BinaryResults results = MustRunBinary(problem);
        EXPECT_EQ(results.ignored, 151);
        EXPECT_EQ(results.counted, 1350);
        EXPECT_EQ(results.denominator, denominator == XENT_ELEMENTS_ALL ? 1501 : 1350);
        EXPECT_TRUE(std::isfinite(results.total));
        const BinaryResults with_all = MustRunBinary(fewer);
        for (int64_t i = 0; i < 1501; ++i) {
          const double loss = Element(results.loss.data(), problem.real(), i);
          EXPECT_EQ(loss, i % 10 == 0 ? 0 : Element(with_all.loss.data(), problem.real(), i));
          if (i % 10 == 0) {
            EXPECT_EQ(Element(results.gradient.data(), dtype, i), 0);
          }
        }
      }
    }
  });
}

TEST(Binary, InvalidLabelsAreErrorsOrNan) {
  BinaryProblem problem = MixedProblem(XENT_F32, XENT_I32, 1, 2000, 1);
  problem.SetTarget(1777, 2);
  problem.SetTarget(1990, -1);
  const BinaryResults refused = TryBinary(problem);
  EXPECT_EQ(refused.status, XENT_INVALID_LABEL);
  EXPECT_NE(std::string(xent_last_error()).find("labels[1777] is 2"), std::string::npos) << xent_last_error();
  for (size_t i = 0; i < refused.gradient.size(); ++i) ASSERT_EQ(refused.gradient.data()[i], 0xA5);
  problem.options.invalid_label = XENT_INVALID_LABEL_NAN;
  const BinaryResults results = MustRunBinary(problem);
  for (int64_t i = 0; i < 2000; ++i) {
    EXPECT_EQ(std::isnan(Element(results.loss.data(), XENT_F32, i)), i == 1777 || i == 1990) << i;
  }
}

TEST(Binary, EmptyMeansFollowThePolicy) {
  BinaryProblem problem(XENT_F32, XENT_F32, 1, 4, 1);
  problem.options.ignore_target = 0;
  problem.options.denominator = XENT_ELEMENTS_COUNTED;
  EXPECT_TRUE(std::isnan(MustRunBinary(problem).total));
  problem.options.empty_mean = XENT_EMPTY_MEAN_ZERO;
  EXPECT_EQ(MustRunBinary(problem).total, 0);
  problem.options.empty_mean = XENT_EMPTY_MEAN_ERROR;
  EXPECT_EQ(TryBinary(problem).status, XENT_EMPTY_MEAN);
  BinaryProblem none(XENT_F32, XENT_F32, 0, 4, 1);
  none.options.empty_mean = XENT_EMPTY_MEAN_ZERO;
  EXPECT_EQ(MustRunBinary(none).total, 0);
}

TEST(BinaryPresets, SayWhatTheLibrariesDo) {
  xent_binary_options options;
  ASSERT_EQ(xent_binary_options_preset(XENT_PRESET_TORCH, 1, XENT_F32, &options), XENT_OK);
  EXPECT_TRUE(options.log_rule == XENT_LOG_CLAMP && options.reduction == XENT_REDUCTION_MEAN);
  ASSERT_EQ(xent_binary_options_preset(XENT_PRESET_TORCH, 0, XENT_F32, &options), XENT_OK);
  EXPECT_EQ(options.log_rule, XENT_LOG_EXACT);
  ASSERT_EQ(xent_binary_options_preset(XENT_PRESET_KERAS, 1, XENT_F32, &options), XENT_OK);
  EXPECT_EQ(options.epsilon, 1e-7);
  ASSERT_EQ(xent_binary_options_preset(XENT_PRESET_SKLEARN, 1, XENT_F32, &options), XENT_OK);
  EXPECT_EQ(options.epsilon, 0x1p-23);
  ASSERT_EQ(xent_binary_options_preset(XENT_PRESET_OPTAX, 0, XENT_F64, &options), XENT_OK);
  EXPECT_EQ(options.reduction, XENT_REDUCTION_NONE);
  EXPECT_EQ(xent_binary_options_preset(XENT_PRESET_OPTAX, 1, XENT_F32, &options), XENT_UNSUPPORTED);
  EXPECT_EQ(xent_binary_options_preset(XENT_PRESET_ONNX, 1, XENT_F32, &options), XENT_UNSUPPORTED);
  EXPECT_EQ(xent_binary_options_preset(0, 0, XENT_F32, &options), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_binary_options_preset(XENT_PRESET_TORCH, 2, XENT_F32, &options), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_binary_options_preset(XENT_PRESET_TORCH, 0, XENT_F16, &options), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_binary_options_preset(XENT_PRESET_TORCH, 0, XENT_F32, nullptr), XENT_INVALID_ARGUMENT);
}

TEST(BinaryWrapper, GivesWhatTheCallGivesAndThrowsItsErrors) {
  const BinaryProblem problem = MixedProblem(XENT_F32, XENT_F32, 5, 7, 1);
  std::vector<float> x(35), t(35), loss(35), gradient(35);
  std::vector<long long> labels(35);
  for (int64_t i = 0; i < 35; ++i) {
    x[static_cast<size_t>(i)] = static_cast<float>(problem.Input(i));
    t[static_cast<size_t>(i)] = static_cast<float>(problem.Target(i));
    labels[static_cast<size_t>(i)] = i % 2;
  }
  const BinaryResults expected = MustRunBinary(problem);
  xent::BinaryOutputs<float> outputs;
  outputs.loss = loss;
  outputs.gradient = gradient;
  EXPECT_EQ(xent::SigmoidCrossEntropy(xent::Logits<float>(x, 5, 7), t, {}, outputs), expected.total);
  EXPECT_EQ(std::memcmp(gradient.data(), expected.gradient.data(), expected.gradient.size()), 0);
  EXPECT_EQ(std::memcmp(loss.data(), expected.loss.data(), expected.loss.size()), 0);
  EXPECT_GT(xent::SigmoidCrossEntropy(xent::Logits<float>(x, 5, 7), labels), 0);
  std::vector<double> p(35, 0.25);
  EXPECT_NEAR(xent::BinaryCrossEntropy(xent::Logits<double>(p, 5, 7), std::vector<double>(35, 1.0)), std::log(4.0),
              1e-15);
  t.pop_back();
  try {
    xent::SigmoidCrossEntropy(xent::Logits<float>(x, 5, 7), t);
    FAIL() << "too few targets were taken";
  } catch (const xent::Error& error) {
    EXPECT_NE(std::string(error.what()).find("targets has 34 elements; 35"), std::string::npos) << error.what();
  }
}

// ---- equal bits

void ExpectSameElements(const BinaryProblem& a, const BinaryResults& of_a, const BinaryProblem& b,
                        const BinaryResults& of_b, const std::string& what) {
  EXPECT_EQ(of_a.total, of_b.total) << what;
  ASSERT_EQ(std::memcmp(of_a.loss.data(), of_b.loss.data(), of_a.loss.size()), 0) << what;
  for (int64_t i = 0; i < a.count(); ++i) {
    const double g = Element(of_a.gradient.data(), a.dtype, a.Place(i));
    ASSERT_EQ(g, Element(of_b.gradient.data(), b.dtype, b.Place(i))) << what << ", element " << i;
  }
}

TEST(BinaryBits, AreTheSameInEveryLayoutAndInPlace) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const BinaryProblem plain = MixedProblem(dtype, dtype, 3, 31, 29);
    const BinaryResults expected = MustRunBinary(plain);
    const int64_t layouts[][3] = {{31 * 29, 1, 31}, {1, 3 * 29, 3}, {2000, 60, 2}, {29, 3 * 29, 1}, {31 * 30, 30, 1}};
    for (const auto& layout : layouts) {
      BinaryProblem other = plain;
      other.SetStrides(layout[0], layout[1], layout[2]);
      const BinaryResults results = MustRunBinary(other);
      ExpectSameElements(plain, expected, other, results, "strides " + std::to_string(layout[0]));
      // What lies between elements is not touched.
      std::vector<bool> is_element(other.x.size() / SizeOf(dtype));
      for (int64_t i = 0; i < other.count(); ++i) is_element[static_cast<size_t>(other.Place(i))] = true;
      for (size_t i = 0; i < is_element.size() * SizeOf(dtype); ++i) {
        if (is_element[i / SizeOf(dtype)]) continue;
        ASSERT_EQ(results.gradient.data()[i], 0xA5);
      }
      xent_logits inputs = xent_logits_channels(other.x.data(), dtype, 3, 31, 29);
      inputs.outer_stride = layout[0];
      inputs.class_stride = layout[1];
      inputs.inner_stride = layout[2];
      const xent_targets targets = xent_targets_dense(other.targets.data(), dtype);
      xent_binary_outputs outputs = xent_binary_outputs_none();
      outputs.gradient = other.x.data();
      ASSERT_EQ(xent_sigmoid_cross_entropy(&inputs, &targets, &other.options, &outputs), XENT_OK) << xent_last_error();
      EXPECT_EQ(std::memcmp(other.x.data(), results.gradient.data(), other.x.size()), 0) << "in place";
    }
  });
}

TEST(BinaryBits, AreTheSameForThreadsRunnersAndWhatElseIsWanted) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const bool probabilities : {false, true}) {
      BinaryProblem problem = RandomProblem(dtype, 300001, 5, probabilities);
      problem.options.num_threads = 1;
      const BinaryResults expected = MustRunBinary(problem);
      EXPECT_EQ(MustRunBinary(problem, BinaryWant::kTotals).sum, expected.sum);
      const BinaryResults alone = MustRunBinary(problem, BinaryWant::kGradient);
      EXPECT_EQ(std::memcmp(alone.gradient.data(), expected.gradient.data(), expected.gradient.size()), 0);
      for (const int threads : {2, 3, 16}) {
        problem.options.num_threads = threads;
        ExpectSameElements(problem, MustRunBinary(problem), problem, expected, "threads");
      }
      CallerRunner runner{Reversed};
      const xent_parallel_runner given = runner.Make(3);
      problem.options.runner = &given;
      problem.options.num_threads = 0;
      ExpectSameElements(problem, MustRunBinary(problem), problem, expected, "runner");
    }
  });
}

TEST(BinaryBits, AreTheSameOnEveryInstructionSetWithFma) {
  for (const xent_dtype dtype : kStorageTypes) {
    for (const double gamma : {0.0, 2.0}) {
      for (const bool probabilities : {false, true}) {
        if (probabilities && gamma != 0) continue;
        BinaryProblem problem = RandomProblem(dtype, 20011, 6, probabilities);
        problem.options.focal_gamma = gamma;
        std::vector<BinaryResults> all;
        ForEveryIsa([&](const std::string& isa) {
          if (!HasFma(isa)) return;
          all.push_back(MustRunBinary(problem));
          ExpectSameElements(problem, all.back(), problem, all.front(), isa);
        });
      }
    }
  }
}

TEST(BinaryBits, OfAnElementDoNotDependOnItsPlace) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const BinaryProblem all = RandomProblem(dtype, 77, 8);
    const BinaryResults results = MustRunBinary(all);
    for (int64_t i = 0; i < 77; ++i) {
      BinaryProblem one(dtype, dtype, 1, 1, 1);
      one.options = all.options;
      one.SetInput(0, all.Input(i));
      one.SetTarget(0, all.Target(i));
      const BinaryResults alone = MustRunBinary(one);
      EXPECT_EQ(Element(alone.loss.data(), one.real(), 0), Element(results.loss.data(), one.real(), i));
      EXPECT_EQ(Element(alone.gradient.data(), dtype, 0), Element(results.gradient.data(), dtype, i));
    }
  });
}

}  // namespace
}  // namespace xent_test
