// The general way through the softmax family where it has a specification of its own: targets that are one-hot, the
// table of corner cases, equal bits, and memory that must not be touched.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/expected.h"
#include "support/family.h"
#include "support/guard.h"
#include "support/inputs.h"
#include "support/problem.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ---- at every confidence, by the bounds of labels

const std::vector<int64_t> kClassCounts = {1, 2, 3, 10, 33, 100, 255, 256, 257, 1000, 3000};

enum class Form { kOneHot, kLabelsWithArgmax, kColumns };

// Row-major elements to class-major ones, or back.
void Transpose(const unsigned char* from, int64_t rows, int64_t columns, size_t element, unsigned char* to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      std::memcpy(to + static_cast<size_t>(c * rows + r) * element,
                  from + static_cast<size_t>(r * columns + c) * element, element);
    }
  }
}

// The same rows class-major; the gradient, if it is wanted, is turned back.
void RunAsColumns(const Problem& problem, Results* results) {
  const size_t element = SizeOf(problem.dtype);
  Bytes x(problem.logits.size()), gradient(problem.logits.size());
  Transpose(problem.logits.data(), problem.rows, problem.classes, element, x.data());
  xent_softmax_outputs outputs = OutputsOf(*results);
  const bool wants_gradient = outputs.gradient != nullptr;
  if (wants_gradient) outputs.gradient = gradient.data();
  const xent_logits logits = xent_logits_channels(x.data(), problem.dtype, 1, problem.classes, problem.rows);
  const xent_targets targets = problem.Targets();
  results->status = xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs);
  if (wants_gradient) Transpose(gradient.data(), problem.classes, problem.rows, element, results->gradient.data());
}

Results RunAs(Form form, const Problem& problem) {
  Results results = UnwrittenResults(problem, kEverything & ~kRowState);
  if (form == Form::kColumns) {
    RunAsColumns(problem, &results);
    EXPECT_EQ(results.status, XENT_OK) << xent_last_error();
    return results;
  }
  xent_softmax_outputs outputs = OutputsOf(results);
  const xent_logits logits = problem.Logits();
  xent_targets targets = problem.Targets();
  std::vector<int64_t> argmax(static_cast<size_t>(problem.rows));
  std::vector<float> one_hot(static_cast<size_t>(problem.rows * problem.classes), 0.0f);
  if (form == Form::kOneHot) {
    for (int64_t r = 0; r < problem.rows; ++r) {
      one_hot[static_cast<size_t>(r * problem.classes + problem.labels[static_cast<size_t>(r)])] = 1.0f;
    }
    targets = xent_targets_dense(one_hot.data(), XENT_F32);
  } else {
    outputs.argmax = argmax.data();
  }
  results.status = xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs);
  EXPECT_EQ(results.status, XENT_OK) << xent_last_error();
  return results;
}

