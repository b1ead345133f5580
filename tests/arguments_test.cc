// Bad arguments, generated: every pointer, size, stride, enumerator, reserved word and pair of buffers of a good call
// is spoiled in turn. Each case has its exact status, a sentence that names the argument, and leaves every byte alone.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/call.h"
#include "support/every_isa.h"
#include "support/problem.h"
#include "support/runner.h"

namespace xent_test {
namespace {

constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin64 = std::numeric_limits<int64_t>::min();
constexpr int32_t kMax32 = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin32 = std::numeric_limits<int32_t>::min();
constexpr double kInf = std::numeric_limits<double>::infinity();

struct BadCall {
  std::string argument;  // the sentence contains this
  xent_status status;
  std::function<void(Call&)> spoil;
};

using BadCalls = std::vector<BadCall>;

// One case for each value.
template <typename T, typename Set>
void AddValues(BadCalls* cases, const char* argument, xent_status status, std::initializer_list<T> values, Set set) {
  for (const T value : values) {
    cases->push_back({argument, status, [=](Call& call) { set(call, value); }});
  }
}

// The same for a number that must be finite.
template <typename Set>
void AddRange(BadCalls* cases, const char* argument, std::initializer_list<double> values, Set set) {
  AddValues(cases, argument, XENT_INVALID_ARGUMENT, values, set);
  AddValues(cases, argument, XENT_INVALID_ARGUMENT, {kInf, -kInf, std::numeric_limits<double>::quiet_NaN()}, set);
}

#define XENT_SET(member) [](Call& call, auto value) { call.member = value; }

void AddPointers(BadCalls* cases) {
  cases->push_back({"logits", XENT_INVALID_ARGUMENT, [](Call& call) { call.logits_at = nullptr; }});
  cases->push_back({"targets", XENT_INVALID_ARGUMENT, [](Call& call) { call.targets_at = nullptr; }});
  cases->push_back({"outputs", XENT_INVALID_ARGUMENT, [](Call& call) { call.outputs_at = nullptr; }});
  cases->push_back({"logits.data", XENT_INVALID_ARGUMENT, [](Call& call) { call.logits.data = nullptr; }});
  cases->push_back({"targets.data", XENT_INVALID_ARGUMENT, [](Call& call) { call.targets.data = nullptr; }});
}

void AddSizes(BadCalls* cases) {
  const auto invalid = XENT_INVALID_ARGUMENT;
  AddValues(cases, "logits.outer", invalid, {int64_t{-1}, int64_t{-2}, kMin64}, XENT_SET(logits.outer));
  AddValues(cases, "logits.classes", invalid, {int64_t{-1}, int64_t{0}, kMin64}, XENT_SET(logits.classes));
  AddValues(cases, "logits.inner", invalid, {int64_t{-1}, kMin64}, XENT_SET(logits.inner));
  // Rows side by side would share memory with those of the next step of `outer`.
  AddValues(cases, "logits.", invalid, {int64_t{2}, int64_t{7}}, XENT_SET(logits.inner));
  AddValues(cases, "logits.", XENT_SIZE_OVERFLOW, {kMax64}, [](Call& call, int64_t inner) {
    call.logits.inner = inner;
    call.logits.inner_stride = 64;
  });
  AddValues(cases, "logits", XENT_SIZE_OVERFLOW, {kMax64, kMax64 / 2, kMax64 / Call::kRowStride + 2, int64_t{1} << 60},
            XENT_SET(logits.outer));
  AddValues(cases, "logits", XENT_SIZE_OVERFLOW, {kMax64, kMax64 / 2 + 1, int64_t{1} << 62},
            [](Call& call, int64_t classes) { call.logits.classes = call.logits.outer_stride = classes; });
  AddValues(cases, "logits", XENT_SIZE_OVERFLOW, {int64_t{1} << 58, int64_t{1} << 61, kMax64},
            [](Call& call, int64_t rows) {
              call.logits.outer = rows;
              call.logits.classes = call.logits.outer_stride = 1;
            });
}

void AddStrides(BadCalls* cases) {
  const auto invalid = XENT_INVALID_ARGUMENT;
  AddValues(cases, "logits.outer_stride", invalid, {int64_t{-1}, int64_t{0}, int64_t{1}, Call::kClasses - 1, kMin64},
            XENT_SET(logits.outer_stride));
  AddValues(cases, "logits", XENT_SIZE_OVERFLOW, {kMax64, kMax64 / 2, int64_t{1} << 62}, XENT_SET(logits.outer_stride));
  AddValues(cases, "logits.class_stride", invalid, {int64_t{-1}, int64_t{0}, kMin64}, XENT_SET(logits.class_stride));
  AddValues(cases, "logits.outer_stride", invalid, {int64_t{2}, int64_t{7}}, XENT_SET(logits.class_stride));
  AddValues(cases, "logits.class_stride", invalid, {int64_t{14}}, XENT_SET(logits.class_stride));
  AddValues(cases, "logits.class_stride", XENT_SIZE_OVERFLOW, {kMax64, kMax64 / 8}, XENT_SET(logits.class_stride));
  const auto set_gradient_stride = [](Call& call, int64_t stride) {
    call.outputs.gradient_outer_stride = stride;
    call.outputs.gradient_class_stride = call.outputs.gradient_inner_stride = 1;
  };
  AddValues(cases, "outputs.gradient_outer_stride", invalid,
            {int64_t{-1}, int64_t{0}, int64_t{1}, Call::kClasses - 1, -Call::kRowStride, kMin64}, set_gradient_stride);
  AddValues(cases, "outputs.gradient", XENT_SIZE_OVERFLOW, {kMax64, kMax64 / 2, int64_t{1} << 62}, set_gradient_stride);
  const auto set_gradient_class_stride = [](Call& call, int64_t stride) {
    call.outputs.gradient_outer_stride = Call::kRowStride;
    call.outputs.gradient_class_stride = stride;
    call.outputs.gradient_inner_stride = 1;
  };
  AddValues(cases, "outputs.gradient_class_stride", invalid, {int64_t{-1}, int64_t{0}}, set_gradient_class_stride);
  AddValues(cases, "outputs.gradient_outer_stride", invalid, {int64_t{2}}, set_gradient_class_stride);
  AddValues(cases, "outputs.gradient_class_stride", XENT_SIZE_OVERFLOW, {kMax64}, set_gradient_class_stride);
  const auto set_target_stride = [](Call& call, int64_t stride) {
    call.targets = xent_targets_dense(call.logits.data, call.logits.dtype);
    call.targets.outer_stride = stride;
    call.targets.class_stride = call.targets.inner_stride = 1;
  };
  AddValues(cases, "targets.outer_stride", invalid, {int64_t{-1}, int64_t{4}}, set_target_stride);
  AddValues(cases, "targets.outer_stride", XENT_SIZE_OVERFLOW, {kMax64}, set_target_stride);
}

void AddEnumerators(BadCalls* cases) {
  const auto invalid = XENT_INVALID_ARGUMENT;
  AddValues(cases, "logits.dtype", invalid, {0, 5, -1, 15, 16, 17, 18, 19, 20, 21, 22, 23, 1000, kMax32, kMin32},
            XENT_SET(logits.dtype));
  const std::initializer_list<int32_t> no_target = {0, 5, 15, 23, -1, -16, kMax32, kMin32};
  AddValues(cases, "targets.dtype", invalid, no_target, XENT_SET(targets.dtype));
  AddValues(cases, "targets.kind", invalid, {0, 4, -1, kMax32, kMin32}, XENT_SET(targets.kind));
  AddValues(cases, "options.denominator", invalid, {-1, 3, kMax32, kMin32}, XENT_SET(options.denominator));
  AddValues(cases, "options.masked_row", invalid, {-1, 2, kMax32, kMin32}, XENT_SET(options.masked_row));
  AddValues(cases, "options.smoothing", invalid, {-1, 2, kMax32, kMin32}, XENT_SET(options.smoothing));
  AddValues(cases, "options.live_classes", invalid, {-1, 2, kMax32, kMin32}, XENT_SET(options.live_classes));
  AddValues(cases, "options.reduction", invalid, {-1, 3, 4, kMax32, kMin32}, XENT_SET(options.reduction));
  AddValues(cases, "options.empty_mean", invalid, {-1, 3, 4, kMax32, kMin32}, XENT_SET(options.empty_mean));
  AddValues(cases, "options.invalid_label", invalid, {-1, 2, 3, kMax32, kMin32}, XENT_SET(options.invalid_label));
  AddValues(cases, "outputs.gradient_dtype", invalid, {-1, 5, 16, 22, 23, kMax32, kMin32},
            XENT_SET(outputs.gradient_dtype));
  // Another storage type; of halves it may be f32.
  AddValues(cases, "outputs.gradient_dtype", XENT_UNSUPPORTED, {1, 2, 3}, [](Call& call, int32_t step) {
    const int32_t other = (call.logits.dtype - 1 + step) % 4 + 1;
    const bool is_allowed = other == XENT_F32 && call.logits.dtype != XENT_F64;
    call.outputs.gradient_dtype = is_allowed ? XENT_F64 : other;
  });
}

void AddNumbers(BadCalls* cases) {
  const auto invalid = XENT_INVALID_ARGUMENT;
  AddValues(cases, "logits.reserved", invalid, {1, -1, kMax32}, XENT_SET(logits.reserved));
  AddValues(cases, "targets.rest", invalid, {2, -1, kMax32}, XENT_SET(targets.rest));
  AddValues(cases, "targets.per_row", invalid, {int64_t{-1}, kMin64}, XENT_SET(targets.per_row));
  AddValues(cases, "options.reserved", invalid, {1, -1, kMax32}, XENT_SET(options.reserved));
  AddValues(cases, "options.num_threads", invalid, {-1, -2, kMin32}, XENT_SET(options.num_threads));
  AddValues(cases, "options.upstream", invalid, {kInf, -kInf, std::numeric_limits<double>::quiet_NaN()},
            XENT_SET(options.upstream));
  AddRange(cases, "options.scale", {0.0, -1.0, 1e-320}, XENT_SET(options.scale));
  AddRange(cases, "options.softcap", {-1e-300, -1.0}, XENT_SET(options.softcap));
  AddRange(cases, "options.label_smoothing", {-0.1, 1.0000001}, XENT_SET(options.label_smoothing));
  AddRange(cases, "options.z_loss", {}, XENT_SET(options.z_loss));
  AddRange(cases, "options.entropy_weight", {}, XENT_SET(options.entropy_weight));
  AddRange(cases, "options.focal_gamma", {-1.0}, XENT_SET(options.focal_gamma));
  AddRange(cases, "options.denominator_value", {1.0, -1.0}, XENT_SET(options.denominator_value));
  AddRange(cases, "options.denominator_value", {-1.0}, [](Call& call, double value) {
    call.options.denominator = XENT_DENOMINATOR_GIVEN;
    call.options.denominator_value = value;
  });
  AddValues(cases, "targets.struct_size", XENT_VERSION_MISMATCH, {0, -1, 8, 24, 63, 65, 72, kMax32},
            XENT_SET(targets.struct_size));
  AddValues(cases, "options.struct_size", XENT_VERSION_MISMATCH, {0, -1, 72, 191, 193, 200, kMax32},
            XENT_SET(options.struct_size));
  AddValues(cases, "outputs.struct_size", XENT_VERSION_MISMATCH, {0, -1, 104, 151, 153, 160, kMax32},
            XENT_SET(outputs.struct_size));
  const auto set_runner = [](auto change) {
    return [change](Call& call, auto value) {
      change(call.runner, value);
      call.options.runner = &call.runner;
    };
  };
  AddValues(cases, "runner", invalid, {0, -1, kMin32},
            set_runner([](xent_parallel_runner& runner, int32_t value) { runner.concurrency = value; }));
  AddValues(cases, "runner", invalid, {1, -1, kMax32},
            set_runner([](xent_parallel_runner& runner, int32_t value) { runner.reserved = value; }));
  AddValues(cases, "runner", invalid, {0},
            set_runner([](xent_parallel_runner& runner, int32_t) { runner.run = nullptr; }));
}

#undef XENT_SET

// Saved inputs that exclude each other, and outputs that a saved lse cannot give.
void AddCombinations(BadCalls* cases, CallMode mode) {
  if (mode == CallMode::kWithRowState) {
    cases->push_back({"options.lse", XENT_INVALID_ARGUMENT, [](Call& call) { call.options.lse = call.outputs.lse; }});
  }
  const auto unsupported = [&](const char* argument, auto set) { cases->push_back({argument, XENT_UNSUPPORTED, set}); };
  if (mode == CallMode::kFullDense || mode == CallMode::kFullSparse) {
    unsupported("options.focal_gamma", [](Call& call) { call.options.focal_gamma = 2; });
    unsupported("options.smoothing", [](Call& call) { call.options.smoothing = XENT_SMOOTHING_OTHERS; });
    unsupported("outputs.probability", [](Call& call) { call.outputs.probability = call.arena().data(); });
    unsupported("log_probability", [](Call& call) { call.outputs.log_probability = call.arena().data(); });
    unsupported("correct", [](Call& call) { call.outputs.correct = reinterpret_cast<int64_t*>(call.arena().data()); });
  }
  if (mode != CallMode::kWithLse) return;
  unsupported("options.lse", [](Call& call) { call.options.z_loss = 1e-4; });
  unsupported("options.lse", [](Call& call) { call.options.focal_gamma = 2; });
  unsupported("options.lse", [](Call& call) { call.options.scale = 2; });
  unsupported("options.lse", [](Call& call) { call.options.label_smoothing = 0.1; });
  const auto scratch = [](Call& call) { return call.arena().data(); };
  const auto add = [&](auto set) {
    cases->push_back({"options.lse", XENT_UNSUPPORTED, [=](Call& call) { set(call, scratch(call)); }});
  };
  add([](Call& call, void* at) { call.outputs.total = static_cast<double*>(at); });
  add([](Call& call, void* at) { call.outputs.sum = static_cast<double*>(at); });
  add([](Call& call, void* at) { call.outputs.row_loss = at; });
  add([](Call& call, void* at) { call.outputs.lse = at; });
  add([](Call& call, void* at) { call.outputs.row_state = static_cast<xent_row_state*>(at); });
  add([](Call& call, void* at) { call.outputs.entropy = at; });
  add([](Call& call, void* at) { call.outputs.probability = at; });
  add([](Call& call, void* at) { call.outputs.log_probability = at; });
  add([](Call& call, void* at) { call.outputs.argmax = static_cast<int64_t*>(at); });
  add([](Call& call, void* at) { call.outputs.correct = static_cast<int64_t*>(at); });
  add([](Call& call, void* at) { call.outputs.z_loss = static_cast<double*>(at); });
}

// Buffer `moved` of the call at a distance from buffer `other`.
BadCall MovedBuffer(size_t moved, size_t other, int64_t distance, const std::string& argument, xent_status status) {
  return {argument, status, [=](Call& call) {
            const std::vector<CallBuffer> buffers = call.Buffers();
            buffers[moved].MoveTo(buffers[other].begin() + distance);
          }};
}

// Each output laid over each other buffer: at its start, over its last element, and reaching into its first.
void AddOverlaps(BadCalls* cases, Call* pattern) {
  const std::vector<CallBuffer> buffers = pattern->Buffers();
  for (size_t moved = 0; moved < buffers.size(); ++moved) {
    for (size_t other = 0; other < buffers.size(); ++other) {
      if (moved == other || !buffers[moved].is_output) continue;
      const int64_t unit = buffers[moved].alignment;
      const int64_t over_last = (buffers[other].bytes - 1) / unit * unit;
      const int64_t into_first = -((buffers[moved].bytes - 1) / unit * unit);
      const bool may_be_in_place = buffers[moved].name == "outputs.gradient" && buffers[other].name == "logits.data";
      for (const int64_t distance : {int64_t{0}, unit, over_last, into_first}) {
        const bool overlaps = distance < buffers[other].bytes && !(may_be_in_place && distance == 0);
        if (overlaps) cases->push_back(MovedBuffer(moved, other, distance, buffers[other].name, XENT_OVERLAP));
      }
    }
  }
  cases->push_back({"outputs.gradient", XENT_OVERLAP, [](Call& call) {
                      call.outputs.gradient = const_cast<void*>(call.logits.data);  // in place, but other strides
                      call.outputs.gradient_outer_stride = Call::kClasses;
                      call.outputs.gradient_class_stride = call.outputs.gradient_inner_stride = 1;
                    }});
}

// Every buffer whose elements are larger than a byte, one byte off.
void AddMisalignments(BadCalls* cases, Call* pattern) {
  const std::vector<CallBuffer> buffers = pattern->Buffers();
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].alignment == 1) continue;
    cases->push_back(MovedBuffer(i, i, 1, buffers[i].name, XENT_INVALID_ARGUMENT));
    cases->push_back(MovedBuffer(i, i, buffers[i].alignment - 1, buffers[i].name, XENT_INVALID_ARGUMENT));
  }
}

