// Categorical cross-entropy of probabilities and of their logarithms, against the formulas in long double: labels and
// dense targets, weights, smoothing, ignored rows, the rules for the logarithm of 0, layouts, bits, bad arguments.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/inputs.h"
#include "support/storage.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Problem {
  Problem(xent_dtype d, xent_distribution g, int64_t row_count, int64_t class_count)
      : dtype(d),
        given(g),
        rows(row_count),
        classes(class_count),
        x(static_cast<size_t>(rows * classes) * SizeOf(d)),
        labels(static_cast<size_t>(rows)) {}

  double At(int64_t r, int64_t j) const { return Element(x.data(), dtype, r * classes + j); }
  void Fill(uint64_t seed) {
    Random random(seed);
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<double> p;
      double sum = 0;
      for (int64_t j = 0; j < classes; ++j) sum += (p.push_back(std::exp(random.Uniform(-9, 3))), p.back());
      for (int64_t j = 0; j < classes; ++j) {
        const double value = p[static_cast<size_t>(j)] / sum;
        SetElement(x.data(), dtype, r * classes + j, given == XENT_PROBABILITIES ? value : std::log(value));
      }
      labels[static_cast<size_t>(r)] = random.Below(classes);
    }
  }

  xent_dtype dtype;
  xent_distribution given;
  int64_t rows;
  int64_t classes;
  Bytes x;
  std::vector<int64_t> labels;
  std::vector<double> dense;  // in place of labels
  xent_log_rule rule = XENT_LOG_EXACT;
  double epsilon = 0;
  xent_softmax_options options = xent_softmax_options_default();
  std::vector<double> class_weight, row_weight;
};

struct Results {
  xent_status status;
  double total = 0, sum = 0, denominator = 0;
  int64_t counted = 0, ignored = 0, outside = 0;
  Bytes loss, gradient;
};

Results Try(const Problem& problem) {
  Results results;
  const xent_dtype real = RowType(problem.dtype);
  results.loss = Bytes(static_cast<size_t>(problem.rows) * SizeOf(real));
  results.gradient = Bytes(problem.x.size(), 0, 0xA5);
  xent_softmax_options options = problem.options;
  const auto array = [&](const std::vector<double>& values) {
    Bytes bytes((values.size() + 1) * SizeOf(real));
    for (size_t i = 0; i < values.size(); ++i) SetElement(bytes.data(), real, static_cast<int64_t>(i), values[i]);
    return bytes;
  };
  const Bytes class_weight = array(problem.class_weight), row_weight = array(problem.row_weight);
  if (!problem.class_weight.empty()) options.class_weight = class_weight.data();
  if (!problem.row_weight.empty()) options.row_weight = row_weight.data();
  const xent_logits x = xent_logits_rows(problem.x.data(), problem.dtype, problem.rows, problem.classes);
  const xent_targets targets = problem.dense.empty() ? xent_targets_labels(problem.labels.data(), XENT_I64)
                                                     : xent_targets_dense(problem.dense.data(), XENT_F64);
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.total = &results.total;
  outputs.sum = &results.sum;
  outputs.denominator = &results.denominator;
  outputs.counted = &results.counted;
  outputs.ignored = &results.ignored;
  outputs.row_loss = results.loss.data();
  outputs.gradient = results.gradient.data();
  results.status = xent_categorical_cross_entropy(&x, problem.given, &targets, problem.rule, problem.epsilon, &options,
                                                  &outputs, &results.outside);
  return results;
}

Results MustRun(const Problem& problem) {
  Results results = Try(problem);
  EXPECT_EQ(results.status, XENT_OK) << xent_last_error();
  return results;
}