void ExpectAllDistributions(Form form, int64_t rows, const std::vector<int64_t>& class_counts) {
  ForEveryIsaAndType([&](xent_dtype dtype) {
    for (const Distribution& distribution : Distributions()) {
      for (const int64_t classes : class_counts) {
        SCOPED_TRACE(testing::Message() << distribution.name << ", " << classes << " classes");
        Problem problem(dtype, rows, classes);
        problem.Fill(distribution, 17);
        problem.options.reduction = XENT_REDUCTION_SUM;
        ExpectWithinBounds(problem, RunAs(form, problem));
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

TEST(SoftmaxGeneral, OneHotTargetsAreAsAccurateAsLabelsAtEveryConfidence) {
  ExpectAllDistributions(Form::kOneHot, 4, kClassCounts);
}
TEST(SoftmaxGeneral, LabelsAreAsAccurateAsOnThePlainWay) {
  ExpectAllDistributions(Form::kLabelsWithArgmax, 4, kClassCounts);
}
// 384 classes are the last that are staged as columns; 70 rows are several vectors, groups of scalars and a rest.
TEST(SoftmaxGeneral, ClassMajorRowsAreAsAccurateAsOthers) {
  ExpectAllDistributions(Form::kColumns, 70, {2, 3, 21});
  ExpectAllDistributions(Form::kColumns, 19, {150, 384, 385});
}

// Rows without anything unusual among them take a short cut if no more than losses and gradients are wanted.
TEST(SoftmaxGeneral, ClassMajorRowsHaveTheSameBitsWhateverElseIsAskedFor) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {2, 5, 21, 150}) {
      for (const bool has_unusual : {false, true}) {
        Problem problem(dtype, 2003, classes);  // two tiles and a part
        problem.Fill("normal", 5);
        for (size_t r = 3; r < 2003; r += 100) problem.labels[r] = problem.options.ignore_index;
        problem.options.invalid_label = XENT_INVALID_LABEL_NAN;
        problem.labels[17] = -5;
        if (has_unusual) problem.Set(70, 1, -1e4);
        for (int64_t r = 100; r < 2003 && has_unusual; r += 31) problem.Set(r, r % classes, r % 2 == 0 ? 60.0 : -43.0);
        for (const double upstream : {1.0, 1e25}) {
          problem.options.upstream = upstream;
          Results losses = UnwrittenResults(problem, kTotal | kRowLoss);
          Results gradients = UnwrittenResults(problem, kTotal | kRowLoss | kGradient);
          Results all = UnwrittenResults(problem, kEverything & ~kRowState);
          RunAsColumns(problem, &losses);
          RunAsColumns(problem, &gradients);
          RunAsColumns(problem, &all);
          SCOPED_TRACE(testing::Message()
                       << classes << " classes, unusual: " << has_unusual << ", upstream " << upstream);
          ASSERT_EQ(FirstDifference(losses, all), "");
          ASSERT_EQ(FirstDifference(gradients, all), "");
        }
      }
    }
  });
}

// ---- corner cases

// A family of one row with a label.
Family OneRowFamily(xent_dtype dtype, const std::vector<double>& x, int64_t label) {
  Family family;
  family.dtype = family.gradient_dtype = dtype;
  family.outer = 1;
  family.classes = static_cast<int64_t>(x.size());
  family.Place({family.classes, 1, 1});
  family.gradient_layout = family.layout;
  for (int64_t j = 0; j < family.classes; ++j) family.SetLogit(0, j, x[static_cast<size_t>(j)]);
  family.SetLabels(XENT_I64, {label});
  family.options.reduction = XENT_REDUCTION_SUM;
  return family;
}

// Each way of asking for the same, so that corner cases do not depend on it.
template <typename Check>
void ForEveryWay(const std::vector<double>& x, int64_t label, Check check) {
  ForEveryIsaAndType([&](xent_dtype dtype) {
    for (const char* way : {"plain", "general", "scaled", "capped", "one-hot", "strided"}) {
      SCOPED_TRACE(way);
      Family family = OneRowFamily(dtype, x, label);
      family.wants_classes = std::string(way) != "plain";
      if (std::string(way) == "scaled") family.options.scale = 0.5;
      if (std::string(way) == "capped") family.options.softcap = 1e6;
      if (std::string(way) == "one-hot") {
        std::vector<double> target(x.size(), 0.0);
        target[static_cast<size_t>(label)] = 1;
        family.kind = XENT_TARGET_DENSE;
        family.dense.Set(XENT_F32, target);
      }
      if (std::string(way) == "strided") {
        family.Place({1, 3, 1});
        for (int64_t j = 0; j < family.classes; ++j) family.SetLogit(0, j, x[static_cast<size_t>(j)]);
        family.gradient_layout = family.layout;
      }
      const double scale = family.options.scale;
      check(family, RunFamily(family), scale);
    }
  });
}

double LossOf(const Family& family, const FamilyResults& results) { return results.Row(results.row_loss, family, 0); }

TEST(SoftmaxCorner, MinusInfinityBesideTheLabelHasNoGradientAndTheLossIsFinite) {
  ForEveryWay({1, -kInf, 2}, 0, [](const Family& family, const FamilyResults& results, double) {
    EXPECT_EQ(results.GradientAt(family, 0, 1), 0);
    EXPECT_TRUE(std::isfinite(LossOf(family, results)));
    EXPECT_GT(LossOf(family, results), 0);
  });
}

TEST(SoftmaxCorner, MinusInfinityAtTheLabelIsAnInfiniteLossAndAFiniteGradient) {
  ForEveryWay({1, -kInf, 1}, 1, [](const Family& family, const FamilyResults& results, double scale) {
    EXPECT_EQ(LossOf(family, results), kInf);
    EXPECT_EQ(results.total, kInf);
    EXPECT_NEAR(results.GradientAt(family, 0, 0), 0.5 * scale, family.dtype == XENT_F64 ? 1e-9 : 1e-7);
    EXPECT_NEAR(results.GradientAt(family, 0, 1), -scale, 1e-9);
  });
}

TEST(SoftmaxCorner, LeadingMinusInfinitiesMakeNoNan) {
  std::vector<double> x(700, -kInf);
  x[650] = 3;
  x[699] = 3;
  ForEveryWay(x, 699, [](const Family& family, const FamilyResults& results, double scale) {
    EXPECT_NEAR(LossOf(family, results), std::log(2), 1e-6);
    EXPECT_NEAR(results.GradientAt(family, 0, 650), 0.5 * scale, 1e-9);
    EXPECT_EQ(results.GradientAt(family, 0, 0), 0);
  });
}

TEST(SoftmaxCorner, NothingButMinusInfinityIsNanOrZeroAsThePolicySays) {
  ForEveryWay({-kInf, -kInf}, 1, [](Family family, const FamilyResults& results, double) {
    EXPECT_TRUE(std::isnan(LossOf(family, results)));
    EXPECT_TRUE(std::isnan(results.GradientAt(family, 0, 0)));
    family.options.masked_row = XENT_MASKED_ROW_ZERO;
    const FamilyResults zero = RunFamily(family);
    EXPECT_EQ(LossOf(family, zero), 0);
    EXPECT_EQ(zero.total, 0);
    EXPECT_EQ(zero.GradientAt(family, 0, 0), 0);
    EXPECT_EQ(zero.GradientAt(family, 0, 1), 0);
    EXPECT_EQ(zero.counted, 1);
  });
}

TEST(SoftmaxCorner, PlusInfinityAndNanMakeTheRowNan) {
  for (const double bad : {kInf, kNan}) {
    ForEveryWay({1, bad, 2}, 0, [](const Family& family, const FamilyResults& results, double) {
      EXPECT_TRUE(std::isnan(LossOf(family, results)));
      for (int64_t j = 0; j < 3; ++j) EXPECT_TRUE(std::isnan(results.GradientAt(family, 0, j)));
    });
  }
}

TEST(SoftmaxCorner, OneClassHasNoLossAndNoGradient) {
  ForEveryWay({-7}, 0, [](const Family& family, const FamilyResults& results, double) {
    EXPECT_EQ(LossOf(family, results), 0);
    EXPECT_EQ(results.GradientAt(family, 0, 0), 0);
  });
}

TEST(SoftmaxCorner, ZLossOfOneClassIsNotZero) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Family family = OneRowFamily(dtype, {-3}, 0);
    family.options.z_loss = 0.5;
    const FamilyResults results = RunFamily(family);
    EXPECT_EQ(LossOf(family, results), 4.5);
    EXPECT_EQ(results.z_loss, 4.5);
    EXPECT_EQ(results.GradientAt(family, 0, 0), -3);
  });
}

