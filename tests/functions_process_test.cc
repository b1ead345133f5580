// xent_map as a guest in its process: the caller's floating-point environment, forks. (Small stacks and first calls are
// tried by process_helper, for process_test.)
#include <gtest/gtest.h>

#include <cfenv>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/functions.h"
#include "support/guest.h"

namespace xent_test {
namespace {

// Subnormal arguments and results, overflow, NaN: what rounding modes, flushing to zero and traps would change.
Bytes SensitiveArguments(xent_dtype dtype) { return ArrayOf(dtype, SpecialWords(dtype)); }

xent_map_options FourThreads() {
  xent_map_options options = xent_map_options_default();
  options.num_threads = 4;
  return options;
}

// The same again and again, enough for four threads.
Bytes ManySensitiveArguments(xent_dtype dtype) {
  return Repeated(SensitiveArguments(dtype), (4 * 65536 + 5) * SizeOf(dtype));
}

TEST(FunctionEnvironment, RoundingModesOfTheCallerChangeNoBitAndAreKept) {
  ForEveryIsa([](const std::string&) {
    ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
      const Bytes x = SensitiveArguments(dtype);
      const Bytes wanted = Mapped(function, dtype, x);
      for (const int mode : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO, FE_TONEAREST}) {
        std::fesetround(mode);
        const Bytes y = Mapped(function, dtype, x);
        const int after = std::fegetround();
        std::fesetround(FE_TONEAREST);
        EXPECT_EQ(after, mode);
        EXPECT_EQ(FirstDifference(dtype, x, y, wanted), "") << NameOf(function, dtype) << ", rounding mode " << mode;
      }
    });
  });
}

TEST(FunctionEnvironment, FlagsOfTheCallerAreKept) {
  ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
    const Bytes x = SensitiveArguments(dtype);
    Bytes y = x;
    for (const int raised : {0, FE_INVALID | FE_UNDERFLOW}) {
      std::feclearexcept(FE_ALL_EXCEPT);
      std::feraiseexcept(raised);
      const int before = std::fetestexcept(FE_ALL_EXCEPT);  // raising an underflow may raise inexact too
      xent_map(function, dtype, x.data(), y.data(), CountOf(x, dtype), nullptr);
      const int after = std::fetestexcept(FE_ALL_EXCEPT);
      std::feclearexcept(FE_ALL_EXCEPT);
      EXPECT_EQ(after, before) << NameOf(function, dtype);
    }
  });
}

#if defined(__x86_64__)
constexpr unsigned kFlushing[] = {kFlushToZero, kDenormalsAreZero, kFlushToZero | kDenormalsAreZero};

TEST(FunctionEnvironment, FlushingToZeroInTheCallerChangesNoBitAndIsKept) {
  ForEveryIsa([](const std::string&) {
    ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
      const Bytes x = SensitiveArguments(dtype);
      const Bytes wanted = Mapped(function, dtype, x);
      for (const unsigned rounding : kRounding) {
        for (const unsigned flush : kFlushing) {
          const Bytes y = UnderControlWord(kMasks | rounding | flush, [&] { return Mapped(function, dtype, x); });
          EXPECT_EQ(FirstDifference(dtype, x, y, wanted), "") << NameOf(function, dtype) << ", " << rounding << flush;
        }
      }
    });
  });
}

TEST(FunctionEnvironment, FlushingToZeroInTheCallerChangesNoBitOfTheWorkers) {
  const xent_map_options options = FourThreads();
  ForEveryFunctionAndType([&](xent_function function, xent_dtype dtype) {
    const Bytes x = ManySensitiveArguments(dtype);
    const Bytes wanted = Repeated(Mapped(function, dtype, SensitiveArguments(dtype)), x.size());
    const Bytes y =
        UnderControlWord(kMasks | kRounding[1] | kFlushing[2], [&] { return Mapped(function, dtype, x, &options); });
    EXPECT_EQ(FirstDifference(dtype, x, y, wanted), "") << NameOf(function, dtype);
  });
}

TEST(FunctionEnvironment, FlushingToZeroInTheThreadsOfARunnerChangesNoBitAndIsKept) {
  std::atomic<bool> kept{true};
  const xent_parallel_runner runner = {RunUnderControlWords, &kept, 4, 0};
  xent_map_options options = FourThreads();
  options.runner = &runner;
  ForEveryFunctionAndType([&](xent_function function, xent_dtype dtype) {
    const Bytes x = ManySensitiveArguments(dtype);
    const Bytes wanted = Repeated(Mapped(function, dtype, SensitiveArguments(dtype)), x.size());
    EXPECT_EQ(FirstDifference(dtype, x, Mapped(function, dtype, x, &options), wanted), "") << NameOf(function, dtype);
  });
  EXPECT_TRUE(kept.load());
}

TEST(FunctionEnvironment, TrapsOfTheCallerAreNotSprung) {
  ExpectInChild([] {
    ForEveryIsa([](const std::string&) {
      ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
        const Bytes x = SensitiveArguments(dtype);
        const Bytes wanted = Mapped(function, dtype, x);
        const Bytes y = UnderControlWord(0, [&] { return Mapped(function, dtype, x); });  // no exception is masked
        EXPECT_EQ(FirstDifference(dtype, x, y, wanted), "") << NameOf(function, dtype);
      });
    });
    return !testing::Test::HasFailure();
  });
}
#endif

TEST(FunctionFork, ChildrenOfAProcessWithThreadsCanCall) {
  const xent_map_options options = FourThreads();
  const Bytes x = ManySensitiveArguments(XENT_F32);
  const Bytes wanted = Mapped(XENT_TANH, XENT_F32, x, &options);
  for (int i = 0; i < 5; ++i) {
    ExpectInChild(
        [&] { return FirstDifference(XENT_F32, x, Mapped(XENT_TANH, XENT_F32, x, &options), wanted).empty(); });
  }
}

}  // namespace
}  // namespace xent_test
