// Labels of all seven types: good ones give the same bits in every type, and bad ones are named with row and value
// before anything is written, whatever their type, position and the outputs asked for; or make their own row NaN, by
// policy.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/expected.h"
#include "support/guard.h"
#include "support/problem.h"

namespace xent_test {
namespace {

struct Range {
  int64_t smallest;
  int64_t largest;
};

template <typename T>
Range RangeOfType() {
  using Limits = std::numeric_limits<T>;
  return {static_cast<int64_t>(Limits::min()), static_cast<int64_t>(Limits::max())};
}

Range RangeOf(xent_dtype label_type) {
  switch (label_type) {
    case XENT_U8:
      return RangeOfType<uint8_t>();
    case XENT_I8:
      return RangeOfType<int8_t>();
    case XENT_U16:
      return RangeOfType<uint16_t>();
    case XENT_I16:
      return RangeOfType<int16_t>();
    case XENT_I32:
      return RangeOfType<int32_t>();
    case XENT_U32:
      return RangeOfType<uint32_t>();
  }
  return RangeOfType<int64_t>();
}

// The labels of a problem in another type.
Bytes LabelsAs(const Problem& problem, xent_dtype label_type) {
  Bytes labels(problem.labels.size() * SizeOf(label_type) + 1);
  for (int64_t r = 0; r < problem.rows; ++r) {
    SetLabel(labels.data(), label_type, r, problem.labels[static_cast<size_t>(r)]);
  }
  return labels;
}

Results TryWithLabels(const Problem& problem, xent_dtype label_type, unsigned want) {
  Results results = UnwrittenResults(problem, want);
  const Bytes labels = LabelsAs(problem, label_type);
  const xent_logits logits = problem.Logits();
  const xent_targets targets = xent_targets_labels(labels.data(), label_type);
  const xent_softmax_outputs outputs = OutputsOf(results);
  results.status = xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs);
  return results;
}

TEST(Labels, EveryTypeGivesTheSameBits) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {2, 100, 256, 2049}) {
      Problem problem(dtype, 70, classes);
      problem.Fill("wide_10", 31);
      for (int64_t& label : problem.labels) label = label % 126;
      problem.labels[3] = problem.options.ignore_index = 126;
      const Results expected = MustRun(problem);
      for (const xent_dtype label_type : kLabelTypes) {
        const Results results = TryWithLabels(problem, label_type, kEverything);
        ASSERT_EQ(results.status, XENT_OK) << xent_last_error();
        EXPECT_EQ(FirstDifference(results, expected), "") << TypeName(label_type) << ", " << classes << " classes";
        EXPECT_EQ(results.ignored, 1) << TypeName(label_type);
      }
    }
  });
}

// Each type's largest and smallest number, as a label where it is a class, or as ignore_index.
TEST(Labels, ExtremesOfEveryTypeAreTakenAtTheirValue) {
  for (const xent_dtype label_type : kLabelTypes) {
    const Range range = RangeOf(label_type);
    for (const int64_t extreme : {range.smallest, range.largest, int64_t{200}}) {
      if (extreme > range.largest) continue;
      Problem problem(XENT_F32, 3, 300);
      problem.Fill("normal", 32);
      problem.labels = {extreme, 1, extreme};
      const bool is_class = extreme >= 0 && extreme < 300;
      if (!is_class) problem.options.ignore_index = extreme;
      const Results results = TryWithLabels(problem, label_type, kEverything);
      ASSERT_EQ(results.status, XENT_OK) << TypeName(label_type) << ": " << xent_last_error();
      EXPECT_EQ(results.ignored, is_class ? 0 : 2) << TypeName(label_type) << ", " << extreme;
      ExpectWithinBounds(problem, results);
    }
  }
}

