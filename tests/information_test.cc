// Information measures against their formulas in 113-bit arithmetic: of probabilities, logarithms and
// logits, of nearly equal distributions, with gradients; joint tables; corner cases as scipy has them; bad arguments.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/family.h"
#include "support/inputs.h"
#include "support/storage.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

constexpr xent_measure kMeasures[] = {XENT_ENTROPY, XENT_CROSS_ENTROPY, XENT_KL_DIVERGENCE, XENT_JENSEN_SHANNON};
constexpr xent_distribution kDistributions[] = {XENT_PROBABILITIES, XENT_LOG_PROBABILITIES, XENT_LOGITS};

using Values = std::vector<Quad>;

// Rows of p and q, one after another.
struct RowsProblem {
  RowsProblem(xent_measure m, xent_dtype d, int64_t row_count, int64_t class_count)
      : measure(m),
        dtype(d),
        rows(row_count),
        classes(class_count),
        p(static_cast<size_t>(rows * classes) * SizeOf(d)),
        q(static_cast<size_t>(rows * classes) * SizeOf(d)) {
    options.reduction = XENT_REDUCTION_NONE;
  }

  Quad P(int64_t r, int64_t j) const { return Element(p.data(), dtype, r * classes + j); }
  Quad Q(int64_t r, int64_t j) const { return Element(q.data(), dtype, r * classes + j); }
  bool HasQ() const { return measure != XENT_ENTROPY; }

  xent_measure measure;
  xent_dtype dtype;
  int64_t rows;
  int64_t classes;
  Bytes p;
  Bytes q;
  xent_information_options options = xent_information_options_default();
};

struct RowsResults {
  xent_status status;
  double total = 0;
  double sum = 0;
  Bytes rows;
  Bytes p_gradient;
  Bytes q_gradient;
};

RowsResults Try(const RowsProblem& problem) {
  RowsResults results;
  results.rows = Bytes(static_cast<size_t>(problem.rows) * SizeOf(RowType(problem.dtype)));
  results.p_gradient = Bytes(problem.p.size());
  results.q_gradient = Bytes(problem.q.size());
  const xent_logits p = xent_logits_rows(problem.p.data(), problem.dtype, problem.rows, problem.classes);
  const xent_logits q = xent_logits_rows(problem.q.data(), problem.dtype, problem.rows, problem.classes);
  xent_information_outputs outputs = xent_information_outputs_none();
  outputs.total = &results.total;
  outputs.sum = &results.sum;
  outputs.rows = results.rows.data();
  outputs.p_gradient = results.p_gradient.data();
  if (problem.HasQ()) outputs.q_gradient = results.q_gradient.data();
  results.status = xent_information(problem.measure, &p, problem.HasQ() ? &q : nullptr, &problem.options, &outputs);
  return results;
}

RowsResults MustRun(const RowsProblem& problem) {
  RowsResults results = Try(problem);
  EXPECT_EQ(results.status, XENT_OK) << xent_last_error();
  return results;
}

// ---- the reference

Quad AbsOf(Quad x) { return x < 0 ? -x : x; }

struct Distribution1 {
  Values value;
  Values log;
};

Distribution1 DistributionOf(const RowsProblem& problem, bool is_q, int64_t r) {
  const xent_distribution given = is_q ? problem.options.q_given : problem.options.p_given;
  Distribution1 result;
  for (int64_t j = 0; j < problem.classes; ++j) {
    const Quad x = is_q ? problem.Q(r, j) : problem.P(r, j);
    result.value.push_back(x);
  }
  if (given == XENT_PROBABILITIES) {
    for (const Quad x : result.value) result.log.push_back(LogOf(x));
    return result;
  }
  Quad lse = 0;
  if (given == XENT_LOGITS) {
    Quad top = static_cast<Quad>(-kInf), sum = 0;
    for (Quad& x : result.value) {
      x *= static_cast<Quad>(problem.options.scale);
      top = top < x ? x : top;
    }
    for (const Quad x : result.value) sum += ExpOf(x - top);
    lse = top + LogOf(sum);
  }
  for (Quad& x : result.value) {
    result.log.push_back(x - lse);
    x = ExpOf(x - lse);
  }
  return result;
}

Quad Term(Quad x, Quad y) { return x == 0 ? 0 : x * y; }

struct ExpectedRow {
  Quad value = 0;
  Quad size = 0;      // the sum of the magnitudes of the terms that are added
  Quad coarse = 0;    // of logarithms that had to be rounded, times their probabilities
  Values by_p, by_q;  // by probabilities
  Values p_size, q_size;
};