// Losses and gradients of every row by the formula.
void Compare(const Problem& problem, const Results& results, long double* worst_loss, long double* worst_gradient) {
  const Format row = FormatOf(RowType(problem.dtype));
  const long double eps = problem.options.label_smoothing;
  long double sum = 0, weights = 0;
  for (int64_t r = 0; r < problem.rows; ++r) {
    const size_t at = static_cast<size_t>(r);
    const bool has_labels = problem.dense.empty();
    const bool is_ignored = has_labels && problem.labels[at] == problem.options.ignore_index;
    const long double v = is_ignored ? 0 : problem.row_weight.empty() ? 1 : problem.row_weight[at];
    long double loss = 0;
    std::vector<long double> gradient;
    for (int64_t j = 0; j < problem.classes; ++j) {
      const size_t k = static_cast<size_t>(j);
      const long double q =
          has_labels ? (problem.labels[at] == j ? 1 : 0) : problem.dense[at * static_cast<size_t>(problem.classes) + k];
      const long double w = problem.class_weight.empty() ? 1 : problem.class_weight[k];
      const long double u = w * ((1 - eps) * q + eps / problem.classes);
      if (has_labels && problem.labels[at] == j) weights += w * v;
      const long double x = problem.At(r, j);
      const bool is_log = problem.given == XENT_LOG_PROBABILITIES;
      long double p = is_log ? std::exp(x) : x, log = is_log ? x : std::log(x), divisor = p;
      bool is_clipped = false;
      if (problem.rule == XENT_LOG_CLAMP) {
        log = std::fmax(log, -100.0L);
        divisor = std::fmax(divisor, 1e-12L);
      } else if (problem.rule == XENT_LOG_EPSILON) {
        const long double least = problem.epsilon, most = 1 - problem.epsilon;
        is_clipped = p < least || p > most;
        log = p < least ? std::log(least) : p > most ? std::log(most) : log;
      }
      loss -= u == 0 ? 0 : u * log;
      gradient.push_back(u == 0 || is_clipped ? 0 : is_log ? -u : -u / divisor);
    }
    sum += v == 0 ? 0 : v * loss;
    if (!has_labels) weights += v;
    const double found = Element(results.loss.data(), RowType(problem.dtype), r);
    *worst_loss = std::max(*worst_loss, UlpError(found, v == 0 ? 0 : v * loss, row));
    for (int64_t j = 0; j < problem.classes; ++j) {
      const long double scale = problem.options.reduction == XENT_REDUCTION_MEAN ? v / results.denominator : v;
      const double element = Element(results.gradient.data(), problem.dtype, r * problem.classes + j);
      *worst_gradient = std::max(*worst_gradient,
                                 UlpError(element, scale * gradient[static_cast<size_t>(j)], FormatOf(problem.dtype)));
    }
  }
  EXPECT_NEAR(results.denominator, static_cast<double>(weights), 1e-6 * static_cast<double>(weights));
  EXPECT_NEAR(results.sum, static_cast<double>(sum), 1e-6 * std::fabs(static_cast<double>(sum)) + 1e-12);
}

TEST(Categorical, IsWithinItsBoundsForEveryTargetOptionAndRule) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    long double worst_loss = 0, worst_gradient = 0;
    for (const xent_distribution given : {XENT_PROBABILITIES, XENT_LOG_PROBABILITIES}) {
      for (const int64_t classes : {1, 2, 7, 100, 300}) {
        for (int set = 0; set < 32; ++set) {
          Problem problem(dtype, given, 11, classes);
          problem.Fill(static_cast<uint64_t>(set));
          Random random(99);
          if ((set & 1) != 0) {
            for (int64_t i = 0; i < 11 * classes; ++i)
              problem.dense.push_back(static_cast<double>(random.Below(5)) / 4);
          } else {
            problem.labels[3] = problem.options.ignore_index;
          }
          for (int64_t j = 0; j < classes && (set & 2) != 0; ++j)
            problem.class_weight.push_back(0.25 + 0.5 * static_cast<double>(random.Below(4)));
          for (int64_t r = 0; r < 11 && (set & 4) != 0; ++r)
            problem.row_weight.push_back(static_cast<double>(random.Below(4)) / 2);
          if ((set & 8) != 0) problem.options.label_smoothing = 0.25;
          if ((set & 16) != 0) problem.options.reduction = XENT_REDUCTION_SUM;
          const xent_log_rule rules[] = {XENT_LOG_EXACT, XENT_LOG_CLAMP, XENT_LOG_EPSILON};
          problem.rule = rules[set % 3];
          problem.epsilon = problem.rule == XENT_LOG_EPSILON ? 0.01 : 0;
          Compare(problem, MustRun(problem), &worst_loss, &worst_gradient);
        }
      }
    }
    std::printf("%-7s %-4s loss %.3Lf, gradient %.3Lf ULP\n", xent_isa_chosen(), TypeName(dtype), worst_loss,
                worst_gradient);
    // Weights, smoothing and scale are rounded for f64, too.
    EXPECT_LE(worst_loss, dtype == XENT_F64 ? 6 : 0.51L);
    EXPECT_LE(worst_gradient, dtype == XENT_F64 ? 4 : 0.51L);
  });
}

