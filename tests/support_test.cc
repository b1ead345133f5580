// The tests' own tools, judged by constants from 60-digit arithmetic and by exhaustion: what measures must be right
// first.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "support/half.h"
#include "support/inputs.h"
#include "support/reference.h"
#include "support/storage.h"
#include "support/ulp.h"

namespace xent_test {
namespace {

struct KnownRow {
  std::vector<long double> x;
  int64_t label;
  long double lse;
  long double loss;
  std::vector<long double> gradient;
};

const std::vector<KnownRow>& KnownRows() {
  static const std::vector<KnownRow> kRows = {
      {{0, 1, 2},
       0,
       2.40760596444438030448292L,
       2.40760596444438030448292L,
       {-0.909969426829619542001978L, 0.24472847105479765247296L, 0.665240955774821889529018L}},
      {{0, 1, 2},
       2,
       2.40760596444438030448292L,
       0.40760596444438030448292L,
       {0.0900305731703804579980221L, 0.24472847105479765247296L, -0.334759044225178110470982L}},
      {{100, 0},
       0,
       100,
       3.7200759760208359629597e-44L,
       {-3.7200759760208359629597e-44L, 3.7200759760208359629597e-44L}},
      {{100, 0}, 1, 100, 100, {1, -1}},
      {{1e8L, 99999992, 99999984},
       1,
       100000000.000335518870325L,
       8.00033551887032547473043L,
       {0.999664537409836169439845L, -0.999664649907259547503098L, 1.12497423378063252627628e-7L}},
      {{-1e30L, -1e30L}, 0, -1e30L, 0.693147180559945309417232L, {-0.5L, 0.5L}},
      {{700, -3.25L, 699.5L},
       0,
       700.474076984180106680873L,
       0.474076984180106680872997L,
       {-0.377540668798145435361099L, 2.3796691656645982927604e-306L, 0.377540668798145435361099L}},
      {{11000, 0},
       0,
       11000,
       5.76366942916818369627282e-4778L,
       {-5.76366942916818369627282e-4778L, 5.76366942916818369627282e-4778L}},
  };
  return kRows;
}

TEST(Reference, AgreesWithSixtyDigitArithmetic) {
  for (const KnownRow& known : KnownRows()) {
    const int64_t classes = static_cast<int64_t>(known.x.size());
    std::vector<long double> gradient(known.x.size());
    const RowReference row = SoftmaxReference(known.x.data(), classes, known.label, gradient.data());
    const auto expect_close = [](long double result, long double exact) {
      EXPECT_LE(std::fabs(result - exact), std::ldexp(std::fabs(exact), -60)) << result << " and " << exact;
    };
    EXPECT_FALSE(row.nan);
    expect_close(row.lse, known.lse);
    expect_close(row.loss, known.loss);
    for (size_t j = 0; j < gradient.size(); ++j) expect_close(gradient[j], known.gradient[j]);
  }
}

TEST(Reference, TakesInfinitiesAsTheContractDoes) {
  const long double row[] = {-kInfinity, 1, -kInfinity};
  long double gradient[3];
  const RowReference masked = SoftmaxReference(row, 3, 0, gradient);
  EXPECT_EQ(masked.loss, kInfinity);
  EXPECT_EQ(masked.lse, 1);
  EXPECT_EQ(gradient[0], -1);
  EXPECT_EQ(gradient[1], 1);
  EXPECT_EQ(gradient[2], 0);
  const long double only_masked[] = {-kInfinity, -kInfinity};
  const long double overflowing[] = {kInfinity, 0};
  const long double unknown[] = {std::numeric_limits<long double>::quiet_NaN(), 0};
  EXPECT_TRUE(SoftmaxReference(only_masked, 2, 0, nullptr).nan);
  EXPECT_TRUE(SoftmaxReference(overflowing, 2, 1, nullptr).nan);
  EXPECT_TRUE(SoftmaxReference(unknown, 2, 1, nullptr).nan);
}

struct KnownValue {
  xent_function function;
  long double x;
  long double y;
};

TEST(Reference, OfFunctionsAgreesWithSixtyDigitArithmetic) {
  const KnownValue kValues[] = {
      {XENT_EXP, -745, 2.82235073047193707635344e-324L},
      {XENT_EXP, 0.34375L, 1.41022603492571070569973L},
      {XENT_LOG, 0x1.6ap-1L, -0.346680413213736728498770L},
      {XENT_LOG, 1.0009765625L, 0.000976085973055458895960825L},
      {XENT_LOG1P, -0.9375L, -2.77258872223978123766893L},
      {XENT_LOG1P, 0x1p-40L, 9.09494701772514647608763e-13L},
      {XENT_EXPM1, 0x1p-30L, 9.31322575049159384753834e-10L},
      {XENT_EXPM1, -3, -0.950212931632136057020658L},
      {XENT_SIGMOID, -700, 9.85967654375977085670537e-305L},
      {XENT_SIGMOID, 0.375L, 0.592666599954069758766060L},
      {XENT_LOG_SIGMOID, 50, -1.92874984796391778301716e-22L},
      {XENT_LOG_SIGMOID, -1.5L, -1.70141327798275240949948L},
      {XENT_SOFTPLUS, -0.625L, 0.428700678276518637213593L},
      {XENT_SOFTPLUS, -720, 2.03223080242429315286663e-313L},
      {XENT_TANH, 0.125L, 0.124353001771596208054647L},
      {XENT_TANH, 19, 0.999999999999999937217344L},
  };
  for (const KnownValue& known : kValues) {
    const long double result = FunctionReference(known.function, known.x);
    EXPECT_LE(std::fabs(result - known.y), std::ldexp(std::fabs(known.y), -60)) << xent_function_name(known.function);
  }
  EXPECT_TRUE(std::isnan(FunctionReference(XENT_LOG, -1)));
  EXPECT_TRUE(std::isnan(FunctionReference(0, 1)));
}

TEST(Ulp, CountsInTheBinadeOfTheExactValue) {
  EXPECT_EQ(Ulp(1.0L, kFormatF32), 0x1p-23L);
  EXPECT_EQ(Ulp(-1.999L, kFormatF64), 0x1p-52L);
  EXPECT_EQ(Ulp(0.5L, kFormatBf16), 0x1p-8L);
  EXPECT_EQ(Ulp(1e-44L, kFormatF32), 0x1p-149L);
  EXPECT_EQ(Ulp(0.0L, kFormatF16), 0x1p-24L);
  EXPECT_EQ(UlpError(1 + 0x1p-23L, 1 + 0x1p-24L, kFormatF32), 0.5L);
  EXPECT_EQ(UlpError(0.0L, 0x1p-151L, kFormatF32), 0.25L);
  EXPECT_EQ(UlpError(std::numeric_limits<long double>::quiet_NaN(), 1.0L, kFormatF32), kInfinity);
}

TEST(Ulp, TakesACorrectOverflowForNoErrorAndAFalseOneForALargeOne) {
  EXPECT_EQ(UlpError(kInfinity, 1e39L, kFormatF32), 0);
  EXPECT_EQ(UlpError(kInfinity, kInfinity, kFormatF32), 0);
  EXPECT_EQ(UlpError(-kInfinity, kInfinity, kFormatF32), kInfinity);
  EXPECT_EQ(UlpError(3e38L, kInfinity, kFormatF32), kInfinity);
  EXPECT_EQ(UlpError(kInfinity, 0x1.FFFFFFp127L, kFormatF32), 0.5L);
  EXPECT_GT(UlpError(kInfinity, 1e38L, kFormatF32), 1e6L);
  EXPECT_GT(UlpError(-kInfinity, 1e39L, kFormatF32), 1e6L);
}

TEST(Half, EveryWordSurvivesTheWayThroughFloat) {
  for (uint32_t word = 0; word < 65536; ++word) {
    const uint16_t half = static_cast<uint16_t>(word);
    const float from_bf16 = FloatFromBf16(half);
    const float from_f16 = FloatFromF16(half);
    EXPECT_TRUE(std::isnan(from_bf16) || Bf16FromFloat(from_bf16) == half) << word;
    EXPECT_TRUE(std::isnan(from_f16) || F16FromFloat(from_f16) == half) << word;
  }
}

// Midpoints of neighbouring words and the floats next to them, where truncation and rounding half up go wrong.
TEST(Half, RoundsToNearestEvenAtEveryMidpoint) {
  for (uint32_t word = 0; word < 0x7F80; ++word) {
    const float low = FloatFromBf16(static_cast<uint16_t>(word));
    uint32_t bits;
    std::memcpy(&bits, &low, sizeof(bits));
    for (const uint32_t middle : {bits + 0x7FFF, bits + 0x8000, bits + 0x8001}) {
      float value;
      std::memcpy(&value, &middle, sizeof(value));
      EXPECT_EQ(FloatFromBf16(Bf16FromFloat(value)), static_cast<float>(RoundTo(value, kFormatBf16)));
    }
  }
  for (uint32_t word = 0; word < 0x7C00; ++word) {
    const float low = FloatFromF16(static_cast<uint16_t>(word));
    const float high = word == 0x7BFF ? 65536.0f : FloatFromF16(static_cast<uint16_t>(word + 1));
    const float middle = (low + high) / 2;
    for (const float value : {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, 1e30f)}) {
      EXPECT_EQ(FloatFromF16(F16FromFloat(value)), static_cast<float>(RoundTo(value, kFormatF16))) << value;
    }
  }
}

TEST(Half, KeepsInfinitiesAndNan) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(FloatFromBf16(Bf16FromFloat(-infinity)), -infinity);
  EXPECT_EQ(FloatFromF16(F16FromFloat(-infinity)), -infinity);
  EXPECT_TRUE(std::isnan(FloatFromBf16(Bf16FromFloat(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(FloatFromF16(F16FromFloat(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Inputs, AreTheSameForTheSameSeedAndHaveAnAllowedLabel) {
  std::set<std::string> names;
  for (const Distribution& distribution : Distributions()) {
    EXPECT_TRUE(names.insert(distribution.name).second) << distribution.name;
    EXPECT_EQ(FindDistribution(distribution.name), &distribution);
    for (const xent_dtype dtype : kStorageTypes) {
      for (const int64_t classes : {1, 2, 77}) {
        Bytes first(static_cast<size_t>(classes) * SizeOf(dtype));
        Bytes second(first.size());
        const int64_t label = FillRow(distribution, dtype, classes, 5, first.data(), 0);
        EXPECT_EQ(FillRow(distribution, dtype, classes, 5, second.data(), 0), label);
        EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size()), 0) << distribution.name;
        EXPECT_TRUE(label >= 0 && label < classes) << distribution.name;
      }
    }
  }
}

}  // namespace
}  // namespace xent_test