ExpectedRow Expect(const RowsProblem& problem, int64_t r) {
  const Distribution1 p = DistributionOf(problem, false, r);
  const Distribution1 q = DistributionOf(problem, true, r);
  const Quad beta = static_cast<Quad>(problem.options.beta);
  ExpectedRow row;
  for (size_t j = 0; j < p.value.size(); ++j) {
    const Quad a = p.value[j], b = q.value[j];
    Quad term = 0, by_p = 0, by_q = 0, size = 0;
    switch (problem.measure) {
      case XENT_ENTROPY:
        term = -Term(a, p.log[j]);
        size = AbsOf(term);
        by_p = -p.log[j] - 1;
        break;
      case XENT_CROSS_ENTROPY:
        term = -Term(a, q.log[j]);
        size = AbsOf(term);
        by_p = -q.log[j];
        by_q = -a / b;
        break;
      case XENT_KL_DIVERGENCE:
        term = Term(a, p.log[j] - q.log[j]);
        size = AbsOf(term - (a - b)) + AbsOf(a - b);
        by_p = p.log[j] - q.log[j] + 1;
        by_q = -a / b;
        break;
      default: {
        const Quad m = beta * a + (1 - beta) * b;
        term = beta * Term(a, LogOf(a / m)) + (1 - beta) * Term(b, LogOf(b / m));
        size = AbsOf(term);
        by_p = beta * LogOf(a / m);
        by_q = (1 - beta) * LogOf(b / m);
      }
    }
    row.value += term;
    row.size += size;
    const bool is_coarse = problem.options.p_given == XENT_LOGITS || problem.options.q_given == XENT_LOGITS ||
                           problem.options.p_given != problem.options.q_given;
    if (is_coarse) row.coarse += AbsOf(Term(a, p.log[j])) + AbsOf(Term(a, q.log[j])) + AbsOf(Term(b, p.log[j]));
    row.by_p.push_back(by_p);
    row.by_q.push_back(by_q);
  }
  if (row.size < AbsOf(row.value)) row.size = AbsOf(row.value);
  const auto chain = [&](xent_distribution given, const Distribution1& one, Values* by, Values* sizes) {
    Quad mean = 0, mean_size = 0;
    for (size_t j = 0; j < by->size(); ++j) {
      mean += Term(one.value[j], (*by)[j]);
      mean_size += AbsOf(Term(one.value[j], (*by)[j]));
    }
    for (size_t j = 0; j < by->size(); ++j) {
      const Quad extra = given == XENT_LOGITS ? mean : 0;
      const Quad factor = given == XENT_PROBABILITIES ? 1 : one.value[j];
      const Quad scale = given == XENT_LOGITS ? static_cast<Quad>(problem.options.scale) : 1;
      sizes->push_back(scale * factor * (AbsOf((*by)[j]) + (given == XENT_LOGITS ? mean_size : 0) + 1));
      (*by)[j] = scale * Term(factor, (*by)[j] - extra);
    }
  };
  chain(problem.options.p_given, p, &row.by_p, &row.p_size);
  chain(problem.options.q_given, q, &row.by_q, &row.q_size);
  return row;
}

// Rows of every kind: drawn from logits of this spread, q within `closeness` of p.
void Fill(RowsProblem* problem, double spread, double closeness, uint64_t seed) {
  Random random(seed);
  for (int64_t r = 0; r < problem->rows; ++r) {
    std::vector<long double> x, y;
    for (int64_t j = 0; j < problem->classes; ++j) {
      x.push_back(random.Uniform(-spread, spread));
      y.push_back(closeness == 0 ? static_cast<long double>(random.Uniform(-spread, spread))
                                 : x.back() + static_cast<long double>(random.Uniform(-closeness, closeness)));
    }
    const auto put = [&](const std::vector<long double>& z, xent_distribution given, Bytes* to) {
      long double sum = 0;
      for (const long double value : z) sum += std::exp(value);
      for (size_t j = 0; j < z.size(); ++j) {
        const long double log = z[j] - std::log(sum);
        const long double value = given == XENT_PROBABILITIES ? std::exp(log) : given == XENT_LOGITS ? z[j] : log;
        SetElement(to->data(), problem->dtype, r * problem->classes + static_cast<int64_t>(j),
                   static_cast<double>(value));
      }
    };
    put(x, problem->options.p_given, &problem->p);
    put(y, problem->options.q_given, &problem->q);
  }
}

struct WorstRow {
  long double value = 0;
  long double gradient = 0;
};

// An error below 1e-30, f64's rounding squared, is none.
long double InUlp(double found, Quad expected, Quad size, Format format) {
  const long double error = static_cast<long double>(AbsOf(static_cast<Quad>(found) - expected));
  return error < 1e-30L ? 0 : error / Ulp(static_cast<long double>(size), format);
}

void Compare(const RowsProblem& problem, const RowsResults& results, WorstRow* worst) {
  const Format row_format = FormatOf(RowType(problem.dtype));
  const Format format = FormatOf(problem.dtype);
  for (int64_t r = 0; r < problem.rows; ++r) {
    const ExpectedRow expected = Expect(problem, r);
    const double found = Element(results.rows.data(), RowType(problem.dtype), r);
    const Quad size = expected.size + expected.coarse * (row_format.precision == 53 ? 1 : static_cast<Quad>(0x1p-28));
    worst->value = std::max(worst->value, InUlp(found, expected.value, size, row_format));
    const auto compare = [&](const Bytes& gradient, const Values& by, const Values& sizes) {
      for (size_t j = 0; j < by.size(); ++j) {
        const double element = Element(gradient.data(), problem.dtype, r * problem.classes + static_cast<int64_t>(j));
        if (std::isinf(element) && problem.dtype == XENT_F16 && AbsOf(by[j]) > 65000) continue;
        worst->gradient = std::max(worst->gradient, InUlp(element, by[j], sizes[j], format));
      }
    };
    compare(results.p_gradient, expected.by_p, expected.p_size);
    if (problem.HasQ()) compare(results.q_gradient, expected.by_q, expected.q_size);
  }
}

