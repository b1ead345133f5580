// Nothing outside the buffers is read or written: rows flush against unreadable pages at both ends, canaries around
// every output at every alignment, padding and ignored rows on unreadable pages. Class counts pass every tail of every
// vector.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/guard.h"
#include "support/problem.h"

namespace xent_test {
namespace {

// 1 to 8 times the 16 lanes of the widest vector and 3, then around a step, a staged tile and a chunk.
std::vector<int64_t> ClassCounts() {
  std::vector<int64_t> counts;
  for (int64_t classes = 1; classes <= 8 * 16 + 3; ++classes) counts.push_back(classes);
  for (const int64_t classes : {255, 257, 1000, 1023, 1025, 2047, 2048, 2049, 2079, 2081, 4095, 4097, 5000, 33000}) {
    counts.push_back(classes);
  }
  return counts;
}

std::string Note(const std::string& isa, const Problem& problem, const std::string& what) {
  return isa + ", " + TypeName(problem.dtype) + ", " + std::to_string(problem.rows) + " rows, " +
         std::to_string(problem.classes) + " classes: " + what;
}

// The buffers of a call in memory that a test has placed.
struct Placed {
  unsigned char* logits;
  unsigned char* labels;
  unsigned char* row_loss;
  unsigned char* lse;
  unsigned char* row_state;
  unsigned char* gradient;
};

// Copies the problem into place, calls, and compares with `expected`.
void CallInPlaceAndCompare(const Problem& problem, const Placed& placed, const Results& expected) {
  std::memcpy(placed.logits, problem.logits.data(), problem.logits.size());
  std::memcpy(placed.labels, problem.labels.data(), problem.labels.size() * sizeof(int64_t));
  Results results = UnwrittenResults(problem, kEverything);
  xent_softmax_outputs outputs = OutputsOf(results);
  outputs.row_loss = placed.row_loss;
  outputs.lse = placed.lse;
  outputs.row_state = reinterpret_cast<xent_row_state*>(placed.row_state);
  outputs.gradient = placed.gradient;
  const xent_logits logits = xent_logits_rows(placed.logits, problem.dtype, problem.rows, problem.classes);
  const xent_targets targets = xent_targets_labels(placed.labels, XENT_I64);
  ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs), XENT_OK) << xent_last_error();
  std::memcpy(results.row_loss.data(), placed.row_loss, results.row_loss.size());
  std::memcpy(results.lse.data(), placed.lse, results.lse.size());
  std::memcpy(static_cast<void*>(results.row_state.data()), placed.row_state,
              results.row_state.size() * sizeof(xent_row_state));
  std::memcpy(results.gradient.data(), placed.gradient, results.gradient.size());
  ASSERT_EQ(FirstDifference(results, expected), "");
}

void CheckBesideUnreadablePages(const Problem& problem, Edge edge, const std::string& note) {
  NoteForFault(note + (edge == Edge::kBegin ? ", begin of the buffers" : ", end of the buffers"));
  const Results expected = MustRun(problem);
  const size_t rows = static_cast<size_t>(problem.rows);
  const size_t row_bytes = rows * SizeOf(RowType(problem.dtype));
  GuardedBytes logits(problem.logits.size(), edge);
  GuardedBytes labels(rows * sizeof(int64_t), edge);
  GuardedBytes row_loss(row_bytes, edge);
  GuardedBytes lse(row_bytes, edge);
  GuardedBytes row_state(rows * sizeof(xent_row_state), edge);
  GuardedBytes gradient(problem.logits.size(), edge);
  CallInPlaceAndCompare(problem,
                        {logits.data(), labels.data(), row_loss.data(), lse.data(), row_state.data(), gradient.data()},
                        expected);
  for (const GuardedBytes* bytes : {&logits, &labels, &row_loss, &lse, &row_state, &gradient}) {
    ASSERT_TRUE(bytes->Intact());
  }
  CallInPlaceAndCompare(
      problem, {logits.data(), labels.data(), row_loss.data(), lse.data(), row_state.data(), logits.data()}, expected);
  ASSERT_TRUE(logits.Intact());
}

