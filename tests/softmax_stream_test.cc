// Softmax cross-entropy a slice of classes at a time: the bits of the whole rows where slices are whole pieces, its
// bounds where they are not; shards that are merged; options; what may not be asked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/problem.h"

namespace xent_test {
namespace {

constexpr int64_t kPiece = 32768;

struct Streamed {
  double total = 0, sum = 0;
  int64_t counted = 0, ignored = 0;
  Bytes row_loss, lse, gradient;
};

// The slice [begin, end) of the problem's logits, in place.
xent_logits SliceOf(const Problem& problem, const void* data, int64_t begin, int64_t end) {
  const char* const from = static_cast<const char*>(data) + begin * static_cast<int64_t>(SizeOf(problem.dtype));
  return xent_logits_strided(from, problem.dtype, problem.rows, end - begin, problem.row_stride);
}

// Pushes the slices between these bounds, each shard of `slices_per_shard` into states of its own, merged in order.
Streamed Stream(const Problem& problem, const std::vector<int64_t>& bounds, size_t slices_per_shard) {
  const size_t rows = static_cast<size_t>(problem.rows);
  const xent_targets labels = problem.Targets();
  std::vector<xent_row_state> states(rows), shard(rows);
  std::vector<double> label_logits(rows), shard_logits(rows);
  EXPECT_EQ(xent_softmax_begin(problem.rows, states.data(), label_logits.data()), XENT_OK);
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    if (i % slices_per_shard == 0) xent_softmax_begin(problem.rows, shard.data(), shard_logits.data());
    const xent_logits slice = SliceOf(problem, problem.logits.data(), bounds[i], bounds[i + 1]);
    EXPECT_EQ(xent_softmax_push(&slice, bounds[i], &labels, &problem.options, shard.data(), shard_logits.data()),
              XENT_OK)
        << xent_last_error();
    if ((i + 1) % slices_per_shard != 0 && i + 2 < bounds.size()) continue;
    EXPECT_EQ(xent_softmax_merge(problem.rows, shard.data(), shard_logits.data(), states.data(), label_logits.data()),
              XENT_OK);
  }
  Streamed result;
  result.row_loss = Bytes(rows * SizeOf(RowType(problem.dtype)));
  result.lse = Bytes(rows * SizeOf(RowType(problem.dtype)));
  result.gradient = Bytes(problem.logits.size(), 0, 0xA5);
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.total = &result.total;
  outputs.sum = &result.sum;
  outputs.counted = &result.counted;
  outputs.ignored = &result.ignored;
  outputs.row_loss = result.row_loss.data();
  outputs.lse = result.lse.data();
  EXPECT_EQ(xent_softmax_finish(problem.rows, problem.classes, problem.dtype, states.data(), label_logits.data(),
                                &labels, &problem.options, &outputs),
            XENT_OK)
      << xent_last_error();
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    const xent_logits slice = SliceOf(problem, problem.logits.data(), bounds[i], bounds[i + 1]);
    const xent_logits to = SliceOf(problem, result.gradient.data(), bounds[i], bounds[i + 1]);
    EXPECT_EQ(xent_softmax_push_gradient(&slice, bounds[i], problem.classes, states.data(), label_logits.data(),
                                         &labels, &problem.options, const_cast<void*>(to.data)),
              XENT_OK)
        << xent_last_error();
  }
  return result;
}

bool Same(const Bytes& a, const Bytes& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

Problem MixedProblem(xent_dtype dtype, int64_t classes) {
  const char* const kNames[] = {"normal",  "confident",    "very_negative",  "masked",
                                "wide_30", "label_masked", "leading_masked", "mixed"};
  Problem problem(dtype, 8, classes);
  for (int64_t r = 0; r < 8; ++r) {
    problem.labels[static_cast<size_t>(r)] =
        FillRow(*FindDistribution(kNames[r]), dtype, classes, 5 + static_cast<uint64_t>(r), problem.logits.data(),
                r * problem.row_stride);
  }
  problem.labels[4] = problem.options.ignore_index;
  problem.options.upstream = 0.7;
  return problem;
}

TEST(SoftmaxStream, WholePiecesHaveTheBitsOfWholeRows) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const int64_t classes = 2 * kPiece + 777;
    Problem problem = MixedProblem(dtype, classes);
    const Results whole = MustRun(problem);
    for (const int threads : {1, 3}) {
      problem.options.num_threads = threads;
      // Merging is from left to right: a shard of several pieces adds them up in another order.
      const Streamed streamed = Stream(problem, {0, kPiece, 2 * kPiece, classes}, 1);
      EXPECT_TRUE(streamed.total == whole.total || (std::isnan(streamed.total) && std::isnan(whole.total)));
      EXPECT_TRUE(Same(streamed.row_loss, whole.row_loss));
      EXPECT_TRUE(Same(streamed.lse, whole.lse));
      EXPECT_TRUE(Same(streamed.gradient, whole.gradient));
      EXPECT_EQ(streamed.counted, whole.counted);
      EXPECT_EQ(streamed.ignored, whole.ignored);
      const Streamed in_one = Stream(problem, {0, 2 * kPiece, classes}, 2);
      EXPECT_TRUE(Same(in_one.row_loss, whole.row_loss) && Same(in_one.gradient, whole.gradient));
    }
  });
}