// Numbers that would be -100 or a class if they were cut to 32 bits or read with the wrong sign.
TEST(Labels, AreNotMistakenForTheirLowBits) {
  struct Trap {
    xent_dtype label_type;
    int64_t label;
    int64_t ignore_index;
  };
  const Trap kTraps[] = {
      {XENT_U32, 4294967196, -100},
      {XENT_I64, (int64_t{1} << 32) + 3, -100},
      {XENT_I64, 4294967196, -100},
      {XENT_U8, 156, -100},
      {XENT_U16, 65436, -100},
      {XENT_I8, -100, 156},
      {XENT_I16, -100, 65436},
      {XENT_I32, -100, 4294967196},
      {XENT_U32, int64_t{1} << 31, -2147483648LL},
      {XENT_I32, -2147483648LL, int64_t{1} << 31},
      {XENT_I64, int64_t{1} << 31, -100},
      {XENT_I64, std::numeric_limits<int64_t>::min(), 0},
  };
  for (const Trap& trap : kTraps) {
    Problem problem(XENT_F32, 2, 10);
    problem.labels = {4, trap.label};
    problem.options.ignore_index = trap.ignore_index;
    const Results results = TryWithLabels(problem, trap.label_type, kEverything);
    EXPECT_EQ(results.status, XENT_INVALID_LABEL) << TypeName(trap.label_type) << ", " << trap.label;
    EXPECT_NE(std::string(xent_last_error()).find("labels[1] is " + std::to_string(trap.label) + ";"),
              std::string::npos)
        << xent_last_error();
  }
}

std::string Sentence(int64_t row, int64_t label, const Problem& problem) {
  std::ostringstream text;
  text << "labels[" << row << "] is " << label << "; classes is " << problem.classes << " and ignore_index is "
       << problem.options.ignore_index;
  return text.str();
}

std::vector<int64_t> BadLabels(xent_dtype label_type, const Problem& problem) {
  const Range range = RangeOf(label_type);
  std::vector<int64_t> labels;
  for (const int64_t label : {problem.classes, problem.classes + 1, int64_t{-1}, int64_t{-2}, range.smallest,
                              range.largest, range.largest / 2 + 1, int64_t{50257}}) {
    const bool fits = label >= range.smallest && label <= range.largest;
    const bool is_good = (label >= 0 && label < problem.classes) || label == problem.options.ignore_index;
    if (fits && !is_good) labels.push_back(label);
  }
  return labels;
}

// Forward, backward, both, totals alone, counts alone.
constexpr unsigned kWants[] = {kRowLoss | kLse, kGradient, kEverything, kTotal, kCounted};

void ExpectInvalidLabel(const Problem& problem, xent_dtype label_type, unsigned want, const std::string& sentence) {
  const Results results = TryWithLabels(problem, label_type, want);
  EXPECT_EQ(results.status, XENT_INVALID_LABEL) << sentence;
  EXPECT_EQ(xent_last_error(), sentence);
  EXPECT_EQ(FirstDifference(results, UnwrittenResults(problem, want)), "") << sentence << ": bytes were written";
}

// Returns the number of cases.
int64_t CheckBadLabels(int64_t rows, xent_dtype label_type) {
  int64_t count = 0;
  for (const int64_t ignore_index : {-100, 3}) {
    Problem problem(XENT_F32, rows, 7);
    problem.options.ignore_index = ignore_index;
    problem.labels.assign(static_cast<size_t>(rows), 2);
    if (rows > 4) problem.labels[static_cast<size_t>(rows / 4)] = 6;
    for (const int64_t label : BadLabels(label_type, problem)) {
      for (const int64_t row : {int64_t{0}, rows / 3, rows / 2, rows - 1}) {
        Problem bad = problem;
        bad.labels[static_cast<size_t>(row)] = label;
        for (const unsigned want : kWants) {
          ExpectInvalidLabel(bad, label_type, want, Sentence(row, label, bad));
          ++count;
        }
      }
    }
  }
  return count;
}

TEST(Labels, BadOnesAreNamedWithRowAndValueAndNothingIsWritten) {
  int64_t count = 0;
  for (const xent_dtype label_type : kLabelTypes) {
    for (const int64_t rows : {1, 18, 5000}) {
      SCOPED_TRACE(testing::Message() << TypeName(label_type) << ", " << rows << " rows");
      count += CheckBadLabels(rows, label_type);
    }
  }
  std::printf("%lld bad labels\n", static_cast<long long>(count));
  EXPECT_GE(count, 2000);
}

