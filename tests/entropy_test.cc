// Entropies of rows, and what an entropy weight adds to loss and gradient, against their formulas in long double: every
// named distribution, rows of every length, every storage type of f32 lanes, every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/inputs.h"
#include "support/problem.h"
#include "support/storage.h"
#include "support/ulp.h"

namespace xent_test {
namespace {

constexpr double kWeight = 0.25;

// Of a row: the entropy, the loss less kWeight times it, the gradient; and the magnitudes of their terms.
struct ExactRow {
  ExactRow(const Problem& problem, int64_t r) {
    const long double scale = problem.options.scale;
    std::vector<long double> below;
    int64_t top = 0;
    for (int64_t j = 0; j < problem.classes; ++j) top = problem.At(r, j) > problem.At(r, top) ? j : top;
    long double others = 0, gaps = 0;
    for (int64_t j = 0; j < problem.classes; ++j) {
      const long double x = problem.At(r, j);
      below.push_back(std::isinf(x) ? x : scale * (x - static_cast<long double>(problem.At(r, top))));
      const long double e = std::exp(below.back());
      if (j != top) others += e;
      if (e != 0) gaps -= e * below.back();
    }
    const int64_t label = problem.labels[static_cast<size_t>(r)];
    const long double gap = std::log1p(others);
    entropy = gap + gaps / (1 + others);
    const long double cross = gap - below[static_cast<size_t>(label)];
    loss = cross - kWeight * entropy;
    loss_size = cross + kWeight * entropy;
    for (int64_t j = 0; j < problem.classes; ++j) {
      const long double p = std::exp(below[static_cast<size_t>(j)]) / (1 + others);
      const long double log = below[static_cast<size_t>(j)] - gap;
      const long double rest = j == top ? others / (1 + others) : 1 - p;
      const long double own = j == label ? -rest : p;
      probability.push_back(p);
      const long double slope = scale * problem.options.upstream;
      gradient.push_back(slope * (own + (p == 0 ? 0 : kWeight * p * (log + entropy))));
      size.push_back(slope * (std::fabs(own) + (p == 0 ? 0 : kWeight * p * (entropy - log))));
    }
  }