// The label's element is nearly the slope there, halfway between two floats: a quotient rounded otherwise would show.
TEST(SoftmaxStream, LabelsThatTrailFarHaveTheBitsOfWholeRows) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Problem problem(dtype, 50, 4000);
    problem.Fill("normal", 3);
    for (int64_t r = 0; r < problem.rows; ++r) problem.Set(r, problem.labels[static_cast<size_t>(r)], -60.0);
    problem.options.reduction = XENT_REDUCTION_SUM;
    problem.options.upstream = 1.0 + 3 * 0x1p-24;
    const Results whole = MustRun(problem);
    const Streamed streamed = Stream(problem, {0, problem.classes}, 1);
    EXPECT_TRUE(Same(streamed.row_loss, whole.row_loss));
    EXPECT_TRUE(Same(streamed.gradient, whole.gradient));
  });
}

// Few or many classes, slices of any length, shards of several slices.
TEST(SoftmaxStream, AnySlicesAreWithinTheBounds) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 7, 100, 2049, 5000}) {
      Problem problem = MixedProblem(dtype, classes);
      const Results whole = MustRun(problem);
      std::vector<int64_t> bounds = {0};
      Random random(static_cast<uint64_t>(classes));
      while (bounds.back() < classes)
        bounds.push_back(std::min(classes, bounds.back() + 1 + random.Below(classes / 3 + 1)));
      for (const size_t shard : {size_t{1}, size_t{2}, size_t{100}}) {
        const Streamed streamed = Stream(problem, bounds, shard);
        const Format row = FormatOf(RowType(dtype)), element = FormatOf(dtype);
        for (int64_t r = 0; r < problem.rows; ++r) {
          const double found = Element(streamed.row_loss.data(), RowType(dtype), r);
          const double expected = whole.Loss(r);
          EXPECT_TRUE((std::isnan(found) && std::isnan(expected)) || UlpError(found, expected, row) <= 5)
              << classes << " classes, row " << r << ": " << found << " and " << expected;
          for (int64_t j = 0; j < classes; ++j) {
            const double g = Element(streamed.gradient.data(), dtype, r * classes + j), want = whole.Gradient(r, j);
            EXPECT_TRUE((std::isnan(g) && std::isnan(want)) || UlpError(g, want, element) <= 9)
                << classes << ", row " << r;
          }
        }
      }
    }
  });
}

TEST(SoftmaxStream, KnowsTheOptionsOfRows) {
  Problem problem(XENT_F64, 20, 3000);
  problem.Fill("normal", 3);
  std::vector<double> row_weight(20, 0.5), class_weight(3000, 1.25), row_upstream(20, 2.0);
  row_weight[3] = 0;
  std::vector<uint8_t> mask(20, 1);
  mask[7] = 0;
  problem.options.row_weight = row_weight.data();
  problem.options.class_weight = class_weight.data();
  problem.options.row_upstream = row_upstream.data();
  problem.options.row_mask = mask.data();
  problem.options.z_loss = 1e-3;
  problem.options.focal_gamma = 1.5;
  const Results whole = MustRun(problem, kTotal | kRowLoss | kGradient | kCounted);
  const Streamed streamed = Stream(problem, {0, 1000, 1001, 3000}, 1);
  EXPECT_NEAR(streamed.total, whole.total, 1e-14);
  EXPECT_EQ(streamed.counted, 19);
  for (int64_t i = 0; i < 20 * 3000; ++i) {
    EXPECT_NEAR(Element(streamed.gradient.data(), XENT_F64, i), Element(whole.gradient.data(), XENT_F64, i), 1e-16);
  }
}

