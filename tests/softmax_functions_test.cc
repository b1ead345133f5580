// Log-sum-exp, softmax, log-softmax, their gradients and the log-probabilities of tokens: against long double, in every
// layout and type, in place and not, with masks, scales and caps; and their bad arguments.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/inputs.h"
#include "support/storage.h"
#include "support/ulp.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Rows of logits in some layout, and what their softmax is.
struct Rows {
  Rows(xent_dtype type, int64_t outer, int64_t class_count, int64_t inner, bool class_last, uint64_t seed)
      : dtype(type), classes(class_count), rows(outer * inner) {
    view = class_last ? xent_logits_rows(nullptr, type, rows, classes)
                      : xent_logits_channels(nullptr, type, outer, classes, inner);
    memory = Bytes(static_cast<size_t>(rows * classes) * SizeOf(type));
    view.data = memory.data();
    Random random(seed);
    for (int64_t r = 0; r < rows; ++r) {
      const double spread = r % 3 == 0 ? 20 : 2;
      for (int64_t j = 0; j < classes; ++j)
        Set(&memory, r, j, random.Below(30) == 0 ? -kInf : spread * random.Normal());
      Set(&memory, r, r % classes, r % 5 == 0 ? 40 : 1);
    }
  }

  int64_t Index(int64_t r, int64_t j) const {
    return r / view.inner * view.outer_stride + j * view.class_stride + r % view.inner * view.inner_stride;
  }
  double Get(const Bytes& array, int64_t r, int64_t j) const { return Element(array.data(), dtype, Index(r, j)); }
  void Set(Bytes* array, int64_t r, int64_t j, double value) const {
    SetElement(array->data(), dtype, Index(r, j), value);
  }

  xent_dtype dtype;
  int64_t classes;
  int64_t rows;
  xent_logits view;
  Bytes memory;
};

struct Exact {
  std::vector<long double> p, log_p, slope;
  long double lse = 0;
  long double entropy = 0;
};

Exact ExactOf(const Rows& rows, int64_t r, const xent_softmax_options& options) {
  Exact exact;
  std::vector<long double> z;
  for (int64_t j = 0; j < rows.classes; ++j) {
    const long double x = rows.Get(rows.memory, r, j);
    const long double scaled = static_cast<long double>(options.scale) * x;
    const long double cap = options.softcap;
    const bool is_capped = cap > 0 && std::isfinite(x);
    const long double cosh = is_capped ? std::cosh(scaled / cap) : 1;
    z.push_back(is_capped ? cap * std::tanh(scaled / cap) : scaled);
    exact.slope.push_back(static_cast<long double>(options.scale) / (cosh * cosh));
  }
  const auto largest = std::max_element(z.begin(), z.end());
  long double others = 0;
  for (auto one = z.begin(); one != z.end(); ++one) others += one == largest ? 0 : std::exp(*one - *largest);
  exact.lse = *largest + std::log1p(others);
  for (const long double one : z) {
    exact.log_p.push_back((one - *largest) - std::log1p(others));
    exact.p.push_back(std::exp(one - *largest) / (1 + others));
    if (exact.p.back() > 0) exact.entropy -= exact.p.back() * exact.log_p.back();
  }
  return exact;
}

// Whether the result is within so many units of the row type's last place of `size`, and of one rounding of its own.
void ExpectNear(double result, long double exact, long double size, double units, xent_dtype stored, xent_dtype row) {
  if (std::isinf(exact)) {
    EXPECT_EQ(result, static_cast<double>(exact));
    return;
  }
  const Format format = FormatOf(row);
  const Format kept = FormatOf(stored);
  long double allowed = units * Ulp(size, format) + std::ldexp(1.0L, format.min_exponent);
  if (kept.precision < format.precision) allowed += 0.51L * Ulp(exact, kept);
  ASSERT_LE(std::fabs(result - exact), allowed) << "result " << result << ", exact " << static_cast<double>(exact);
}

