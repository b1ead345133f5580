// Bad arguments of the binary cross-entropies: every pointer, size, stride, enumerator, number and overlap of a good
// call is spoiled in turn. Each has its status, a sentence that names the argument, and leaves every byte alone. And
// guard pages: nothing beside the arrays is touched.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/every_isa.h"
#include "support/guard.h"
#include "support/storage.h"

namespace xent_test {
namespace {

constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void RunInOrder(void*, int64_t tasks, void (*task)(void*, int64_t), void* task_context) {
  for (int64_t i = 0; i < tasks; ++i) task(task_context, i);
}

// A call with every array given, all in one arena, far from each other.
class FullCall {
 public:
  static constexpr int64_t kOuter = 3, kClasses = 5, kInner = 4, kCount = 60;

  FullCall(bool probabilities, xent_dtype storage, xent_dtype target_dtype)
      : from_probabilities(probabilities),
        dtype(storage),
        arena(20 * kSlot, 0, 0xC3),
        runner{RunInOrder, nullptr, 2, 0} {
    const bool has_labels = target_dtype >= XENT_U8;
    inputs = xent_logits_channels(At(0), storage, kOuter, kClasses, kInner);
    targets = has_labels ? xent_targets_labels(At(1), target_dtype) : xent_targets_dense(At(1), target_dtype);
    for (int64_t i = 0; i < kCount; ++i) SetElement(At(0), storage, i, 0.25);
    std::memset(At(1), 0, kSlot);
    for (size_t slot = 2; slot < 8; ++slot) {
      for (int64_t i = 0; i < kCount; ++i) SetElement(At(slot), RowType(storage), i, 1.5);
    }
    options.class_pos_weight = At(2);
    options.element_pos_weight = At(3);
    options.class_weight = At(4);
    options.row_weight = At(5);
    options.element_weight = At(6);
    options.element_upstream = At(7);
    options.runner = &runner;
    outputs.loss = At(8);
    outputs.gradient = At(9);
    outputs.total = reinterpret_cast<double*>(At(10));
    outputs.sum = reinterpret_cast<double*>(At(11));
    outputs.denominator = reinterpret_cast<double*>(At(12));
    outputs.counted = reinterpret_cast<int64_t*>(At(13));
    outputs.ignored = reinterpret_cast<int64_t*>(At(14));
    if (probabilities) outputs.outside = reinterpret_cast<int64_t*>(At(15));
  }
  FullCall(const FullCall&) = delete;
  FullCall& operator=(const FullCall&) = delete;

  xent_status Make() const {
    const auto call = from_probabilities ? xent_binary_cross_entropy : xent_sigmoid_cross_entropy;
    return call(inputs_at, targets_at, options_at, outputs_at);
  }
  unsigned char* At(size_t slot) { return arena.data() + slot * kSlot; }

  bool from_probabilities;
  xent_dtype dtype;
  Bytes arena;
  xent_logits inputs;
  xent_targets targets;
  xent_binary_options options = xent_binary_options_default();
  xent_binary_outputs outputs = xent_binary_outputs_none();
  xent_parallel_runner runner;
  const xent_logits* inputs_at = &inputs;
  const xent_targets* targets_at = &targets;
  const xent_binary_options* options_at = &options;
  const xent_binary_outputs* outputs_at = &outputs;

