// xent_map gives an element the same bits wherever it stands: in place, at any offset, length and position, for every
// thread count and runner, and on every instruction set that has to agree. A hash on record pins the bits.
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

#include "expected_hash.h"
#include "support/every_isa.h"
#include "support/fnv.h"
#include "support/functions.h"
#include "support/runner.h"

namespace xent_test {
namespace {

// Elements of an element-wise call, and what is expected of them: the results of one call over all.
struct Sample {
  Sample(xent_function f, xent_dtype d, const Bytes& arguments)
      : function(f), dtype(d), x(arguments), y(Mapped(f, d, arguments)) {}

  // The call over `n` elements from `first` on, with x and y so many elements behind a 64-byte boundary.
  ::testing::AssertionResult SameBits(int64_t first, int64_t n, size_t x_offset, size_t y_offset) const {
    const size_t size = SizeOf(dtype), bytes = static_cast<size_t>(n) * size;
    Bytes from(bytes, x_offset * size), to(bytes, y_offset * size, 0xA5), wanted(bytes);
    if (n > 0) std::memcpy(from.data(), x.data() + static_cast<size_t>(first) * size, bytes);
    if (n > 0) std::memcpy(wanted.data(), y.data() + static_cast<size_t>(first) * size, bytes);
    if (xent_map(function, dtype, from.data(), to.data(), n, nullptr) != XENT_OK) {
      return ::testing::AssertionFailure() << xent_last_error();
    }
    const std::string difference = FirstDifference(dtype, from, to, wanted);
    if (difference.empty()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << NameOf(function, dtype) << " of " << n << " elements from " << first
                                         << ", offsets " << x_offset << " and " << y_offset << ": " << difference;
  }

  xent_function function;
  xent_dtype dtype;
  Bytes x;
  Bytes y;
};

Bytes RandomArguments(xent_dtype dtype, int64_t count, uint64_t seed) {
  return ArrayOf(dtype, RandomWords(dtype, count, seed));
}

// Every tail of four vectors of 16 lanes and of a step of 32 elements, and the edges of blocks of 4096.
std::vector<int64_t> Lengths() {
  std::vector<int64_t> lengths;
  for (int64_t n = 0; n <= 131; ++n) lengths.push_back(n);
  for (const int64_t n : {1000, 4063, 4065, 4095, 4096, 4097, 4127, 8191, 8192, 8193, 12287, 12289})
    lengths.push_back(n);
  return lengths;
}

TEST(FunctionBits, EveryLengthAndPositionGivesTheBitsOfTheWhole) {
  ForEveryIsa([](const std::string&) {
    ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
      const Sample sample(function, dtype, RandomArguments(dtype, 13000, 2));
      for (const int64_t n : Lengths()) {
        const int64_t first = n * 37 % (13000 - n);
        ASSERT_TRUE(sample.SameBits(first, n, static_cast<size_t>(first) % (64 / SizeOf(dtype)), 0));
      }
    });
  });
}

TEST(FunctionBits, EveryOffsetOfArgumentsAndResultsGivesTheSameBits) {
  ForEveryIsa([](const std::string&) {
    ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
      const Sample sample(function, dtype, RandomArguments(dtype, 101, 3));
      for (size_t x_offset = 0; x_offset < 64 / SizeOf(dtype); ++x_offset) {
        for (size_t y_offset = 0; y_offset < 64 / SizeOf(dtype); ++y_offset) {
          ASSERT_TRUE(sample.SameBits(0, 101, x_offset, y_offset));
        }
      }
    });
  });
}

TEST(FunctionBits, InPlaceGivesTheBitsOfOutOfPlace) {
  ForEveryIsa([](const std::string&) {
    ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
      for (const int64_t n : {1, 31, 33, 4097, 30001}) {
        const Sample sample(function, dtype, RandomArguments(dtype, n, 4));
        Bytes memory = sample.x;
        ASSERT_EQ(xent_map(function, dtype, memory.data(), memory.data(), n, nullptr), XENT_OK) << xent_last_error();
        ASSERT_EQ(FirstDifference(dtype, sample.x, memory, sample.y), "") << NameOf(function, dtype) << ", " << n;
      }
    });
  });
}

