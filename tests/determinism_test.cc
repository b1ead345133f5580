// The same bits for every thread count, runner, alignment, position of a row in its batch, and from run to run; and on
// every instruction set with fused multiply-add, where a hash on record pins them from machine to machine. Inputs come
// from integers alone, so that they too have the same bits everywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "expected_hash.h"
#include "support/every_isa.h"
#include "support/fnv.h"
#include "support/inputs.h"
#include "support/problem.h"
#include "support/runner.h"

namespace xent_test {
namespace {

constexpr int64_t kClassCounts[] = {1, 2, 7, 10, 16, 17, 31, 33, 100, 1000, 2048, 2049, 5000};

// Multiples of 2^-14 in (-32, 32), in every 8th row far from zero, in every 9th with -inf in places, in every 10th with
// a confident label; row 11 is ignored and row 12 is NaN.
void FillFromIntegers(Problem* problem, uint64_t seed) {
  for (int64_t r = 0; r < problem->rows; ++r) {
    Random random(RowSeed(seed, r));
    const int64_t label = random.Below(problem->classes);
    problem->labels[static_cast<size_t>(r)] = r == 11 ? problem->options.ignore_index : label;
    const double offset = r % 8 == 7 ? std::ldexp(static_cast<double>(random.Below(1000) - 500), 7) : 0;
    for (int64_t j = 0; j < problem->classes; ++j) {
      const uint64_t bits = random.Bits();
      double value = std::ldexp(static_cast<double>(bits >> 44) - 524288, -14) + offset;
      if (r % 9 == 8 && (bits & 7) == 0 && j != label) value = -std::numeric_limits<double>::infinity();
      if (r % 10 == 9 && j == label) value += 50;
      problem->Set(r, j, value);
    }
    if (r == 12) problem->Set(r, label, std::numeric_limits<double>::quiet_NaN());
  }
}

Problem IntegerProblem(xent_dtype dtype, int64_t rows, int64_t classes, uint64_t seed = 1, size_t offset = 0) {
  Problem problem(dtype, rows, classes, 0, offset);
  FillFromIntegers(&problem, seed);
  problem.options.upstream = 0.75;
  return problem;
}

struct Shape {
  int64_t rows;
  int64_t classes;
};

// Enough work for 16 threads: many rows, few rows that are shared by columns, and in between.
constexpr Shape kLargeShapes[] = {{4000, 300}, {3, 400001}, {30, 40000}, {300000, 4}};

int64_t ThreadsOfProcess() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

class Threads : public testing::TestWithParam<xent_dtype> {};

TEST_P(Threads, EveryCountGivesTheSameBits) {
  for (const Shape shape : kLargeShapes) {
    Problem problem = IntegerProblem(GetParam(), shape.rows, shape.classes);
    ForEveryIsa([&](const std::string& isa) {
      problem.options.num_threads = 1;
      const Results serial = MustRun(problem);
      for (const int threads : {2, 3, 4, 5, 7, 8, 16}) {
        // Threads and instruction sets are independent: the best one meets every count.
        if (isa != SupportedIsas().front() && threads != 3 && threads != 16) continue;
        problem.options.num_threads = threads;
        ASSERT_EQ(FirstDifference(MustRun(problem), serial), "")
            << shape.rows << " x " << shape.classes << ", " << threads << " threads";
      }
    });
  }
  EXPECT_GE(ThreadsOfProcess(), 16) << "the work was too small to use the threads";
}

// Losses of 2^60, 128 and 1.2e-14: a double that keeps what rounding lost still tells the order of their sum.
TEST(ThreadsOfLongRows, TotalsThatShowTheOrderOfTheirSumAreTheSame) {
  constexpr int64_t kRows = 17, kClasses = 40000;
  std::vector<double> x(kRows * kClasses, -1e6);
  const std::vector<int64_t> labels(kRows, 0);
  for (int64_t r = 0; r < kRows; ++r) {
    double* const row = x.data() + r * kClasses;
    row[0] = 0;
    row[kClasses - 1] = r == 0 ? 0x1p60 : r == 1 ? 128 : -32;
  }
  const xent_logits logits = xent_logits_rows(x.data(), XENT_F64, kRows, kClasses);
  const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
  xent_softmax_options options = xent_softmax_options_default();
  double sums[16];
  for (int threads = 1; threads <= 16; ++threads) {
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.sum = &sums[threads - 1];
    options.num_threads = threads;
    ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
    EXPECT_EQ(std::memcmp(sums, &sums[threads - 1], sizeof(double)), 0) << threads << " threads: " << sums[threads - 1];
  }
}

TEST(ThreadDefault, ChangesNoBit) {
  Problem problem = IntegerProblem(XENT_F32, 4000, 300);
  const Results before = MustRun(problem);
  for (const int threads : {1, 2, 3, 4, 5, 7, 8, 16}) {
    ASSERT_EQ(xent_set_num_threads(threads), XENT_OK);
    EXPECT_EQ(FirstDifference(MustRun(problem), before), "") << threads << " threads";
  }
  EXPECT_EQ(xent_set_num_threads(0), XENT_OK);
}

TEST_P(Threads, RunnersOfTheCallerGiveTheBitsOfOpenMp) {
  for (const Shape shape : kLargeShapes) {
    Problem problem = IntegerProblem(GetParam(), shape.rows, shape.classes, 2);
    const Results with_openmp = MustRun(problem);
    for (const auto order : {InOrder, Reversed, OnThreePoolThreads}) {
      for (const int32_t concurrency : {1, 3, 1000}) {
        CallerRunner runner{order};
        const xent_parallel_runner given = runner.Make(concurrency);
        problem.options.runner = &given;
        EXPECT_EQ(FirstDifference(MustRun(problem), with_openmp), "")
            << shape.rows << " x " << shape.classes << ", concurrency " << concurrency;
        EXPECT_TRUE(concurrency == 1 || runner.most_tasks > 1) << "the runner had nothing to share";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Storage, Threads, testing::ValuesIn(kStorageTypes),
                         [](const testing::TestParamInfo<xent_dtype>& storage) { return TypeName(storage.param); });

TEST(Alignment, EveryElementAlignedOffsetGivesTheSameBits) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      const Results aligned = MustRun(IntegerProblem(dtype, 5, classes, 3));
      for (size_t offset = 0; offset < 64; offset += SizeOf(dtype)) {
        const Problem problem = IntegerProblem(dtype, 5, classes, 3, offset);
        for (const size_t gradient_offset : {size_t{0}, offset, 64 - SizeOf(dtype) - offset}) {
          ASSERT_EQ(FirstDifference(MustRun(problem, kEverything, gradient_offset), aligned), "")
              << classes << " classes, logits at offset " << offset << ", gradient at offset " << gradient_offset;
        }
      }
    }
  });
}

// The rows of `problem` in another order; row r of the result is row order[r].
Problem Reordered(const Problem& problem, const std::vector<int64_t>& order) {
  Problem result(problem.dtype, static_cast<int64_t>(order.size()), problem.classes);
  result.options = problem.options;
  const size_t row_bytes = static_cast<size_t>(problem.classes) * SizeOf(problem.dtype);
  for (size_t r = 0; r < order.size(); ++r) {
    const size_t from = static_cast<size_t>(order[r]);
    std::memcpy(result.logits.data() + r * row_bytes, problem.logits.data() + from * row_bytes, row_bytes);
    result.labels[r] = problem.labels[from];
  }
  return result;
}

// Ten rows of which some are ignored, far from 0, masked in part or NaN.
Problem MixedProblem(xent_dtype dtype, int64_t classes) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Problem problem = IntegerProblem(dtype, 10, classes, 8);
  problem.labels[1] = problem.labels[8] = problem.options.ignore_index;
  problem.Set(2, 5, 90.0);
  problem.Set(3, problem.labels[3] == 5 ? 6 : 5, -kInfinity);
  problem.Set(4, classes - 1, -200.0);
  problem.Set(6, classes / 2, std::numeric_limits<double>::quiet_NaN());
  return problem;
}

