// The values of xent_map where formulas end: zeros, poles, infinities, NaN, domain errors, overflow, underflow and
// subnormal numbers, as C99 Annex F has them. What lies between is for `xent ulp`.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/functions.h"
#include "support/hard_cases.h"
#include "support/reference.h"

namespace xent_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Known {
  xent_function function;
  double x;
  double y;  // NaN stands for the canonical one
};

// Exact in every storage type, but for 2^-1074 and the like, which are zero in the smaller ones, as they should be.
constexpr Known kAnnexF[] = {
    {XENT_EXP, 0.0, 1},
    {XENT_EXP, -0.0, 1},
    {XENT_EXP, kInf, kInf},
    {XENT_EXP, -kInf, 0.0},
    {XENT_LOG, 0.0, -kInf},
    {XENT_LOG, -0.0, -kInf},
    {XENT_LOG, 1, 0.0},
    {XENT_LOG, kInf, kInf},
    {XENT_LOG, -1, kNan},
    {XENT_LOG, -kInf, kNan},
    {XENT_LOG1P, 0.0, 0.0},
    {XENT_LOG1P, -0.0, -0.0},
    {XENT_LOG1P, -1, -kInf},
    {XENT_LOG1P, kInf, kInf},
    {XENT_LOG1P, -1.5, kNan},
    {XENT_LOG1P, -kInf, kNan},
    {XENT_EXPM1, 0.0, 0.0},
    {XENT_EXPM1, -0.0, -0.0},
    {XENT_EXPM1, kInf, kInf},
    {XENT_EXPM1, -kInf, -1},
    {XENT_SIGMOID, 0.0, 0.5},
    {XENT_SIGMOID, -0.0, 0.5},
    {XENT_SIGMOID, kInf, 1},
    {XENT_SIGMOID, -kInf, 0.0},
    {XENT_LOG_SIGMOID, kInf, -0.0},
    {XENT_LOG_SIGMOID, -kInf, -kInf},
    {XENT_SOFTPLUS, kInf, kInf},
    {XENT_SOFTPLUS, -kInf, 0.0},
    {XENT_TANH, 0.0, 0.0},
    {XENT_TANH, -0.0, -0.0},
    {XENT_TANH, kInf, 1},
    {XENT_TANH, -kInf, -1},
};

// Numbers at which results change kind, and their neighbours on the other side (60-digit arithmetic).
constexpr Known kSingleThresholds[] = {
    {XENT_EXP, 0x1.62e42ep+6, 0x1.ffff08p+127},  // the last one that is finite
    {XENT_EXP, 0x1.62e430p+6, kInf},
    {XENT_EXP, -0x1.5d589ep+6, 0x1.00004cp-126},  // the last one that is normal
    {XENT_EXP, -0x1.9fe368p+6, 0x1p-149},         // the last one that is not zero
    {XENT_EXP, -0x1.9fe36ap+6, 0.0},
    {XENT_EXP, 0x1p-149, 1},
    {XENT_EXP, -0x1p-149, 1},
    {XENT_LOG, 0x1p-149, -0x1.9d1da0p+6},
    {XENT_LOG, 0x1.fffffep+127, 0x1.62e430p+6},
    {XENT_LOG, -0x1p-149, kNan},
    {XENT_LOG1P, -0x1.fffffep-1, -0x1.0a2b24p+4},
    {XENT_LOG1P, -0x1.000002p+0, kNan},
    {XENT_LOG1P, 0x1p-149, 0x1p-149},
    {XENT_LOG1P, -0x1p-149, -0x1p-149},
    {XENT_EXPM1, 0x1.62e42ep+6, 0x1.ffff08p+127},
    {XENT_EXPM1, 0x1.62e430p+6, kInf},
    {XENT_EXPM1, -0x1.154244p+4, -0x1.fffffep-1},
    {XENT_EXPM1, -0x1.154246p+4, -1},
    {XENT_EXPM1, -0x1p-149, -0x1p-149},
    {XENT_SIGMOID, 0x1.154244p+4, 0x1.fffffep-1},
    {XENT_SIGMOID, 0x1.154246p+4, 1},
    {XENT_SIGMOID, -0x1.9fe368p+6, 0x1p-149},
    {XENT_SIGMOID, -0x1.9fe36ap+6, 0.0},
    {XENT_SOFTPLUS, -0x1.9fe368p+6, 0x1p-149},
    {XENT_SOFTPLUS, -0x1.9fe36ap+6, 0.0},
    {XENT_SOFTPLUS, 0.0, 0x1.62e430p-1},
    {XENT_SOFTPLUS, -0.0, 0x1.62e430p-1},
    {XENT_SOFTPLUS, 0x1.fffffep+127, 0x1.fffffep+127},
    {XENT_LOG_SIGMOID, 0x1.9fe368p+6, -0x1p-149},
    {XENT_LOG_SIGMOID, 0x1.9fe36ap+6, -0.0},
    {XENT_LOG_SIGMOID, 0.0, -0x1.62e430p-1},
    {XENT_TANH, 0x1.205966p+3, 0x1.fffffep-1},
    {XENT_TANH, 0x1.205968p+3, 1},
    {XENT_TANH, 0x1p-149, 0x1p-149},
    {XENT_TANH, -0x1p-149, -0x1p-149},
};