TEST(Categorical, LogSoftmaxGivesTheLossOfTheLogits) {
  for (const xent_dtype dtype : {XENT_F64, XENT_F32}) {
    Problem problem(dtype, XENT_LOG_PROBABILITIES, 20, 30);
    problem.Fill(7);
    const xent_logits x = xent_logits_rows(problem.x.data(), dtype, 20, 30);
    const xent_targets targets = xent_targets_labels(problem.labels.data(), XENT_I64);
    double total = 0;
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.total = &total;
    ASSERT_EQ(xent_softmax_cross_entropy(&x, &targets, nullptr, &outputs), XENT_OK);
    EXPECT_NEAR(MustRun(problem).total, total, dtype == XENT_F64 ? 1e-13 : 1e-5);
  }
}

TEST(CategoricalCorner, ZerosNanAndWhatIsOutside) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Problem problem(dtype, XENT_PROBABILITIES, 5, 3);
    const double values[5][3] = {{0, 1, 0}, {0, 1, 0}, {kNan, 0.5, 0.5}, {0.5, 1.5, -1}, {0.25, 0.5, 0.25}};
    for (int64_t i = 0; i < 15; ++i) SetElement(problem.x.data(), dtype, i, values[i / 3][i % 3]);
    problem.labels = {1, 0, 0, 1, 1};
    problem.options.reduction = XENT_REDUCTION_NONE;
    Results results = MustRun(problem);
    const auto loss = [&](int64_t r) { return Element(results.loss.data(), RowType(dtype), r); };
    const auto gradient = [&](int64_t r, int64_t j) { return Element(results.gradient.data(), dtype, r * 3 + j); };
    EXPECT_EQ(loss(0), 0);
    EXPECT_EQ(gradient(0, 1), -1);
    EXPECT_EQ(loss(1), kInf);
    EXPECT_EQ(gradient(1, 0), -kInf);
    EXPECT_EQ(gradient(1, 1), 0);
    EXPECT_TRUE(std::isnan(loss(2)) && std::isnan(loss(3)));
    EXPECT_NEAR(loss(4), 0.6931471805599453, 1e-7);
    EXPECT_EQ(results.outside, 2);  // only those of labels are read
    problem.rule = XENT_LOG_CLAMP;
    results = MustRun(problem);
    EXPECT_EQ(loss(1), 100);
    problem.rule = XENT_LOG_EPSILON;
    problem.epsilon = 0x1p-10;
    results = MustRun(problem);
    EXPECT_NEAR(loss(1), 10 * 0.6931471805599453, 1e-6);
    EXPECT_EQ(gradient(1, 0), 0);
    // Dense: a certain 0 at a probability of 0 is nothing, and every class is read.
    problem.rule = XENT_LOG_EXACT;
    problem.epsilon = 0;
    problem.dense = {0, 1, 0, 0, 0.5, 0, 0, 1, 0, 0, 0.5, 0.5, 0, 0, 1};
    results = MustRun(problem);
    EXPECT_EQ(loss(0), 0);
    EXPECT_EQ(loss(1), 0);
    EXPECT_TRUE(std::isnan(loss(2)));
    EXPECT_EQ(results.outside, 3);
  });
}