TEST(SoftmaxCorner, SmoothingTowardsAMaskedClassIsInfiniteUnlessOnlyLiveClassesCount) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Family family = OneRowFamily(dtype, {1, -kInf, 1}, 0);
    family.options.label_smoothing = 0.5;
    EXPECT_EQ(LossOf(family, RunFamily(family)), kInf);
    family.options.live_classes = 1;
    EXPECT_NEAR(LossOf(family, RunFamily(family)), std::log(2), 1e-6);
  });
}

TEST(SoftmaxCorner, EqualLogitsAreUniformHoweverFarFromZero) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double offset : {0.0, 1e4, -6e4, 1e8, 1e30, -1e30, 3e38}) {
      if (dtype == XENT_F16 && std::fabs(offset) > 65504) continue;
      for (const double smoothing : {0.0, 0.1}) {
        for (const bool general : {false, true}) {
          Family family = OneRowFamily(dtype, std::vector<double>(5, offset), 2);
          family.options.label_smoothing = smoothing;
          family.wants_classes = general;
          const FamilyResults results = RunFamily(family);
          EXPECT_NEAR(LossOf(family, results), std::log(5), 1e-6) << "offset " << offset << ", smoothing " << smoothing;
          EXPECT_NEAR(results.GradientAt(family, 0, 0), 0.2 - smoothing / 5, 1e-3) << "offset " << offset;
        }
      }
    }
  });
}