// The rows of `small` again and again, in so many blocks of them and at this distance.
Problem Repeated(const Problem& small, int64_t blocks, int64_t row_stride) {
  Problem large(small.dtype, small.rows * blocks, small.classes, row_stride);
  large.options = small.options;
  large.options.upstream *= static_cast<double>(blocks);  // the mean divides by as many times more rows
  const size_t element = SizeOf(small.dtype);
  const size_t row_bytes = static_cast<size_t>(small.classes) * element;
  for (int64_t r = 0; r < large.rows; ++r) {
    std::memcpy(large.logits.data() + static_cast<size_t>(r * row_stride) * element,
                small.logits.data() + static_cast<size_t>(r % small.rows) * row_bytes, row_bytes);
    large.labels[static_cast<size_t>(r)] = small.labels[static_cast<size_t>(r % small.rows)];
  }
  return large;
}

// A gradient larger than the cache is written past it, with aligned stores, and long rows while others are read: that
// must neither move a bit, nor miss the first and last elements, nor touch what is between rows. The rows repeat those
// of a small problem.
TEST(Alignment, GradientsLargerThanTheCacheHaveTheSameBits) {
  for (const xent_dtype dtype : kStorageTypes) {
    for (const int64_t classes : {1001, 2500, 2528, 9000}) {
      const Problem small = MixedProblem(dtype, classes);
      const size_t row_bytes = small.logits.size() / 10;
      const Results expected = MustRun(small, kGradient);
      for (int64_t r = 0; r < 10; ++r) {
        Problem alone = Reordered(small, {r});
        alone.options.reduction = XENT_REDUCTION_SUM;
        alone.options.upstream /= 8.0;  // the mean's
        const Results row = MustRun(alone, kGradient);
        const uint8_t* const in_batch = expected.gradient.data() + static_cast<size_t>(r) * row_bytes;
        ASSERT_EQ(std::memcmp(in_batch, row.gradient.data(), row_bytes), 0)
            << TypeName(dtype) << ", " << classes << " classes, row " << r;
      }
      const int64_t blocks = BytesBeyondTheCache() / static_cast<int64_t>(small.logits.size()) + 1;
      for (const int64_t padding : {0, 7}) {
        const Problem large = Repeated(small, blocks, classes + padding);
        const Results results = MustRun(large, kGradient, SizeOf(dtype));
        const Results unwritten = UnwrittenResults(large, kGradient, SizeOf(dtype));
        const size_t padding_bytes = static_cast<size_t>(padding) * SizeOf(dtype);
        for (int64_t r = 0; r < large.rows; ++r) {
          const size_t at = static_cast<size_t>(r) * (row_bytes + padding_bytes);
          const uint8_t* const row = results.gradient.data() + at;
          ASSERT_EQ(std::memcmp(row, expected.gradient.data() + static_cast<size_t>(r % 10) * row_bytes, row_bytes), 0)
              << TypeName(dtype) << ", " << classes << " classes and " << padding << " more, row " << r;
          if (r + 1 == large.rows) break;
          ASSERT_EQ(std::memcmp(row + row_bytes, unwritten.gradient.data() + at + row_bytes, padding_bytes), 0)
              << TypeName(dtype) << ", " << classes << " classes, behind row " << r;
        }
      }
    }
  }
}