TEST(Information, IsWithinItsBoundsForEveryMeasureFormAndType) {
  WorstRow most[2];
  ForEveryIsaAndType([&](xent_dtype dtype) {
    for (const xent_measure measure : kMeasures) {
      for (const xent_distribution p_given : kDistributions) {
        for (const xent_distribution q_given : kDistributions) {
          if (measure == XENT_ENTROPY && q_given != p_given) continue;
          for (const int64_t classes : {1, 2, 5, 17, 256, 257}) {
            for (const double closeness : {0.0, 1e-2, 1e-6}) {
              RowsProblem problem(measure, dtype, classes < 50 ? 9 : 2, classes);
              problem.options.p_given = p_given;
              problem.options.q_given = q_given;
              problem.options.beta = closeness == 1e-2 ? 0.5 : 0.3;
              problem.options.scale = 0.75;
              Fill(&problem, classes == 17 ? 30 : 3, closeness, static_cast<uint64_t>(classes));
              WorstRow worst;
              Compare(problem, MustRun(problem), &worst);
              WorstRow& all = most[dtype == XENT_F64 ? 1 : 0];
              all.value = std::max(all.value, worst.value);
              if (dtype == XENT_F32 || dtype == XENT_F64) all.gradient = std::max(all.gradient, worst.gradient);
              const bool is_double = dtype == XENT_F64;
              // Gradients of entropies and divergences of logits are in f32.
              const bool is_short = measure == XENT_ENTROPY && p_given == XENT_LOGITS;
              const bool are_logits = p_given == XENT_LOGITS && q_given == XENT_LOGITS;
              const long double of_gradient = is_short || (measure == XENT_KL_DIVERGENCE && are_logits) ? 4 : 0.51L;
              ASSERT_LE(worst.value, is_double ? 8 : 4) << measure << p_given << q_given << " " << classes;
              // p = e^log p has so many units more, up to about 62 and 12 here, and so has q.
              ASSERT_LE(worst.gradient, is_double ? (classes == 17 ? 132 : 32) : of_gradient)
                  << measure << p_given << q_given << " " << classes << " " << closeness;
            }
          }
        }
      }
    }
  });
  std::printf("f32, bf16, f16 rows %.3Lf, f32 gradients %.3Lf; f64 rows %.3Lf, gradients %.3Lf ULP\n", most[0].value,
              most[0].gradient, most[1].value, most[1].gradient);
}

// Where textbook sums lose every digit: distributions that differ by 1e-9.
TEST(Information, DivergencesOfNearlyEqualDistributionsKeepTheirDigits) {
  ForEveryIsa([](const std::string&) {
    for (const xent_measure measure : {XENT_KL_DIVERGENCE, XENT_JENSEN_SHANNON}) {
      RowsProblem problem(measure, XENT_F64, 50, 20);
      Random random(4);
      for (int64_t r = 0; r < 50; ++r) {
        for (int64_t j = 0; j < 20; j += 2) {
          // Pairs that give and take the same, so that both sum to the same number exactly.
          const double a = std::ldexp(static_cast<double>(1000 + random.Below(1000)), -15);
          const double b = std::ldexp(static_cast<double>(1000 + random.Below(1000)), -15);
          const double step = std::ldexp(static_cast<double>(random.Below(100) - 50), -36);
          SetElement(problem.p.data(), XENT_F64, r * 20 + j, a);
          SetElement(problem.p.data(), XENT_F64, r * 20 + j + 1, b);
          SetElement(problem.q.data(), XENT_F64, r * 20 + j, a + step);
          SetElement(problem.q.data(), XENT_F64, r * 20 + j + 1, b - step);
        }
      }
      const RowsResults results = MustRun(problem);
      for (int64_t r = 0; r < 50; ++r) {
        // By the series, whose next terms are 1e-18 of it.
        Quad expected = 0;
        for (int64_t j = 0; j < 20; ++j) {
          const Quad p = problem.P(r, j), q = problem.Q(r, j), d = p - q;
          expected +=
              measure == XENT_KL_DIVERGENCE ? d * d / (2 * q) - d * d * d / (6 * q * q) : d * d / (8 * (p + q) / 2);
        }
        const double found = Element(results.rows.data(), XENT_F64, r);
        EXPECT_NEAR(found, static_cast<double>(expected), static_cast<double>(expected) * 1e-14) << r;
        EXPECT_GT(found, 0);
      }
    }
  });
}

// p / q of 2^-10 to 2^-30: (p - q) / q is close to -1, where it would have few digits of the quotient, or none.
TEST(Information, DivergencesOfFarProbabilitiesKeepTheirDigits) {
  long double most = 0;
  ForEveryIsa([&most](const std::string&) {
    for (const xent_measure measure : {XENT_KL_DIVERGENCE, XENT_JENSEN_SHANNON}) {
      RowsProblem problem(measure, XENT_F32, 2000, 2);
      Random random(6);
      for (int64_t r = 0; r < problem.rows; ++r) {
        const double q = random.Uniform(0.1, 0.9);
        const double p = q * std::exp2(random.Uniform(-30, -10));
        const int64_t small = r % 2;
        SetElement(problem.p.data(), XENT_F32, 2 * r + small, p);
        SetElement(problem.p.data(), XENT_F32, 2 * r + 1 - small, 1 - p);
        SetElement(problem.q.data(), XENT_F32, 2 * r + small, q);
        SetElement(problem.q.data(), XENT_F32, 2 * r + 1 - small, 1 - q);
        if (r % 3 == 0) std::swap(problem.p, problem.q);
      }
      const RowsResults results = MustRun(problem);
      for (int64_t r = 0; r < problem.rows; ++r) {
        const long double exact = static_cast<long double>(Expect(problem, r).value);
        const long double error = UlpError(Element(results.rows.data(), XENT_F32, r), exact, FormatOf(XENT_F32));
        ASSERT_LE(error, 4) << measure << " row " << r << ": " << static_cast<double>(problem.P(r, r % 2)) << ", "
                            << static_cast<double>(problem.Q(r, r % 2));
        most = std::max(most, error);
      }
    }
  });
  std::printf("rows of p far below q, or q below p %.3Lf ULP\n", most);
}