// f64 results need not be the nearest numbers; at these arguments they are, on every instruction set.
constexpr Known kDoubleThresholds[] = {
    {XENT_EXP, 0x1.62e42fefa39efp+9, 0x1.fffffffffff2ap+1023},
    {XENT_EXP, 0x1.62e42fefa39f0p+9, kInf},
    {XENT_EXP, -0x1.74910d52d3051p+9, 0x1p-1074},
    {XENT_EXP, -745.5, 0.0},
    {XENT_EXP, 0x1p-1074, 1},
    {XENT_EXP, -0x1p-1074, 1},
    {XENT_LOG, 0x1p-1074, -0x1.74385446d71c3p+9},
    {XENT_LOG, 0x1.fffffffffffffp+1023, 0x1.62e42fefa39efp+9},
    {XENT_LOG, -0x1p-1074, kNan},
    {XENT_LOG1P, -0x1.fffffffffffffp-1, -0x1.25e4f7b2737fap+5},
    {XENT_LOG1P, -0x1.0000000000001p+0, kNan},
    {XENT_LOG1P, 0x1p-1074, 0x1p-1074},
    {XENT_LOG1P, -0x1p-1074, -0x1p-1074},
    {XENT_LOG1P, 0x1p-1022, 0x1p-1022},
    {XENT_EXPM1, 0x1.62e42fefa39efp+9, 0x1.fffffffffff2ap+1023},
    {XENT_EXPM1, 0x1.62e42fefa39f0p+9, kInf},
    {XENT_EXPM1, -0x1.2b708872320e2p+5, -1},
    {XENT_EXPM1, -0x1p-1074, -0x1p-1074},
    {XENT_EXPM1, 0x1p-1022, 0x1p-1022},
    {XENT_SIGMOID, 0x1.2b708872320e2p+5, 1},
    {XENT_SIGMOID, -0x1.74910d52d3051p+9, 0x1p-1074},
    {XENT_SIGMOID, -745.5, 0.0},
    {XENT_SOFTPLUS, -0x1.74910d52d3051p+9, 0x1p-1074},
    {XENT_SOFTPLUS, -745.5, 0.0},
    {XENT_SOFTPLUS, 0.0, 0x1.62e42fefa39efp-1},
    {XENT_SOFTPLUS, -0.0, 0x1.62e42fefa39efp-1},
    {XENT_SOFTPLUS, 0x1.fffffffffffffp+1023, 0x1.fffffffffffffp+1023},
    {XENT_LOG_SIGMOID, 0x1.74910d52d3051p+9, -0x1p-1074},
    {XENT_LOG_SIGMOID, 745.5, -0.0},
    {XENT_LOG_SIGMOID, 0.0, -0x1.62e42fefa39efp-1},
    {XENT_TANH, 0x1.30fc1931f09cap+4, 1},
    {XENT_TANH, 0x1p-1074, 0x1p-1074},
    {XENT_TANH, -0x1p-1074, -0x1p-1074},
    {XENT_TANH, 0x1p-1022, 0x1p-1022},
};

void ExpectKnown(const Known& known, xent_dtype dtype) {
  const uint64_t wanted = std::isnan(known.y) ? CanonicalNanOf(dtype) : WordOf(dtype, known.y);
  const Bytes x = ArrayOf(dtype, {WordOf(dtype, known.x)});
  EXPECT_EQ(FirstDifference(dtype, x, Mapped(known.function, dtype, x), ArrayOf(dtype, {wanted})), "")
      << NameOf(known.function, dtype);
}

TEST(FunctionValues, AreThoseOfAnnexFAtZerosPolesAndInfinities) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const Known& known : kAnnexF) ExpectKnown(known, dtype);
  });
}

TEST(FunctionValues, OverflowUnderflowAndSaturateAtTheirThresholds) {
  ForEveryIsa([](const std::string&) {
    for (const Known& known : kSingleThresholds) ExpectKnown(known, XENT_F32);
    for (const Known& known : kDoubleThresholds) ExpectKnown(known, XENT_F64);
  });
}