// Row `row` of results, as the results of a call with only that row.
Results ExtractRow(const Problem& one_row, const Results& results, size_t row) {
  Results result = UnwrittenResults(one_row, kRowLoss | kLse | kGradient | kRowState);
  const auto copy = [&](Bytes* to, const Bytes& from) {
    std::memcpy(to->data(), from.data() + row * to->size(), to->size());
  };
  copy(&result.row_loss, results.row_loss);
  copy(&result.lse, results.lse);
  copy(&result.gradient, results.gradient);
  result.row_state[0] = results.row_state[row];
  return result;
}

void CheckPositions(xent_dtype dtype, int64_t rows, int64_t classes) {
  Problem batch = IntegerProblem(dtype, rows, classes, 4);
  batch.options.reduction = XENT_REDUCTION_SUM;
  std::vector<int64_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  std::rotate(order.begin(), order.begin() + rows / 3, order.end());
  std::reverse(order.begin(), order.begin() + rows / 2);
  const Results in_batch = MustRun(batch);
  const Results elsewhere = MustRun(Reordered(batch, order));
  for (size_t r = 0; r < order.size(); ++r) {
    const Problem one_row = Reordered(batch, {order[r]});
    const Results alone = MustRun(one_row);
    ASSERT_EQ(FirstDifference(ExtractRow(one_row, in_batch, static_cast<size_t>(order[r])), alone), "")
        << rows << " rows, " << classes << " classes, row " << order[r];
    ASSERT_EQ(FirstDifference(ExtractRow(one_row, elsewhere, r), alone), "")
        << rows << " rows, " << classes << " classes, row " << order[r] << " at " << r;
  }
}