// (1 - p)^(gamma - 1) grows without bound; what it multiplies shrinks faster.
TEST(SoftmaxCorner, AFocalFactorOfASmoothedConfidentRowHasAFiniteGradient) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const double lead : {20.0, 60.0, 90.0, 130.0, 300.0, 720.0, 740.0, 1000.0, 20000.0}) {
      for (const double gamma : {0.01, 0.3, 1.0, 5.0}) {
        for (const double smoothing : {0.0, 0.1, 1.0}) {
          Family family = OneRowFamily(dtype, {lead, 0, 1, -1}, 0);
          family.options.label_smoothing = smoothing;
          family.options.focal_gamma = gamma;
          family.wants_classes = false;
          const FamilyResults results = RunFamily(family);
          EXPECT_TRUE(std::isfinite(LossOf(family, results))) << lead << ", gamma " << gamma;
          for (int64_t j = 0; j < 4; ++j) {
            EXPECT_TRUE(std::isfinite(results.GradientAt(family, 0, j)))
                << "lead " << lead << ", gamma " << gamma << ", smoothing " << smoothing << ", class " << j;
          }
        }
      }
    }
  });
}

TEST(SoftmaxCorner, AZeroTargetMakesNothingOfAMaskedClass) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Family family = OneRowFamily(dtype, {1, -kInf, 1}, 0);
    family.kind = XENT_TARGET_DENSE;
    family.dense.Set(XENT_F32, {1, 0, 1});
    EXPECT_NEAR(LossOf(family, RunFamily(family)), 2 * std::log(2), 1e-6);
    for (const double bad : {-1.0, kNan}) {
      family.dense.Set(XENT_F32, {1, bad, 1});
      const FamilyResults results = RunFamily(family);
      EXPECT_TRUE(std::isnan(LossOf(family, results))) << bad;
      EXPECT_TRUE(std::isnan(results.GradientAt(family, 0, 1))) << bad;
    }
  });
}

TEST(SoftmaxCorner, AnInvalidLabelIsNanUnderThePolicyAndOtherRowsAreNot) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const bool general : {false, true}) {
      Family family = OneRowFamily(dtype, {1, 2, 3, 1, 2, 3}, 0);
      family.outer = 2;
      family.classes = 3;
      family.layout = family.gradient_layout = {3, 1, 1};
      family.SetLabels(XENT_I64, {3, 1});
      family.options.invalid_label = XENT_INVALID_LABEL_NAN;
      family.wants_classes = general;
      const FamilyResults results = RunFamily(family);
      EXPECT_TRUE(std::isnan(LossOf(family, results)));
      EXPECT_TRUE(std::isnan(results.total));
      EXPECT_EQ(results.counted, 2);
      for (int64_t j = 0; j < 3; ++j) EXPECT_TRUE(std::isnan(results.GradientAt(family, 0, j)));
      for (int64_t j = 0; j < 3; ++j) EXPECT_TRUE(std::isfinite(results.GradientAt(family, 1, j)));
    }
  });
}

TEST(SoftmaxCorner, NoRowsAreASuccessWithTheEmptyMeanOfThePolicy) {
  for (const xent_empty_mean policy : {XENT_EMPTY_MEAN_NAN, XENT_EMPTY_MEAN_ZERO, XENT_EMPTY_MEAN_ERROR}) {
    xent_softmax_options options = xent_softmax_options_default();
    options.empty_mean = policy;
    options.scale = 2;
    const float nothing = 0;
    double total = 1, sum = 1;
    xent_logits logits = xent_logits_channels(&nothing, XENT_F32, 0, 0, 7);
    xent_targets targets = xent_targets_dense(&nothing, XENT_F32);
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.total = &total;
    outputs.sum = &sum;
    const xent_status status = xent_softmax_cross_entropy(&logits, &targets, &options, &outputs);
    EXPECT_EQ(status, policy == XENT_EMPTY_MEAN_ERROR ? XENT_EMPTY_MEAN : XENT_OK);
    EXPECT_EQ(sum, policy == XENT_EMPTY_MEAN_ERROR ? 1 : 0);
    EXPECT_EQ(std::isnan(total), policy == XENT_EMPTY_MEAN_NAN);
  }
}