 private:
  static constexpr size_t kSlot = 1024;
};

struct Spoiled {
  std::function<void(FullCall&)> spoil;
  xent_status status;
  const char* named;
};

std::vector<Spoiled> AllSpoiled(bool probabilities, xent_dtype dtype, bool has_labels) {
  const std::string of = probabilities ? "probabilities" : "logits";
  static const std::string names[] = {"logits", "probabilities"};
  const char* const inputs = names[probabilities ? 1 : 0].c_str();
  std::vector<Spoiled> all = {
      {[](FullCall& c) { c.inputs_at = nullptr; }, XENT_INVALID_ARGUMENT, inputs},
      {[](FullCall& c) { c.targets_at = nullptr; }, XENT_INVALID_ARGUMENT, "targets is NULL"},
      {[](FullCall& c) { c.outputs_at = nullptr; }, XENT_INVALID_ARGUMENT, "outputs is NULL"},
      {[](FullCall& c) { c.inputs.data = nullptr; }, XENT_INVALID_ARGUMENT, "data is NULL"},
      {[](FullCall& c) { c.targets.data = nullptr; }, XENT_INVALID_ARGUMENT, "targets.data is NULL"},
      {[](FullCall& c) { c.inputs.data = c.At(0) + 1; }, XENT_INVALID_ARGUMENT, "aligned"},
      {[](FullCall& c) { c.inputs.dtype = 99; }, XENT_INVALID_ARGUMENT, "dtype is 99"},
      {[](FullCall& c) { c.inputs.dtype = XENT_I32; }, XENT_INVALID_ARGUMENT, "dtype is 20"},
      {[](FullCall& c) { c.inputs.reserved = 1; }, XENT_INVALID_ARGUMENT, "reserved is 1"},
      {[](FullCall& c) { c.inputs.outer = -1; }, XENT_INVALID_ARGUMENT, "outer is -1"},
      {[](FullCall& c) { c.inputs.classes = -1; }, XENT_INVALID_ARGUMENT, "classes is -1"},
      {[](FullCall& c) { c.inputs.classes = 0; }, XENT_INVALID_ARGUMENT, "classes is 0"},
      {[](FullCall& c) { c.inputs.inner = -7; }, XENT_INVALID_ARGUMENT, "inner is -7"},
      {[](FullCall& c) { c.inputs.outer = kMax64; }, XENT_SIZE_OVERFLOW, "outer_stride"},
      {[](FullCall& c) { c.inputs.class_stride = 0; }, XENT_INVALID_ARGUMENT, "class_stride is 0"},
      {[](FullCall& c) { c.inputs.inner_stride = -1; }, XENT_INVALID_ARGUMENT, "inner_stride is -1"},
      {[](FullCall& c) { c.inputs.outer_stride = 3; }, XENT_INVALID_ARGUMENT, "stride"},
      {[](FullCall& c) { c.targets.struct_size = 8; }, XENT_VERSION_MISMATCH, "targets.struct_size is 8"},
      {[](FullCall& c) { c.targets.kind = XENT_TARGET_SPARSE; }, XENT_UNSUPPORTED, "SPARSE"},
      {[](FullCall& c) { c.targets.kind = 0; }, XENT_INVALID_ARGUMENT, "targets.kind is 0"},
      {[](FullCall& c) { c.targets.rest = 1; }, XENT_INVALID_ARGUMENT, "targets.rest is 1"},
      {[](FullCall& c) { c.targets.per_row = 1; }, XENT_INVALID_ARGUMENT, "targets.per_row is 1"},
      {[](FullCall& c) { c.targets.dtype = 77; }, XENT_INVALID_ARGUMENT, "targets.dtype is 77"},
      {[](FullCall& c) { c.options.struct_size = 0; }, XENT_VERSION_MISMATCH, "options.struct_size is 0"},
      {[](FullCall& c) { c.outputs.struct_size = 4; }, XENT_VERSION_MISMATCH, "outputs.struct_size is 4"},
      {[](FullCall& c) { c.options.reduction = 3; }, XENT_INVALID_ARGUMENT, "options.reduction is 3"},
      {[](FullCall& c) { c.options.empty_mean = -1; }, XENT_INVALID_ARGUMENT, "options.empty_mean is -1"},
      {[](FullCall& c) { c.options.invalid_label = 2; }, XENT_INVALID_ARGUMENT, "options.invalid_label is 2"},
      {[](FullCall& c) { c.options.denominator = 3; }, XENT_INVALID_ARGUMENT, "options.denominator is 3"},
      {[](FullCall& c) { c.options.log_rule = 3; }, XENT_INVALID_ARGUMENT, "options.log_rule is 3"},
      {[](FullCall& c) { c.options.reserved = 1; }, XENT_INVALID_ARGUMENT, "options.reserved is 1"},
      {[](FullCall& c) { c.options.upstream = kNan; }, XENT_INVALID_ARGUMENT, "options.upstream is nan"},
      {[](FullCall& c) { c.options.upstream = kInf; }, XENT_INVALID_ARGUMENT, "options.upstream is inf"},
      {[](FullCall& c) { c.options.pos_weight = -1; }, XENT_INVALID_ARGUMENT, "options.pos_weight is -1"},
      {[](FullCall& c) { c.options.pos_weight = kNan; }, XENT_INVALID_ARGUMENT, "options.pos_weight is nan"},
      {[](FullCall& c) { c.options.label_smoothing = 1.5; }, XENT_INVALID_ARGUMENT, "options.label_smoothing is 1.5"},
      {[](FullCall& c) { c.options.denominator_value = 2; }, XENT_INVALID_ARGUMENT, "options.denominator_value is 2"},
      {[](FullCall& c) { c.options.denominator_value = -2; }, XENT_INVALID_ARGUMENT, "denominator_value is -2"},
      {[](FullCall& c) { c.options.num_threads = -1; }, XENT_INVALID_ARGUMENT, "options.num_threads is -1"},
      {[](FullCall& c) { c.runner.run = nullptr; }, XENT_INVALID_ARGUMENT, "runner->run"},
      {[](FullCall& c) { c.runner.concurrency = 0; }, XENT_INVALID_ARGUMENT, "concurrency is 0"},
      {[](FullCall& c) { c.outputs.gradient_dtype = 55; }, XENT_INVALID_ARGUMENT, "gradient_dtype is 55"},
      {[](FullCall& c) { c.outputs.gradient_class_stride = 1; }, XENT_INVALID_ARGUMENT, "gradient_"},
      {[](FullCall& c) { c.outputs.gradient = c.At(9) + 1; }, XENT_INVALID_ARGUMENT, "outputs.gradient"},
      {[](FullCall& c) {
         c.outputs.gradient = const_cast<void*>(c.inputs.data);
         c.outputs.gradient_outer_stride = 1;
         c.outputs.gradient_class_stride = 3;
         c.outputs.gradient_inner_stride = 15;
       },
       XENT_OVERLAP, "outputs.gradient"},
      {[](FullCall& c) { c.outputs.gradient = c.At(0) + SizeOf(c.dtype); }, XENT_OVERLAP, "in place"},
      {[](FullCall& c) { c.outputs.gradient = c.At(1); }, XENT_OVERLAP, "targets.data"},
      {[](FullCall& c) { c.outputs.loss = c.At(0); }, XENT_OVERLAP, "outputs.loss"},
      {[](FullCall& c) { c.outputs.loss = c.At(9); }, XENT_OVERLAP, "outputs.gradient"},
      {[](FullCall& c) { c.outputs.total = reinterpret_cast<double*>(c.At(11)); }, XENT_OVERLAP, "outputs.sum"},
      {[](FullCall& c) { c.outputs.counted = reinterpret_cast<int64_t*>(c.At(8)); }, XENT_OVERLAP, "outputs.counted"}};
  const auto add_array = [&](const char* name, auto member) {
    all.push_back({[member](FullCall& c) { c.options.*member = c.At(2) + 2; }, XENT_INVALID_ARGUMENT, name});
    all.push_back({[member](FullCall& c) { c.options.*member = c.At(9); }, XENT_OVERLAP, name});
  };
  add_array("class_pos_weight", &xent_binary_options::class_pos_weight);
  add_array("element_pos_weight", &xent_binary_options::element_pos_weight);
  add_array("class_weight", &xent_binary_options::class_weight);
  add_array("row_weight", &xent_binary_options::row_weight);
  add_array("element_weight", &xent_binary_options::element_weight);
  add_array("element_upstream", &xent_binary_options::element_upstream);
  const auto add_output = [&](const char* name, auto member) {
    all.push_back({[member](FullCall& c) {
                     unsigned char* const odd = c.At(16) + 1;
                     std::memcpy(&(c.outputs.*member), &odd, sizeof(odd));
                   },
                   XENT_INVALID_ARGUMENT, name});
  };
  add_output("outputs.total", &xent_binary_outputs::total);
  add_output("outputs.sum", &xent_binary_outputs::sum);
  add_output("outputs.denominator", &xent_binary_outputs::denominator);
  add_output("outputs.counted", &xent_binary_outputs::counted);
  add_output("outputs.ignored", &xent_binary_outputs::ignored);
  add_output("outputs.loss", &xent_binary_outputs::loss);
  const bool is_half = dtype == XENT_BF16 || dtype == XENT_F16;
  if (!is_half) {
    all.push_back({[](FullCall& c) { c.outputs.gradient_dtype = XENT_BF16; }, XENT_UNSUPPORTED, "gradient_dtype is 3"});
  }
  if (probabilities) {
    all.push_back({[](FullCall& c) { c.options.focal_gamma = 2; }, XENT_UNSUPPORTED, "focal_gamma is 2"});
    all.push_back({[](FullCall& c) { c.options.focal_alpha = 0.5; }, XENT_UNSUPPORTED, "focal_alpha 0.5"});
    all.push_back({[](FullCall& c) { c.options.epsilon = 0.1; }, XENT_INVALID_ARGUMENT, "options.epsilon is 0.1"});
    all.push_back({[](FullCall& c) { c.options.log_rule = XENT_LOG_EPSILON; }, XENT_INVALID_ARGUMENT, "epsilon is 0"});
    all.push_back({[](FullCall& c) {
                     c.options.log_rule = XENT_LOG_EPSILON;
                     c.options.epsilon = 0.5;
                   },
                   XENT_INVALID_ARGUMENT, "epsilon is 0.5"});
    add_output("outputs.outside", &xent_binary_outputs::outside);
  } else {
    all.push_back({[](FullCall& c) { c.options.focal_gamma = -1; }, XENT_INVALID_ARGUMENT, "focal_gamma is -1"});
    all.push_back({[](FullCall& c) { c.options.focal_gamma = kInf; }, XENT_INVALID_ARGUMENT, "focal_gamma is inf"});
    all.push_back({[](FullCall& c) { c.options.focal_alpha = 1.5; }, XENT_INVALID_ARGUMENT, "is 1.5"});
    all.push_back({[](FullCall& c) { c.options.log_rule = XENT_LOG_CLAMP; }, XENT_UNSUPPORTED, "log_rule is 1"});
    all.push_back({[](FullCall& c) { c.outputs.outside = reinterpret_cast<int64_t*>(c.At(15)); }, XENT_UNSUPPORTED,
                   "outputs.outside"});
  }
  if (has_labels) {
    all.push_back({[](FullCall& c) { c.targets.dtype = XENT_F32; }, XENT_INVALID_ARGUMENT, "targets.dtype is 1"});
    all.push_back({[](FullCall& c) { c.At(1)[0] = 5; }, XENT_INVALID_LABEL, "labels[0] is 5"});
    all.push_back({[](FullCall& c) {
                     c.options.ignore_index = 0;
                     c.options.denominator = XENT_ELEMENTS_COUNTED;
                     c.options.empty_mean = XENT_EMPTY_MEAN_ERROR;
                   },
                   XENT_EMPTY_MEAN, "no elements"});
  } else {
    all.push_back({[](FullCall& c) { c.targets.dtype = XENT_U8; }, XENT_INVALID_ARGUMENT, "targets.dtype is 16"});
    all.push_back({[](FullCall& c) { c.targets.class_stride = 1; }, XENT_INVALID_ARGUMENT, "targets."});
    all.push_back({[](FullCall& c) {
                     c.options.ignore_target = 0;
                     c.options.denominator = XENT_ELEMENTS_COUNTED;
                     c.options.empty_mean = XENT_EMPTY_MEAN_ERROR;
                   },
                   XENT_EMPTY_MEAN, "no elements"});
  }
  return all;
}

TEST(BinaryArguments, BadOnesAreNamedAndNothingIsWritten) {
  int cases = 0;
  for (const bool probabilities : {false, true}) {
    for (const xent_dtype dtype : kStorageTypes) {
      for (const xent_dtype target_dtype : {dtype, static_cast<xent_dtype>(XENT_F64), static_cast<xent_dtype>(XENT_U8),
                                            static_cast<xent_dtype>(XENT_I64)}) {
        const bool has_labels = target_dtype >= XENT_U8;
        {
          FullCall good(probabilities, dtype, target_dtype);
          ASSERT_EQ(good.Make(), XENT_OK) << xent_last_error();
        }
        const std::vector<Spoiled> all = AllSpoiled(probabilities, dtype, has_labels);
        for (size_t i = 0; i < all.size(); ++i) {
          FullCall call(probabilities, dtype, target_dtype);
          all[i].spoil(call);
          const Bytes before = call.arena;
          EXPECT_EQ(xent_status_name(call.Make()), xent_status_name(all[i].status))
              << "case " << i << ": " << all[i].named << "; " << xent_last_error();
          EXPECT_NE(std::string(xent_last_error()).find(all[i].named), std::string::npos)
              << "case " << i << ": " << all[i].named << " is not in \"" << xent_last_error() << "\"";
          ASSERT_EQ(std::memcmp(before.data(), call.arena.data(), before.size()), 0) << "case " << i;
          ++cases;
        }
      }
    }
  }
  EXPECT_GE(cases, 2000);
}

TEST(BinaryMemory, NothingBesideTheArraysIsTouched) {
  ForEveryIsaAndType([](xent_dtype dtype) {
    for (int64_t n = 1; n <= 71; ++n) {
      for (const Edge edge : {Edge::kBegin, Edge::kEnd}) {
        for (const bool probabilities : {false, true}) {
          NoteForFault(std::string(TypeName(dtype)) + ", " + std::to_string(n) + " elements");
          const size_t size = static_cast<size_t>(n);
          const size_t real = SizeOf(RowType(dtype));
          GuardedBytes x(size * SizeOf(dtype), edge), t(size * SizeOf(dtype), edge), g(size * SizeOf(dtype), edge);
          GuardedBytes loss(size * real, edge), weight(size * real, edge), pos(size * real, edge);
          for (int64_t i = 0; i < n; ++i) {
            SetElement(x.data(), dtype, i, 0.5);
            SetElement(t.data(), dtype, i, static_cast<double>(i % 2));
            SetElement(weight.data(), RowType(dtype), i, 2);
            SetElement(pos.data(), RowType(dtype), i, 1);
          }
          const xent_logits inputs = xent_logits_rows(x.data(), dtype, 1, n);
          const xent_targets targets = xent_targets_dense(t.data(), dtype);
          xent_binary_options options = xent_binary_options_default();
          options.element_weight = weight.data();
          options.element_pos_weight = pos.data();
          options.element_upstream = weight.data();
          xent_binary_outputs outputs = xent_binary_outputs_none();
          outputs.loss = loss.data();
          outputs.gradient = g.data();
          const auto call = probabilities ? xent_binary_cross_entropy : xent_sigmoid_cross_entropy;
          ASSERT_EQ(call(&inputs, &targets, &options, &outputs), XENT_OK) << xent_last_error();
          ASSERT_TRUE(x.Intact() && t.Intact() && g.Intact() && loss.Intact() && weight.Intact() && pos.Intact());
        }
      }
    }
  });
}

}  // namespace
}  // namespace xent_test
