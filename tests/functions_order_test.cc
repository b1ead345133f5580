// What correct rounding implies for neighbouring and opposite arguments of xent_map: order, range and symmetry, on
// every float of a neighbourhood and on every word of the half types.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/functions.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr int64_t kNeighbours = 1500;  // to each side

// In ascending order; one NaN less than all words around the middle.
Bytes Neighbourhood(double middle) {
  const int64_t rank = RankOf(XENT_F32, WordOf(XENT_F32, middle));
  std::vector<uint64_t> words;
  for (int64_t r = rank - kNeighbours; r <= rank + kNeighbours; ++r) {
    const uint64_t word = r < 0 ? static_cast<uint64_t>(-1 - r) | SignOf(XENT_F32) : static_cast<uint64_t>(r);
    if (!IsNan(XENT_F32, word)) words.push_back(word);
  }
  return ArrayOf(XENT_F32, words);
}

// Ends of the range reductions, thresholds, zeros, and arguments whose values lie closest to the middle of two floats.
std::vector<double> Middles() {
  std::vector<double> middles = {
      0,       1,     0x1.6a09e6p-1, 0x1p-126,      0x1p-24,       0x1p-16,       0x1.b121a6p+76,
      9.01091, 104.0, 0x1.62e42ep+6, 0x1.9fe368p+6, 0x1.154244p+4, 0x1.84a5bap-4, 3.4e38,
      0.5,     10,    0x1.64p-1};
  for (int n = 1; n <= 33; n += 4) middles.push_back(n * 0x1.62e430p-4);  // odd multiples of ln(2)/8 and others
  for (size_t i = middles.size(); i > 0; --i) middles.push_back(-middles[i - 1]);
  return middles;
}

void ExpectAscending(xent_function function, xent_dtype dtype, const Bytes& x, const Bytes& y) {
  for (int64_t i = 1; i < CountOf(x, dtype); ++i) {
    const uint64_t before = Word(y.data(), dtype, i - 1);
    const uint64_t here = Word(y.data(), dtype, i);
    if (IsNan(dtype, before) || IsNan(dtype, here)) continue;
    ASSERT_LE(RankOf(dtype, before), RankOf(dtype, here))
        << NameOf(function, dtype) << ", x = " << std::hexfloat << Element(x.data(), dtype, i);
  }
}

TEST(FunctionOrder, OfSinglesIsKeptInDenseNeighbourhoods) {
  ForEveryIsa([](const std::string&) {
    for (const double middle : Middles()) {
      const Bytes x = Neighbourhood(middle);
      for (const xent_function function : kFunctions) {
        ExpectAscending(function, XENT_F32, x, Mapped(function, XENT_F32, x));
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(FunctionOrder, OfHalfTypesIsKeptFromMinusInfinityToInfinity) {
  ForEveryIsa([](const std::string&) {
    for (const xent_dtype dtype : {XENT_BF16, XENT_F16}) {
      std::vector<uint64_t> words;
      for (uint64_t word = InfinityOf(dtype) + 1; word > 0; --word) words.push_back((word - 1) | SignOf(dtype));
      for (uint64_t word = 0; word <= InfinityOf(dtype); ++word) words.push_back(word);
      const Bytes x = ArrayOf(dtype, words);
      for (const xent_function function : kFunctions) {
        ExpectAscending(function, dtype, x, Mapped(function, dtype, x));
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

struct Range {
  xent_function function;
  double low;  // -0.0 allows both zeros, 0.0 only the positive one
  double high;
};

constexpr Range kRanges[] = {{XENT_EXP, 0.0, kInf},      {XENT_EXPM1, -1, kInf}, {XENT_SIGMOID, 0.0, 1},
                             {XENT_SOFTPLUS, 0.0, kInf}, {XENT_TANH, -1, 1},     {XENT_LOG_SIGMOID, -kInf, -0.0}};

TEST(FunctionRange, IsNotLeft) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const Bytes x = RecordedArguments(dtype);
    for (const Range& range : kRanges) {
      const Bytes y = Mapped(range.function, dtype, x);
      const int64_t low = RankOf(dtype, WordOf(dtype, range.low));
      const int64_t high = RankOf(dtype, WordOf(dtype, range.high));
      for (int64_t i = 0; i < CountOf(x, dtype); ++i) {
        const uint64_t word = Word(y.data(), dtype, i);
        if (IsNan(dtype, word)) continue;
        ASSERT_TRUE(low <= RankOf(dtype, word) && RankOf(dtype, word) <= high)
            << NameOf(range.function, dtype) << ", x = " << std::hexfloat << Element(x.data(), dtype, i) << " gives "
            << Element(y.data(), dtype, i);
      }
    }
  });
}

// In f32 the least argument whose e^x is not rounded to 0 is known. In f64 it depends on an error of up to 0.63 units:
// e^x is 0.65 of the least number at -744.87, and 0.35 of it at -745.5.
TEST(FunctionRange, ExpIsPositiveDownToWhereItVanishes) {
  struct End {
    xent_dtype dtype;
    double last_positive;
    double first_zero;
  };
  ForEveryIsa([](const std::string&) {
    for (const End& end : {End{XENT_F32, -0x1.9fe368p+6, -0x1.9fe36ap+6}, End{XENT_F64, -744.87, -745.5}}) {
      const Bytes x = RecordedArguments(end.dtype);
      const Bytes y = Mapped(XENT_EXP, end.dtype, x);
      for (int64_t i = 0; i < CountOf(x, end.dtype); ++i) {
        const double argument = Element(x.data(), end.dtype, i);
        const double result = Element(y.data(), end.dtype, i);
        ASSERT_TRUE(result > 0 || !(argument >= end.last_positive)) << std::hexfloat << argument;
        ASSERT_TRUE(result == 0 || !(argument <= end.first_zero)) << std::hexfloat << argument;
      }
    }
  });
}

// With the sign of every element turned, but for NaN.
Bytes Negated(xent_dtype dtype, const Bytes& x) {
  Bytes negated = x;
  for (int64_t i = 0; i < CountOf(x, dtype); ++i) {
    const uint64_t word = Word(x.data(), dtype, i);
    if (!IsNan(dtype, word)) SetWord(negated.data(), dtype, i, word ^ SignOf(dtype));
  }
  return negated;
}

TEST(FunctionSymmetry, TanhIsOddAndLogSigmoidMirrorsSoftplusBitForBit) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    const Bytes x = RecordedArguments(dtype);
    const Bytes minus_x = Negated(dtype, x);
    EXPECT_EQ(FirstDifference(dtype, x, Mapped(XENT_TANH, dtype, minus_x), Negated(dtype, Mapped(XENT_TANH, dtype, x))),
              "");
    EXPECT_EQ(FirstDifference(dtype, x, Mapped(XENT_LOG_SIGMOID, dtype, x),
                              Negated(dtype, Mapped(XENT_SOFTPLUS, dtype, minus_x))),
              "");
  });
}

}  // namespace
}  // namespace xent_test
