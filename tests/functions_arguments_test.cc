// Bad arguments of xent_map, generated: every pointer, size, enumerator, option and overlap of a good call is spoiled
// in turn. Each case has its exact status, a sentence that names the argument and its value, and leaves every byte
// alone.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/functions.h"
#include "support/runner.h"

namespace xent_test {
namespace {

constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin64 = std::numeric_limits<int64_t>::min();
constexpr int32_t kMax32 = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin32 = std::numeric_limits<int32_t>::min();

void RunInOrder(void*, int64_t tasks, void (*task)(void*, int64_t), void* task_context) {
  for (int64_t i = 0; i < tasks; ++i) task(task_context, i);
}

// A call whose arrays lie in one arena, far from each other, so that a stray byte is seen.
class MapCall {
 public:
  static constexpr int64_t kCount = 37;

  MapCall(xent_function f, xent_dtype d)
      : function(f), dtype(d), arena(4 * kSlot, 0, 0xC3), x(At(1)), y(At(2)), runner{RunInOrder, nullptr, 2, 0} {
    for (int64_t i = 0; i < kCount; ++i) SetElement(At(1), d, i, static_cast<double>(i % 11) * 0.25 + 0.5);
  }
  MapCall(const MapCall&) = delete;
  MapCall& operator=(const MapCall&) = delete;

  xent_status Make() const { return xent_map(function, dtype, x, y, n, options_at); }
  unsigned char* At(size_t slot) { return arena.data() + slot * kSlot; }
  int64_t ElementBytes() const { return xent_dtype_size(dtype); }

  xent_function function;
  xent_dtype dtype;
  Bytes arena;
  const void* x;
  void* y;
  int64_t n = kCount;
  xent_map_options options = xent_map_options_default();
  xent_parallel_runner runner;
  const xent_map_options* options_at = &options;