template <typename Check>
void ForEveryLayout(Check check) {
  ForEveryIsaAndType([&](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 5, 33, 300, 2500}) {
      for (const bool class_last : {true, false}) {
        SCOPED_TRACE(testing::Message() << classes << " classes, " << (class_last ? "rows" : "channels"));
        const int64_t inner = classes > 100 ? 2 : 21;
        check(Rows(dtype, 2, classes, inner, class_last, static_cast<uint64_t>(classes)));
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

std::vector<xent_softmax_options> SomeOptions() {
  std::vector<xent_softmax_options> all(3, xent_softmax_options_default());
  all[1].scale = 0.37;
  all[2].softcap = 15;
  return all;
}

double Units(const Rows& rows, const xent_softmax_options& options, double single, double twice) {
  // Scaled logits of f64 round to f64.
  const bool rounds = options.scale != 1 || options.softcap != 0;
  return rows.dtype != XENT_F64 ? single : rounds ? 200 : twice;
}

TEST(SoftmaxFunctions, AreWithinTheirBoundsInEveryLayout) {
  ForEveryLayout([](const Rows& rows) {
    const xent_dtype row_type = RowType(rows.dtype);
    for (const xent_softmax_options& options : SomeOptions()) {
      Bytes p(rows.memory.size()), log_p = rows.memory, lse(static_cast<size_t>(rows.rows) * SizeOf(row_type));
      xent_logits in_place = rows.view;
      in_place.data = log_p.data();
      ASSERT_EQ(xent_logsumexp(&rows.view, &options, lse.data()), XENT_OK) << xent_last_error();
      ASSERT_EQ(xent_softmax(&rows.view, &options, p.data()), XENT_OK) << xent_last_error();
      ASSERT_EQ(xent_log_softmax(&in_place, &options, log_p.data()), XENT_OK) << xent_last_error();
      for (int64_t r = 0; r < rows.rows; ++r) {
        const Exact exact = ExactOf(rows, r, options);
        const long double size = std::max(std::fabs(exact.lse), 40.0L);
        ExpectNear(Element(lse.data(), row_type, r), exact.lse, size, Units(rows, options, 1, 3), row_type, row_type);
        for (int64_t j = 0; j < rows.classes; ++j) {
          const size_t at = static_cast<size_t>(j);
          ExpectNear(rows.Get(p, r, j), exact.p[at], exact.p[at], Units(rows, options, 4, 8), rows.dtype, row_type);
          ExpectNear(rows.Get(log_p, r, j), exact.log_p[at], exact.log_p[at], Units(rows, options, 4, 6), rows.dtype,
                     row_type);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  });
}

TEST(SoftmaxFunctions, GradientsAreWithinTheirBoundsInEveryLayout) {
  ForEveryLayout([](const Rows& rows) {
    const xent_dtype row_type = RowType(rows.dtype);
    xent_softmax_options options = xent_softmax_options_default();
    options.scale = 0.5;
    Random random(3);
    Bytes g(rows.memory.size()), of_rows(static_cast<size_t>(rows.rows) * SizeOf(row_type));
    for (int64_t r = 0; r < rows.rows; ++r) {
      SetElement(of_rows.data(), row_type, r, random.Normal());
      for (int64_t j = 0; j < rows.classes; ++j) rows.Set(&g, r, j, random.Normal());
    }
    Bytes p(g.size()), log_p(g.size()), of_lse(g.size()), of_log(g.size()), of_p = g;
    xent_logits of_probabilities = rows.view, of_log_probabilities = rows.view;
    of_probabilities.data = p.data();
    of_log_probabilities.data = log_p.data();
    ASSERT_EQ(xent_softmax(&rows.view, &options, p.data()), XENT_OK);
    ASSERT_EQ(xent_log_softmax(&rows.view, &options, log_p.data()), XENT_OK);
    ASSERT_EQ(xent_logsumexp_backward(&rows.view, &options, of_rows.data(), of_lse.data()), XENT_OK)
        << xent_last_error();
    ASSERT_EQ(xent_log_softmax_backward(&of_log_probabilities, &options, g.data(), of_log.data()), XENT_OK);
    ASSERT_EQ(xent_softmax_backward(&of_probabilities, &options, of_p.data(), of_p.data()), XENT_OK);  // in place
    for (int64_t r = 0; r < rows.rows; ++r) {
      const Exact exact = ExactOf(rows, r, options);
      long double sum = 0, sum_size = 0, dot = 0, dot_size = 0;
      for (int64_t j = 0; j < rows.classes; ++j) {
        const long double one = rows.Get(g, r, j);
        sum += one;
        sum_size += std::fabs(one);
        dot += rows.Get(p, r, j) * one;  // of the probabilities that are given
        dot_size += std::fabs(rows.Get(p, r, j) * one);
      }
      const long double row = Element(of_rows.data(), row_type, r);
      for (int64_t j = 0; j < rows.classes; ++j) {
        const size_t at = static_cast<size_t>(j);
        const long double one = rows.Get(g, r, j);
        const long double given = rows.Get(p, r, j);
        const long double log_given = std::exp(static_cast<long double>(rows.Get(log_p, r, j)));
        ExpectNear(rows.Get(of_lse, r, j), row * exact.p[at] * 0.5L, row * exact.p[at] * 0.5L,
                   Units(rows, options, 4, 8), rows.dtype, row_type);
        ExpectNear(rows.Get(of_p, r, j), 0.5L * given * (one - dot), 0.5L * given * (std::fabs(one) + dot_size), 4,
                   rows.dtype, row_type);
        ExpectNear(rows.Get(of_log, r, j), 0.5L * (one - log_given * sum),
                   0.5L * (std::fabs(one) + log_given * sum_size), 4, rows.dtype, row_type);
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

// Rows of every kind, and upstream gradients of every size.
std::vector<float> UnusualRows(int64_t classes, std::vector<float>* upstream) {
  constexpr int64_t kRows = 10;
  std::vector<float> x(static_cast<size_t>(kRows * classes));
  upstream->resize(x.size());
  Random random(static_cast<uint64_t>(classes));
  for (int64_t r = 0; r < kRows; ++r) {
    const double spread[] = {1, 30, 1, 1, 1, 1, 1, 1e36, 1, 1};
    const double slope[] = {1, 1, 0, 1e35, 1, 1, 3e38, 1, 1e-15, 1e-42};
    for (int64_t j = 0; j < classes; ++j) {
      const size_t at = static_cast<size_t>(r * classes + j);
      x[at] = static_cast<float>(spread[r] * random.Normal());
      (*upstream)[at] = static_cast<float>(slope[r] * (random.Uniform(r == 9 ? 0.1 : -0.4, 0.6)));
    }
    float& one = x[static_cast<size_t>(r * classes + classes / 2)];
    if (r == 2 && classes > 64) {  // what cancels leaves 1
      (*upstream)[static_cast<size_t>(r * classes)] = 1e8f;
      (*upstream)[static_cast<size_t>(r * classes + 16)] = 1;
      (*upstream)[static_cast<size_t>(r * classes + 32)] = -1e8f;
    }
    if (r == 2) one = 60;                                       // leads
    if (r == 3) one = std::numeric_limits<float>::quiet_NaN();  // and nothing else
    if (r == 4) one = static_cast<float>(kInf);
    if (r == 5) std::fill_n(x.begin() + r * classes, classes, static_cast<float>(-kInf));
    if (r == 6) one = static_cast<float>(-kInf);
    if (r == 8) one = 3e38f;
    if (r == 8 && classes > 1) x[static_cast<size_t>(r * classes)] = -3e38f;
    if (r == 9) one = std::log(static_cast<float>(classes));  // p near 1/2
  }
  return x;
}

using RowFunction = std::function<void(const xent_logits& x, const float* g, int threads, float* y)>;

std::vector<RowFunction> FunctionsOfRows(double scale) {
  const auto options_of = [scale](int threads) {
    xent_softmax_options options = xent_softmax_options_default();
    options.num_threads = threads;
    options.scale = scale;
    return options;
  };
  return {[=](const xent_logits& x, const float*, int threads, float* y) {
            const xent_softmax_options options = options_of(threads);
            ASSERT_EQ(xent_log_softmax(&x, &options, y), XENT_OK) << xent_last_error();
          },
          [=](const xent_logits& x, const float* g, int threads, float* y) {
            const xent_softmax_options options = options_of(threads);
            ASSERT_EQ(xent_softmax_backward(&x, &options, g, y), XENT_OK) << xent_last_error();
          },
          [=](const xent_logits& x, const float* g, int threads, float* y) {
            const xent_softmax_options options = options_of(threads);
            ASSERT_EQ(xent_log_softmax_backward(&x, &options, g, y), XENT_OK) << xent_last_error();
          }};
}

TEST(SoftmaxFunctions, ARowHasTheSameBitsAloneAndForEveryThreadCount) {
  ForEveryIsa([](const std::string&) {
    for (const int64_t classes : {1, 2, 10, 64, 65, 700, 2048, 2049, 70000}) {
      std::vector<float> g;
      const std::vector<float> x = UnusualRows(classes, &g);
      const int64_t rows = static_cast<int64_t>(x.size()) / classes;
      for (const double scale : {1.0, 0.5}) {
        for (const RowFunction& function : FunctionsOfRows(scale)) {
          std::vector<float> whole(x.size()), other(x.size());
          function(xent_logits_rows(x.data(), XENT_F32, rows, classes), g.data(), 1, whole.data());
          for (const int threads : {2, 3, 16}) {
            function(xent_logits_rows(x.data(), XENT_F32, rows, classes), g.data(), threads, other.data());
            ASSERT_EQ(std::memcmp(whole.data(), other.data(), 4 * x.size()), 0) << classes << ", " << threads;
          }
          for (int64_t r = 0; r < rows; ++r) {
            const size_t at = static_cast<size_t>(r * classes);
            function(xent_logits_rows(x.data() + at, XENT_F32, 1, classes), g.data() + at, 3, other.data());
            ASSERT_EQ(std::memcmp(whole.data() + at, other.data(), 4 * static_cast<size_t>(classes)), 0)
                << classes << " classes, row " << r;
          }
        }
      }
    }
  });
}

TEST(SoftmaxFunctions, UnusualRowsAreThoseOfF64) {
  ForEveryIsa([](const std::string&) {
    for (const int64_t classes : {1, 2, 10, 65, 700, 3000}) {
      std::vector<float> g;
      const std::vector<float> x = UnusualRows(classes, &g);
      const int64_t rows = static_cast<int64_t>(x.size()) / classes;
      const std::vector<double> x64(x.begin(), x.end()), g64(g.begin(), g.end());
      for (const double scale : {1.0, 0.25, 3.0}) {
        xent_softmax_options options = xent_softmax_options_default();
        options.scale = scale;
        const xent_logits single = xent_logits_rows(x.data(), XENT_F32, rows, classes);
        const xent_logits twice = xent_logits_rows(x64.data(), XENT_F64, rows, classes);
        std::vector<float> y(x.size()), p(x.size()), of_p(x.size()), of_log(x.size());
        std::vector<double> y64(x.size()), of_p64(x.size()), of_log64(x.size());
        ASSERT_EQ(xent_log_softmax(&single, &options, y.data()), XENT_OK);
        ASSERT_EQ(xent_log_softmax(&twice, &options, y64.data()), XENT_OK);
        ASSERT_EQ(xent_softmax(&single, &options, p.data()), XENT_OK);
        // The gradients' arguments are the same numbers.
        const std::vector<double> p64(p.begin(), p.end()), log64(y.begin(), y.end());
        const xent_logits of[] = {xent_logits_rows(p.data(), XENT_F32, rows, classes),
                                  xent_logits_rows(p64.data(), XENT_F64, rows, classes),
                                  xent_logits_rows(y.data(), XENT_F32, rows, classes),
                                  xent_logits_rows(log64.data(), XENT_F64, rows, classes)};
        ASSERT_EQ(xent_softmax_backward(&of[0], &options, g.data(), of_p.data()), XENT_OK);
        ASSERT_EQ(xent_softmax_backward(&of[1], &options, g64.data(), of_p64.data()), XENT_OK);
        ASSERT_EQ(xent_log_softmax_backward(&of[2], &options, g.data(), of_log.data()), XENT_OK);
        ASSERT_EQ(xent_log_softmax_backward(&of[3], &options, g64.data(), of_log64.data()), XENT_OK);
        for (int64_t r = 0; r < rows; ++r) {
          long double sum = 0, dot = 0;
          for (int64_t j = 0; j < classes; ++j) {
            const size_t at = static_cast<size_t>(r * classes + j);
            sum += g64[at];
            dot += std::fabs(p64[at] * g64[at]);
          }
          for (int64_t j = 0; j < classes; ++j) {
            const size_t at = static_cast<size_t>(r * classes + j);
            const auto near = [&](float found, double exact, long double size) {
              if (std::isnan(exact)) {
                ASSERT_TRUE(std::isnan(found));
              } else if (std::isinf(static_cast<float>(exact))) {
                ASSERT_EQ(found, static_cast<float>(exact));
              } else {
                ExpectNear(found, exact, size, 4, XENT_F32, XENT_F32);
              }
            };
            SCOPED_TRACE(testing::Message() << classes << " classes, scale " << scale << ", row " << r << ", " << j);
            near(y[at], y64[at], std::fabs(y64[at]));
            near(of_p[at], of_p64[at], scale * p64[at] * (std::fabs(g64[at]) + dot));
            near(of_log[at], of_log64[at],
                 scale * (std::fabs(g64[at]) + std::exp(static_cast<long double>(log64[at])) * std::fabs(sum)));
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
  });
}

TEST(SoftmaxFunctions, TokensHaveTheLogProbabilitiesOfTheirClasses) {
  ForEveryLayout([](const Rows& rows) {
    const xent_dtype row_type = RowType(rows.dtype);
    constexpr int64_t kPerRow = 3;
    for (const xent_softmax_options& options : SomeOptions()) {
      std::vector<int32_t> tokens(static_cast<size_t>(rows.rows * kPerRow));
      for (size_t i = 0; i < tokens.size(); ++i) {
        tokens[i] = i % 7 == 3 ? -100 : static_cast<int32_t>(i * 31 % static_cast<size_t>(rows.classes));
      }
      Bytes log_p(tokens.size() * SizeOf(row_type)), entropy(static_cast<size_t>(rows.rows) * SizeOf(row_type));
      ASSERT_EQ(
          xent_token_logprob(&rows.view, tokens.data(), XENT_I32, kPerRow, &options, log_p.data(), entropy.data()),
          XENT_OK)
          << xent_last_error();
      for (int64_t r = 0; r < rows.rows; ++r) {
        const Exact exact = ExactOf(rows, r, options);
        ExpectNear(Element(entropy.data(), row_type, r), exact.entropy, exact.entropy, Units(rows, options, 4, 6),
                   row_type, row_type);
        for (int64_t i = r * kPerRow; i < (r + 1) * kPerRow; ++i) {
          const int32_t token = tokens[static_cast<size_t>(i)];
          const long double value = token < 0 ? 0 : exact.log_p[static_cast<size_t>(token)];
          ExpectNear(Element(log_p.data(), row_type, i), value, value, Units(rows, options, 4, 6), row_type, row_type);
          if (testing::Test::HasFailure()) return;
        }
      }
      // A single token has a way of its own.
      for (void* const wanted : {static_cast<void*>(nullptr), static_cast<void*>(entropy.data())}) {
        ASSERT_EQ(xent_token_logprob(&rows.view, tokens.data(), XENT_I32, 1, &options, log_p.data(), wanted), XENT_OK);
        for (int64_t r = 0; r < rows.rows; ++r) {
          const int32_t token = tokens[static_cast<size_t>(r)];
          const Exact exact = ExactOf(rows, r, options);
          const long double value = token < 0 ? 0 : exact.log_p[static_cast<size_t>(token)];
          const long double of_row = token < 0 ? 0 : exact.entropy;
          ExpectNear(Element(log_p.data(), row_type, r), value, value, Units(rows, options, 4, 6), row_type, row_type);
          if (wanted == nullptr) continue;
          ExpectNear(Element(wanted, row_type, r), of_row, of_row, Units(rows, options, 4, 6), row_type, row_type);
        }
      }
    }
  });
}

TEST(SoftmaxFunctions, MaskedRowsAreZeroAndInvalidTokensAreErrors) {
  float x[] = {1, 2, 3, std::numeric_limits<float>::quiet_NaN(), 1, 1};
  const uint8_t mask[] = {1, 0};
  const xent_logits logits = xent_logits_rows(x, XENT_F32, 2, 3);
  xent_softmax_options options = xent_softmax_options_default();
  options.row_mask = mask;
  float p[6], lse[2];
  ASSERT_EQ(xent_softmax(&logits, &options, p), XENT_OK);
  ASSERT_EQ(xent_logsumexp(&logits, &options, lse), XENT_OK);
  for (int j = 3; j < 6; ++j) EXPECT_EQ(p[j], 0);
  EXPECT_EQ(lse[1], 0);
  EXPECT_NEAR(p[0] + p[1] + p[2], 1, 1e-6);
  float log_p[2] = {7, 7};
  const int64_t tokens[] = {3, 0};
  EXPECT_EQ(xent_token_logprob(&logits, tokens, XENT_I64, 1, nullptr, log_p, nullptr), XENT_INVALID_LABEL);
  EXPECT_EQ(log_p[0], 7);
  EXPECT_NE(std::string(xent_last_error()).find("3"), std::string::npos) << xent_last_error();
}

// Whatever the sign and the payload of the NaN that makes a row NaN.
TEST(SoftmaxFunctions, RowsThatAreNaNAreTheSameNumberOfBf16) {
  ForEveryIsa([](const std::string&) {
    for (const int word : {0x7FC0, 0xFFC0, 0x7FFF, 0xFFFF, 0x7F81, 0x7F80}) {
      for (const int64_t classes : {1, 3, 16, 17, 300}) {
        std::vector<uint16_t> x(static_cast<size_t>(classes), 0x3F80), y(x.size());
        x[x.size() / 2] = static_cast<uint16_t>(word);
        const xent_logits logits = xent_logits_rows(x.data(), XENT_BF16, 1, classes);
        ASSERT_EQ(xent_log_softmax(&logits, nullptr, y.data()), XENT_OK);
        for (const uint16_t found : y) EXPECT_EQ(found, 0x7FC0) << std::hex << word;
      }
    }
  });
}

TEST(SoftmaxFunctions, BadArgumentsAreErrorsAndNothingIsWritten) {
  std::vector<float> x(64, 1), y(64, 7), rows(8, 7);
  const std::vector<int64_t> tokens(8, 0);
  const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, 4, 3);
  const auto refuses = [&](xent_status status, xent_status expected, const char* name) {
    EXPECT_EQ(status, expected) << name << ": " << xent_last_error();
    EXPECT_NE(std::string(xent_last_error()).find(name), std::string::npos) << xent_last_error();
    EXPECT_TRUE(std::all_of(y.begin(), y.end(), [](float value) { return value == 7; }));
    EXPECT_TRUE(std::all_of(rows.begin(), rows.end(), [](float value) { return value == 7; }));
  };
  const xent_status invalid = XENT_INVALID_ARGUMENT;
  refuses(xent_softmax(nullptr, nullptr, y.data()), invalid, "logits");
  refuses(xent_softmax(&logits, nullptr, nullptr), invalid, "probabilities");
  refuses(xent_log_softmax(&logits, nullptr, nullptr), invalid, "log_probabilities");
  refuses(xent_logsumexp(&logits, nullptr, nullptr), invalid, "lse");
  refuses(xent_softmax(&logits, nullptr, x.data() + 1), XENT_OVERLAP, "probabilities");
  refuses(xent_logsumexp(&logits, nullptr, x.data() + 1), XENT_OVERLAP, "lse");
  refuses(xent_softmax(&logits, nullptr, reinterpret_cast<char*>(y.data()) + 1), invalid, "probabilities");
  refuses(xent_softmax_backward(&logits, nullptr, nullptr, y.data()), invalid, "upstream");
  refuses(xent_log_softmax_backward(&logits, nullptr, x.data(), nullptr), invalid, "gradient");
  refuses(xent_softmax_backward(&logits, nullptr, y.data() + 1, y.data()), XENT_OVERLAP, "upstream");
  refuses(xent_logsumexp_backward(&logits, nullptr, y.data(), y.data()), XENT_OVERLAP, "upstream");
  refuses(xent_token_logprob(&logits, nullptr, XENT_I64, 1, nullptr, rows.data(), nullptr), invalid, "tokens");
  refuses(xent_token_logprob(&logits, tokens.data(), XENT_F32, 1, nullptr, rows.data(), nullptr), invalid,
          "tokens_dtype");
  refuses(xent_token_logprob(&logits, tokens.data(), XENT_I64, 0, nullptr, rows.data(), nullptr), invalid, "per_row");
  refuses(xent_token_logprob(&logits, tokens.data(), XENT_I64, 1, nullptr, nullptr, nullptr), invalid,
          "log_probabilities");
  refuses(xent_token_logprob(&logits, tokens.data(), XENT_I64, 1, nullptr, rows.data(), rows.data() + 1), XENT_OVERLAP,
          "entropy");
  xent_softmax_options options = xent_softmax_options_default();
  options.label_smoothing = 0.1;
  refuses(xent_softmax(&logits, &options, y.data()), XENT_UNSUPPORTED, "label_smoothing");
  options = xent_softmax_options_default();
  options.softcap = 3;
  refuses(xent_softmax_backward(&logits, &options, y.data(), y.data()), XENT_UNSUPPORTED, "softcap");
  options = xent_softmax_options_default();
  options.struct_size = 1;
  refuses(xent_softmax(&logits, &options, y.data()), XENT_VERSION_MISMATCH, "struct_size");
}

TEST(SoftmaxPreset, KnowsItsLibrariesAndLeavesTheOptionsAloneOnAnError) {
  xent_softmax_options options;
  for (xent_preset preset = XENT_PRESET_TORCH; preset <= XENT_PRESET_SKLEARN; ++preset) {
    for (const xent_target_kind kind : {XENT_TARGET_LABELS, XENT_TARGET_DENSE}) {
      ASSERT_EQ(xent_softmax_options_preset(preset, kind, &options), XENT_OK) << xent_last_error();
      EXPECT_EQ(options.struct_size, static_cast<int32_t>(sizeof(options)));
      EXPECT_EQ(options.ignore_index == -100, preset == XENT_PRESET_TORCH);
      EXPECT_EQ(options.reduction == XENT_REDUCTION_NONE, preset == XENT_PRESET_OPTAX);
      EXPECT_EQ(options.empty_mean == XENT_EMPTY_MEAN_ZERO, preset == XENT_PRESET_KERAS);
      const bool is_torch = preset == XENT_PRESET_TORCH || preset == XENT_PRESET_ONNX;
      const bool over_rows = preset == XENT_PRESET_KERAS || (is_torch && kind == XENT_TARGET_DENSE);
      EXPECT_EQ(options.denominator == XENT_DENOMINATOR_ROWS, over_rows);
    }
  }
  options.scale = 77;
  EXPECT_EQ(xent_softmax_options_preset(0, XENT_TARGET_LABELS, &options), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_softmax_options_preset(6, XENT_TARGET_LABELS, &options), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_softmax_options_preset(XENT_PRESET_TORCH, XENT_TARGET_SPARSE, &options), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(xent_softmax_options_preset(XENT_PRESET_TORCH, XENT_TARGET_LABELS, nullptr), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(options.scale, 77);
}

}  // namespace
}  // namespace xent_test