// ---- equal bits

void ExpectSameBits(const FamilyResults& a, const FamilyResults& b, const Family& family) {
  const auto expect = [&](const char* name, const Bytes& one, const Bytes& other) {
    for (size_t i = 0; i < one.size(); ++i) {
      if (one.data()[i] == other.data()[i]) continue;
      ADD_FAILURE() << name << ", byte " << i << " of " << one.size() << ": " << DescribeFamily(family);
      return;
    }
  };
  expect("row_loss", a.row_loss, b.row_loss);
  expect("lse", a.lse, b.lse);
  expect("gradient", a.gradient, b.gradient);
  expect("entropy", a.entropy, b.entropy);
  expect("probability", a.probability, b.probability);
  expect("log_probability", a.log_probability, b.log_probability);
  EXPECT_EQ(a.argmax, b.argmax) << DescribeFamily(family);
  const double left[] = {a.total, a.sum, a.denominator, a.z_loss};
  const double right[] = {b.total, b.sum, b.denominator, b.z_loss};
  EXPECT_EQ(std::memcmp(left, right, sizeof(left)), 0) << DescribeFamily(family);
}

// A random call with more rows, so that there is work to share.
Family LargerFamily(Random* random) {
  Family family = RandomFamily(random, 0.3);
  const int64_t classes = 1 + random->Below(random->Below(8) == 0 ? 3000 : 40);
  const int64_t most_rows = 1 + 120000 / classes;
  Family large = family;
  large.classes = classes;
  large.inner = random->Below(2) == 0 ? 1 + random->Below(most_rows) : family.inner;
  large.outer = 1 + random->Below(1 + most_rows / large.inner);
  large.Place({classes * large.inner, large.inner, 1});
  large.gradient_layout = large.layout;
  for (int64_t r = 0; r < large.rows(); ++r) {
    for (int64_t j = 0; j < classes; ++j) large.SetLogit(r, j, 3 * random->Normal());
    // A row that is not plain among rows that are.
    if (random->Below(50) == 0) large.SetLogit(r, 0, random->Below(2) == 0 ? -kInf : 300);
  }
  large.kind = XENT_TARGET_LABELS;
  large.per_row = 0;
  large.rest = XENT_REST_DROP;
  large.weights.values.clear();
  large.dense.values.clear();
  std::vector<int64_t> labels(static_cast<size_t>(large.rows()));
  for (int64_t& label : labels) label = random->Below(classes);
  large.SetLabels(XENT_I64, labels);
  const auto resize = [&](Numbers* numbers, int64_t n) {
    if (numbers->values.empty()) return;
    std::vector<double> values(static_cast<size_t>(n));
    for (double& value : values) value = random->Uniform(0, 2);
    numbers->Set(RowType(large.dtype), values);
  };
  resize(&large.class_weight, classes);
  for (Numbers* numbers : {&large.row_weight, &large.row_upstream, &large.lse_upstream, &large.entropy_upstream}) {
    resize(numbers, large.rows());
  }
  if (!large.row_mask.empty()) large.row_mask.assign(static_cast<size_t>(large.rows()), 1);
  return large;
}

TEST(SoftmaxGeneralBits, AreTheSameForEveryNumberOfThreads) {
  Random random(11);
  for (int i = 0; i < 60; ++i) {
    Family family = LargerFamily(&random);
    family.options.num_threads = 1;
    const FamilyResults one = RunFamily(family);
    for (const int32_t threads : {2, 3, 4, 5, 7, 8, 16}) {
      family.options.num_threads = threads;
      ExpectSameBits(one, RunFamily(family), family);
    }
    if (testing::Test::HasFailure()) return;
  }
}