 private:
  static constexpr size_t kSlot = 4096;
};

std::string Text(const void* pointer) {
  char text[32];
  std::snprintf(text, sizeof(text), "%p", pointer);
  return text;
}

struct BadCall {
  xent_status status;
  std::function<std::string(MapCall&)> spoil;  // returns how the sentence begins
};

using BadCalls = std::vector<BadCall>;

template <typename T, typename Set>
void AddValues(BadCalls* cases, const std::string& argument, xent_status status, std::initializer_list<T> values,
               Set set) {
  for (const T value : values) {
    cases->push_back({status, [=](MapCall& call) {
                        set(call, value);
                        return argument + " is " + std::to_string(value) + ";";
                      }});
  }
}

#define XENT_SET(member) [](MapCall& call, auto value) { call.member = value; }

void AddNumbers(BadCalls* cases) {
  const auto invalid = XENT_INVALID_ARGUMENT;
  AddValues(cases, "function", invalid, {0, 9, 10, -1, 1000, kMax32, kMin32}, XENT_SET(function));
  AddValues(cases, "dtype", invalid, {0, 5, 15, 16, 17, 18, 19, 20, 21, 22, 23, -1, kMax32, kMin32}, XENT_SET(dtype));
  AddValues(cases, "n", invalid, {int64_t{-1}, int64_t{-2}, kMin64, kMin64 + 1}, XENT_SET(n));
  AddValues(cases, "n", XENT_SIZE_OVERFLOW, {kMax64, kMax64 / 2 + 1, int64_t{1} << 62}, XENT_SET(n));
  // The first size that does not fit, and the last that does: x and y must then overlap.
  cases->push_back({XENT_SIZE_OVERFLOW, [](MapCall& call) {
                      call.n = kMax64 / call.ElementBytes() + 1;
                      return "n is " + std::to_string(call.n) + ";";
                    }});
  cases->push_back({XENT_OVERLAP, [](MapCall& call) {
                      call.n = kMax64 / call.ElementBytes();
                      return "y (" + Text(call.y) + ", " + std::to_string(call.n * call.ElementBytes()) + " bytes)";
                    }});
  AddValues(cases, "options.struct_size", XENT_VERSION_MISMATCH, {0, -1, 4, 8, 15, 17, 24, 72, kMax32, kMin32},
            XENT_SET(options.struct_size));
  AddValues(cases, "options.num_threads", invalid, {-1, -2, kMin32}, XENT_SET(options.num_threads));
  const auto with_runner = [](auto set) {
    return [set](MapCall& call, int32_t value) {
      set(call.runner, value);
      call.options.runner = &call.runner;
    };
  };
  AddValues(cases, "options.runner->concurrency", invalid, {0, -1, kMin32},
            with_runner([](xent_parallel_runner& runner, int32_t value) { runner.concurrency = value; }));
  AddValues(cases, "options.runner->reserved", invalid, {1, -1, kMax32},
            with_runner([](xent_parallel_runner& runner, int32_t value) { runner.reserved = value; }));
}

#undef XENT_SET

void AddPointers(BadCalls* cases) {
  const auto invalid = XENT_INVALID_ARGUMENT;
  for (const int64_t n : {int64_t{1}, MapCall::kCount, int64_t{1} << 40}) {
    cases->push_back({invalid, [n](MapCall& call) { return call.n = n, call.x = nullptr, "x is NULL"; }});
    cases->push_back({invalid, [n](MapCall& call) { return call.n = n, call.y = nullptr, "y is NULL"; }});
  }
  cases->push_back({invalid, [](MapCall& call) {
                      call.runner.run = nullptr;
                      call.options.runner = &call.runner;
                      return "options.runner->run is NULL";
                    }});
}

// Every distance from alignment, of arrays with and without elements.
void AddMisalignments(BadCalls* cases, int64_t element) {
  for (const int64_t n : {int64_t{0}, int64_t{1}, MapCall::kCount}) {
    for (int64_t distance = 1; distance < element; ++distance) {
      cases->push_back({XENT_INVALID_ARGUMENT, [=](MapCall& call) {
                          call.n = n;
                          call.x = call.At(1) + distance;
                          return "x is " + Text(call.x) + ";";
                        }});
      cases->push_back({XENT_INVALID_ARGUMENT, [=](MapCall& call) {
                          call.n = n;
                          call.y = call.At(2) + distance;
                          return "y is " + Text(call.y) + ";";
                        }});
    }
  }
}

// y over each part of x: off by one element, over the last one, reaching into the first, and around the middle; and of
// arrays so large that they must.
void AddOverlaps(BadCalls* cases) {
  const int64_t last = MapCall::kCount - 1;
  for (const int64_t distance : {int64_t{1}, int64_t{2}, last / 2, last - 1, last}) {
    for (const int64_t signed_distance : {distance, -distance}) {
      cases->push_back({XENT_OVERLAP, [=](MapCall& call) {
                          call.y = call.At(1) + signed_distance * call.ElementBytes();
                          return "y (" + Text(call.y) + ", " + std::to_string(call.n * call.ElementBytes()) +
                                 " bytes) overlaps x (" + Text(call.x) + ")";
                        }});
    }
  }
  for (const int64_t bytes : {int64_t{8192}, int64_t{1} << 40, int64_t{1} << 62}) {
    cases->push_back({XENT_OVERLAP, [=](MapCall& call) {
                        call.n = bytes / call.ElementBytes();
                        return "y (" + Text(call.y) + ", " + std::to_string(bytes) + " bytes) overlaps x (";
                      }});
  }
}

void CheckCase(const BadCall& bad, MapCall* call) {
  const std::string begin = bad.spoil(*call);
  const Bytes before = call->arena;
  const xent_status status = call->Make();
  const std::string sentence = xent_last_error();
  EXPECT_EQ(status, bad.status) << begin << " gives " << xent_status_name(status);
  EXPECT_EQ(sentence.substr(0, begin.size()), begin);
  EXPECT_EQ(std::memcmp(call->arena.data(), before.data(), before.size()), 0) << "bytes were written: " << sentence;
}

TEST(FunctionArguments, EveryBadOneHasItsStatusAndSentenceAndNothingIsWritten) {
  int64_t count = 0;
  ForEveryFunctionAndType([&](xent_function function, xent_dtype dtype) {
    SCOPED_TRACE(NameOf(function, dtype));
    BadCalls cases;
    AddNumbers(&cases);
    AddPointers(&cases);
    AddMisalignments(&cases, xent_dtype_size(dtype));
    AddOverlaps(&cases);
    for (const BadCall& bad : cases) {
      MapCall call(function, dtype);
      CheckCase(bad, &call);
    }
    count += static_cast<int64_t>(cases.size());
  });
  std::printf("%lld bad calls\n", static_cast<long long>(count));
  EXPECT_GE(count, 300);
}

TEST(FunctionArguments, NoElementsNeedNoMemoryAndWriteNone) {
  ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
    MapCall call(function, dtype);
    const Bytes before = call.arena;
    call.n = 0;
    EXPECT_EQ(call.Make(), XENT_OK) << xent_last_error();
    call.x = nullptr;
    EXPECT_EQ(call.Make(), XENT_OK) << xent_last_error();
    call.y = nullptr;
    EXPECT_EQ(call.Make(), XENT_OK) << xent_last_error();
    EXPECT_EQ(std::memcmp(call.arena.data(), before.data(), before.size()), 0);
  });
}