TEST(Labels, TheFirstBadOneIsNamedWhateverTheThreads) {
  for (const int32_t threads : {1, 2, 7, 16}) {
    for (const int64_t first : {0, 4095, 4096, 40000, 99998}) {
      Problem problem(XENT_F32, 100000, 17);
      problem.options.num_threads = threads;
      for (int64_t r = first; r < problem.rows; r += 3000) problem.labels[static_cast<size_t>(r)] = 17 + r;
      problem.labels.back() = -5;
      ExpectInvalidLabel(problem, XENT_I64, kTotal, Sentence(first, 17 + first, problem));
    }
  }
}

TEST(Labels, BadOnesAreErrorsForSavedStatesAndSavedLse) {
  Problem problem(XENT_F32, 18, 7);
  problem.Fill("normal", 33);
  const Results forward = MustRun(problem);
  problem.labels[17] = 50257;
  problem.options.row_state = forward.row_state.data();
  ExpectInvalidLabel(problem, XENT_I64, kGradient, "labels[17] is 50257; classes is 7 and ignore_index is -100");
  problem.options.row_state = nullptr;
  problem.options.lse = forward.lse.data();
  ExpectInvalidLabel(problem, XENT_I64, kGradient, "labels[17] is 50257; classes is 7 and ignore_index is -100");
}

TEST(LabelsNanPolicy, MakesTheRowOfABadLabelNanAndTouchesNoOther) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 5, 33, 2049}) {
      for (const int64_t bad :
           {int64_t{-1}, classes, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
        Problem problem(dtype, 6, classes);
        problem.Fill("normal", 34);
        problem.labels[5] = problem.options.ignore_index;
        problem.options.invalid_label = XENT_INVALID_LABEL_NAN;
        const Results good = MustRun(problem);
        problem.labels[2] = bad;
        const Results results = MustRun(problem);
        EXPECT_EQ(results.counted, 5);
        EXPECT_EQ(results.denominator, 5);
        EXPECT_TRUE(std::isnan(results.Loss(2)));
        EXPECT_TRUE(IsNanRow(results, 2));
        EXPECT_TRUE(std::isnan(results.total));
        EXPECT_TRUE(std::isnan(results.sum));
        for (const int64_t r : {0, 1, 3, 4, 5}) {
          EXPECT_EQ(results.Loss(r), good.Loss(r));
          for (int64_t j = 0; j < classes; ++j) EXPECT_EQ(results.Gradient(r, j), good.Gradient(r, j));
        }
      }
    }
  });
}

TEST(LabelsNanPolicy, NeitherReadsNorWritesOutsideTheRow) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 5, 33, 2049, 40000}) {
      for (const int64_t bad : {int64_t{-1}, int64_t{-40}, classes, classes + 9, int64_t{1} << 40,
                                std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
        NoteForFault(std::string(TypeName(dtype)) + ", label " + std::to_string(bad) + " of " +
                     std::to_string(classes) + " classes");
        for (const Edge edge : {Edge::kBegin, Edge::kEnd}) {
          const size_t bytes = static_cast<size_t>(classes) * SizeOf(dtype);
          GuardedBytes x(bytes, edge);
          GuardedBytes gradient(bytes, edge);
          std::memset(x.data(), 0, bytes);
          const xent_logits logits = xent_logits_rows(x.data(), dtype, 1, classes);
          const xent_targets targets = xent_targets_labels(&bad, XENT_I64);
          xent_softmax_options options = xent_softmax_options_default();
          options.invalid_label = XENT_INVALID_LABEL_NAN;
          double total = 0;
          xent_softmax_outputs outputs = xent_softmax_outputs_none();
          outputs.total = &total;
          outputs.gradient = gradient.data();
          ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &options, &outputs), XENT_OK) << xent_last_error();
          EXPECT_TRUE(std::isnan(total));
          EXPECT_TRUE(gradient.Intact());
        }
      }
    }
  });
}

TEST(LabelsNanPolicy, IgnoredRowsStayIgnored) {
  Problem problem(XENT_F32, 3, 4);
  problem.labels = {problem.options.ignore_index, 1, problem.options.ignore_index};
  problem.options.invalid_label = XENT_INVALID_LABEL_NAN;
  const Results results = MustRun(problem);
  EXPECT_EQ(results.ignored, 2);
  EXPECT_FALSE(std::isnan(results.total));
}

}  // namespace
}  // namespace xent_test