// Row counts that leave tiles of rows, of whatever size, unequal.
TEST(Position, RowHasTheSameBitsAloneInABatchAndElsewhereInIt) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : kClassCounts) {
      if (classes < 2000) CheckPositions(dtype, 70, classes);
      for (const int64_t rows : {2, 3, 5, 8, 14, 29}) CheckPositions(dtype, rows, classes);
    }
  });
}

// Rows of every distribution in turn: what the one before was decides how the next is tried first, and nothing else.
TEST(Position, RowHasTheSameBitsBesideRowsOfEveryOtherKind) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {2, 3, 10, 33, 100, 300, 1000, 2500, 5000}) {
      const size_t kinds = Distributions().size();
      const int64_t rows = static_cast<int64_t>(4 * kinds);
      Problem batch(dtype, rows, classes);
      batch.options.reduction = XENT_REDUCTION_SUM;
      batch.options.upstream = 1.0 / 1024;
      Random random(static_cast<uint64_t>(classes));
      for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
        const Distribution& kind = Distributions()[static_cast<size_t>(random.Below(static_cast<int64_t>(kinds)))];
        const int64_t first = static_cast<int64_t>(r) * classes;
        batch.labels[r] = FillRow(kind, dtype, classes, random.Bits(), batch.logits.data(), first);
      }
      const Results in_batch = MustRun(batch);
      for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
        const Problem one_row = Reordered(batch, {static_cast<int64_t>(r)});
        ASSERT_EQ(FirstDifference(ExtractRow(one_row, in_batch, r), MustRun(one_row)), "")
            << TypeName(dtype) << ", " << classes << " classes, row " << r;
      }
    }
  });
}

// Short rows of every kind, ignored ones and invalid labels in turn, in tiles of which some rows are unusual: none of
// the first 200, some of the next 120, many of the last ones.
Problem MixedRows(xent_dtype dtype, int64_t classes) {
  const size_t kinds = Distributions().size();
  const int64_t rows = 450;
  Problem batch(dtype, rows, classes);
  // Divided by the rows, above and below 1, and beyond what floats can share with a probability.
  batch.options.upstream = classes % 4 == 1 ? 1e25 : classes % 3 == 0 ? 1e6 : 100.0;
  batch.options.invalid_label = XENT_INVALID_LABEL_NAN;
  Random random(static_cast<uint64_t>(classes));
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    const int64_t odds = r < 200 ? 0 : r < 320 ? 4 : 60;
    const bool is_any = random.Below(100) < odds;
    const size_t kind = is_any ? static_cast<size_t>(random.Below(static_cast<int64_t>(kinds))) : 0;
    const int64_t first = static_cast<int64_t>(r) * classes;
    batch.labels[r] = FillRow(Distributions()[kind], dtype, classes, random.Bits(), batch.logits.data(), first);
    if (random.Below(100) < odds / 4) batch.labels[r] = batch.options.ignore_index;
    if (random.Below(100) < odds / 4) batch.labels[r] = classes;  // invalid
  }
  return batch;
}

