// What several samples say about each row: against the formulas in long double for every type, form and layout; the
// difference as a divergence; gradients in place; equal bits; bad arguments.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/inputs.h"
#include "support/ulp.h"

namespace xent_test {
namespace {

using Real = long double;

// Samples of some type, in the order [samples, rows, classes] or [rows, samples, classes].
struct Samples {
  Samples(xent_dtype type, xent_distribution form, int64_t sample_count, int64_t row_count, int64_t class_count,
          bool rows_first, uint64_t seed)
      : dtype(type), given(form), samples(sample_count), rows(row_count), classes(class_count) {
    view = xent_logits_samples(nullptr, dtype, samples, rows, classes);
    if (rows_first) {
      view.outer_stride = classes;
      view.inner_stride = samples * classes;
    }
    memory = Bytes(static_cast<size_t>(samples * rows * classes) * SizeOf(dtype));
    view.data = memory.data();
    Random random(seed);  // no probability may vanish in f16
    for (int64_t m = 0; m < samples; ++m) {
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<Real> z;
        Real sum = 0;
        // Row 0 is nearly the same in all samples.
        for (int64_t j = 0; j < classes; ++j) {
          z.push_back(r == 0 ? std::sin(static_cast<Real>(j)) + 0.01L * random.Normal() : random.Normal());
          sum += std::exp(z.back());
        }
        for (int64_t j = 0; j < classes; ++j) {
          const Real log = z[static_cast<size_t>(j)] - std::log(sum);
          const Real value = given == XENT_LOGITS          ? z[static_cast<size_t>(j)]
                             : given == XENT_PROBABILITIES ? std::exp(log)
                                                           : log;
          SetElement(memory.data(), dtype, Index(m, r, j), static_cast<double>(value));
        }
      }
    }
  }

  int64_t Index(int64_t m, int64_t r, int64_t j) const { return m * view.outer_stride + r * view.inner_stride + j; }

  // The distribution that a sample gives to a row, and its logarithms.
  void Distribution(int64_t m, int64_t r, Real scale, std::vector<Real>* p, std::vector<Real>* log) const {
    Real sum = 0;
    p->clear();
    log->clear();
    for (int64_t j = 0; j < classes; ++j) {
      const Real x = Element(memory.data(), dtype, Index(m, r, j));
      log->push_back(given == XENT_PROBABILITIES ? std::log(x) : given == XENT_LOGITS ? scale * x : x);
      p->push_back(std::exp(log->back()));
      sum += p->back();
    }
    for (size_t j = 0; j < p->size() && given == XENT_LOGITS; ++j) {
      (*log)[j] -= std::log(sum);
      (*p)[j] = std::exp((*log)[j]);
    }
  }

  xent_dtype dtype;
  xent_distribution given;
  int64_t samples, rows, classes;
  xent_logits view;
  Bytes memory;
};

struct Measured {
  Real values[3] = {};
  std::vector<Real> gradient[3];  // of the first sample's row
  Real size[3] = {};              // of the largest terms that its elements are made of
};

Measured Measure(const Samples& s, int64_t r, Real scale) {
  Measured result;
  std::vector<Real> p, log, mean(static_cast<size_t>(s.classes), 0.0L);
  for (int64_t m = 0; m < s.samples; ++m) {
    s.Distribution(m, r, scale, &p, &log);
    for (size_t j = 0; j < p.size(); ++j) mean[j] += p[j] / s.samples;
  }
  for (int64_t m = s.samples - 1; m >= 0; --m) {
    s.Distribution(m, r, scale, &p, &log);
    for (size_t j = 0; j < p.size(); ++j) {
      result.values[1] -= p[j] * log[j] / s.samples;
      // Of numbers that are no distributions, too, the sum of p - q over all samples is 0.
      result.values[2] += (p[j] * (log[j] - std::log(mean[j])) - (p[j] - mean[j])) / s.samples;
    }
  }
  for (const Real q : mean) result.values[0] -= q * std::log(q);
  for (int k = 0; k < 3; ++k) {
    std::vector<Real> d;
    Real average = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      d.push_back(k == 0 ? -std::log(mean[j]) - 1 : k == 1 ? -log[j] - 1 : log[j] - std::log(mean[j]));
      average += p[j] * d[j];
    }
    for (size_t j = 0; j < p.size(); ++j) {
      result.size[k] = std::max(result.size[k], (s.given == XENT_PROBABILITIES ? 1 : p[j]) *
                                                    (std::fabs(log[j]) + std::fabs(std::log(mean[j])) + 1) / s.samples);
      const Real by_logit = scale * p[j] * (d[j] - average);
      result.gradient[k].push_back((s.given == XENT_LOGITS          ? by_logit
                                    : s.given == XENT_PROBABILITIES ? d[j]
                                                                    : p[j] * d[j]) /
                                   s.samples);
    }
  }
  return result;
}