TEST(Information, DivergencesOfLogitsAreNeverNegative) {
  ForEveryIsa([](const std::string&) {
    for (const xent_measure measure : {XENT_KL_DIVERGENCE, XENT_JENSEN_SHANNON}) {
      for (const double closeness : {1e-3, 1e-8, 1e-15}) {
        RowsProblem problem(measure, XENT_F64, 2000, 7);
        problem.options.p_given = problem.options.q_given = XENT_LOGITS;
        Fill(&problem, 5, closeness, 11);
        const RowsResults results = MustRun(problem);
        for (int64_t r = 0; r < problem.rows; ++r) ASSERT_GE(Element(results.rows.data(), XENT_F64, r), 0) << r;
      }
    }
  });
}

TEST(Information, ZerosAndWhatIsNoProbability) {
  struct Case {
    const char* name;
    xent_measure measure;
    double p[2];
    double q[2];
    double value;
  };
  const Case cases[] = {{"certain", XENT_ENTROPY, {1, 0}, {0, 0}, 0},
                        {"uniform", XENT_ENTROPY, {0.5, 0.5}, {0, 0}, 0.6931471805599453},
                        {"negative", XENT_ENTROPY, {1.5, -0.5}, {0, 0}, -kInf},
                        {"NaN", XENT_ENTROPY, {kNan, 0.5}, {0, 0}, kNan},
                        {"p 0", XENT_CROSS_ENTROPY, {0, 1}, {0, 1}, 0},
                        {"q 0", XENT_CROSS_ENTROPY, {0.5, 0.5}, {0, 1}, kInf},
                        {"negative p", XENT_CROSS_ENTROPY, {-0.5, 0.5}, {0.5, 0.5}, kNan},
                        {"negative q", XENT_CROSS_ENTROPY, {0.5, 0.5}, {-0.5, 0.5}, kNan},
                        {"equal", XENT_KL_DIVERGENCE, {0.25, 0.75}, {0.25, 0.75}, 0},
                        {"p 0", XENT_KL_DIVERGENCE, {0, 1}, {0.5, 0.5}, 0.6931471805599453},
                        {"both 0", XENT_KL_DIVERGENCE, {0, 1}, {0, 1}, 0},
                        {"q 0", XENT_KL_DIVERGENCE, {0.5, 0.5}, {0, 1}, kInf},
                        {"negative q", XENT_KL_DIVERGENCE, {0.5, 0.5}, {-1, 1}, kNan},
                        {"subnormal q", XENT_KL_DIVERGENCE, {1, 0}, {0x1p-1074, 1}, 744.4400719213812},
                        {"apart", XENT_JENSEN_SHANNON, {1, 0}, {0, 1}, 0.6931471805599453},
                        {"equal", XENT_JENSEN_SHANNON, {0.25, 0.75}, {0.25, 0.75}, 0},
                        {"both 0", XENT_JENSEN_SHANNON, {0, 1}, {0, 1}, 0},
                        {"negative", XENT_JENSEN_SHANNON, {-0.5, 1}, {0.5, 0.5}, kNan}};
  ForEveryIsa([&](const std::string&) {
    for (const Case& one : cases) {
      for (const int64_t classes : {2, 40}) {
        RowsProblem problem(one.measure, XENT_F64, 1, classes);  // other classes have 0
        for (int64_t j = 0; j < 2; ++j) {
          SetElement(problem.p.data(), XENT_F64, j, one.p[j]);
          SetElement(problem.q.data(), XENT_F64, j, one.q[j]);
        }
        const double found = MustRun(problem).sum;
        if (std::isnan(one.value)) {
          EXPECT_TRUE(std::isnan(found)) << one.name << " " << one.measure << ": " << found;
        } else if (std::isinf(one.value)) {
          EXPECT_EQ(found, one.value) << one.name << " " << one.measure;
        } else {
          EXPECT_NEAR(found, one.value, 1e-15 + one.value * 1e-15) << one.name << " " << one.measure;
        }
      }
    }
  });
}

TEST(Information, BaseReductionAndUpstreamMultiply) {
  for (const xent_measure measure : kMeasures) {
    RowsProblem problem(measure, XENT_F64, 6, 5);
    Fill(&problem, 2, 0, 3);
    const RowsResults plain = MustRun(problem);
    for (const double base : {2.0, 10.0, 3.5}) {
      problem.options.base = base;
      problem.options.reduction = XENT_REDUCTION_MEAN;
      problem.options.upstream = -1.25;
      std::vector<double> factors = {1, 2, 3, 0, 0.5, 0.25};
      problem.options.row_upstream = factors.data();
      const RowsResults results = MustRun(problem);
      EXPECT_NEAR(results.total, plain.sum / 6 / std::log(base), 1e-14);
      for (int64_t i = 0; i < 30; ++i) {
        const double factor = -1.25 * factors[static_cast<size_t>(i / 5)] / 6 / std::log(base);
        EXPECT_NEAR(Element(results.p_gradient.data(), XENT_F64, i),
                    factor * Element(plain.p_gradient.data(), XENT_F64, i), 1e-14);
        if (!problem.HasQ()) continue;
        EXPECT_NEAR(Element(results.q_gradient.data(), XENT_F64, i),
                    factor * Element(plain.q_gradient.data(), XENT_F64, i), 1e-13);
      }
    }
  }
}