// Enough work for 16 threads, with a last block that is cut.
constexpr int64_t kForSixteenThreads = 16 * 65536 + 3 * 4096 + 17;

TEST(FunctionBits, EveryThreadCountGivesTheSameBits) {
  ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
    const Bytes pattern = RandomArguments(dtype, 10007, 5);
    const Bytes x = Repeated(pattern, kForSixteenThreads * SizeOf(dtype));
    const Bytes wanted = Repeated(Mapped(function, dtype, pattern), x.size());
    for (const int32_t threads : {1, 2, 3, 5, 8, 16}) {
      xent_map_options options = xent_map_options_default();
      options.num_threads = threads;
      ASSERT_EQ(FirstDifference(dtype, x, Mapped(function, dtype, x, &options, SizeOf(dtype)), wanted), "")
          << NameOf(function, dtype) << ", " << threads << " threads";
    }
  });
}

TEST(FunctionBits, RunnersOfTheCallerGiveTheBitsOfOpenMp) {
  ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
    const Bytes pattern = RandomArguments(dtype, 10007, 6);
    const Bytes x = Repeated(pattern, kForSixteenThreads / 4 * SizeOf(dtype));
    const Bytes wanted = Repeated(Mapped(function, dtype, pattern), x.size());
    for (const auto order : {InOrder, Reversed, OnThreePoolThreads}) {
      CallerRunner runner{order};
      const xent_parallel_runner given = runner.Make(3);
      xent_map_options options = xent_map_options_default();
      options.runner = &given;
      EXPECT_EQ(FirstDifference(dtype, x, Mapped(function, dtype, x, &options), wanted), "") << NameOf(function, dtype);
      EXPECT_EQ(runner.most_tasks, 3) << "the runner had nothing to share";
    }
  });
}

// One of all words, then only those where results may differ: the bits of the best instruction set stand for all.
void ExpectBitsOfTheFirst(xent_function function, xent_dtype dtype, bool fma_only, const Bytes& x) {
  Bytes first;
  ForEveryIsa([&](const std::string& isa) {
    if (fma_only && !HasFma(isa)) return;
    const Bytes y = Mapped(function, dtype, x);
    if (first.size() == 0) first = y;
    EXPECT_EQ(FirstDifference(dtype, x, y, first), "") << NameOf(function, dtype);
  });
}

TEST(FunctionBits, OfSinglesAreTheSameOnEveryInstructionSetOnAMillionArguments) {
  const Bytes x = RandomArguments(XENT_F32, 1 << 20, 7);
  for (const xent_function function : kFunctions) ExpectBitsOfTheFirst(function, XENT_F32, false, x);
}

TEST(FunctionBits, OfDoublesAreTheSameWhereThereIsFmaOnAMillionArguments) {
  const Bytes x = RandomArguments(XENT_F64, 1 << 20, 8);
  for (const xent_function function : kFunctions) ExpectBitsOfTheFirst(function, XENT_F64, true, x);
}

TEST(FunctionBits, HashOfAllResultsIsTheOneOnRecord) {
  ForEveryIsa([](const std::string& isa) {
    ForEveryFunctionAndType([&](xent_function function, xent_dtype dtype) {
      Fnv fnv;
      fnv.Add(Mapped(function, dtype, RecordedArguments(dtype)));
      const bool is_pinned = dtype != XENT_F64 || HasFma(isa);
      char text[24];
      std::snprintf(text, sizeof(text), "0x%016" PRIX64, fnv.hash());
      EXPECT_TRUE(!is_pinned || fnv.hash() == kExpectedFunctionHash[function - XENT_EXP][dtype - XENT_F32])
          << NameOf(function, dtype) << " is " << text << ": see tests/expected_hash.h";
    });
  });
}

}  // namespace
}  // namespace xent_test