TEST(CategoricalBits, AreTheSameForThreadsAndInPlace) {
  for (const xent_dtype dtype : kStorageTypes) {
    for (const bool is_dense : {false, true}) {
      Problem problem(dtype, XENT_PROBABILITIES, 900, 300);
      problem.Fill(2);
      if (is_dense) problem.dense.assign(900 * 300, 0.125);
      problem.options.num_threads = 1;
      const Results serial = MustRun(problem);
      problem.options.num_threads = 7;
      const Results threaded = MustRun(problem);
      EXPECT_EQ(serial.sum, threaded.sum);
      EXPECT_EQ(std::memcmp(serial.gradient.data(), threaded.gradient.data(), serial.gradient.size()), 0);
      const xent_logits x = xent_logits_rows(problem.x.data(), dtype, 900, 300);
      const xent_targets targets = is_dense ? xent_targets_dense(problem.dense.data(), XENT_F64)
                                            : xent_targets_labels(problem.labels.data(), XENT_I64);
      xent_softmax_outputs outputs = xent_softmax_outputs_none();
      outputs.gradient = problem.x.data();
      ASSERT_EQ(
          xent_categorical_cross_entropy(&x, XENT_PROBABILITIES, &targets, 0, 0, &problem.options, &outputs, nullptr),
          XENT_OK);
      EXPECT_EQ(std::memcmp(problem.x.data(), serial.gradient.data(), serial.gradient.size()), 0);
    }
  }
}

TEST(CategoricalArguments, BadOnesAreNamed) {
  const auto expect = [](xent_status status, const char* named, auto spoil) {
    Problem problem(XENT_F32, XENT_PROBABILITIES, 4, 3);
    problem.Fill(1);
    spoil(problem);
    const Results results = Try(problem);
    EXPECT_STREQ(xent_status_name(results.status), xent_status_name(status)) << named;
    EXPECT_NE(std::string(xent_last_error()).find(named), std::string::npos) << xent_last_error();
    for (size_t i = 0; i < results.gradient.size(); ++i) ASSERT_EQ(results.gradient.data()[i], 0xA5);
  };
  expect(XENT_INVALID_ARGUMENT, "given is 3", [](Problem& p) { p.given = XENT_LOGITS; });
  expect(XENT_INVALID_ARGUMENT, "given is 0", [](Problem& p) { p.given = 0; });
  expect(XENT_INVALID_ARGUMENT, "log_rule is 3", [](Problem& p) { p.rule = 3; });
  expect(XENT_INVALID_ARGUMENT, "epsilon is 0.5", [](Problem& p) { p.rule = XENT_LOG_EPSILON, p.epsilon = 0.5; });
  expect(XENT_INVALID_ARGUMENT, "epsilon is 0.1", [](Problem& p) { p.epsilon = 0.1; });
  expect(XENT_UNSUPPORTED, "scale", [](Problem& p) { p.options.scale = 2; });
  expect(XENT_UNSUPPORTED, "focal_gamma", [](Problem& p) { p.options.focal_gamma = 2; });
  expect(XENT_INVALID_LABEL, "labels[2] is 3", [](Problem& p) { p.labels[2] = 3; });
  expect(XENT_INVALID_ARGUMENT, "probabilities.dtype is 0", [](Problem& p) { p.dtype = 0; });
  Problem problem(XENT_F32, XENT_PROBABILITIES, 4, 3);
  const xent_logits x = xent_logits_rows(problem.x.data(), XENT_F32, 4, 3);
  const xent_targets targets = xent_targets_labels(problem.labels.data(), XENT_I64);
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.lse = problem.x.data();
  EXPECT_NE(xent_categorical_cross_entropy(&x, XENT_PROBABILITIES, &targets, 0, 0, nullptr, &outputs, nullptr),
            XENT_OK);
  outputs.lse = nullptr;
  EXPECT_EQ(xent_categorical_cross_entropy(&x, XENT_PROBABILITIES, &targets, 0, 0, nullptr, &outputs,
                                           reinterpret_cast<int64_t*>(problem.x.data())),
            XENT_OVERLAP);
}

}  // namespace
}  // namespace xent_test