// Where p is nothing but p log(p / q) is not, where logits are further apart than floats reach, and where the terms of
// a divergence are a tenth of what they are made of.
TEST(Information, DivergencesInF32OfWhatIsNearTheEdge) {
  struct Case {
    xent_measure measure;
    xent_distribution given;
    std::vector<float> p;
    std::vector<float> q;
    double scale;
  };
  constexpr float kMost = 3.4028235e38f;
  const Case cases[] = {
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {0, 0}, {-1e21f, 1e21f}, 0x1p59},
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {0, 0, -88}, {0, 1, -kMost}, 1},
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {0, 0, -87.5f}, {0, 1, -1e33f}, 1},
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {0, 0, -87.5f}, {0, 1, -1000}, 1},
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {0, -100}, {-100, 0}, 1},
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {-1e30f, 5, 1}, {5, -1e30f, 1}, 1},
      {XENT_KL_DIVERGENCE, XENT_LOGITS, {1e8f, 0}, {1e8f, 1e8f}, 1},
      {XENT_JENSEN_SHANNON, XENT_PROBABILITIES, {0.688545704f}, {0.34360069f}, 1},
      {XENT_JENSEN_SHANNON, XENT_PROBABILITIES, {0.0536831357f, 0.946316864f}, {0.120048031f, 0.879951969f}, 1},
      {XENT_KL_DIVERGENCE, XENT_PROBABILITIES, {0.4f, 0.6f}, {0.3f, 0.7f}, 1},
      {XENT_KL_DIVERGENCE, XENT_PROBABILITIES, {0, 1e-38f, 1}, {0.5f, 0.25f, 0.25f}, 1}};
  ForEveryIsa([&](const std::string&) {
    for (const Case& one : cases) {
      const auto classes = static_cast<int64_t>(one.p.size());
      RowsProblem problem(one.measure, XENT_F32, 1, classes);
      problem.options.p_given = problem.options.q_given = one.given;
      problem.options.scale = one.scale;
      std::memcpy(problem.p.data(), one.p.data(), problem.p.size());
      std::memcpy(problem.q.data(), one.q.data(), problem.q.size());
      const ExpectedRow expected = Expect(problem, 0);
      const double found = MustRun(problem).sum;
      const long double error = static_cast<long double>(AbsOf(static_cast<Quad>(found) - expected.value));
      EXPECT_LE(error, 8 * Ulp(static_cast<long double>(AbsOf(expected.value)), kFormatF32))
          << "case " << &one - cases << ": " << found << " for " << static_cast<double>(expected.value);
    }
  });
}

bool SameBits(const Bytes& a, const Bytes& b) { return std::memcmp(a.data(), b.data(), a.size()) == 0; }

TEST(InformationBits, AreTheSameForThreadsInstructionSetsWithFmaLayoutsAndInPlace) {
  for (const xent_dtype dtype : kStorageTypes) {
    for (const xent_measure measure : kMeasures) {
      for (const xent_distribution given : kDistributions) {
        RowsProblem problem(measure, dtype, 300, 37);
        problem.options.p_given = problem.options.q_given = given;
        problem.options.num_threads = 1;
        Fill(&problem, 4, 0.5, 21);
        std::vector<RowsResults> all;
        ForEveryIsa([&](const std::string& isa) {
          const RowsResults serial = MustRun(problem);
          problem.options.num_threads = 5;
          const RowsResults threaded = MustRun(problem);
          problem.options.num_threads = 1;
          EXPECT_TRUE(serial.sum == threaded.sum && SameBits(serial.rows, threaded.rows) &&
                      SameBits(serial.p_gradient, threaded.p_gradient));
          if (HasFma(isa)) all.push_back(serial);
        });
        for (const RowsResults& one : all) {
          EXPECT_TRUE(one.sum == all[0].sum && SameBits(one.rows, all[0].rows) &&
                      SameBits(one.p_gradient, all[0].p_gradient));
        }
        // Class-major and in place.
        const size_t element = SizeOf(dtype);
        Bytes turned(problem.p.size());
        for (size_t r = 0; r < 300; ++r) {
          for (size_t j = 0; j < 37; ++j) {
            std::memcpy(turned.data() + (j * 300 + r) * element, problem.p.data() + (r * 37 + j) * element, element);
          }
        }
        const xent_logits p = xent_logits_channels(turned.data(), dtype, 1, 37, 300);
        xent_logits q = xent_logits_rows(problem.q.data(), dtype, 300, 37);
        q.inner = 300;
        q.outer = 1;
        q.inner_stride = 37;
        q.class_stride = 1;
        xent_information_outputs outputs = xent_information_outputs_none();
        double sum = 0;
        outputs.sum = &sum;
        outputs.p_gradient = turned.data();
        if (problem.HasQ()) outputs.q_gradient = problem.q.data();
        const RowsResults expected = MustRun(problem);
        ASSERT_EQ(xent_information(measure, &p, problem.HasQ() ? &q : nullptr, &problem.options, &outputs), XENT_OK)
            << xent_last_error();
        // Rows of adjacent classes have a way of their own in f32.
        EXPECT_NEAR(sum, expected.sum, dtype == XENT_F64 ? 0 : 1e-6 * expected.sum);
        for (size_t r = 0; r < 300; ++r) {
          for (size_t j = 0; j < 37; ++j) {
            const auto at = static_cast<int64_t>(j * 300 + r), other = static_cast<int64_t>(r * 37 + j);
            const double found = Element(turned.data(), dtype, at);
            const double wanted = Element(expected.p_gradient.data(), dtype, other);
            const bool is_short =
                dtype != XENT_F64 && given == XENT_LOGITS && (measure == XENT_ENTROPY || measure == XENT_KL_DIVERGENCE);
            ASSERT_NEAR(found, wanted, is_short ? 1e-2 * std::fabs(wanted) : 0);
          }
        }
        const bool is_short = dtype != XENT_F64 && given == XENT_LOGITS && measure == XENT_KL_DIVERGENCE;
        EXPECT_TRUE(!problem.HasQ() || is_short || SameBits(problem.q, expected.q_gradient));
      }
    }
  }
}