// What is asked for besides decides which way rows are computed, and nothing else.
TEST(Position, ShortRowsHaveTheSameBitsWhateverIsAskedFor) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    std::vector<int64_t> counts(17);
    std::iota(counts.begin(), counts.end(), 2);
    counts.insert(counts.end(), {21, 33, 100, 300, 1000});
    for (const int64_t classes : counts) {
      const Problem batch = MixedRows(dtype, classes);
      const Results all = MustRun(batch);
      const Results losses = MustRun(batch, kTotal | kRowLoss);
      const Results gradients = MustRun(batch, kTotal | kRowLoss | kGradient);
      ASSERT_EQ(FirstDifference(losses, all), "") << TypeName(dtype) << ", " << classes << " classes, losses";
      ASSERT_EQ(FirstDifference(gradients, all), "") << TypeName(dtype) << ", " << classes << " classes, gradients";
      for (int64_t r = 0; r < batch.rows; ++r) {
        const bool is_invalid = batch.labels[static_cast<size_t>(r)] == classes;
        EXPECT_TRUE(!is_invalid || IsNanRow(gradients, r))
            << TypeName(dtype) << ", " << classes << " classes, row " << r;
      }
      Problem overwritten = batch;
      const xent_logits logits = overwritten.Logits();
      const xent_targets labels = overwritten.Targets();
      xent_softmax_outputs in_place = xent_softmax_outputs_none();
      in_place.gradient = overwritten.logits.data();
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &labels, &overwritten.options, &in_place), XENT_OK);
      EXPECT_EQ(std::memcmp(overwritten.logits.data(), gradients.gradient.data(), gradients.gradient.size()), 0)
          << TypeName(dtype) << ", " << classes << " classes, in place";
    }
  });
}

// So with weights and upstream factors of rows' own, zeros among them, and NaN where a row is ignored.
TEST(Position, WeighedRowsHaveTheSameBitsWhateverIsAskedFor) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {2, 3, 10, 17, 33, 100, 300, 1000, 2048}) {
      Problem batch = MixedRows(dtype, classes);
      const xent_dtype type = RowType(dtype);
      Random random(7);
      Bytes class_weight(static_cast<size_t>(classes) * SizeOf(type));
      Bytes row_weight(static_cast<size_t>(batch.rows) * SizeOf(type));
      Bytes row_upstream(static_cast<size_t>(batch.rows) * SizeOf(type));
      for (int64_t j = 0; j < classes; ++j) {
        SetElement(class_weight.data(), type, j, j % 5 == 3 ? 0.0 : random.Uniform(0.25, 3));
      }
      for (int64_t r = 0; r < batch.rows; ++r) {
        const bool is_ignored = batch.labels[static_cast<size_t>(r)] == batch.options.ignore_index;
        SetElement(row_weight.data(), type, r, r % 50 == 30 ? 0.0 : random.Uniform(0.25, 3));
        const double upstream = r % 40 == 20 ? 0.0 : random.Uniform(-2, 2);
        SetElement(row_upstream.data(), type, r, is_ignored ? std::numeric_limits<double>::quiet_NaN() : upstream);
      }
      for (const unsigned own : {1u, 2u, 4u, 7u}) {
        batch.options.class_weight = (own & 1) != 0 ? class_weight.data() : nullptr;
        batch.options.row_weight = (own & 2) != 0 ? row_weight.data() : nullptr;
        batch.options.row_upstream = (own & 4) != 0 ? row_upstream.data() : nullptr;
        const Results all = MustRun(batch);  // lse among it goes the long way
        ASSERT_EQ(FirstDifference(MustRun(batch, kTotal | kRowLoss), all), "") << classes << " classes, " << own;
        ASSERT_EQ(FirstDifference(MustRun(batch, kTotal | kRowLoss | kGradient), all), "")
            << TypeName(dtype) << ", " << classes << " classes, " << own;
      }
    }
  });
}