// Few long rows are shared by columns, and their gradients made without kept exponentials.
TEST(SoftmaxGeneralBits, OfSmoothedLongRowsAreTheSameForEveryNumberOfThreads) {
  for (const xent_dtype dtype : {XENT_F32, XENT_BF16, XENT_F16}) {
    for (const double far : {0.0, 200.0}) {
      Random random(14);
      Family family;
      family.dtype = family.gradient_dtype = dtype;
      family.outer = 3;
      family.classes = 70001;
      family.Place({family.classes, 1, 1});
      family.gradient_layout = family.layout;
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t j = 0; j < family.classes; ++j)
          family.SetLogit(r, j, 2 * random.Normal() + (j % 50000 == 7 ? far : 0));
      }
      family.SetLabels(XENT_I64, {5, 40000, 70000});
      family.options.label_smoothing = 0.1;
      family.options.reduction = XENT_REDUCTION_SUM;
      family.wants_classes = false;
      family.options.num_threads = 1;
      const FamilyResults one = RunFamily(family);
      for (const int32_t threads : {2, 3, 8}) {
        family.options.num_threads = threads;
        ExpectSameBits(one, RunFamily(family), family);
      }
      for (int64_t r = 0; r < 3; ++r) {
        double sum = 0;  // of a gradient: targets and probabilities both add up to 1
        for (int64_t j = 0; j < family.classes; ++j) sum += one.GradientAt(family, r, j);
        EXPECT_NEAR(sum, 0, dtype == XENT_F32 ? 1e-4 : 1e-2) << TypeName(dtype) << ", row " << r;
      }
    }
  }
}

TEST(SoftmaxGeneralBits, AreTheSameOnEveryInstructionSetWithFma) {
  Random random(12);
  for (int i = 0; i < 300; ++i) {
    const Family family = i % 4 == 0 ? LargerFamily(&random) : RandomFamily(&random, 0.3);
    std::unique_ptr<FamilyResults> first;
    for (const std::string& isa : SupportedIsas()) {
      const IsaCap cap(isa);
      if (!HasFma(isa)) continue;
      const FamilyResults results = RunFamily(family);
      if (first == nullptr) first.reset(new FamilyResults(results));
      ExpectSameBits(*first, results, family);
    }
    if (testing::Test::HasFailure()) return;
  }
}

// A row by itself, given its denominator, has the bits that it has in its batch.
TEST(SoftmaxGeneralBits, OfARowDoNotDependOnItsBatch) {
  Random random(13);
  for (int i = 0; i < 200; ++i) {
    Family family = LargerFamily(&random);
    family.options.reduction = XENT_REDUCTION_SUM;
    const FamilyResults all = RunFamily(family);
    const int64_t row = random.Below(family.rows());
    Family alone = family;
    alone.outer = alone.inner = 1;
    alone.Place({1, family.inner == 1 ? 1 : 2, 1});
    alone.gradient_layout = alone.layout;
    for (int64_t j = 0; j < family.classes; ++j) alone.SetLogit(0, j, family.Logit(row, j));
    alone.SetLabels(XENT_I64, {family.labels[static_cast<size_t>(row)]});
    for (Numbers* numbers : {&alone.row_weight, &alone.row_upstream, &alone.lse_upstream, &alone.entropy_upstream}) {
      if (!numbers->values.empty()) numbers->Set(RowType(family.dtype), {numbers->At(row)});
    }
    alone.row_mask.clear();
    const FamilyResults one = RunFamily(alone);
    EXPECT_EQ(one.Row(one.row_loss, alone, 0), all.Row(all.row_loss, family, row)) << DescribeFamily(family);
    for (int64_t j = 0; j < family.classes; ++j) {
      ASSERT_EQ(one.GradientAt(alone, 0, j), all.GradientAt(family, row, j)) << "class " << j << "\n"
                                                                             << DescribeFamily(family);
    }
  }
}

// ---- memory