// Rows of which f32 suffices have no other bits beside rows that go by f64, in place, or alone.
TEST(InformationBits, OfARowDoNotDependOnItsBatchOrOnWhereGradientsGo) {
  Random random(31);
  ForEveryIsaAndType([&](xent_dtype dtype) {
    for (const xent_measure measure : kMeasures) {
      for (const xent_distribution given : {XENT_PROBABILITIES, XENT_LOGITS}) {
        for (const int64_t classes : {3, 37, 300, 2500}) {
          RowsProblem problem(measure, dtype, 12, classes);
          problem.options.p_given = problem.options.q_given = given;
          problem.options.num_threads = 1;
          Fill(&problem, 4, 0.5, 21);
          for (int64_t r = 0; r < 12; r += 3) {
            // Unusual: NaN, what is masked in one, rows that differ by little.
            const int64_t i = r * classes + random.Below(classes);
            if (r == 0) SetElement(problem.p.data(), dtype, i, kNan);
            if (r == 3) SetElement(problem.q.data(), dtype, i, given == XENT_LOGITS ? -kInf : 0);
            if (r == 6) SetElement(problem.p.data(), dtype, i, given == XENT_LOGITS ? -kInf : 0);
            if (r != 9) continue;
            std::memcpy(problem.q.data() + r * classes * SizeOf(dtype), problem.p.data() + r * classes * SizeOf(dtype),
                        static_cast<size_t>(classes) * SizeOf(dtype));
          }
          const RowsResults all = MustRun(problem);
          for (int64_t r = 0; r < 12; ++r) {
            RowsProblem alone(measure, dtype, 1, classes);
            alone.options = problem.options;
            const size_t bytes = alone.p.size();
            std::memcpy(alone.p.data(), problem.p.data() + static_cast<size_t>(r) * bytes, bytes);
            std::memcpy(alone.q.data(), problem.q.data() + static_cast<size_t>(r) * bytes, bytes);
            const RowsResults one = MustRun(alone);
            const size_t value = SizeOf(RowType(dtype));
            const auto where = static_cast<size_t>(r);
            ASSERT_EQ(std::memcmp(one.rows.data(), all.rows.data() + where * value, value), 0) << r;
            ASSERT_EQ(std::memcmp(one.p_gradient.data(), all.p_gradient.data() + where * bytes, bytes), 0) << r;
            ASSERT_TRUE(!problem.HasQ() ||
                        std::memcmp(one.q_gradient.data(), all.q_gradient.data() + where * bytes, bytes) == 0)
                << r;
          }
          const xent_logits p = xent_logits_rows(problem.p.data(), dtype, 12, classes);
          const xent_logits q = xent_logits_rows(problem.q.data(), dtype, 12, classes);
          xent_information_outputs outputs = xent_information_outputs_none();
          outputs.p_gradient = problem.p.data();
          if (problem.HasQ()) outputs.q_gradient = problem.q.data();
          ASSERT_EQ(xent_information(measure, &p, problem.HasQ() ? &q : nullptr, &problem.options, &outputs), XENT_OK);
          ASSERT_TRUE(SameBits(problem.p, all.p_gradient)) << measure << given << " " << classes;
          ASSERT_TRUE(!problem.HasQ() || SameBits(problem.q, all.q_gradient)) << measure << given << " " << classes;
        }
      }
    }
  });
}

// ---- joint tables

struct Table {
  Table(int64_t row_count, int64_t column_count)
      : rows(row_count), columns(column_count), cells(static_cast<size_t>(rows * columns)) {}

  std::vector<double> Measure(double base = 0) const {
    const xent_logits table = xent_logits_rows(cells.data(), XENT_F64, rows, columns);
    std::vector<double> values(5);
    EXPECT_EQ(xent_joint_information(&table, base, values.data(), 0, nullptr), XENT_OK) << xent_last_error();
    return values;
  }

  int64_t rows;
  int64_t columns;
  std::vector<double> cells;
};

Quad EntropyOf(const Values& counts) {
  Quad total = 0, sum = 0;
  for (const Quad n : counts) total += n;
  for (const Quad n : counts) sum -= n == 0 ? 0 : n / total * LogOf(n / total);
  return sum;
}

void ExpectTable(const Table& table, long double* worst) {
  Values of_rows(static_cast<size_t>(table.rows)), of_columns(static_cast<size_t>(table.columns)), all;
  for (size_t i = 0; i < table.cells.size(); ++i) {
    const Quad n = table.cells[i];
    of_rows[i / static_cast<size_t>(table.columns)] += n;
    of_columns[i % static_cast<size_t>(table.columns)] += n;
    all.push_back(n);
  }
  Quad total = 0, conditional = 0, mutual = 0;
  for (const Quad n : of_rows) total += n;
  for (size_t i = 0; i < all.size(); ++i) {
    const Quad row = of_rows[i / static_cast<size_t>(table.columns)];
    const Quad column = of_columns[i % static_cast<size_t>(table.columns)];
    if (all[i] == 0) continue;
    conditional += all[i] / total * LogOf(row / all[i]);
    mutual += all[i] / total * LogOf(all[i] * total / (row * column));
  }
  const Quad expected[] = {EntropyOf(all), EntropyOf(of_rows), EntropyOf(of_columns), conditional, mutual};
  const std::vector<double> values = table.Measure();
  for (size_t i = 0; i < 5; ++i) {
    *worst = std::max(*worst, InUlp(values[i], expected[i], expected[i], kFormatF64));
    ASSERT_GE(values[i], 0);
  }
  // Chain rules.
  ASSERT_NEAR(values[0], values[1] + values[3], 4e-16 * (values[0] + values[1] + 1));
  ASSERT_NEAR(values[4], values[1] + values[2] - values[0], 4e-16 * (values[0] + values[1] + values[2] + 1));
}