void CheckCase(const BadCall& bad, Call* call) {
  bad.spoil(*call);
  const Bytes before = call->arena();
  const xent_status status = call->Make();
  const std::string sentence = xent_last_error();
  EXPECT_EQ(status, bad.status) << bad.argument << ": " << xent_status_name(status) << ", \"" << sentence << '"';
  EXPECT_NE(sentence.find(bad.argument), std::string::npos) << '"' << sentence << "\" does not name " << bad.argument;
  EXPECT_EQ(std::memcmp(call->arena().data(), before.data(), before.size()), 0) << "bytes were written: " << sentence;
}

// Checks all bad calls that derive from one good call, and returns their number.
int64_t CheckAll(xent_dtype storage, xent_dtype label_type, CallMode mode) {
  Call pattern(storage, label_type, mode);
  EXPECT_EQ(pattern.Make(), XENT_OK) << xent_last_error();
  BadCalls cases;
  AddPointers(&cases);
  AddSizes(&cases);
  AddStrides(&cases);
  AddEnumerators(&cases);
  AddNumbers(&cases);
  AddCombinations(&cases, mode);
  AddOverlaps(&cases, &pattern);
  AddMisalignments(&cases, &pattern);
  for (const BadCall& bad : cases) {
    Call call(storage, label_type, mode);
    CheckCase(bad, &call);
  }
  return static_cast<int64_t>(cases.size());
}

