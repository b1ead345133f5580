// The library as a guest in its process: forks, the caller's floating-point environment, first calls, small stacks,
// OpenMP regions, silence, and the environment variables.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "support/every_isa.h"
#include "support/guest.h"
#include "support/problem.h"
#include "support/tier.h"

namespace xent_test {
namespace {

int Forks() { return IsLongTier() ? 200 : 20; }
int FirstCalls() { return IsLongTier() ? 300 : 20; }

struct Ended {
  int status;
  std::string output;
};

// Runs a shell command line and returns what it printed, on either stream, and how it ended.
Ended Shell(const std::string& command) {
  Ended ended{-1, ""};
  FILE* pipe = popen(("exec 2>&1; " + command).c_str(), "r");
  if (pipe == nullptr) return ended;
  char buffer[256];
  while (std::fgets(buffer, sizeof(buffer), pipe) != nullptr) ended.output += buffer;
  ended.status = pclose(pipe);
  return ended;
}

Ended Helper(const std::string& command, const std::string& environment = "") {
  return Shell("unset XENT_MAX_ISA XENT_NUM_THREADS; " + environment + " " XENT_PROCESS_HELPER " " + command);
}

Problem LargeProblem() {
  Problem problem(XENT_F32, 2000, 300);
  problem.Fill("normal", 51);
  problem.options.num_threads = 4;
  return problem;
}

TEST(Fork, ChildrenOfAProcessWithThreadsCanCall) {
  const Problem problem = LargeProblem();
  const Results expected = MustRun(problem);
  const auto call = [&] { return FirstDifference(Try(problem, kEverything), expected).empty(); };
  for (int i = 0; i < Forks(); ++i) {
    ExpectInChild(call);
    EXPECT_TRUE(call()) << "the parent after a fork";
  }
}

TEST(Fork, GrandchildrenCanCall) {
  const Problem problem = LargeProblem();
  const Results expected = MustRun(problem);
  ExpectInChild([&] {
    if (!FirstDifference(Try(problem, kEverything), expected).empty()) return false;
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      alarm(kForkTimeout);
      _exit(FirstDifference(Try(problem, kEverything), expected).empty() ? 0 : 1);
    }
    int status = 0;
    return waitpid(grandchild, &status, 0) == grandchild && status == 0;
  });
}

TEST(Fork, InTheMiddleOfAnotherThreadsCallsDoesNotHangTheChild) {
  const Problem problem = LargeProblem();
  const Results expected = MustRun(problem);
  std::atomic<bool> done{false};
  std::thread caller([&] {
    while (!done.load()) Try(problem, kTotal);
  });
  Results results = UnwrittenResults(problem, kEverything);  // no allocation in the child: another thread had the lock
  const xent_softmax_outputs outputs = OutputsOf(results);
  const xent_logits logits = problem.Logits();
  const xent_targets targets = problem.Targets();
  for (int i = 0; i < Forks(); ++i) {
    ExpectInChild([&] {
      return xent_softmax_cross_entropy(&logits, &targets, &problem.options, &outputs) == XENT_OK &&
             results.total == expected.total;
    });
  }
  done.store(true);
  caller.join();
}

TEST(Silence, NothingIsPrintedByCallsThatSucceedOrFail) {
  const Ended ended = Helper("quiet");
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.output, "");
}

TEST(FirstCall, MayComeFromEightThreadsAtOnce) {
  for (int i = 0; i < FirstCalls(); ++i) EXPECT_EQ(Helper("first_call").status, 0);
}

TEST(Stack, OfSixtyFourKibibytesIsEnoughForACaller) {
  const Ended ended = Helper("small_stack");
  EXPECT_EQ(ended.status, 0) << ended.output;
}

TEST(OpenMp, RegionsOfTheCallerMayCallAndKeepTheirSettings) { EXPECT_EQ(Helper("nested").status, 0); }

TEST(Environment, NumThreadsIsTheStartValue) {
  EXPECT_EQ(Helper("info", "XENT_NUM_THREADS=3").output, SupportedIsas().front() + " 3\n");
  EXPECT_EQ(Helper("info", "XENT_NUM_THREADS=3 OMP_NUM_THREADS=5").output, SupportedIsas().front() + " 3\n");
  EXPECT_EQ(Helper("info", "OMP_NUM_THREADS=5").output, SupportedIsas().front() + " 5\n");
}

TEST(Environment, NumThreadsThatIsNoPositiveNumberIsDisregarded) {
  for (const char* value : {"0", "-2", "abc", "''", "3x", "1e9", "99999999999999999999999x"}) {
    const std::string variable = std::string("OMP_NUM_THREADS=5 XENT_NUM_THREADS=") + value;
    EXPECT_EQ(Helper("info", variable).output, SupportedIsas().front() + " 5\n") << value;
  }
}

TEST(Environment, MaxIsaCapsFromTheFirstCallOn) {
  for (const std::string& isa : SupportedIsas()) {
    EXPECT_EQ(Helper("info", "OMP_NUM_THREADS=2 XENT_MAX_ISA=" + isa).output, isa + " 2\n");
    EXPECT_EQ(Helper("uncapped", "XENT_MAX_ISA=" + isa).output, SupportedIsas().front() + "\n");
  }
}