struct Found {
  Bytes rows[3];
  Bytes gradient;
  double totals[3] = {-1, -1, -1};
};

Found Find(const Samples& s, xent_information_options options, xent_ensemble_measure gradient_of) {
  Found found;
  found.gradient = Bytes(s.memory.size());
  const size_t bytes = static_cast<size_t>(s.rows) * SizeOf(RowType(s.dtype));
  for (Bytes& rows : found.rows) rows = Bytes(bytes);
  xent_ensemble_outputs outputs = xent_ensemble_outputs_none();
  outputs.totals = found.totals;
  outputs.predictive_entropy = found.rows[0].data();
  outputs.expected_entropy = found.rows[1].data();
  outputs.mutual_information = found.rows[2].data();
  outputs.gradient = found.gradient.data();
  outputs.gradient_of = gradient_of;
  options.p_given = s.given;
  EXPECT_EQ(xent_ensemble_information(&s.view, &options, &outputs), XENT_OK) << xent_last_error();
  return found;
}

TEST(Ensemble, MeasuresAndGradientsAreThoseOfTheFormulas) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const bool is_double = dtype == XENT_F64;
    for (const int64_t classes : {2, 7, 100, 300, 700}) {
      for (const xent_distribution given : {XENT_PROBABILITIES, XENT_LOG_PROBABILITIES, XENT_LOGITS}) {
        for (const bool rows_first : {false, true}) {
          const Samples s(dtype, given, 5, classes > 100 ? 3 : 60, classes, rows_first, static_cast<uint64_t>(classes));
          xent_information_options options = xent_information_options_default();
          options.scale = given == XENT_LOGITS ? 0.5 : 1.0;
          options.reduction = XENT_REDUCTION_SUM;
          Real totals[3] = {};
          for (xent_ensemble_measure k = 1; k <= 3; ++k) {
            const Found found = Find(s, options, k);
            for (int64_t r = 0; r < s.rows; ++r) {
              const Measured exact = Measure(s, r, given == XENT_LOGITS ? 0.5L : 1.0L);
              for (int i = 0; i < 3; ++i) {
                if (k == 1) totals[i] += exact.values[i];
                // Row 0's samples are so close that logarithms and mean, rounded, leave the difference fewer digits.
                const Real relative = is_double ? (i == 2 && r == 0 ? 1e-10L : 64 * 0x1p-53L) : 0x1p-24L;
                const double value = Element(found.rows[i].data(), RowType(dtype), r);
                ASSERT_NEAR(static_cast<double>(value / exact.values[i]), 1, static_cast<double>(relative) * 1.01)
                    << classes << " classes, given " << given << ", row " << r << ", measure " << i;
              }
              Real size = 0;
              for (const Real element : exact.gradient[k - 1]) size = std::max(size, std::fabs(element));
              for (int64_t j = 0; j < classes; ++j) {
                const double element = Element(found.gradient.data(), dtype, s.Index(0, r, j));
                const Real allowed = (is_double ? 16 * 0x1p-53L * exact.size[k - 1] : size * 0x1p-23L) +
                                     Ulp(exact.gradient[k - 1][static_cast<size_t>(j)], FormatOf(dtype)) +
                                     std::ldexp(1.0L, FormatOf(dtype).min_exponent);
                ASSERT_LE(std::fabs(element - exact.gradient[k - 1][static_cast<size_t>(j)]), allowed)
                    << classes << " classes, given " << given << ", row " << r << ", gradient of " << k << ", class "
                    << j;
              }
            }
            for (int i = 0; i < 3; ++i) ASSERT_NEAR(static_cast<double>(found.totals[i] / totals[i]), 1, 1e-10);
          }
        }
      }
    }
  });
}

TEST(Ensemble, EqualSamplesDifferByNothingAndTheDifferenceIsNeverNegative) {
  ForEveryIsa([](const std::string&) {
    Random random(9);
    for (int repeat = 0; repeat < 300; ++repeat) {
      const double spread = std::ldexp(1.0, -static_cast<int>(random.Below(60)));
      std::vector<double> x(3 * 4 * 5);
      for (size_t i = 0; i < 20; ++i) x[i] = random.Normal();
      for (size_t i = 20; i < x.size(); ++i) x[i] = x[i - 20] + spread * random.Normal();
      for (size_t m = 1; m < 3; ++m)
        std::copy(x.begin(), x.begin() + 5, x.begin() + static_cast<std::ptrdiff_t>(20 * m));
      std::vector<double> predictive(4), expected(4), difference(4);
      const xent_logits samples = xent_logits_samples(x.data(), XENT_F64, 3, 4, 5);
      xent_information_options options = xent_information_options_default();
      options.p_given = XENT_LOGITS;
      xent_ensemble_outputs outputs = xent_ensemble_outputs_none();
      outputs.predictive_entropy = predictive.data();
      outputs.expected_entropy = expected.data();
      outputs.mutual_information = difference.data();
      ASSERT_EQ(xent_ensemble_information(&samples, &options, &outputs), XENT_OK);
      EXPECT_LT(difference[0], 1e-30);
      for (size_t r = 0; r < 4; ++r) {
        EXPECT_GE(difference[r], 0);
        EXPECT_NEAR(predictive[r] - expected[r], difference[r], 1e-14);
      }
    }
  });
}

