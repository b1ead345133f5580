// The rules of xent_softmax_cross_entropy.
#include <cinttypes>
#include <cmath>
#include <iterator>
#include <limits>

#include "lib/check.h"
#include "lib/check_rules.h"
#include "lib/softmax_general.h"

namespace xent {
namespace {

xent_status CheckLabels(const xent_targets& targets) {
  XENT_REQUIRE(IsLabelDtype(targets.dtype), XENT_INVALID_ARGUMENT,
               "targets.dtype is %" PRId32 "; labels are integers, XENT_U8 to XENT_I64", targets.dtype);
  return XENT_OK;
}

xent_status CheckTargets(const xent_targets& targets, const xent_logits& x, const Matrix& logits, Targets* result) {
  XENT_REQUIRE(targets.struct_size == sizeof(targets), XENT_VERSION_MISMATCH,
               "targets.struct_size is %" PRId32 "; this version has %zu", targets.struct_size, sizeof(targets));
  XENT_REQUIRE(targets.kind >= XENT_TARGET_LABELS && targets.kind <= XENT_TARGET_SPARSE, XENT_INVALID_ARGUMENT,
               "targets.kind is %" PRId32 "; XENT_TARGET_LABELS, _DENSE and _SPARSE are allowed", targets.kind);
  const bool is_sparse = targets.kind == XENT_TARGET_SPARSE;
  XENT_REQUIRE(targets.rest == XENT_REST_DROP || (is_sparse && targets.rest == XENT_REST_SPREAD), XENT_INVALID_ARGUMENT,
               "targets.rest is %" PRId32 "; it is an xent_rest for sparse targets, else 0", targets.rest);
  XENT_REQUIRE(is_sparse ? targets.per_row >= 1 : targets.per_row == 0, XENT_INVALID_ARGUMENT,
               "targets.per_row is %" PRId64 "; it is at least 1 for sparse targets, else 0", targets.per_row);
  *result =
      Targets{targets.kind, {targets.data, targets.dtype, 0}, {}, is_sparse ? targets.per_row : 1, targets.weights,
              targets.rest};
  if (targets.kind == XENT_TARGET_DENSE) {
    Array dense;
    XENT_RULE(CheckDense(targets, x, &dense));
    if (logits.rows > 0) result->dense = MatrixOf(dense);
    return XENT_OK;
  }
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

xent_status CheckNumbers(const xent_softmax_options& options, bool is_double) {
  constexpr double kHuge = std::numeric_limits<double>::max();
  XENT_RULE(CheckUpstreamFactor(options.upstream, is_double));
  XENT_RULE(CheckRange("denominator_value", options.denominator_value, 0.0, kHuge));
  XENT_RULE(CheckRange("scale", options.scale, std::numeric_limits<double>::min(), kHuge));
  XENT_RULE(CheckRange("softcap", options.softcap, 0.0, kHuge));
  XENT_RULE(CheckRange("label_smoothing", options.label_smoothing, 0.0, 1.0));
  XENT_RULE(CheckRange("z_loss", options.z_loss, -kHuge, kHuge));
  XENT_RULE(CheckRange("entropy_weight", options.entropy_weight, -kHuge, kHuge));
  XENT_RULE(CheckRange("focal_gamma", options.focal_gamma, 0.0, kHuge));
  XENT_REQUIRE(options.denominator == XENT_DENOMINATOR_GIVEN || options.denominator_value == 0.0, XENT_INVALID_ARGUMENT,
               "options.denominator_value is %g; without XENT_DENOMINATOR_GIVEN it must be 0",
               options.denominator_value);
  return XENT_OK;
}

}  // namespace

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
  XENT_REQUIRE(
      !IsGeneral(task) && options.scale == 1.0 && options.z_loss == 0.0 && options.focal_gamma == 0.0 &&
          options.label_smoothing == 0.0 && options.lse_upstream == nullptr,
      XENT_UNSUPPORTED,
      "options.lse is given: it goes with labels, rows of adjacent classes, weights and upstream factors only");
  return XENT_OK;
}

xent_status CheckOverlap(const char* name, const SoftmaxTask& task) {
  const bool is_of_logits = name != nullptr && name[0] == 'l';
  const Extents inputs = InputsOf(is_of_logits ? "logits.data" : "probabilities.data", task);
  const Extents outputs = OutputsOf(task);
  const Matrix& x = task.logits;
  const Matrix& g = task.gradient;
  const bool same_strides = g.dtype == x.dtype && g.inner == x.inner && g.class_stride == x.class_stride &&
                            g.inner_stride == x.inner_stride && (g.outer_stride == x.outer_stride || x.rows == x.inner);
  // Without a name there are no logits.
  return CheckOverlaps(inputs.list + (name == nullptr), inputs.count - (name == nullptr), outputs.list, outputs.count,
                       same_strides);
}

}  // namespace