TEST(Arguments, EveryBadOneHasItsStatusAndSentenceAndNothingIsWritten) {
  int64_t count = 0;
  for (const xent_dtype storage : kStorageTypes) {
    for (const xent_dtype label_type : {XENT_I64, XENT_U8, XENT_I16}) {
      for (const CallMode mode : {CallMode::kPlain, CallMode::kWithRowState, CallMode::kWithLse, CallMode::kFull,
                                  CallMode::kFullDense, CallMode::kFullSparse}) {
        SCOPED_TRACE(testing::Message() << TypeName(storage) << " logits, " << TypeName(label_type) << " labels, mode "
                                        << static_cast<int>(mode));
        count += CheckAll(storage, label_type, mode);
      }
    }
  }
  std::printf("%lld bad calls\n", static_cast<long long>(count));
  EXPECT_GE(count, 2000);
}

TEST(Arguments, UpstreamBeyondTheArithmeticOfTheGradientIsAnError) {
  for (const xent_dtype storage : kStorageTypes) {
    for (const double upstream : {1e39, -1e300}) {
      Call call(storage, XENT_I64, CallMode::kPlain);
      const BadCall bad = {"options.upstream", XENT_INVALID_ARGUMENT,
                           [=](Call& spoiled) { spoiled.options.upstream = upstream; }};
      if (storage != XENT_F64) CheckCase(bad, &call);
    }
  }
}