// Logits, dense targets and gradient flush against unreadable pages, in row-major and class-major layouts.
TEST(SoftmaxGeneralMemory, NothingBesideTheBuffersIsTouched) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 65, 255, 256, 257, 511, 513, 700}) {
      for (const Edge edge : {Edge::kBegin, Edge::kEnd}) {
        for (const bool class_major : {false, true}) {
          const int64_t rows = 3;
          const size_t bytes = static_cast<size_t>(rows * classes) * SizeOf(dtype);
          NoteForFault(std::string(TypeName(dtype)) + ", " + std::to_string(classes) + " classes");
          GuardedBytes x(bytes, edge), t(bytes, edge), gradient(bytes, edge);
          GuardedBytes weights(static_cast<size_t>(classes) * SizeOf(RowType(dtype)), edge);
          for (int64_t i = 0; i < rows * classes; ++i) {
            SetElement(x.data(), dtype, i, 0.25 * static_cast<double>(i % 13));
            SetElement(t.data(), dtype, i, 0.125 * static_cast<double>(i % 5));
          }
          for (int64_t j = 0; j < classes; ++j) SetElement(weights.data(), RowType(dtype), j, 1);
          const xent_logits logits = class_major ? xent_logits_channels(x.data(), dtype, 1, classes, rows)
                                                 : xent_logits_rows(x.data(), dtype, rows, classes);
          const xent_targets targets = xent_targets_dense(t.data(), dtype);
          xent_softmax_options options = xent_softmax_options_default();
          options.class_weight = weights.data();
          options.softcap = 20;
          options.entropy_weight = 0.1;
          options.num_threads = 1;
          double total = 0;
          xent_softmax_outputs outputs = xent_softmax_outputs_none();
          outputs.total = &total;
          outputs.gradient = gradient.data();
          ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
          EXPECT_TRUE(std::isfinite(total));
          const int64_t labels[rows] = {0, classes - 1, classes / 2};
          const xent_targets by_label = xent_targets_labels(labels, XENT_I64);
          options = xent_softmax_options_default();
          options.num_threads = 1;
          ASSERT_EQ(xent_softmax_cross_entropy(&logits, &by_label, &options, &outputs), XENT_OK) << xent_last_error();
          EXPECT_TRUE(std::isfinite(total));
          EXPECT_TRUE(x.Intact() && t.Intact() && gradient.Intact() && weights.Intact());
        }
      }
    }
  });
}

// Rows that are masked, ignored or of weight 0 lie on pages that cannot be read.
TEST(SoftmaxGeneralMemory, RowsThatDoNotCountAreNotRead) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const int64_t classes = static_cast<int64_t>(Pages::PageSize() / SizeOf(dtype));
    Pages pages(3);
    for (int64_t j = 0; j < 3 * classes; ++j) SetElement(pages.data(), dtype, j, 0.5 * static_cast<double>(j % 7));
    const std::vector<int64_t> labels = {1, 2, 3};
    for (const char* how : {"mask", "weight", "label"}) {
      SCOPED_TRACE(how);
      const uint8_t mask[] = {1, 0, 1};
      Numbers weights;
      weights.Set(RowType(dtype), {1, 0, 1});
      xent_softmax_options options = xent_softmax_options_default();
      options.row_mask = how[0] == 'm' ? mask : nullptr;
      options.row_weight = how[0] == 'w' ? weights.data() : nullptr;
      if (how[0] == 'l') options.ignore_index = 2;
      for (const double scale : {1.0, 2.0}) {
        options.scale = scale;
        const xent_logits logits = xent_logits_rows(pages.data(), dtype, 3, classes);
        const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
        std::vector<unsigned char> gradient(3 * Pages::PageSize() + 64, 1);
        double total = 0;
        xent_softmax_outputs outputs = xent_softmax_outputs_none();
        outputs.total = &total;
        outputs.gradient = gradient.data();
        NoteForFault(std::string(TypeName(dtype)) + ", a row that does not count: " + how);
        pages.Forbid(1, 1);
        EXPECT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
        pages.Allow(1, 1);
        EXPECT_GT(total, 0);
        for (int64_t j = 0; j < classes; ++j) EXPECT_EQ(Element(gradient.data(), dtype, classes + j), 0);
      }
    }
  });
}

}  // namespace
}  // namespace xent_test