Extents InputsOf(const char* name, const SoftmaxTask& task) {
  const Matrix& x = task.logits;
  const xent_softmax_options& options = task.options;
  const int64_t real = x.IsDouble() ? 8 : 4;
  const int64_t row = x.rows * real;
  const bool is_dense = task.targets.kind == XENT_TARGET_DENSE;
  const int64_t labels = x.rows * task.targets.per_row * DtypeSize(task.targets.labels.dtype);
  Extents all;
  all.Add(name, x.data, ExtentOf(name, x).bytes);
  all.Add("targets.data", task.targets.labels.data, is_dense ? ExtentOf("", task.targets.dense).bytes : labels);
  all.Add("targets.weights", task.targets.weights, row * task.targets.per_row);
  all.Add("options.row_state", options.row_state, x.rows * static_cast<int64_t>(sizeof(xent_row_state)));
  all.Add("options.lse", options.lse, row);
  // How many classes there are is not known while slices are pushed.
  const int64_t classes = x.classes <= kMaxBytes / real ? x.classes : 0;
  all.Add("options.class_weight", options.class_weight, classes * real);
  all.Add("options.row_weight", options.row_weight, row);
  all.Add("options.row_mask", options.row_mask, x.rows);
  all.Add("options.row_upstream", options.row_upstream, row);
  all.Add("options.lse_upstream", options.lse_upstream, row);
  all.Add("options.entropy_upstream", options.entropy_upstream, row);
  return all;
}

Extents OutputsOf(const SoftmaxTask& task) {
  const Matrix& x = task.logits;
  const xent_softmax_outputs& out = task.outputs;
  const int64_t row = x.rows * (x.IsDouble() ? 8 : 4);
  Extents all;
  all.Add("outputs.gradient", task.gradient.data, ExtentOf("", task.gradient).bytes);
  all.Add("outputs.row_loss", out.row_loss, row);
  all.Add("outputs.lse", out.lse, row);
  all.Add("outputs.row_state", out.row_state, x.rows * static_cast<int64_t>(sizeof(xent_row_state)));
  all.Add("outputs.entropy", out.entropy, row);
  all.Add("outputs.probability", out.probability, row);
  all.Add("outputs.log_probability", out.log_probability, row);
  all.Add("outputs.argmax", out.argmax, x.rows * 8);
  all.Add("outputs.total", out.total, 8);
  all.Add("outputs.sum", out.sum, 8);
  all.Add("outputs.denominator", out.denominator, 8);
  all.Add("outputs.counted", out.counted, 8);
  all.Add("outputs.ignored", out.ignored, 8);
  all.Add("outputs.correct", out.correct, 8);
  all.Add("outputs.z_loss", out.z_loss, 8);
  return all;
}

xent_status CheckSoftmax(const char* name, const xent_logits* logits, const xent_targets* targets,
                         const xent_softmax_options* options, const xent_softmax_outputs* outputs, SoftmaxTask* task) {
  XENT_REQUIRE(logits != nullptr, XENT_INVALID_ARGUMENT, "%s is NULL", name);
  XENT_REQUIRE(targets != nullptr, XENT_INVALID_ARGUMENT, "targets is NULL");
  XENT_REQUIRE(outputs != nullptr, XENT_INVALID_ARGUMENT, "outputs is NULL");
  XENT_REQUIRE(outputs->struct_size == sizeof(*outputs), XENT_VERSION_MISMATCH,
               "outputs.struct_size is %" PRId32 "; this version has %zu", outputs->struct_size, sizeof(*outputs));
  task->options = options != nullptr ? *options : xent_softmax_options_default();
  task->outputs = *outputs;
  XENT_RULE(CheckInputs(name != nullptr ? name : "states", *logits, &task->logits));
  XENT_RULE(CheckTargets(*targets, *logits, task->logits, &task->targets));
  XENT_RULE(CheckOptions(task->options, task->logits.IsDouble()));
  Array gradient;
  XENT_RULE(CheckGradient(GradientOf(*outputs, *logits), *logits, &gradient));
  task->gradient = task->logits;
  task->gradient.data = outputs->gradient;
  if (outputs->gradient != nullptr && task->logits.rows > 0) task->gradient = MatrixOf(gradient);
  XENT_RULE(CheckOutputs(*outputs, task->logits.IsDouble()));
  task->targets.labels.ignore_index = task->options.ignore_index;
  XENT_RULE(CheckTogether(*task));
  return CheckOverlap(name, *task);
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
