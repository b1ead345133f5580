// The rules of xent_softmax_cross_entropy.
#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "lib/check.h"
#include "lib/check_rules.h"
#include "lib/softmax_general.h"

namespace xent {
namespace {

// An array of the caller's with a name, in the terms of xent_logits.
struct Array {
  const char* name;    // "logits.data"
  const char* prefix;  // of the names of its strides: "logits."
  const void* data;
  xent_dtype dtype;
  int64_t outer;
  int64_t classes;
  int64_t inner;
  int64_t outer_stride;
  int64_t class_stride;
  int64_t inner_stride;
};

// Elements from the first to the last of a matrix.
int64_t ExtentOf(const Matrix& x) {
  if (x.rows == 0 || x.classes == 0) return 0;
  const int64_t outer = x.rows / x.inner;
  return 1 + (outer - 1) * x.outer_stride + (x.inner - 1) * x.inner_stride + (x.classes - 1) * x.class_stride;
}

}  // namespace

Extent ExtentOf(const char* name, const Matrix& x) { return {name, x.data, ExtentOf(x) * x.ElementBytes()}; }

namespace {

// Rows at equal distances get inner 1, however they are described.
Matrix MatrixOf(const Array& a) {
  Matrix x = {a.data,         DtypeOf(a.dtype), a.outer * a.inner, a.classes,     a.inner,
              a.outer_stride, a.class_stride,   a.inner_stride};
  if (a.classes == 1) x.class_stride = 1;
  if (a.inner > 1 && (a.outer == 1 || a.outer_stride == a.inner * a.inner_stride)) {
    x.outer_stride = a.inner_stride;
    x.inner = 1;
  }
  if (x.inner <= 1) x.inner = x.inner_stride = 1;
  return x;
}

// No two elements share memory, and all have an address: from the smallest stride on, each is at least what the
// dimensions before it span.
xent_status CheckStrides(const Array& a) {
  struct Dimension {
    const char* name;
    int64_t size;
    int64_t stride;
  };
  Dimension dimensions[] = {{"class_stride", a.classes, a.class_stride},
                            {"inner_stride", a.inner, a.inner_stride},
                            {"outer_stride", a.outer, a.outer_stride}};
  const auto swap_if_less = [&](int i, int j) {
    if (dimensions[j].stride < dimensions[i].stride) std::swap(dimensions[i], dimensions[j]);
  };
  swap_if_less(0, 1);
  swap_if_less(1, 2);
  swap_if_less(0, 1);
  const int64_t most = kMaxBytes / DtypeSize(a.dtype);
  int64_t span = 1;
  for (const Dimension& dimension : dimensions) {
    if (dimension.size <= 1) continue;
    XENT_REQUIRE(dimension.stride >= span, XENT_INVALID_ARGUMENT,
                 "%s%s is %" PRId64 "; it must be at least %" PRId64 ", so that elements do not share memory", a.prefix,
                 dimension.name, dimension.stride, span);
    int64_t reach;
    const bool fits = !__builtin_mul_overflow(dimension.size - 1, dimension.stride, &reach) &&
                      !__builtin_add_overflow(reach, span, &span) && span <= most;
    XENT_REQUIRE(fits, XENT_SIZE_OVERFLOW,
                 "%s%s is %" PRId64 "; %" PRId64 " of them do not fit the address space", a.prefix, dimension.name,
                 dimension.stride, dimension.size);
  }
  return XENT_OK;
}

xent_status CheckArray(const Array& a) {
  const int32_t element = DtypeSize(a.dtype);
  XENT_REQUIRE(a.data != nullptr, XENT_INVALID_ARGUMENT, "%s is NULL", a.name);
  XENT_REQUIRE(IsAligned(a.data, element), XENT_INVALID_ARGUMENT,
               "%s is %p; its elements of %" PRId32 " bytes must be aligned", a.name, a.data, element);
  return CheckStrides(a);
}

}  // namespace

xent_status CheckLogits(const xent_logits& x, Matrix* matrix) {
  XENT_REQUIRE(IsRealDtype(x.dtype), XENT_INVALID_ARGUMENT,
               "logits.dtype is %" PRId32 "; XENT_F32, XENT_F64, XENT_BF16 and XENT_F16 are allowed", x.dtype);
  XENT_REQUIRE(x.reserved == 0, XENT_INVALID_ARGUMENT, "logits.reserved is %" PRId32 "; it must be 0", x.reserved);
  XENT_REQUIRE(x.outer >= 0, XENT_INVALID_ARGUMENT, "logits.outer is %" PRId64 "; it must not be negative", x.outer);
  XENT_REQUIRE(x.classes >= 0, XENT_INVALID_ARGUMENT, "logits.classes is %" PRId64 "; it must not be negative",
               x.classes);
  XENT_REQUIRE(x.inner >= 0, XENT_INVALID_ARGUMENT, "logits.inner is %" PRId64 "; it must not be negative", x.inner);
  const bool has_rows = x.outer > 0 && x.inner > 0;
  XENT_REQUIRE(x.classes > 0 || !has_rows, XENT_INVALID_ARGUMENT,
               "logits.classes is 0; with rows (logits.outer is %" PRId64 ") there must be classes", x.outer);
  const Array array = {"logits.data", "logits.", x.data,         x.dtype,        x.outer,
                       x.classes,     x.inner,   x.outer_stride, x.class_stride, x.inner_stride};
  if (!has_rows) {
    *matrix = Matrix{x.data, DtypeOf(x.dtype), 0, x.classes, 1, x.classes, 1, 1};
    return XENT_OK;
  }
  XENT_RULE(CheckArray(array));
  *matrix = MatrixOf(array);
  XENT_REQUIRE(matrix->rows <= kMaxBytes / static_cast<int64_t>(sizeof(xent_row_state)), XENT_SIZE_OVERFLOW,
               "logits.outer is %" PRId64 "; arrays of so many rows do not fit the address space", x.outer);
  return XENT_OK;
}

namespace {

xent_status CheckLabels(const xent_targets& targets) {
  XENT_REQUIRE(IsLabelDtype(targets.dtype), XENT_INVALID_ARGUMENT,
               "targets.dtype is %" PRId32 "; labels are integers, XENT_U8 to XENT_I64", targets.dtype);
  return XENT_OK;
}

xent_status CheckDense(const xent_targets& targets, const xent_logits& x, Matrix* dense) {
  XENT_REQUIRE(IsRealDtype(targets.dtype), XENT_INVALID_ARGUMENT,
               "targets.dtype is %" PRId32 "; dense targets are XENT_F32, XENT_F64, XENT_BF16 or XENT_F16",
               targets.dtype);
  Array array = {"targets.data",       "targets.",           targets.data,        targets.dtype, x.outer, x.classes,
                 x.inner,              targets.outer_stride, targets.class_stride, targets.inner_stride};
  if (targets.outer_stride == 0 && targets.class_stride == 0 && targets.inner_stride == 0) {
    array.outer_stride = x.classes * x.inner;  // no larger than the logits' own extent
    array.class_stride = x.inner;
    array.inner_stride = 1;
  }
  if (x.outer == 0 || x.inner == 0) return XENT_OK;
  XENT_RULE(CheckArray(array));
  *dense = MatrixOf(array);
  return XENT_OK;
}

xent_status CheckTargets(const xent_targets& targets, const xent_logits& x, const Matrix& logits, Targets* result) {
  XENT_REQUIRE(targets.struct_size == sizeof(targets), XENT_VERSION_MISMATCH,
               "targets.struct_size is %" PRId32 "; this version has %zu", targets.struct_size, sizeof(targets));
  XENT_REQUIRE(targets.kind >= XENT_TARGET_LABELS && targets.kind <= XENT_TARGET_SPARSE, XENT_INVALID_ARGUMENT,
               "targets.kind is %" PRId32 "; XENT_TARGET_LABELS, _DENSE and _SPARSE are allowed", targets.kind);
  const bool is_sparse = targets.kind == XENT_TARGET_SPARSE;
  XENT_REQUIRE(targets.rest == XENT_REST_DROP || (is_sparse && targets.rest == XENT_REST_SPREAD),
               XENT_INVALID_ARGUMENT, "targets.rest is %" PRId32 "; it is an xent_rest for sparse targets, else 0",
               targets.rest);
  XENT_REQUIRE(is_sparse ? targets.per_row >= 1 : targets.per_row == 0, XENT_INVALID_ARGUMENT,
               "targets.per_row is %" PRId64 "; it is at least 1 for sparse targets, else 0", targets.per_row);
  *result = Targets{targets.kind,       {targets.data, targets.dtype, 0}, {}, is_sparse ? targets.per_row : 1,
                    targets.weights, targets.rest};
  if (targets.kind == XENT_TARGET_DENSE) return CheckDense(targets, x, &result->dense);
  XENT_RULE(CheckLabels(targets));
  const int64_t row = x.dtype == XENT_F64 ? 8 : 4;
  if (logits.rows == 0) return XENT_OK;
  XENT_REQUIRE(targets.data != nullptr, XENT_INVALID_ARGUMENT, "targets.data is NULL");
  XENT_REQUIRE(IsAligned(targets.data, DtypeSize(targets.dtype)), XENT_INVALID_ARGUMENT,
               "targets.data is %p; its elements of %" PRId32 " bytes must be aligned", targets.data,
               DtypeSize(targets.dtype));
  if (!is_sparse) return XENT_OK;
  XENT_REQUIRE(targets.weights != nullptr, XENT_INVALID_ARGUMENT, "targets.weights is NULL");
  XENT_REQUIRE(IsAligned(targets.weights, row), XENT_INVALID_ARGUMENT,
               "targets.weights is %p; its elements of %" PRId64 " bytes must be aligned", targets.weights, row);
  XENT_REQUIRE(targets.per_row <= kMaxBytes / 8 / logits.rows, XENT_SIZE_OVERFLOW,
               "targets.per_row is %" PRId64 "; so many pairs of %" PRId64 " rows do not fit the address space",
               targets.per_row, logits.rows);
  return XENT_OK;
}

inline xent_status CheckEnumerator(const char* name, const char* type, int32_t value, int32_t last) {
  XENT_REQUIRE(value >= 0 && value <= last, XENT_INVALID_ARGUMENT, "options.%s is %" PRId32 "; it is no %s", name,
               value, type);
  return XENT_OK;
}

xent_status CheckEnumerators(const xent_softmax_options& options) {
  XENT_RULE(CheckEnumerator("reduction", "xent_reduction", options.reduction, XENT_REDUCTION_NONE));
  XENT_RULE(CheckEnumerator("empty_mean", "xent_empty_mean", options.empty_mean, XENT_EMPTY_MEAN_ERROR));
  XENT_RULE(CheckEnumerator("invalid_label", "xent_invalid_label", options.invalid_label, XENT_INVALID_LABEL_NAN));
  XENT_RULE(CheckEnumerator("denominator", "xent_denominator", options.denominator, XENT_DENOMINATOR_GIVEN));
  XENT_RULE(CheckEnumerator("masked_row", "xent_masked_row", options.masked_row, XENT_MASKED_ROW_ZERO));
  XENT_RULE(CheckEnumerator("smoothing", "xent_smoothing", options.smoothing, XENT_SMOOTHING_OTHERS));
  XENT_RULE(CheckEnumerator("live_classes", "flag, 0 or 1", options.live_classes, 1));
  return CheckEnumerator("reserved", "number but 0", options.reserved, 0);
}

inline xent_status CheckRange(const char* name, double value, double least, double most) {
  XENT_REQUIRE(value >= least && value <= most, XENT_INVALID_ARGUMENT,
               "options.%s is %g; it must be between %g and %g", name, value, least, most);
  return XENT_OK;
}

xent_status CheckNumbers(const xent_softmax_options& options, bool is_double) {
  constexpr double kHuge = std::numeric_limits<double>::max();
  const double largest = is_double ? kHuge : static_cast<double>(std::numeric_limits<float>::max());
  XENT_REQUIRE(std::fabs(options.upstream) <= largest, XENT_INVALID_ARGUMENT,
               "options.upstream is %g; it must be finite and fit the gradient's arithmetic", options.upstream);
  XENT_RULE(CheckRange("denominator_value", options.denominator_value, 0.0, kHuge));
  XENT_RULE(CheckRange("scale", options.scale, std::numeric_limits<double>::min(), kHuge));
  XENT_RULE(CheckRange("softcap", options.softcap, 0.0, kHuge));
  XENT_RULE(CheckRange("label_smoothing", options.label_smoothing, 0.0, 1.0));
  XENT_RULE(CheckRange("z_loss", options.z_loss, -kHuge, kHuge));
  XENT_RULE(CheckRange("entropy_weight", options.entropy_weight, -kHuge, kHuge));
  XENT_RULE(CheckRange("focal_gamma", options.focal_gamma, 0.0, kHuge));
  XENT_REQUIRE(options.denominator == XENT_DENOMINATOR_GIVEN || options.denominator_value == 0.0,
               XENT_INVALID_ARGUMENT,
               "options.denominator_value is %g; without XENT_DENOMINATOR_GIVEN it must be 0",
               options.denominator_value);
  return XENT_OK;
}

}  // namespace

xent_status CheckAligned(const char* of, const char* name, const void* pointer, int64_t bytes) {
  XENT_REQUIRE(IsAligned(pointer, bytes), XENT_INVALID_ARGUMENT, "%s.%s is %p; its elements must be aligned", of, name,
               pointer);
  return XENT_OK;
}

xent_status CheckOptions(const xent_softmax_options& options, bool is_double) {
  XENT_REQUIRE(options.struct_size == sizeof(options), XENT_VERSION_MISMATCH,
               "options.struct_size is %" PRId32 "; this version has %zu", options.struct_size, sizeof(options));
  XENT_RULE(CheckEnumerators(options));
  XENT_RULE(CheckNumbers(options, is_double));
  XENT_RULE(CheckThreads(options.num_threads, options.runner));
  XENT_REQUIRE(options.row_state == nullptr || options.lse == nullptr, XENT_INVALID_ARGUMENT,
               "options.row_state and options.lse are both given; a call takes one of them");
  const int64_t real = is_double ? 8 : 4;
  XENT_RULE(CheckAligned("options", "row_state", options.row_state, alignof(xent_row_state)));
  XENT_RULE(CheckAligned("options", "lse", options.lse, real));
  XENT_RULE(CheckAligned("options", "class_weight", options.class_weight, real));
  XENT_RULE(CheckAligned("options", "row_weight", options.row_weight, real));
  XENT_RULE(CheckAligned("options", "row_upstream", options.row_upstream, real));
  XENT_RULE(CheckAligned("options", "lse_upstream", options.lse_upstream, real));
  return CheckAligned("options", "entropy_upstream", options.entropy_upstream, real);
}

namespace {

xent_status CheckGradient(const xent_softmax_outputs& out, const xent_logits& x, const Matrix& logits,
                          Matrix* gradient) {
  *gradient = logits;
  gradient->data = out.gradient;
  if (out.gradient == nullptr) return XENT_OK;
  const bool is_half = x.dtype == XENT_BF16 || x.dtype == XENT_F16;
  XENT_REQUIRE(out.gradient_dtype == 0 || out.gradient_dtype == x.dtype || (is_half && out.gradient_dtype == XENT_F32),
               IsRealDtype(out.gradient_dtype) ? XENT_UNSUPPORTED : XENT_INVALID_ARGUMENT,
               "outputs.gradient_dtype is %" PRId32 "; for logits.dtype %" PRId32 " that is no gradient's",
               out.gradient_dtype, x.dtype);
  const bool as_logits =
      out.gradient_outer_stride == 0 && out.gradient_class_stride == 0 && out.gradient_inner_stride == 0;
  const Array array = {"outputs.gradient",
                       "outputs.gradient_",
                       out.gradient,
                       out.gradient_dtype == 0 ? x.dtype : out.gradient_dtype,
                       x.outer,
                       x.classes,
                       x.inner,
                       as_logits ? x.outer_stride : out.gradient_outer_stride,
                       as_logits ? x.class_stride : out.gradient_class_stride,
                       as_logits ? x.inner_stride : out.gradient_inner_stride};
  if (logits.rows == 0) {
    XENT_REQUIRE(IsAligned(out.gradient, DtypeSize(array.dtype)), XENT_INVALID_ARGUMENT,
                 "outputs.gradient is %p; its elements must be aligned", out.gradient);
    return XENT_OK;
  }
  XENT_RULE(CheckArray(array));
  *gradient = MatrixOf(array);
  return XENT_OK;
}

xent_status CheckOutputs(const xent_softmax_outputs& out, bool is_double) {
  const int64_t row = is_double ? 8 : 4;
  XENT_RULE(CheckAligned("outputs", "total", out.total, 8));
  XENT_RULE(CheckAligned("outputs", "sum", out.sum, 8));
  XENT_RULE(CheckAligned("outputs", "denominator", out.denominator, 8));
  XENT_RULE(CheckAligned("outputs", "counted", out.counted, 8));
  XENT_RULE(CheckAligned("outputs", "ignored", out.ignored, 8));
  XENT_RULE(CheckAligned("outputs", "row_loss", out.row_loss, row));
  XENT_RULE(CheckAligned("outputs", "lse", out.lse, row));
  XENT_RULE(CheckAligned("outputs", "row_state", out.row_state, 8));
  XENT_RULE(CheckAligned("outputs", "entropy", out.entropy, row));
  XENT_RULE(CheckAligned("outputs", "probability", out.probability, row));
  XENT_RULE(CheckAligned("outputs", "log_probability", out.log_probability, row));
  XENT_RULE(CheckAligned("outputs", "correct", out.correct, 8));
  XENT_RULE(CheckAligned("outputs", "argmax", out.argmax, 8));
  return CheckAligned("outputs", "z_loss", out.z_loss, 8);
}

// What does not go together.
xent_status CheckTogether(const SoftmaxTask& task) {
  const xent_softmax_options& options = task.options;
  const xent_softmax_outputs& out = task.outputs;
  const bool needs_labels = out.probability != nullptr || out.log_probability != nullptr || out.correct != nullptr;
  XENT_REQUIRE(task.HasLabels() || options.focal_gamma == 0.0, XENT_UNSUPPORTED,
               "options.focal_gamma is %g; it needs labels (targets.kind is %" PRId32 ")", options.focal_gamma,
               task.targets.kind);
  XENT_REQUIRE(task.HasLabels() || options.smoothing == XENT_SMOOTHING_UNIFORM, XENT_UNSUPPORTED,
               "options.smoothing is %" PRId32 "; XENT_SMOOTHING_OTHERS needs labels (targets.kind is %" PRId32 ")",
               options.smoothing, task.targets.kind);
  XENT_REQUIRE(task.HasLabels() || !needs_labels, XENT_UNSUPPORTED,
               "outputs.probability, log_probability and correct need labels (targets.kind is %" PRId32 ")",
               task.targets.kind);
  if (options.lse == nullptr) return XENT_OK;
  const bool wants_losses = out.total != nullptr || out.sum != nullptr || out.row_loss != nullptr ||
                            out.lse != nullptr || out.row_state != nullptr || out.z_loss != nullptr ||
                            out.entropy != nullptr || out.argmax != nullptr || needs_labels;
  XENT_REQUIRE(!wants_losses, XENT_UNSUPPORTED,
               "options.lse is given: only outputs.gradient, denominator, counted and ignored can be asked for");
  XENT_REQUIRE(!IsGeneral(task) && options.z_loss == 0.0 && options.focal_gamma == 0.0 &&
                   options.label_smoothing == 0.0 && options.lse_upstream == nullptr,
               XENT_UNSUPPORTED,
               "options.lse is given: it goes with labels, rows of adjacent classes, weights and upstream factors only");
  return XENT_OK;
}

// Those of `count` extents that hold anything.
int64_t Given(const Extent* all, size_t count, const Extent** given) {
  int64_t n = 0;
  for (size_t i = 0; i < count; ++i) {
    if (all[i].begin != nullptr && all[i].bytes > 0) given[n++] = &all[i];
  }
  return n;
}

xent_status CheckOverlap(const SoftmaxTask& task) {
  const Matrix& x = task.logits;
  const xent_softmax_options& options = task.options;
  const xent_softmax_outputs& out = task.outputs;
  const int64_t row = x.rows * (x.IsDouble() ? 8 : 4);
  const int64_t states = x.rows * static_cast<int64_t>(sizeof(xent_row_state));
  const bool is_dense = task.targets.kind == XENT_TARGET_DENSE;
  const int64_t labels = x.rows * task.targets.per_row * DtypeSize(task.targets.labels.dtype);
  const Extent all_inputs[] = {ExtentOf("logits.data", x),
                           {"targets.data", task.targets.labels.data,
                            is_dense ? ExtentOf("", task.targets.dense).bytes : labels},
                           {"targets.weights", task.targets.weights, row * task.targets.per_row},
                           {"options.row_state", options.row_state, states},
                           {"options.lse", options.lse, row},
                           {"options.class_weight", options.class_weight, x.classes * (x.IsDouble() ? 8 : 4)},
                           {"options.row_weight", options.row_weight, row},
                           {"options.row_mask", options.row_mask, x.rows},
                           {"options.row_upstream", options.row_upstream, row},
                           {"options.lse_upstream", options.lse_upstream, row},
                           {"options.entropy_upstream", options.entropy_upstream, row}};
  const Extent all_outputs[] = {ExtentOf("outputs.gradient", task.gradient),
                            {"outputs.row_loss", out.row_loss, row},
                            {"outputs.lse", out.lse, row},
                            {"outputs.row_state", out.row_state, states},
                            {"outputs.entropy", out.entropy, row},
                            {"outputs.probability", out.probability, row},
                            {"outputs.log_probability", out.log_probability, row},
                            {"outputs.argmax", out.argmax, x.rows * 8},
                            {"outputs.total", out.total, 8},
                            {"outputs.sum", out.sum, 8},
                            {"outputs.denominator", out.denominator, 8},
                            {"outputs.counted", out.counted, 8},
                            {"outputs.ignored", out.ignored, 8},
                            {"outputs.correct", out.correct, 8},
                            {"outputs.z_loss", out.z_loss, 8}};
  const Matrix& g = task.gradient;
  const bool same_strides = g.dtype == x.dtype && g.inner == x.inner && g.class_stride == x.class_stride &&
                            g.inner_stride == x.inner_stride && (g.outer_stride == x.outer_stride || x.rows == x.inner);
  // Few are given, and small calls must not wait for the others.
  const Extent* inputs[std::size(all_inputs)];
  const Extent* outputs[std::size(all_outputs)];
  const int64_t input_count = Given(all_inputs, std::size(all_inputs), inputs);
  const int64_t output_count = Given(all_outputs, std::size(all_outputs), outputs);
  for (int64_t i = 0; i < output_count; ++i) {
    const Extent& output = *outputs[i];
    for (int64_t k = 0; k < input_count; ++k) {
      const Extent& input = *inputs[k];
      if (!output.Overlaps(input)) continue;
      const bool is_gradient = &output == all_outputs && &input == all_inputs;
      const bool in_place = is_gradient && output.begin == input.begin && same_strides;
      XENT_REQUIRE(in_place, XENT_OVERLAP,
                   "%s (%p, %" PRId64 " bytes) overlaps %s (%p, %" PRId64 " bytes)%s", output.name, output.begin,
                   output.bytes, input.name, input.begin, input.bytes,
                   is_gradient ? "; in place means the same start and strides" : "");
    }
    for (int64_t k = 0; k < i; ++k) {
      const Extent& other = *outputs[k];
      XENT_REQUIRE(!output.Overlaps(other), XENT_OVERLAP,
                   "%s (%p, %" PRId64 " bytes) overlaps %s (%p, %" PRId64 " bytes)", output.name, output.begin,
                   output.bytes, other.name, other.begin, other.bytes);
    }
  }
  return XENT_OK;
}

}  // namespace

xent_status CheckSoftmax(const xent_logits* logits, const xent_targets* targets, const xent_softmax_options* options,
                         const xent_softmax_outputs* outputs, SoftmaxTask* task) {
  XENT_REQUIRE(logits != nullptr, XENT_INVALID_ARGUMENT, "logits is NULL");
  XENT_REQUIRE(targets != nullptr, XENT_INVALID_ARGUMENT, "targets is NULL");
  XENT_REQUIRE(outputs != nullptr, XENT_INVALID_ARGUMENT, "outputs is NULL");
  XENT_REQUIRE(outputs->struct_size == sizeof(*outputs), XENT_VERSION_MISMATCH,
               "outputs.struct_size is %" PRId32 "; this version has %zu", outputs->struct_size, sizeof(*outputs));
  task->options = options != nullptr ? *options : xent_softmax_options_default();
  task->outputs = *outputs;
  XENT_RULE(CheckLogits(*logits, &task->logits));
  XENT_RULE(CheckTargets(*targets, *logits, task->logits, &task->targets));
  XENT_RULE(CheckOptions(task->options, task->logits.IsDouble()));
  XENT_RULE(CheckGradient(*outputs, *logits, task->logits, &task->gradient));
  XENT_RULE(CheckOutputs(*outputs, task->logits.IsDouble()));
  task->targets.labels.ignore_index = task->options.ignore_index;
  XENT_RULE(CheckTogether(*task));
  return CheckOverlap(*task);
}

xent_status CheckTargetCount(const SoftmaxTask& task) {
  const bool is_valid = task.count.first_invalid < 0 || task.options.invalid_label == XENT_INVALID_LABEL_NAN;
  XENT_REQUIRE(is_valid, XENT_INVALID_LABEL,
               "labels[%" PRId64 "] is %" PRId64 "; classes is %" PRId64 " and ignore_index is %" PRId64,
               task.count.first_invalid, task.count.invalid_value, task.logits.classes,
               task.targets.labels.ignore_index);
  const bool is_empty_mean = task.options.reduction == XENT_REDUCTION_MEAN && task.Denominator() == 0.0;
  XENT_REQUIRE(!is_empty_mean || task.options.empty_mean != XENT_EMPTY_MEAN_ERROR, XENT_EMPTY_MEAN,
               "the mean over no rows: of %" PRId64 " rows, %" PRId64 " are ignored (ignore_index is %" PRId64
               "), and the others weigh %g",
               task.logits.rows, task.count.ignored, task.targets.labels.ignore_index, task.Denominator());
  return XENT_OK;
}

}  // namespace xent