TEST(Joint, TablesKeepTheirBoundsAreNeverNegativeAndObeyTheChainRules) {
  ForEveryIsa([](const std::string& isa) {
    Random random(6);
    long double worst = 0;
    const int64_t tables = isa == SupportedIsas().front() ? 100000 : 3000;
    for (int64_t i = 0; i < tables; ++i) {
      Table table(1 + random.Below(6), 1 + random.Below(9));
      const int64_t kind = random.Below(4);
      for (double& cell : table.cells) {
        cell = kind == 0   ? static_cast<double>(random.Below(4))
               : kind == 1 ? std::exp(random.Uniform(-30, 3))
               : kind == 2 ? static_cast<double>(random.Below(1000000))
                           : random.Uniform(0, 1);
      }
      table.cells[0] += 1;
      ASSERT_NO_FATAL_FAILURE(ExpectTable(table, &worst));
    }
    EXPECT_LE(worst, 20);
    std::printf("%-7s %lld tables: %.3Lf ULP\n", isa.c_str(), static_cast<long long>(tables), worst);
  });
}

TEST(Joint, IndependentTablesHaveNoMutualInformationAndDeterminedOnesNoConditionalEntropy) {
  Table product(4, 300);
  Table determined(4, 3);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 300; ++j)
      product.cells[static_cast<size_t>(i * 300 + j)] = static_cast<double>((i + 1) * (j + 2));
    determined.cells[static_cast<size_t>(i * 3 + i % 3)] = 5;
  }
  EXPECT_LE(product.Measure()[4], 1e-30);
  EXPECT_EQ(determined.Measure()[3], 0);
  EXPECT_NEAR(determined.Measure(2)[1], 2, 1e-15);
  Table nearly(1, 2);
  nearly.cells = {1e15, 1};
  EXPECT_NEAR(nearly.Measure()[3], 3.5538776394910684e-14, 1e-28);
}

TEST(Joint, GradientsAreDerivatives) {
  Random random(8);
  Table table(5, 7);
  for (double& cell : table.cells) cell = random.Uniform(0.5, 3);
  for (const xent_joint_measure measure :
       {XENT_JOINT_ENTROPY, XENT_ROW_ENTROPY, XENT_COLUMN_ENTROPY, XENT_CONDITIONAL_ENTROPY, XENT_MUTUAL_INFORMATION}) {
    std::vector<double> gradient(35);
    const xent_logits view = xent_logits_rows(table.cells.data(), XENT_F64, 5, 7);
    ASSERT_EQ(xent_joint_information(&view, 2, nullptr, measure, gradient.data()), XENT_OK) << xent_last_error();
    for (size_t i = 0; i < 35; ++i) {
      Table more = table, less = table;
      more.cells[i] += 1e-5;
      less.cells[i] -= 1e-5;
      const size_t k = static_cast<size_t>(measure - 1);
      EXPECT_NEAR(gradient[i], (more.Measure(2)[k] - less.Measure(2)[k]) / 2e-5, 1e-9) << measure << " " << i;
    }
    // In place gives the same.
    std::vector<double> cells = table.cells;
    const xent_logits own = xent_logits_rows(cells.data(), XENT_F64, 5, 7);
    ASSERT_EQ(xent_joint_information(&own, 2, nullptr, measure, cells.data()), XENT_OK);
    EXPECT_EQ(cells, gradient);
  }
}

// From the right, which is the only side: a cell there makes up all of its row, or column.
TEST(Joint, MutualInformationHasGradientsInEmptyRowsAndColumns) {
  for (const bool is_column : {false, true}) {
    Table table(2, 2);
    table.cells = {1, is_column ? 0.0 : 2.0, is_column ? 2.0 : 0.0, 0};
    std::vector<double> gradient(4);
    const xent_logits view = xent_logits_rows(table.cells.data(), XENT_F64, 2, 2);
    ASSERT_EQ(xent_joint_information(&view, 2, nullptr, XENT_MUTUAL_INFORMATION, gradient.data()), XENT_OK);
    for (const size_t i : {is_column ? size_t{1} : size_t{2}, size_t{3}}) {
      Table more = table;
      more.cells[i] = 1e-9;
      EXPECT_NEAR(gradient[i], more.Measure(2)[4] * 1e9, 1e-7) << is_column << " " << i;
      EXPECT_GT(gradient[i], 0.1);
    }
  }
}

TEST(Joint, NoTableAtAllIsNan) {
  Table zeros(2, 3), negative(2, 2);
  negative.cells = {1, 2, -1, 3};
  for (const double value : zeros.Measure()) EXPECT_TRUE(std::isnan(value));
  for (const double value : negative.Measure()) EXPECT_TRUE(std::isnan(value));
}

// ---- arguments

