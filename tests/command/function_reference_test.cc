// What xent ulp measures with: the reference keeps the bound that the guard around ties relies on, MPFR's answers agree
// with values computed by hand, and types of 16 bits round as they must.
#include "function_reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "exact_function.h"
#include "number_format.h"
#include "ulp_inputs.h"

namespace xent_command {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The largest error of the reference in its own units, over results that matter to the type under test.
template <typename Format>
double LargestError(xent_function function, xent_dtype dtype, const FormatShape& work_shape) {
  using Work = typename Format::Work;
  const InputSet inputs({function, dtype, false, 20000, 1});
  ExactFunction exact(function, work_shape);
  double largest = 0;
  for (int64_t i = 0; i < inputs.size(); ++i) {
    const Work x = Format::Widen(static_cast<typename Format::Bits>(inputs.BitsAt(i)));
    Work y;
    ApplyReference(function, &x, 1, &y);
    exact.SetArgument(static_cast<double>(x));
    const double size = std::fabs(exact.Rounded());
    const bool matters = size >= std::ldexp(1.0, Format::kShape.least_exponent - 1) &&
                         size <= std::ldexp(1.0, Format::kShape.largest_exponent - 1);
    if (matters) largest = std::fmax(largest, exact.ErrorOf(y));
  }
  return largest;
}

TEST(FunctionReference, KeepsHalfOfItsBound) {
  constexpr FormatShape kDouble = {53, -1074, 1024};
  constexpr FormatShape kLongDouble = {std::numeric_limits<long double>::digits, -16000, 16384};
  for (xent_function function = XENT_EXP; function <= XENT_TANH; ++function) {
    const double narrow = LargestError<F32>(function, XENT_F32, kDouble);
    const double wide = LargestError<F64>(function, XENT_F64, kLongDouble);
    std::printf("%-12s %.2f ULP in double, %.2f in long double\n", xent_function_name(function), narrow, wide);
    EXPECT_LE(narrow, ReferenceError<double>::kRelative * 0x1p52 / 2) << xent_function_name(function);
    EXPECT_LE(wide, ReferenceError<long double>::kRelative * 0x1p63L / 2) << xent_function_name(function);
  }
}

TEST(ExactFunction, RoundsAndMeasures) {
  ExactFunction exp(XENT_EXP, F64::kShape);
  exp.SetArgument(1);  // e = 0x1.5bf0a8b145769535p+1
  EXPECT_EQ(exp.Rounded(), 0x1.5bf0a8b145769p+1);
  EXPECT_NEAR(exp.ErrorOf(0x1.5bf0a8b145769p+1), 0x535 / 4096.0, 1e-3);
  EXPECT_NEAR(exp.ErrorOf(0x1.5bf0a8b14576ap+1), 1 - 0x535 / 4096.0, 1e-3);
}

TEST(ExactFunction, TakesTheUnitOfTheExactValuesBinade) {
  // Just below 1, where units are half as large as at 1, which the value is rounded to.
  ExactFunction exp(XENT_EXP, F32::kShape);
  exp.SetArgument(-0x1p-26);
  EXPECT_EQ(exp.Rounded(), 1);
  EXPECT_NEAR(exp.ErrorOf(1), 0.25, 1e-6);
  EXPECT_NEAR(exp.ErrorOf(1 - 0x1p-24), 0.75, 1e-6);
  EXPECT_NEAR(exp.ErrorOf(1 + 0x1p-23), 2.25, 1e-6);
  // Just above 1.
  exp.SetArgument(0x1p-26);
  EXPECT_NEAR(exp.ErrorOf(1), 0.125, 1e-6);
  // All subnormal numbers have one unit.
  exp.SetArgument(-103.0);
  EXPECT_EQ(exp.Rounded(), 0x1p-149);
  EXPECT_NEAR(exp.ErrorOf(0x1p-149), std::exp(-103.0) * 0x1p149 - 1, 1e-6);
}

TEST(ExactFunction, KnowsInfinitiesNaNAndZeros) {
  ExactFunction log_sigmoid(XENT_LOG_SIGMOID, F32::kShape);
  log_sigmoid.SetArgument(200);
  EXPECT_EQ(log_sigmoid.Rounded(), 0);
  EXPECT_TRUE(std::signbit(log_sigmoid.Rounded()));
  ExactFunction exp(XENT_EXP, F32::kShape);
  exp.SetArgument(89);
  EXPECT_EQ(exp.Rounded(), kInfinity);
  EXPECT_EQ(exp.ErrorOf(kInfinity), 0);
  EXPECT_EQ(exp.ErrorOf(std::numeric_limits<float>::max()), kInfinity);
  ExactFunction log(XENT_LOG, F32::kShape);
  log.SetArgument(-1);
  EXPECT_EQ(log.ErrorOf(std::nan("")), 0);
  EXPECT_EQ(log.ErrorOf(1), kInfinity);
  log.SetArgument(-0.0);
  EXPECT_EQ(log.Rounded(), -kInfinity);
  EXPECT_EQ(log.ErrorOf(kInfinity), kInfinity);
}

template <typename Format>
void RoundEveryNumber(double above_largest) {
  for (int bits = 0; bits <= Format::kInfinity; ++bits) {
    const double value = Format::Widen(static_cast<uint16_t>(bits));
    ASSERT_EQ(Format::Round(value), bits);
    ASSERT_EQ(Format::Round(-value), bits | 0x8000);
    if (bits == 0) continue;
    const double middle =
        (Format::Widen(static_cast<uint16_t>(bits - 1)) + (bits == Format::kInfinity ? above_largest : value)) / 2;
    ASSERT_EQ(Format::Round(middle), bits - bits % 2) << middle;
    ASSERT_EQ(Format::Round(std::nextafter(middle, 0.0)), bits - 1) << middle;
    ASSERT_EQ(Format::Round(std::nextafter(middle, kInfinity)), bits) << middle;
  }
  EXPECT_TRUE(std::isnan(Format::Widen(Format::Round(std::nan("")))));
}

TEST(NumberFormat, SixteenBitsRoundToNearestEven) {
  RoundEveryNumber<BF16>(0x1p128);
  RoundEveryNumber<F16>(65536);
  EXPECT_EQ(F16::Widen(0x3c00), 1);
  EXPECT_EQ(F16::Widen(0xc500), -5);
  EXPECT_EQ(F16::Widen(0x0001), 0x1p-24);
  EXPECT_EQ(BF16::Widen(0x3f80), 1);
  EXPECT_EQ(BF16::Widen(0x0001), 0x1p-133);
}

}  // namespace
}  // namespace xent_command