TEST(Environment, MaxIsaThatIsNotKnownIsDisregarded) {
  for (const char* name : {"''", "avx", "nonsense"}) {
    EXPECT_EQ(Helper("uncapped", std::string("XENT_MAX_ISA=") + name).output, SupportedIsas().front() + "\n");
    EXPECT_EQ(Helper("info", std::string("OMP_NUM_THREADS=2 XENT_MAX_ISA=") + name).output,
              SupportedIsas().front() + " 2\n");
  }
}

TEST(Environment, MaxIsaBetterThanTheMachineMeansTheBestOfTheMachine) {
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    if (xent_isa_supported(i) == 1) continue;
    EXPECT_EQ(Helper("info", std::string("OMP_NUM_THREADS=2 XENT_MAX_ISA=") + xent_isa_name(i)).output,
              SupportedIsas().front() + " 2\n");
  }
}

// Results that are subnormal, and results that are not: what rounding modes and flushing to zero would change. The last
// two are large enough for several threads, by rows and by columns.
std::vector<Problem> SensitiveProblems(xent_dtype dtype) {
  std::vector<Problem> problems;
  const auto add = [&](int64_t rows, int64_t classes, const char* name, double upstream) {
    problems.emplace_back(dtype, rows, classes);
    problems.back().Fill(name, 52);
    problems.back().options.upstream = upstream;
    problems.back().options.num_threads = 4;
  };
  for (const double upstream : {1.0, 1e-40, 1e-310}) {
    for (const char* name : {"confident", "normal", "tiny", "masked"}) add(20, 100, name, upstream);
  }
  add(300, 700, "confident", 1e-40);
  add(3, 70000, "wide_10", 1);
  return problems;
}

TEST(FloatingPoint, RoundingModesOfTheCallerChangeNoBitAndAreKept) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const Problem& problem : SensitiveProblems(dtype)) {
      const Results expected = MustRun(problem);
      for (const int mode : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO, FE_TONEAREST}) {
        std::fesetround(mode);
        const Results results = Try(problem, kEverything);
        const int after = std::fegetround();
        std::fesetround(FE_TONEAREST);
        EXPECT_EQ(after, mode);
        EXPECT_EQ(FirstDifference(results, expected), "") << "rounding mode " << mode;
      }
    }
  });
}

TEST(FloatingPoint, FlagsOfTheCallerAreKeptByCallsThatSucceedOrFail) {
  for (const double upstream : {1.0, 1e-310, static_cast<double>(NAN), static_cast<double>(INFINITY), 1e300}) {
    for (const int raised : {0, FE_OVERFLOW | FE_DIVBYZERO}) {
      Problem problem = OneRow(XENT_F32, {0, 1e30, NAN, -INFINITY}, 1);
      problem.options.upstream = upstream;
      std::feclearexcept(FE_ALL_EXCEPT);
      std::feraiseexcept(raised);
      Try(problem, kEverything);
      const int after = std::fetestexcept(FE_ALL_EXCEPT & ~FE_INEXACT);  // raising an overflow may raise inexact too
      std::feclearexcept(FE_ALL_EXCEPT);
      EXPECT_EQ(after, raised) << "upstream " << upstream;
    }
  }
}

#if defined(__x86_64__)
// Runs a call under a control word, on this thread and as many more as the problem says.
void ExpectSameBitsUnder(unsigned control_word, const Problem& problem, const Results& expected) {
  const Results results = UnderControlWord(control_word, [&] { return Try(problem, kEverything); });
  EXPECT_EQ(FirstDifference(results, expected), "") << "control word " << std::hex << control_word;
}

TEST(FloatingPoint, FlushingToZeroInTheCallerChangesNoBitAndIsKept) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (const Problem& problem : SensitiveProblems(dtype)) {
      const Results expected = MustRun(problem);
      for (const unsigned rounding : kRounding) {
        for (const unsigned flush : {kFlushToZero, kDenormalsAreZero, kFlushToZero | kDenormalsAreZero}) {
          ExpectSameBitsUnder(kMasks | rounding | flush, problem, expected);
        }
      }
    }
  });
}

TEST(FloatingPoint, TrapsOfTheCallerAreNotSprung) {
  Problem problem(XENT_F32, 5, 4);
  problem.SetRow(0, {0, 1e30, -1e30, 100}, 1);
  problem.SetRow(1, {0, NAN, 1, 2}, 1);
  problem.SetRow(2, {-INFINITY, 0, 1, 2}, 0);
  problem.SetRow(3, {INFINITY, 0, 1, 2}, 0);
  problem.SetRow(4, {1e-40, 0, 100, -100}, 0);
  problem.options.upstream = 1e-38;
  const Results expected = MustRun(problem);
  ExpectInChild([&] {
    ExpectSameBitsUnder(0, problem, expected);  // no exception is masked
    return !testing::Test::HasFailure();
  });
}

// The threads of a runner flush to zero; their control words are theirs to keep.
TEST(FloatingPoint, FlushingToZeroInTheThreadsOfARunnerChangesNoBitAndIsKept) {
  std::atomic<bool> kept{true};
  const xent_parallel_runner runner = {RunUnderControlWords, &kept, 4, 0};
  for (const xent_dtype dtype : kStorageTypes) {
    for (Problem& problem : SensitiveProblems(dtype)) {
      const Results expected = MustRun(problem);
      problem.options.runner = &runner;
      EXPECT_EQ(FirstDifference(MustRun(problem), expected), "");
    }
  }
  EXPECT_TRUE(kept.load());
}
#endif

}  // namespace
}  // namespace xent_test
