// What the library says about itself: versions, status names, type sizes, instruction sets and their cap, thread
// counts, and the sentence on the last error, which belongs to its thread.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/every_isa.h"
#include "support/problem.h"

namespace xent_test {
namespace {

TEST(Library, VersionsAgreeWithTheHeader) {
  EXPECT_EQ(xent_version(), XENT_VERSION_MAJOR * 10000 + XENT_VERSION_MINOR * 100 + XENT_VERSION_PATCH);
  const std::string text = std::to_string(XENT_VERSION_MAJOR) + '.' + std::to_string(XENT_VERSION_MINOR) + '.' +
                           std::to_string(XENT_VERSION_PATCH);
  EXPECT_EQ(xent_version_string(), text);
  const std::string info = xent_build_info();
  EXPECT_NE(info.find(text), std::string::npos) << info;
  EXPECT_EQ(info.find('\n'), std::string::npos) << info;
  for (int32_t i = 0; i < xent_isa_count(); ++i) EXPECT_NE(info.find(xent_isa_name(i)), std::string::npos) << info;
}

TEST(Library, StatusNamesAreThoseOfTheHeader) {
  const char* const kNames[] = {
      "XENT_OK",          "XENT_INVALID_ARGUMENT", "XENT_INVALID_LABEL", "XENT_OVERLAP",    "XENT_SIZE_OVERFLOW",
      "XENT_UNSUPPORTED", "XENT_VERSION_MISMATCH", "XENT_OUT_OF_MEMORY", "XENT_EMPTY_MEAN", "XENT_RUNNER_FAILED"};
  const xent_status kNumbers[] = {
      XENT_OK,          XENT_INVALID_ARGUMENT, XENT_INVALID_LABEL, XENT_OVERLAP,    XENT_SIZE_OVERFLOW,
      XENT_UNSUPPORTED, XENT_VERSION_MISMATCH, XENT_OUT_OF_MEMORY, XENT_EMPTY_MEAN, XENT_RUNNER_FAILED};
  for (int32_t i = 0; i < 10; ++i) {
    EXPECT_EQ(kNumbers[i], i) << "the numbers are pinned";
    EXPECT_STREQ(xent_status_name(i), kNames[i]);
  }
  for (const int32_t unknown :
       {-1, 10, 1000, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    EXPECT_STREQ(xent_status_name(unknown), "unknown status");
  }
}

TEST(Library, TypeSizesAreInBytesAndZeroForAllOtherNumbers) {
  for (const xent_dtype dtype : {XENT_F64, XENT_I64}) EXPECT_EQ(xent_dtype_size(dtype), 8);
  for (const xent_dtype dtype : {XENT_F32, XENT_I32, XENT_U32}) EXPECT_EQ(xent_dtype_size(dtype), 4);
  for (const xent_dtype dtype : {XENT_BF16, XENT_F16, XENT_I16, XENT_U16}) EXPECT_EQ(xent_dtype_size(dtype), 2);
  for (const xent_dtype dtype : {XENT_I8, XENT_U8}) EXPECT_EQ(xent_dtype_size(dtype), 1);
  for (const xent_dtype other : {0, 5, 15, 23, -1, 1000, std::numeric_limits<int32_t>::min()}) {
    EXPECT_EQ(xent_dtype_size(other), 0);
  }
}

TEST(Isa, NamesAreDistinctAndOtherIndicesHaveNone) {
  std::set<std::string> names;
  ASSERT_GE(xent_isa_count(), 1);
  for (int32_t i = 0; i < xent_isa_count(); ++i) EXPECT_TRUE(names.insert(xent_isa_name(i)).second);
  for (const int32_t other : {-1, xent_isa_count(), 1000, std::numeric_limits<int32_t>::min()}) {
    EXPECT_EQ(xent_isa_name(other), nullptr);
    EXPECT_EQ(xent_isa_supported(other), 0);
  }
}

#if defined(__x86_64__)
// The compiler's own detection says what must be there: an instruction set that is quietly missing fails here.
TEST(Isa, SupportedOnesAreThoseOfTheProcessor) {
  const std::vector<std::string> supported = SupportedIsas();
  const auto has = [&](const char* name) {
    return std::find(supported.begin(), supported.end(), name) != supported.end();
  };
  const auto is_compiled = [&](const char* name) {
    for (int32_t i = 0; i < xent_isa_count(); ++i) {
      if (std::string(xent_isa_name(i)) == name) return true;
    }
    return false;
  };
  EXPECT_TRUE(is_compiled("avx512"));
  EXPECT_TRUE(is_compiled("avx2"));
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  const bool sse4 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("aes");
  EXPECT_EQ(has("avx2"), avx2);
  EXPECT_EQ(has("avx512"), avx512);
  EXPECT_EQ(has("sse4"), sse4 && is_compiled("sse4"));
  EXPECT_EQ(has("ssse3"), __builtin_cpu_supports("ssse3") != 0 && is_compiled("ssse3"));
  EXPECT_STREQ(supported.back().c_str(), xent_isa_name(xent_isa_count() - 1)) << "the last one runs everywhere";
}
#endif

TEST(Isa, CapForcesEachSupportedOneAndNullLiftsIt) {
  ASSERT_EQ(xent_isa_cap(nullptr), XENT_OK);
  EXPECT_EQ(xent_isa_chosen(), SupportedIsas().front());
  for (const std::string& isa : SupportedIsas()) {
    std::string shouted = isa;
    for (char& letter : shouted) letter = static_cast<char>(std::toupper(letter));
    EXPECT_EQ(xent_isa_cap(shouted.c_str()), XENT_OK);
    EXPECT_EQ(xent_isa_chosen(), isa);
  }
  EXPECT_EQ(xent_isa_cap(nullptr), XENT_OK);
  EXPECT_EQ(xent_isa_chosen(), SupportedIsas().front());
}

TEST(Isa, CapRefusesOtherNamesAndKeepsTheChoice) {
  const std::string before = xent_isa_chosen();
  for (const char* name : {"", "avx", "avx2 ", "avx512x", "best"}) {
    EXPECT_EQ(xent_isa_cap(name), XENT_INVALID_ARGUMENT) << name;
    EXPECT_NE(std::string(xent_last_error()).find(name), std::string::npos) << xent_last_error();
  }
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    if (xent_isa_supported(i) == 1) continue;
    EXPECT_EQ(xent_isa_cap(xent_isa_name(i)), XENT_UNSUPPORTED);
    EXPECT_NE(std::string(xent_last_error()).find(xent_isa_name(i)), std::string::npos) << xent_last_error();
  }
  EXPECT_EQ(xent_isa_chosen(), before);
}

TEST(Isa, EachOneReallyComputes) {
  Problem problem(XENT_F32, 40, 300);
  problem.Fill("wide_10", 41);
  std::vector<Results> with_fma, without_fma;
  ForEveryIsa([&](const std::string& isa) { (HasFma(isa) ? with_fma : without_fma).push_back(MustRun(problem)); });
  // Multiply-add rounds once or twice: bits that are the same on both sides would mean that a cap had no effect.
  for (const Results& one : with_fma) {
    for (const Results& other : without_fma) EXPECT_NE(FirstDifference(one, other), "");
  }
}

TEST(Threads, DefaultIsWhatWasSetAndZeroGoesBack) {
  const int32_t start = xent_num_threads();
  EXPECT_GE(start, 1);
  for (const int32_t threads : {1, 2, 5, 64}) {
    EXPECT_EQ(xent_set_num_threads(threads), XENT_OK);
    EXPECT_EQ(xent_num_threads(), threads);
  }
  EXPECT_EQ(xent_set_num_threads(-1), XENT_INVALID_ARGUMENT);
  EXPECT_NE(std::string(xent_last_error()).find("num_threads"), std::string::npos) << xent_last_error();
  EXPECT_EQ(xent_num_threads(), 64);
  EXPECT_EQ(xent_set_num_threads(0), XENT_OK);
  EXPECT_EQ(xent_num_threads(), start);
}

TEST(LastError, IsEmptyUntilACallOfItsThreadFails) {
  std::thread([] { EXPECT_STREQ(xent_last_error(), ""); }).join();
  EXPECT_EQ(xent_set_num_threads(-7), XENT_INVALID_ARGUMENT);
  const std::string sentence = xent_last_error();
  EXPECT_NE(sentence.find("-7"), std::string::npos) << sentence;
  std::thread([&] {
    EXPECT_STREQ(xent_last_error(), "");
    EXPECT_EQ(xent_set_num_threads(-8), XENT_INVALID_ARGUMENT);
  }).join();
  EXPECT_EQ(xent_last_error(), sentence) << "another thread's error replaced it";
}

TEST(LastError, SurvivesCallsThatSucceed) {
  EXPECT_EQ(xent_set_num_threads(-9), XENT_INVALID_ARGUMENT);
  const std::string sentence = xent_last_error();
  MustRun(OneRow(XENT_F32, {0, 1, 2}, 1));
  EXPECT_EQ(xent_last_error(), sentence);
}

}  // namespace
}  // namespace xent_test