TEST(FunctionValues, EveryNanGivesTheSameQuietNan) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    std::vector<uint64_t> words = {InfinityOf(dtype) + 1, SignOf(dtype) - 1, CanonicalNanOf(dtype)};
    for (uint64_t bit = 1; bit < InfinityOf(dtype) && !IsNan(dtype, bit); bit *= 2) {
      if (IsNan(dtype, InfinityOf(dtype) | bit)) words.push_back(InfinityOf(dtype) | bit);
    }
    for (size_t i = words.size(); i > 0; --i) words.push_back(words[i - 1] | SignOf(dtype));
    const Bytes x = ArrayOf(dtype, words);
    const Bytes wanted = ArrayOf(dtype, std::vector<uint64_t>(words.size(), CanonicalNanOf(dtype)));
    for (const xent_function function : kFunctions) {
      EXPECT_EQ(FirstDifference(dtype, x, Mapped(function, dtype, x), wanted), "") << NameOf(function, dtype);
    }
  });
}

// The bounds of f64 in xent.h, with fused multiply-add and without.
double BoundOf(xent_function function, bool has_fma) {
  constexpr double kBounds[][2] = {{0.61, 0.63}, {0.64, 0.72}, {0.69, 0.75}, {0.94, 1.01},
                                   {0.60, 0.63}, {0.73, 0.80}, {0.73, 0.80}, {0.80, 0.81}};
  return kBounds[function - XENT_EXP][has_fma ? 0 : 1];
}

// What the contract allows for one argument. f32: the nearest; bf16 and f16: that, rounded once more.
void ExpectAllowed(xent_function function, xent_dtype dtype, const Bytes& x, const Bytes& y, int64_t i, double bound) {
  const long double exact = FunctionReference(function, static_cast<long double>(Element(x.data(), dtype, i)));
  const double got = Element(y.data(), dtype, i);
  if (std::isnan(exact)) {
    EXPECT_EQ(Word(y.data(), dtype, i), CanonicalNanOf(dtype)) << Element(x.data(), dtype, i);
  } else if (dtype == XENT_F64) {
    EXPECT_LE(UlpError(got, exact, kFormatF64), bound) << std::hexfloat << Element(x.data(), dtype, i);
    EXPECT_EQ(std::signbit(got), std::signbit(exact)) << std::hexfloat << Element(x.data(), dtype, i);
  } else {
    const long double rounded = RoundTo(RoundTo(exact, kFormatF32), FormatOf(dtype));
    EXPECT_EQ(Word(y.data(), dtype, i), WordOf(dtype, static_cast<double>(rounded)))
        << std::hexfloat << Element(x.data(), dtype, i) << " gives " << got;
  }
}

TEST(FunctionValues, KeepTheContractAtEveryEdge) {
  ForEveryIsa([](const std::string& isa) {
    ForEveryFunctionAndType([&](xent_function function, xent_dtype dtype) {
      SCOPED_TRACE(NameOf(function, dtype));
      const Bytes x = ArrayOf(dtype, SpecialWords(dtype));
      const Bytes y = Mapped(function, dtype, x);
      for (int64_t i = 0; i < CountOf(x, dtype); ++i) {
        ExpectAllowed(function, dtype, x, y, i, BoundOf(function, HasFma(isa)));
      }
    });
  });
}

TEST(FunctionValues, OfSinglesClosestToTheMiddleOfTwoAreTheNearest) {
  ForEveryIsa([](const std::string&) {
    for (const HardCase& hard : kHardCases) {
      const Bytes x = ArrayOf(XENT_F32, {hard.x});
      const Bytes wanted = ArrayOf(XENT_F32, {hard.y});
      EXPECT_EQ(FirstDifference(XENT_F32, x, Mapped(hard.function, XENT_F32, x), wanted), "")
          << NameOf(hard.function, XENT_F32);
      // Whole vectors may have a way of their own.
      const size_t bytes = 301 * sizeof(float);
      const Bytes many = Repeated(x, bytes);
      EXPECT_EQ(FirstDifference(XENT_F32, many, Mapped(hard.function, XENT_F32, many), Repeated(wanted, bytes)), "")
          << NameOf(hard.function, XENT_F32);
    }
  });
}

Bytes EveryWord() {
  std::vector<uint64_t> words;
  for (uint64_t word = 0; word < 65536; ++word) words.push_back(word);
  return ArrayOf(XENT_BF16, words);
}

TEST(FunctionValues, OfHalfTypesAreThoseOfSinglesRoundedOnceMoreForEveryWord) {
  ForEveryIsa([](const std::string&) {
    for (const xent_dtype dtype : {XENT_BF16, XENT_F16}) {
      const Bytes x = EveryWord();
      Bytes singles(65536 * sizeof(float));
      for (int64_t i = 0; i < 65536; ++i) SetElement(singles.data(), XENT_F32, i, Element(x.data(), dtype, i));
      for (const xent_function function : kFunctions) {
        const Bytes wide = Mapped(function, XENT_F32, singles);
        Bytes wanted(x.size());
        for (int64_t i = 0; i < 65536; ++i) SetElement(wanted.data(), dtype, i, Element(wide.data(), XENT_F32, i));
        EXPECT_EQ(FirstDifference(dtype, x, Mapped(function, dtype, x), wanted), "") << NameOf(function, dtype);
      }
    }
  });
}

}  // namespace
}  // namespace xent_test