TEST(InformationArguments, BadOnesAreNamed) {
  struct Call {
    std::vector<double> p = std::vector<double>(16, 0.25), q = p, gp = p, gq = p, rows = std::vector<double>(4);
    xent_measure measure = XENT_KL_DIVERGENCE;
    xent_logits a = xent_logits_rows(p.data(), XENT_F64, 4, 4), b = xent_logits_rows(q.data(), XENT_F64, 4, 4);
    const xent_logits* a_at = &a;
    const xent_logits* b_at = &b;
    xent_information_options options = xent_information_options_default();
    xent_information_outputs outputs = xent_information_outputs_none();
    const xent_information_outputs* outputs_at = &outputs;
    double total = 5;
    Call() {
      outputs.total = &total;
      outputs.rows = rows.data();
      outputs.p_gradient = gp.data();
      outputs.q_gradient = gq.data();
    }
    xent_status Make() { return xent_information(measure, a_at, b_at, &options, outputs_at); }
  };
  struct Case {
    std::function<void(Call&)> spoil;
    xent_status status;
    const char* named;
  };
  const Case cases[] = {
      {[](Call& c) { c.measure = 0; }, XENT_INVALID_ARGUMENT, "measure is 0"},
      {[](Call& c) { c.measure = 5; }, XENT_INVALID_ARGUMENT, "measure is 5"},
      {[](Call& c) { c.measure = XENT_ENTROPY; }, XENT_INVALID_ARGUMENT, "q is"},
      {[](Call& c) { c.b_at = nullptr; }, XENT_INVALID_ARGUMENT, "q is"},
      {[](Call& c) { c.a_at = nullptr; }, XENT_INVALID_ARGUMENT, "p is NULL"},
      {[](Call& c) { c.outputs_at = nullptr; }, XENT_INVALID_ARGUMENT, "outputs is NULL"},
      {[](Call& c) { c.a.data = nullptr; }, XENT_INVALID_ARGUMENT, "p.data is NULL"},
      {[](Call& c) { c.b.dtype = XENT_U8; }, XENT_INVALID_ARGUMENT, "q.dtype is 16"},
      {[](Call& c) { c.b.classes = 3; }, XENT_INVALID_ARGUMENT, "q has 4 x 3 x 1"},
      {[](Call& c) { c.options.struct_size = 1; }, XENT_VERSION_MISMATCH, "options.struct_size is 1"},
      {[](Call& c) { c.outputs.struct_size = 1; }, XENT_VERSION_MISMATCH, "outputs.struct_size is 1"},
      {[](Call& c) { c.outputs.reserved = 1; }, XENT_INVALID_ARGUMENT, "outputs.reserved is 1"},
      {[](Call& c) { c.options.reserved = 1; }, XENT_INVALID_ARGUMENT, "options.reserved is 1"},
      {[](Call& c) { c.options.reduction = 7; }, XENT_INVALID_ARGUMENT, "options.reduction is 7"},
      {[](Call& c) { c.options.p_given = 0; }, XENT_INVALID_ARGUMENT, "options.p_given is 0"},
      {[](Call& c) { c.options.q_given = 4; }, XENT_INVALID_ARGUMENT, "options.q_given is 4"},
      {[](Call& c) { c.options.base = 1; }, XENT_INVALID_ARGUMENT, "options.base is 1"},
      {[](Call& c) { c.options.base = -2; }, XENT_INVALID_ARGUMENT, "options.base is -2"},
      {[](Call& c) { c.options.base = kNan; }, XENT_INVALID_ARGUMENT, "options.base is nan"},
      {[](Call& c) { c.options.scale = 0; }, XENT_INVALID_ARGUMENT, "options.scale is 0"},
      {[](Call& c) { c.options.beta = 1.5; }, XENT_INVALID_ARGUMENT, "options.beta is 1.5"},
      {[](Call& c) { c.options.upstream = kInf; }, XENT_INVALID_ARGUMENT, "options.upstream is inf"},
      {[](Call& c) { c.options.num_threads = -3; }, XENT_INVALID_ARGUMENT, "options.num_threads is -3"},
      {[](Call& c) { c.options.row_upstream = reinterpret_cast<char*>(c.rows.data()) + 1; }, XENT_INVALID_ARGUMENT,
       "options.row_upstream"},
      {[](Call& c) { c.outputs.rows = reinterpret_cast<char*>(c.rows.data()) + 1; }, XENT_INVALID_ARGUMENT,
       "outputs.rows"},
      {[](Call& c) { c.outputs.p_gradient = reinterpret_cast<char*>(c.gp.data()) + 1; }, XENT_INVALID_ARGUMENT,
       "outputs.p_gradient"},
      {[](Call& c) { c.outputs.p_gradient = c.q.data(); }, XENT_OVERLAP, "outputs.p_gradient"},
      {[](Call& c) { c.outputs.q_gradient = c.p.data(); }, XENT_OVERLAP, "outputs.q_gradient"},
      {[](Call& c) { c.outputs.q_gradient = c.gp.data(); }, XENT_OVERLAP, "gradient"},
      {[](Call& c) { c.outputs.p_gradient = c.p.data() + 1; }, XENT_OVERLAP, "outputs.p_gradient"},
      {[](Call& c) { c.outputs.rows = c.p.data(); }, XENT_OVERLAP, "outputs.rows"},
      {[](Call& c) { c.outputs.total = c.rows.data(); }, XENT_OVERLAP, "outputs.total"}};
  for (const Case& one : cases) {
    Call call;
    one.spoil(call);
    const std::vector<double> p = call.p, q = call.q, gp = call.gp, gq = call.gq, rows = call.rows;
    EXPECT_STREQ(xent_status_name(call.Make()), xent_status_name(one.status)) << one.named;
    EXPECT_NE(std::string(xent_last_error()).find(one.named), std::string::npos)
        << one.named << " is not in \"" << xent_last_error() << "\"";
    EXPECT_TRUE(call.p == p && call.q == q && call.gp == gp && call.gq == gq && call.rows == rows && call.total == 5);
  }
  std::vector<double> cells(6, 1.0), values(5), gradient(6);
  xent_logits table = xent_logits_rows(cells.data(), XENT_F64, 2, 3);
  EXPECT_EQ(xent_joint_information(nullptr, 0, values.data(), 0, nullptr), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_joint_information(&table, 1, values.data(), 0, nullptr), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_joint_information(&table, 0, values.data(), 9, gradient.data()), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_joint_information(&table, 0, values.data(), XENT_MUTUAL_INFORMATION, nullptr), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_joint_information(&table, 0, cells.data(), 0, nullptr), XENT_OVERLAP);
  table.inner = 2;
  table.inner_stride = 3;
  EXPECT_EQ(xent_joint_information(&table, 0, values.data(), 0, nullptr), XENT_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace xent_test