// Without smoothing too, where a product with a negative slope may be -0.
TEST(Position, SmoothedRowsHaveTheSameBitsWhateverIsAskedFor) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 3, 10, 16, 17, 33, 100, 255, 256, 300, 1000, 2048}) {
      for (const bool is_usual : {false, true}) {
        Problem batch = is_usual ? Problem(dtype, 100, classes) : MixedRows(dtype, classes);
        if (is_usual) batch.Fill("normal", 12);
        for (int64_t r = 0; r < batch.rows && classes > 2; r += 3) {
          const int64_t j = batch.labels[static_cast<size_t>(r)] == 1 ? 2 : 1;
          SetElement(batch.logits.data(), dtype, r * classes + j, -std::numeric_limits<double>::infinity());
        }
        for (const double eps : {0.0, 0.1, 0.9, 1e-30}) {
          batch.options.label_smoothing = eps;
          batch.options.smoothing = classes % 2 == 0 ? XENT_SMOOTHING_UNIFORM : XENT_SMOOTHING_OTHERS;
          batch.options.upstream = eps < 0.5 ? -0.75 : 1.0;
          const Results all = MustRun(batch);  // lse among it goes the long way
          ASSERT_EQ(FirstDifference(MustRun(batch, kTotal | kRowLoss), all), "") << classes << " classes, " << eps;
          ASSERT_EQ(FirstDifference(MustRun(batch, kTotal | kRowLoss | kGradient), all), "")
              << TypeName(dtype) << ", " << classes << " classes, " << eps;
        }
      }
    }
  });
}

TEST(Repetition, EveryRunGivesTheSameBits) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Problem problem = IntegerProblem(dtype, 700, 300, 5);
    problem.options.num_threads = 3;
    const Results first = MustRun(problem);
    for (int run = 0; run < 20; ++run) ASSERT_EQ(FirstDifference(MustRun(problem), first), "") << "run " << run;
  });
}

void ExpectSameBitsWithFma(const Problem& problem, const std::string& name) {
  std::vector<Results> results;
  ForEveryIsa([&](const std::string& isa) {
    if (!HasFma(isa)) return;
    results.push_back(MustRun(problem));
    EXPECT_EQ(FirstDifference(results.back(), results.front()), "")
        << name << ", " << TypeName(problem.dtype) << ", " << problem.classes << " classes";
  });
}

TEST(Bits, AreTheSameOnEveryInstructionSetWithFma) {
  for (const xent_dtype dtype : kStorageTypes) {
    for (const int64_t classes : kClassCounts) {
      ExpectSameBitsWithFma(IntegerProblem(dtype, 20, classes, 6), "integers");
      // Rows with nothing unusual among them are summed eight at a time.
      Problem usual(dtype, 40, classes);
      usual.Fill("normal", 11);
      ExpectSameBitsWithFma(usual, "usual rows");
      for (const Distribution& distribution : Distributions()) {
        Problem problem(dtype, 6, classes);
        problem.Fill(distribution, static_cast<uint64_t>(classes));
        ExpectSameBitsWithFma(problem, distribution.name);
      }
    }
  }
}

// Everything but the row states, whose layout is the library's own affair.
uint64_t HashOfResults(xent_dtype dtype) {
  Fnv fnv;
  for (const int64_t classes : kClassCounts) {
    for (const xent_reduction reduction : {XENT_REDUCTION_MEAN, XENT_REDUCTION_SUM}) {
      Problem problem = IntegerProblem(dtype, 30, classes, 7);
      problem.options.reduction = reduction;
      Results results = MustRun(problem);
      problem.labels[12] = problem.options.ignore_index;  // the NaN row would be all that the totals show
      const Results totals = MustRun(problem, kTotal | kSum);
      fnv.Add(results.row_loss);
      fnv.Add(results.lse);
      fnv.Add(results.gradient);
      fnv.Add(&totals.total, sizeof(double));
      fnv.Add(&totals.sum, sizeof(double));
    }
  }
  return fnv.hash();
}

TEST(Bits, HashOfAllResultsIsTheOneOnRecord) {
  constexpr uint64_t kExpected[] = {kExpectedHashF32, kExpectedHashF64, kExpectedHashBf16, kExpectedHashF16};
  ForEveryIsa([&](const std::string& isa) {
    for (size_t i = 0; i < std::size(kStorageTypes); ++i) {
      const uint64_t hash = HashOfResults(kStorageTypes[i]);
      std::printf("%-7s %-4s hash 0x%016" PRIX64 "\n", isa.c_str(), TypeName(kStorageTypes[i]), hash);
      EXPECT_TRUE(!HasFma(isa) || hash == kExpected[i]) << TypeName(kStorageTypes[i]) << ": see tests/expected_hash.h";
    }
  });
}

}  // namespace
}  // namespace xent_test