TEST(Memory, NothingBesideTheBuffersIsTouched) {
  ForEveryIsa([](const std::string& isa) {
    for (const xent_dtype dtype : kStorageTypes) {
      for (const int64_t classes : ClassCounts()) {
        for (const int64_t rows : {1, 3}) {
          Problem problem(dtype, rows, classes);
          problem.Fill(classes % 3 == 0 ? "wide_30" : "normal", static_cast<uint64_t>(classes));
          problem.options.num_threads = 1;
          SCOPED_TRACE(Note(isa, problem, "beside unreadable pages"));
          for (const Edge edge : {Edge::kBegin, Edge::kEnd}) {
            CheckBesideUnreadablePages(problem, edge, Note(isa, problem, "beside unreadable pages"));
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  });
}

void CheckCanaries(const Problem& problem, size_t offset, const Results& expected) {
  const size_t rows = static_cast<size_t>(problem.rows);
  const size_t row_size = SizeOf(RowType(problem.dtype));
  const size_t row_offset = offset / row_size * row_size;
  CanaryBytes logits(problem.logits.size(), offset);
  CanaryBytes labels(rows * sizeof(int64_t), offset / 8 * 8);
  CanaryBytes row_loss(rows * row_size, row_offset);
  CanaryBytes lse(rows * row_size, row_offset);
  CanaryBytes row_state(rows * sizeof(xent_row_state), offset / 8 * 8);
  CanaryBytes gradient(problem.logits.size(), 64 - SizeOf(problem.dtype) - offset);
  CallInPlaceAndCompare(problem,
                        {logits.data(), labels.data(), row_loss.data(), lse.data(), row_state.data(), gradient.data()},
                        expected);
  for (const CanaryBytes* bytes : {&logits, &labels, &row_loss, &lse, &row_state, &gradient}) {
    ASSERT_TRUE(bytes->Intact());
  }
}

TEST(Memory, CanariesAroundEveryOutputSurviveEveryAlignment) {
  ForEveryIsa([](const std::string& isa) {
    for (const xent_dtype dtype : kStorageTypes) {
      for (const int64_t classes : {1, 2, 3, 5, 7, 16, 17, 31, 33, 64, 67, 131, 1000, 2049, 5000}) {
        Problem problem(dtype, 3, classes);
        problem.Fill("wide_30", static_cast<uint64_t>(classes));
        const Results expected = MustRun(problem);
        for (size_t offset = 0; offset < 64; offset += SizeOf(dtype)) {
          NoteForFault(Note(isa, problem, "offset " + std::to_string(offset)));
          SCOPED_TRACE(Note(isa, problem, "offset " + std::to_string(offset)));
          CheckCanaries(problem, offset, expected);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  });
}

// A gradient that is larger than the cache is written with whole cache lines: the first and the last are shared with
// the canaries. Staged rows and long ones, each type with each instruction set.
TEST(Memory, CanariesSurviveAGradientLargerThanTheCache) {
  struct Large {
    xent_dtype dtype;
    int64_t classes;
    size_t offset;
  };
  for (const Large& large : {Large{XENT_F32, 1003, 60}, Large{XENT_F32, 5003, 4}, Large{XENT_F64, 1003, 8},
                             Large{XENT_BF16, 5003, 2}, Large{XENT_F16, 1003, 34}}) {
    const int64_t row_bytes = large.classes * static_cast<int64_t>(SizeOf(large.dtype));
    Problem problem(large.dtype, BytesBeyondTheCache() / row_bytes, large.classes);
    for (size_t i = 0; i < problem.labels.size(); ++i) problem.labels[i] = static_cast<int64_t>(i) % large.classes;
    CanaryBytes gradient(problem.logits.size(), large.offset);
    xent_softmax_outputs outputs = xent_softmax_outputs_none();
    outputs.gradient = gradient.data();
    const xent_logits logits = problem.Logits();
    const xent_targets targets = problem.Targets();
    ForEveryIsa([&](const std::string& isa) {
      NoteForFault(Note(isa, problem, "larger than the cache"));
      SCOPED_TRACE(Note(isa, problem, "larger than the cache"));
      ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &outputs), XENT_OK) << xent_last_error();
      EXPECT_TRUE(gradient.Intact());
    });
  }
}

// Rows of whole pages each, a page apart; the pages between and behind hold the padding.
class PagedRows {
 public:
  PagedRows(const Problem& packed, size_t classes)
      : row_bytes_(classes * SizeOf(packed.dtype)),
        row_pages_((row_bytes_ + Pages::PageSize() - 1) / Pages::PageSize()),
        rows_(static_cast<size_t>(packed.rows)),
        pages_(rows_ * (row_pages_ + 1)) {
    for (size_t r = 0; r < rows_; ++r) std::memcpy(Row(r), packed.logits.data() + r * row_bytes_, row_bytes_);
  }

  size_t StrideBytes() const { return (row_pages_ + 1) * Pages::PageSize(); }
  unsigned char* Row(size_t r) { return pages_.data() + r * StrideBytes(); }
  // The page after each row.
  void ForbidPadding() {
    for (size_t r = 0; r < rows_; ++r) pages_.Forbid(r * (row_pages_ + 1) + row_pages_, 1);
  }
  void ForbidRow(size_t r) { pages_.Forbid(r * (row_pages_ + 1), row_pages_); }

 private:
  size_t row_bytes_;
  size_t row_pages_;
  size_t rows_;
  Pages pages_;
};

int64_t StrideOfTwoPages(xent_dtype dtype) { return static_cast<int64_t>(2 * Pages::PageSize() / SizeOf(dtype)); }

// Calls on paged logits, the gradient (if wanted) in packed memory, and compares with the packed problem's results.
void CallPagedAndCompare(const Problem& packed, PagedRows* rows, unsigned want, const Results& expected) {
  Results results = UnwrittenResults(packed, want);
  xent_softmax_outputs outputs = OutputsOf(results);
  outputs.gradient_outer_stride = packed.classes;
  outputs.gradient_class_stride = 1;
  outputs.gradient_inner_stride = 1;
  const xent_logits logits = xent_logits_strided(rows->Row(0), packed.dtype, packed.rows, packed.classes,
                                                 static_cast<int64_t>(rows->StrideBytes() / SizeOf(packed.dtype)));
  const xent_targets targets = packed.Targets();
  ASSERT_EQ(xent_softmax_cross_entropy(&logits, &targets, &packed.options, &outputs), XENT_OK) << xent_last_error();
  EXPECT_EQ(FirstDifference(results, expected), "");
}

TEST(Memory, PaddingOnUnreadablePagesIsNotTouched) {
  ForEveryIsa([](const std::string& isa) {
    for (const xent_dtype dtype : kStorageTypes) {
      const int64_t page = StrideOfTwoPages(dtype) / 2;
      Problem packed(dtype, 5, page);
      packed.Fill("wide_10", 8);
      packed.options.num_threads = 1;
      const Results expected = MustRun(packed);
      PagedRows rows(packed, static_cast<size_t>(page));
      rows.ForbidPadding();
      NoteForFault(Note(isa, packed, "padding"));
      for (const unsigned want : {0u + kEverything, 0u + kRowLoss, 0u + kGradient}) {
        CallPagedAndCompare(packed, &rows, want, expected);
      }
    }
  });
}

TEST(Memory, IgnoredRowsOnUnreadablePagesAreNotRead) {
  ForEveryIsa([](const std::string& isa) {
    for (const xent_dtype dtype : kStorageTypes) {
      // The last are longer than a chunk, and so long that threads share rows.
      for (const int64_t classes : {int64_t{3}, int64_t{100}, StrideOfTwoPages(dtype) / 2, 2 * StrideOfTwoPages(dtype),
                                    34 * StrideOfTwoPages(dtype)}) {
        Problem packed(dtype, 6, classes);
        packed.Fill("wide_10", 9);
        packed.options.num_threads = classes > 4096 ? 3 : 1;
        for (const size_t r : {0, 3, 5}) packed.labels[r] = packed.options.ignore_index;
        const Results expected = MustRun(packed);
        PagedRows rows(packed, static_cast<size_t>(classes));
        for (const size_t r : {0, 3, 5}) rows.ForbidRow(r);
        NoteForFault(Note(isa, packed, "ignored rows"));
        for (const unsigned want : {0u + kEverything, 0u + kRowLoss, 0u + kGradient}) {
          CallPagedAndCompare(packed, &rows, want, expected);
        }
        packed.options.row_state = expected.row_state.data();
        CallPagedAndCompare(packed, &rows, kGradient, expected);
      }
    }
  });
}

TEST(Memory, CountsAloneReadNoLogits) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    Problem packed(dtype, 6, 100);
    packed.labels[2] = packed.options.ignore_index;
    const unsigned want = kCounted | kIgnored | kDenominator;
    const Results expected = MustRun(packed, want);
    PagedRows rows(packed, 100);
    for (size_t r = 0; r < 6; ++r) rows.ForbidRow(r);
    NoteForFault("counts alone");
    CallPagedAndCompare(packed, &rows, want, expected);
  });
}

// What an ignored row holds changes no bit of any output.
TEST(Memory, ContentOfIgnoredRowsDoesNotMatter) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const int64_t classes : {1, 2, 17, 100, 2049}) {
      Problem problem(dtype, 70, classes);
      problem.Fill("normal", 10);
      for (size_t r = 0; r < 70; r += 3) problem.labels[r] = problem.options.ignore_index;
      const Results expected = MustRun(problem);
      for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity(), 6e4}) {
        for (int64_t r = 0; r < 70; r += 3) {
          for (int64_t j = 0; j < classes; ++j) problem.Set(r, j, value);
        }
        ASSERT_EQ(FirstDifference(MustRun(problem), expected), "") << value << ", " << classes << " classes";
        ASSERT_EQ(FirstDifference(MustRun(problem, kRowLoss), expected), "") << value << ", " << classes << " classes";
        ASSERT_EQ(FirstDifference(MustRun(problem, kGradient), expected), "") << value << ", " << classes << " classes";
      }
    }
  });
}

}  // namespace
}  // namespace xent_test