TEST(FunctionArguments, ArraysThatTouchDoNotOverlap) {
  ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
    for (const int64_t elements : {MapCall::kCount, -MapCall::kCount}) {
      MapCall call(function, dtype);
      call.y = call.At(1) + elements * call.ElementBytes();
      EXPECT_EQ(call.Make(), XENT_OK) << NameOf(function, dtype) << ": " << xent_last_error();
    }
  });
}

TEST(FunctionArguments, NoOptionsMeanTheDefaults) {
  ForEveryFunctionAndType([](xent_function function, xent_dtype dtype) {
    MapCall with(function, dtype), without(function, dtype);
    without.options_at = nullptr;
    EXPECT_EQ(with.Make(), XENT_OK) << xent_last_error();
    EXPECT_EQ(without.Make(), XENT_OK) << xent_last_error();
    EXPECT_EQ(std::memcmp(with.arena.data(), without.arena.data(), with.arena.size()), 0);
  });
  EXPECT_EQ(xent_map_options_default().struct_size, static_cast<int32_t>(sizeof(xent_map_options)));
}

TEST(FunctionArguments, RunnerThatDoesNotRunEveryTaskOnceIsReported) {
  const std::vector<float> x(4 * 65536, 0.5f);
  std::vector<float> y(x.size());
  for (const RunTasks run : kBrokenRunners) {
    const xent_parallel_runner runner = {run, nullptr, 4, 0};
    xent_map_options options = xent_map_options_default();
    options.runner = &runner;
    const int64_t n = static_cast<int64_t>(x.size());
    EXPECT_EQ(xent_map(XENT_EXP, XENT_F32, x.data(), y.data(), n, &options), XENT_RUNNER_FAILED);
    EXPECT_NE(std::string(xent_last_error()).find("options.runner"), std::string::npos) << xent_last_error();
  }
}

TEST(FunctionName, IsThatOfEachNumberAndNullForOthers) {
  const char* const kNames[] = {"exp", "log", "log1p", "expm1", "sigmoid", "log_sigmoid", "softplus", "tanh"};
  for (int32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(kFunctions[i], i + 1) << "the numbers are pinned";
    EXPECT_STREQ(xent_function_name(i + 1), kNames[i]);
  }
  for (const xent_function other : {0, 9, -1, 1000, kMax32, kMin32}) EXPECT_EQ(xent_function_name(other), nullptr);
}

}  // namespace
}  // namespace xent_test