  long double entropy;
  long double loss;
  long double loss_size;
  std::vector<long double> probability;
  std::vector<long double> gradient;
  std::vector<long double> size;
};

long double InUlp(double found, long double exact, long double size, Format format) {
  if (std::isinf(found)) return UlpError(found, exact, format);
  return std::fabs(static_cast<long double>(found) - exact) / Ulp(size, format);
}

struct Worst {
  long double entropy = 0;
  long double loss = 0;
  long double gradient = 0;
};

void Compare(const Problem& problem, const std::string& what, Worst* worst) {
  const size_t rows = static_cast<size_t>(problem.rows);
  const size_t value = SizeOf(RowType(problem.dtype));
  Bytes entropy(rows * value), loss(rows * value), gradient(problem.logits.size());
  const xent_logits logits = problem.Logits();
  const xent_targets labels = problem.Targets();
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.entropy = entropy.data();
  outputs.row_loss = loss.data();
  outputs.gradient = gradient.data();
  ASSERT_EQ(xent_softmax_cross_entropy(&logits, &labels, &problem.options, &outputs), XENT_OK) << xent_last_error();
  const Format row_format = FormatOf(RowType(problem.dtype));
  const Format format = FormatOf(problem.dtype);
  for (int64_t r = 0; r < problem.rows; ++r) {
    const ExactRow exact(problem, r);
    if (!std::isfinite(exact.loss)) continue;
    Worst row;
    row.entropy = InUlp(Element(entropy.data(), RowType(problem.dtype), r), exact.entropy, exact.entropy, row_format);
    row.loss = InUlp(Element(loss.data(), RowType(problem.dtype), r), exact.loss, exact.loss_size, row_format);
    for (int64_t j = 0; j < problem.classes; ++j) {
      const auto at = static_cast<size_t>(j);
      if (exact.probability[at] < 0x1p-124L) continue;
      const double found = Element(gradient.data(), problem.dtype, r * problem.row_stride + j);
      row.gradient = std::max(row.gradient, InUlp(found, exact.gradient[at], exact.size[at], format));
    }
    worst->entropy = std::max(worst->entropy, row.entropy);
    worst->loss = std::max(worst->loss, row.loss);
    worst->gradient = std::max(worst->gradient, row.gradient);
    const long double of_gradient = problem.dtype == XENT_F32 ? 5 : 0.52L;
    ASSERT_LE(row.entropy, 4) << what << ", row " << r;
    ASSERT_LE(row.loss, 4) << what << ", row " << r;
    ASSERT_LE(row.gradient, of_gradient) << what << ", row " << r;
  }
}

TEST(Entropy, IsWithinItsBoundsForEveryKindOfRow) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    if (dtype == XENT_F64) return;  // the general way: softmax_family_test
    Worst worst;
    for (const int64_t classes : {1, 2, 3, 7, 16, 63, 64, 65, 300, 2048, 2049, 2500, 33000}) {
      for (const Distribution& distribution : Distributions()) {
        for (const double scale : {1.0, 0.7}) {
          Problem problem(dtype, classes > 2000 ? 1 : 10, classes);
          problem.Fill(distribution, static_cast<uint64_t>(classes));
          problem.options.scale = scale;
          problem.options.entropy_weight = kWeight;
          problem.options.reduction = XENT_REDUCTION_SUM;
          Compare(problem, std::string(distribution.name) + ", " + std::to_string(classes) + " classes", &worst);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
    std::printf("%s %s: entropy %.3Lf, loss %.3Lf, gradient %.3Lf ULP\n", xent_isa_chosen(), TypeName(dtype),
                worst.entropy, worst.loss, worst.gradient);
  });
}

// Slopes, scales and sums far from 1: no factor that is made of them may pass what a float holds.
TEST(Entropy, HasAGradientForSlopesOfEverySize) {
  ForEveryIsa([](const std::string&) {
    Worst worst;
    for (const int64_t classes : {4, 100, 3000}) {
      for (const double offset : {-43.0, -40.0, 0.0, 20.0, 38.0, 200.0}) {
        for (const double upstream : {0x1p-110, 0x1p-81, 0x1p-77, 1e-9, 1.0, 1e20, 1e22, 1e25}) {
          for (const double scale : {1.0, 0x1p-58, 0x1p-30, 0x1p30}) {
            if (upstream * scale < 0x1p-115 || upstream * scale > 0x1p90) continue;
            Problem problem(XENT_F32, 1, classes);
            for (int64_t j = 0; j < classes; ++j)
              problem.Set(0, j, (offset + static_cast<double>(j % 4) * 0.5) / scale);
            problem.labels[0] = 0;
            problem.options.scale = scale;
            problem.options.upstream = upstream;
            problem.options.entropy_weight = kWeight;
            problem.options.reduction = XENT_REDUCTION_SUM;
            Compare(problem,
                    std::to_string(offset) + ", upstream " + std::to_string(std::log2(upstream)) + ", scale " +
                        std::to_string(std::log2(scale)) + ", " + std::to_string(classes) + " classes",
                    &worst);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  });
}

TEST(Entropy, IsNothingWhereOneLogitLeadsFar) {
  ForEveryIsa([](const std::string&) {
    for (const int64_t classes : {2, 10, 65, 300, 3000, 70000}) {
      for (const double lead : {70.0, 5e5, 1e6, 1e9, 3e38}) {
        Problem problem(XENT_F32, 1, classes);
        for (int64_t j = 0; j < classes; ++j) problem.Set(0, j, static_cast<double>(j % 3));
        problem.Set(0, classes - 1, lead);
        const xent_logits logits = problem.Logits();
        const xent_targets labels = problem.Targets();
        float entropy;
        xent_softmax_outputs outputs = xent_softmax_outputs_none();
        outputs.entropy = &entropy;
        ASSERT_EQ(xent_softmax_cross_entropy(&logits, &labels, nullptr, &outputs), XENT_OK);
        EXPECT_NEAR(entropy, 0, 1e-22) << classes << " classes, " << lead;
      }
    }
    // Few large terms, and many that are small beside them.
    Problem problem(XENT_F32, 1, 64);
    for (int64_t j = 0; j < 64; ++j) problem.Set(0, j, -87.05);
    problem.Set(0, 0, 0);
    problem.Set(0, 1, -69.2);
    problem.options.entropy_weight = kWeight;
    Worst worst;
    Compare(problem, "small terms", &worst);
  });
}

// What is asked for beside it changes no bit of a loss of f32 lanes, nor of an entropy.
TEST(Entropy, ChangesNoBitOfTheLoss) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    if (dtype == XENT_F64) return;
    for (const int64_t classes : {2, 10, 100, 1000, 3000}) {
      Problem problem(dtype, 50, classes);
      problem.Fill("normal", 3);
      const xent_logits logits = problem.Logits();
      const xent_targets labels = problem.Targets();
      std::vector<float> losses[2], entropies[2];
      for (int i = 0; i < 2; ++i) {
        losses[i].resize(50);
        entropies[i].resize(50);
        xent_softmax_outputs outputs = xent_softmax_outputs_none();
        outputs.row_loss = losses[i].data();
        std::vector<float> lse(50);
        if (i == 1) outputs.lse = lse.data();
        outputs.entropy = entropies[i].data();
        ASSERT_EQ(xent_softmax_cross_entropy(&logits, &labels, nullptr, &outputs), XENT_OK);
      }
      xent_softmax_outputs alone = xent_softmax_outputs_none();
      std::vector<float> plain(50);
      alone.row_loss = plain.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &labels, nullptr, &alone), XENT_OK);
      EXPECT_EQ(losses[0], plain) << classes;
      EXPECT_EQ(losses[1], plain) << classes;
      EXPECT_EQ(entropies[0], entropies[1]) << classes;
    }
  });
}

}  // namespace
}  // namespace xent_test