TEST(Ensemble, HasTheSameBitsInPlaceAndForAnyThreads) {
  for (const xent_dtype dtype : kStorageTypes) {
    const Samples s(dtype, XENT_LOGITS, 4, 500, 20, false, 4);
    xent_information_options options = xent_information_options_default();
    options.base = 2;
    options.num_threads = 1;
    const Found one = Find(s, options, XENT_ENSEMBLE_INFORMATION);
    for (const int threads : {2, 3, 7}) {
      options.num_threads = threads;
      const Found many = Find(s, options, XENT_ENSEMBLE_INFORMATION);
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(one.totals[i], many.totals[i]);
        EXPECT_EQ(std::memcmp(one.rows[i].data(), many.rows[i].data(), one.rows[i].size()), 0);
      }
      EXPECT_EQ(std::memcmp(one.gradient.data(), many.gradient.data(), one.gradient.size()), 0);
    }
    Bytes in_place = s.memory;
    xent_logits view = s.view;
    view.data = in_place.data();
    options.p_given = XENT_LOGITS;
    xent_ensemble_outputs outputs = xent_ensemble_outputs_none();
    outputs.gradient = in_place.data();
    outputs.gradient_of = XENT_ENSEMBLE_INFORMATION;
    ASSERT_EQ(xent_ensemble_information(&view, &options, &outputs), XENT_OK) << xent_last_error();
    EXPECT_EQ(std::memcmp(one.gradient.data(), in_place.data(), in_place.size()), 0);
  }
}

TEST(Ensemble, BadArgumentsAreErrorsThatNameThem) {
  std::vector<float> x(24, 0.5f), rows(8, 7.0f);
  double totals[3] = {7, 7, 7};
  xent_logits samples = xent_logits_samples(x.data(), XENT_F32, 3, 4, 2);
  xent_information_options options = xent_information_options_default();
  xent_ensemble_outputs outputs = xent_ensemble_outputs_none();
  outputs.totals = totals;
  const auto refuses = [&](xent_status expected, const char* name) {
    EXPECT_EQ(xent_ensemble_information(&samples, &options, &outputs), expected) << name;
    EXPECT_NE(std::string(xent_last_error()).find(name), std::string::npos) << xent_last_error();
    EXPECT_EQ(totals[0], 7);
  };
  EXPECT_EQ(xent_ensemble_information(nullptr, &options, &outputs), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_ensemble_information(&samples, &options, nullptr), XENT_INVALID_ARGUMENT);
  outputs.gradient_of = XENT_EXPECTED_ENTROPY;
  refuses(XENT_INVALID_ARGUMENT, "gradient_of");
  outputs.gradient = rows.data();
  outputs.gradient_of = 4;
  refuses(XENT_INVALID_ARGUMENT, "gradient_of");
  outputs.gradient_of = XENT_EXPECTED_ENTROPY;
  outputs.gradient = x.data() + 1;
  refuses(XENT_OVERLAP, "outputs.gradient");
  outputs.gradient = nullptr;
  outputs.gradient_of = 0;
  outputs.mutual_information = x.data() + 2;
  refuses(XENT_OVERLAP, "mutual_information");
  outputs.mutual_information = nullptr;
  outputs.struct_size = 3;
  refuses(XENT_VERSION_MISMATCH, "outputs.struct_size");
  outputs.struct_size = sizeof(outputs);
  options.base = 1;
  refuses(XENT_INVALID_ARGUMENT, "base");
  options.base = 0;
  samples.outer = 0;
  refuses(XENT_INVALID_ARGUMENT, "samples.outer");
  samples.outer = 3;
  samples.inner_stride = 1;
  refuses(XENT_INVALID_ARGUMENT, "samples");
  samples = xent_logits_samples(x.data(), XENT_F32, 3, 0, 2);
  EXPECT_EQ(xent_ensemble_information(&samples, &options, &outputs), XENT_OK) << xent_last_error();
  EXPECT_TRUE(std::isnan(totals[0]));
}

}  // namespace
}  // namespace xent_test