TEST(SoftmaxStream, WhatIsWrongIsNamedAndChangesNothing) {
  Problem problem(XENT_F32, 4, 10);
  problem.Fill("normal", 3);
  xent_logits slice = SliceOf(problem, problem.logits.data(), 0, 10);
  xent_targets labels = problem.Targets();
  std::vector<xent_row_state> states(4);
  std::vector<double> logits(4);
  std::vector<float> gradient(40, 7.0f);
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  double total = 7;
  outputs.total = &total;
  ASSERT_EQ(xent_softmax_begin(4, states.data(), logits.data()), XENT_OK);
  const auto expect = [](xent_status found, xent_status status, const char* named) {
    EXPECT_STREQ(xent_status_name(found), xent_status_name(status)) << named;
    EXPECT_NE(std::string(xent_last_error()).find(named), std::string::npos) << xent_last_error();
  };
  const auto push = [&](int64_t first) {
    return xent_softmax_push(&slice, first, &labels, &problem.options, states.data(), logits.data());
  };
  expect(xent_softmax_begin(-1, states.data(), logits.data()), XENT_INVALID_ARGUMENT, "rows is -1");
  expect(xent_softmax_begin(4, nullptr, logits.data()), XENT_INVALID_ARGUMENT, "states is NULL");
  expect(xent_softmax_begin(4, states.data(), nullptr), XENT_INVALID_ARGUMENT, "label_logits is NULL");
  expect(push(-1), XENT_INVALID_ARGUMENT, "first_class is -1");
  expect(xent_softmax_push(nullptr, 0, &labels, nullptr, states.data(), logits.data()), XENT_INVALID_ARGUMENT,
         "slice is NULL");
  expect(xent_softmax_push(&slice, 0, nullptr, nullptr, states.data(), logits.data()), XENT_INVALID_ARGUMENT,
         "targets is NULL");
  problem.options.label_smoothing = 0.1;
  expect(push(0), XENT_UNSUPPORTED, "label_smoothing");
  problem.options.label_smoothing = 0;
  slice.class_stride = 2;
  slice.outer_stride = 20;
  expect(push(0), XENT_UNSUPPORTED, "class_stride 2");
  slice = SliceOf(problem, problem.logits.data(), 0, 10);
  const xent_targets dense = xent_targets_dense(problem.logits.data(), XENT_F32);
  expect(xent_softmax_push(&slice, 0, &dense, nullptr, states.data(), logits.data()), XENT_UNSUPPORTED,
         "labels.kind is 2");
  ASSERT_EQ(push(0), XENT_OK);
  const int64_t label = problem.labels[2];
  problem.labels[2] = 10;
  const auto finish = [&](int64_t classes) {
    return xent_softmax_finish(4, classes, XENT_F32, states.data(), logits.data(), &labels, &problem.options, &outputs);
  };
  expect(finish(10), XENT_INVALID_LABEL, "labels[2] is 10");
  problem.labels[2] = label;
  expect(finish(0), XENT_INVALID_ARGUMENT, "classes is 0");
  int64_t correct = 0;
  outputs.correct = &correct;
  expect(finish(10), XENT_UNSUPPORTED, "outputs.gradient, row_state");
  outputs.correct = nullptr;
  EXPECT_EQ(total, 7);
  expect(xent_softmax_push_gradient(&slice, 1, 10, states.data(), logits.data(), &labels, nullptr, gradient.data()),
         XENT_INVALID_ARGUMENT, "first_class is 1");
  expect(xent_softmax_push_gradient(&slice, 0, 10, states.data(), logits.data(), &labels, nullptr, nullptr),
         XENT_INVALID_ARGUMENT, "gradient is NULL");
  expect(xent_softmax_push_gradient(&slice, 0, 10, states.data(), logits.data(), &labels, nullptr, states.data()),
         XENT_OVERLAP, "gradient");
  EXPECT_TRUE(std::all_of(gradient.begin(), gradient.end(), [](float g) { return g == 7.0f; }));
  expect(xent_softmax_merge(4, nullptr, logits.data(), states.data(), logits.data()), XENT_INVALID_ARGUMENT,
         "more_states is NULL");
  EXPECT_EQ(finish(10), XENT_OK);
  EXPECT_NEAR(total, MustRun(problem, kTotal).total, 1e-6);

  // Where arrays lie.
  const auto shifted = [](auto* pointer) {
    return reinterpret_cast<decltype(pointer)>(reinterpret_cast<unsigned char*>(pointer) + 4);
  };
  expect(xent_softmax_begin(3, shifted(states.data()), logits.data()), XENT_INVALID_ARGUMENT, "argument.states is");
  expect(xent_softmax_begin(3, states.data(), shifted(logits.data())), XENT_INVALID_ARGUMENT,
         "argument.label_logits is");
  expect(xent_softmax_begin(4, states.data(), reinterpret_cast<double*>(states.data())), XENT_OVERLAP,
         "overlaps label_logits");
  std::vector<xent_row_state> more_states(states);
  std::vector<double> more_logits(logits);
  expect(xent_softmax_merge(4, more_states.data(), more_logits.data(), nullptr, logits.data()), XENT_INVALID_ARGUMENT,
         "states is NULL");
  expect(xent_softmax_merge(4, states.data(), more_logits.data(), states.data(), logits.data()), XENT_OVERLAP,
         "states");
  expect(xent_softmax_push(&slice, 0, &labels, nullptr, nullptr, logits.data()), XENT_INVALID_ARGUMENT,
         "states is NULL");
  expect(xent_softmax_finish(4, 10, 99, states.data(), logits.data(), &labels, nullptr, &outputs),
         XENT_INVALID_ARGUMENT, "dtype is 99");
  expect(xent_softmax_push_gradient(&slice, 0, 0, states.data(), logits.data(), &labels, nullptr, gradient.data()),
         XENT_INVALID_ARGUMENT, "classes is 0");
  expect(xent_softmax_push_gradient(&slice, 0, 10, states.data(), logits.data(), &labels, nullptr,
                                    reinterpret_cast<unsigned char*>(gradient.data()) + 1),
         XENT_INVALID_ARGUMENT, "argument.gradient is");
}

}  // namespace
}  // namespace xent_test