TEST(Arguments, SparseTargetsNeedWeightsAndAnAddressSpace) {
  const float x[2] = {0, 1}, weight = 1;
  const int64_t label = 0;
  double total = 7;
  const xent_logits logits = xent_logits_rows(x, XENT_F32, 1, 2);
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.total = &total;
  xent_targets targets = xent_targets_sparse(&label, XENT_I64, nullptr, 1, XENT_REST_DROP);
  EXPECT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &outputs), XENT_INVALID_ARGUMENT);
  EXPECT_STREQ(xent_last_error(), "targets.weights is NULL");
  targets = xent_targets_sparse(&label, XENT_I64, &weight, std::numeric_limits<int64_t>::max(), XENT_REST_DROP);
  EXPECT_EQ(xent_softmax_cross_entropy(&logits, &targets, nullptr, &outputs), XENT_SIZE_OVERFLOW);
  EXPECT_NE(std::string(xent_last_error()).find("targets.per_row is 9223372036854775807"), std::string::npos);
  EXPECT_EQ(total, 7);
}

TEST(Arguments, NoOptionsMeanTheDefaults) {
  for (const xent_dtype storage : kStorageTypes) {
    Call with(storage, XENT_I64, CallMode::kPlain);
    Call without(storage, XENT_I64, CallMode::kPlain);
    without.options_at = nullptr;
    EXPECT_EQ(with.Make(), XENT_OK) << xent_last_error();
    EXPECT_EQ(without.Make(), XENT_OK) << xent_last_error();
    EXPECT_EQ(std::memcmp(with.arena().data(), without.arena().data(), with.arena().size()), 0);
  }
}

TEST(Arguments, NoOutputsAreNoError) {
  Call call(XENT_F32, XENT_I64, CallMode::kPlain);
  call.outputs = xent_softmax_outputs_none();
  const Bytes before = call.arena();
  EXPECT_EQ(call.Make(), XENT_OK) << xent_last_error();
  EXPECT_EQ(std::memcmp(call.arena().data(), before.data(), before.size()), 0);
}

xent_status StatusWithRunner(RunTasks run) {
  Problem problem(XENT_F32, 2000, 500);
  const xent_parallel_runner runner = {run, nullptr, 8, 0};
  problem.options.runner = &runner;
  return Try(problem, kEverything).status;
}

TEST(Runner, ThatDoesNotRunEveryTaskOnceIsReported) {
  for (const RunTasks run : kBrokenRunners) {
    EXPECT_EQ(StatusWithRunner(run), XENT_RUNNER_FAILED);
    EXPECT_NE(std::string(xent_last_error()).find("runner"), std::string::npos) << xent_last_error();
  }
}

}  // namespace
}  // namespace xent_test
