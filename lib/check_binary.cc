// The rules of binary cross-entropies.
#include <cinttypes>
#include <iterator>
#include <limits>

#include "lib/check.h"
#include "lib/check_rules.h"

namespace xent {
namespace {

Strided StridedOf(const Array& a) {
  return {static_cast<char*>(const_cast<void*>(a.data)),
          DtypeSize(a.dtype),
          a.outer,
          a.classes,
          a.inner,
          a.outer_stride,
          a.class_stride,
          a.inner_stride};
}

Array ArrayOf(const char* name, const xent_logits& x) {
  return {name,           "data",        "", x.data, x.dtype, x.outer, x.classes, x.inner, x.outer_stride,
          x.class_stride, x.inner_stride};
}

xent_status CheckBinaryTargets(const xent_targets& targets, const xent_logits& x, BinaryTask* task) {
  XENT_REQUIRE(targets.struct_size == sizeof(targets), XENT_VERSION_MISMATCH,
               "targets.struct_size is %" PRId32 "; this version has %zu", targets.struct_size, sizeof(targets));
  XENT_REQUIRE(targets.kind != XENT_TARGET_SPARSE, XENT_UNSUPPORTED,
               "targets.kind is XENT_TARGET_SPARSE; elements have labels or dense targets");
  XENT_REQUIRE(targets.kind == XENT_TARGET_LABELS || targets.kind == XENT_TARGET_DENSE, XENT_INVALID_ARGUMENT,
               "targets.kind is %" PRId32 "; XENT_TARGET_LABELS and _DENSE are allowed", targets.kind);
  XENT_REQUIRE(targets.rest == 0, XENT_INVALID_ARGUMENT, "targets.rest is %" PRId32 "; it must be 0", targets.rest);
  XENT_REQUIRE(targets.per_row == 0, XENT_INVALID_ARGUMENT, "targets.per_row is %" PRId64 "; it must be 0",
               targets.per_row);
  task->labels = Labels{nullptr, XENT_I64, task->options.ignore_index};
  if (targets.kind == XENT_TARGET_DENSE) {
    Array dense;
    XENT_RULE(CheckDense(targets, x, &dense));
    task->targets = StridedOf(dense);
    task->target_dtype = DtypeOf(targets.dtype);
    return XENT_OK;
  }
  XENT_REQUIRE(IsLabelDtype(targets.dtype), XENT_INVALID_ARGUMENT,
               "targets.dtype is %" PRId32 "; labels are integers, XENT_U8 to XENT_I64", targets.dtype);
  if (task->inputs.Count() == 0) return XENT_OK;
  XENT_REQUIRE(targets.data != nullptr, XENT_INVALID_ARGUMENT, "targets.data is NULL");
  XENT_REQUIRE(IsAligned(targets.data, DtypeSize(targets.dtype)), XENT_INVALID_ARGUMENT,
               "targets.data is %p; its elements of %" PRId32 " bytes must be aligned", targets.data,
               DtypeSize(targets.dtype));
  task->labels.data = targets.data;
  task->labels.dtype = targets.dtype;
  return XENT_OK;
}

xent_status CheckBinaryNumbers(const BinaryTask& task) {
  const xent_binary_options& options = task.options;
  constexpr double kHuge = std::numeric_limits<double>::max();
  const bool has_logits = task.form == BinaryForm::kLogits;
  XENT_RULE(CheckUpstreamFactor(options.upstream, task.IsDouble()));
  XENT_RULE(CheckRange("denominator_value", options.denominator_value, 0.0, kHuge));
  const double most = task.IsDouble() ? kHuge : static_cast<double>(std::numeric_limits<float>::max());
  XENT_RULE(CheckRange("pos_weight", options.pos_weight, 0.0, most));
  XENT_RULE(CheckRange("label_smoothing", options.label_smoothing, 0.0, 1.0));
  XENT_RULE(CheckRange("focal_gamma", options.focal_gamma, 0.0, kHuge));
  if (options.focal_alpha != -1.0) XENT_RULE(CheckRange("focal_alpha (but for -1)", options.focal_alpha, 0.0, 1.0));
  XENT_REQUIRE(options.denominator == XENT_ELEMENTS_GIVEN || options.denominator_value == 0.0, XENT_INVALID_ARGUMENT,
               "options.denominator_value is %g; without XENT_ELEMENTS_GIVEN it must be 0", options.denominator_value);
  XENT_REQUIRE(!has_logits || options.log_rule == XENT_LOG_EXACT, XENT_UNSUPPORTED,
               "options.log_rule is %" PRId32 "; logits need no rule for the logarithm of 0", options.log_rule);
  XENT_REQUIRE(has_logits || (options.focal_gamma == 0.0 && options.focal_alpha == -1.0), XENT_UNSUPPORTED,
               "options.focal_gamma is %g and focal_alpha %g; the focal factor needs logits", options.focal_gamma,
               options.focal_alpha);
  return CheckEpsilon("options.epsilon", options.log_rule, options.epsilon);
}

xent_status CheckBinaryOptions(const BinaryTask& task) {
  const xent_binary_options& options = task.options;
  XENT_REQUIRE(options.struct_size == sizeof(options), XENT_VERSION_MISMATCH,
               "options.struct_size is %" PRId32 "; this version has %zu", options.struct_size, sizeof(options));
  XENT_RULE(CheckEnumerator("reduction", "xent_reduction", options.reduction, XENT_REDUCTION_NONE));
  XENT_RULE(CheckEnumerator("empty_mean", "xent_empty_mean", options.empty_mean, XENT_EMPTY_MEAN_ERROR));
  XENT_RULE(CheckEnumerator("invalid_label", "xent_invalid_label", options.invalid_label, XENT_INVALID_LABEL_NAN));
  XENT_RULE(CheckEnumerator("denominator", "xent_element_denominator", options.denominator, XENT_ELEMENTS_GIVEN));
  XENT_RULE(CheckEnumerator("log_rule", "xent_log_rule", options.log_rule, XENT_LOG_EPSILON));
  XENT_RULE(CheckEnumerator("reserved", "number but 0", options.reserved, 0));
  XENT_RULE(CheckBinaryNumbers(task));
  XENT_RULE(CheckThreads(options.num_threads, options.runner));
  const int64_t real = task.IsDouble() ? 8 : 4;
  XENT_RULE(CheckAligned("options", "class_pos_weight", options.class_pos_weight, real));
  XENT_RULE(CheckAligned("options", "element_pos_weight", options.element_pos_weight, real));
  XENT_RULE(CheckAligned("options", "class_weight", options.class_weight, real));
  XENT_RULE(CheckAligned("options", "row_weight", options.row_weight, real));
  XENT_RULE(CheckAligned("options", "element_weight", options.element_weight, real));
  return CheckAligned("options", "element_upstream", options.element_upstream, real);
}

xent_status CheckBinaryOutputs(const BinaryTask& task) {
  const xent_binary_outputs& out = task.outputs;
  XENT_RULE(CheckAligned("outputs", "total", out.total, 8));
  XENT_RULE(CheckAligned("outputs", "sum", out.sum, 8));
  XENT_RULE(CheckAligned("outputs", "denominator", out.denominator, 8));
  XENT_RULE(CheckAligned("outputs", "counted", out.counted, 8));
  XENT_RULE(CheckAligned("outputs", "ignored", out.ignored, 8));
  XENT_RULE(CheckAligned("outputs", "outside", out.outside, 8));
  XENT_RULE(CheckAligned("outputs", "loss", out.loss, task.IsDouble() ? 8 : 4));
  XENT_REQUIRE(task.form == BinaryForm::kProbabilities || out.outside == nullptr, XENT_UNSUPPORTED,
               "outputs.outside is given; logits cannot lie outside");
  return XENT_OK;
}

xent_status CheckBinaryOverlap(const char* name, const Matrix& inputs, const Matrix& targets, const Matrix& gradient,
                               const BinaryTask& task) {
  const xent_binary_options& options = task.options;
  const xent_binary_outputs& out = task.outputs;
  const int64_t real = task.IsDouble() ? 8 : 4;
  const int64_t elements = task.inputs.Count() * real;
  const int64_t classes = task.inputs.classes * real;
  const Extent dense = ExtentOf("targets.data", targets);
  const Extent labels = {"targets.data", task.labels.data, task.inputs.Count() * DtypeSize(task.labels.dtype)};
  const Extent all_inputs[] = {ExtentOf(name, inputs),
                               task.HasLabels() ? labels : dense,
                               {"options.class_pos_weight", options.class_pos_weight, classes},
                               {"options.element_pos_weight", options.element_pos_weight, elements},
                               {"options.class_weight", options.class_weight, classes},
                               {"options.row_weight", options.row_weight, inputs.rows * real},
                               {"options.element_weight", options.element_weight, elements},
                               {"options.element_upstream", options.element_upstream, elements}};
  const Extent all_outputs[] = {ExtentOf("outputs.gradient", gradient),
                                {"outputs.loss", out.loss, elements},
                                {"outputs.total", out.total, 8},
                                {"outputs.sum", out.sum, 8},
                                {"outputs.denominator", out.denominator, 8},
                                {"outputs.counted", out.counted, 8},
                                {"outputs.ignored", out.ignored, 8},
                                {"outputs.outside", out.outside, 8}};
  const Strided& x = task.inputs;
  const Strided& g = task.gradient;
  const bool same_layout = task.gradient_dtype == task.dtype && (x.outer == 1 || g.outer_stride == x.outer_stride) &&
                           (x.classes == 1 || g.class_stride == x.class_stride) &&
                           (x.inner == 1 || g.inner_stride == x.inner_stride);
  return CheckOverlaps(all_inputs, std::size(all_inputs), all_outputs, std::size(all_outputs), same_layout);
}

// What the categorical loss has of the options and outputs of softmax.
xent_status CheckCategoricalOptions(const xent_softmax_options& options, const xent_softmax_outputs& out) {
  const xent_softmax_options none = xent_softmax_options_default();
  const bool has_softmax_options = options.scale != none.scale || options.softcap != 0.0 || options.z_loss != 0.0 ||
                                   options.entropy_weight != 0.0 || options.focal_gamma != 0.0 ||
                                   options.live_classes != 0 || options.row_state != nullptr ||
                                   options.lse != nullptr || options.lse_upstream != nullptr ||
                                   options.entropy_upstream != nullptr || options.masked_row != none.masked_row;
  XENT_REQUIRE(!has_softmax_options, XENT_UNSUPPORTED,
               "one of options.scale, softcap, z_loss, entropy_weight, focal_gamma, live_classes, row_state, lse, "
               "lse_upstream, entropy_upstream and masked_row is set; probabilities have none");
  const bool has_softmax_outputs = out.lse != nullptr || out.row_state != nullptr || out.entropy != nullptr ||
                                   out.probability != nullptr || out.log_probability != nullptr ||
                                   out.correct != nullptr || out.argmax != nullptr || out.z_loss != nullptr;
  XENT_REQUIRE(
      !has_softmax_outputs, XENT_UNSUPPORTED,
      "one of outputs.lse, row_state, entropy, probability, log_probability, correct, argmax and z_loss is given; "
      "probabilities have none");
  return XENT_OK;
}

}  // namespace

xent_status CheckCategorical(const xent_logits* probabilities, xent_distribution given, const xent_targets* targets,
                             xent_log_rule log_rule, double epsilon, const xent_softmax_options* options,
                             const xent_softmax_outputs* outputs, int64_t* outside, CategoricalTask* task) {
  XENT_RULE(CheckSoftmax("probabilities", probabilities, targets, options, outputs, &task->rows));
  XENT_RULE(CheckCategoricalOptions(task->rows.options, task->rows.outputs));
  XENT_REQUIRE(given == XENT_PROBABILITIES || given == XENT_LOG_PROBABILITIES, XENT_INVALID_ARGUMENT,
               "given is %" PRId32 "; XENT_PROBABILITIES and XENT_LOG_PROBABILITIES are allowed", given);
  XENT_REQUIRE(log_rule >= XENT_LOG_EXACT && log_rule <= XENT_LOG_EPSILON, XENT_INVALID_ARGUMENT,
               "log_rule is %" PRId32 "; it is no xent_log_rule", log_rule);
  XENT_RULE(CheckEpsilon("epsilon", log_rule, epsilon));
  XENT_RULE(CheckAligned("argument", "outside", outside, 8));
  Extents others = InputsOf("probabilities.data", task->rows);
  others.Add(OutputsOf(task->rows));
  const Extent written[] = {{"outside", outside, 8}};
  XENT_RULE(CheckOverlaps(others.list, others.count, written, 1, false));
  task->given = given == XENT_PROBABILITIES ? Given::kProbabilities : Given::kLogs;
  task->log_rule = log_rule;
  task->epsilon = epsilon;
  task->outside = outside;
  return XENT_OK;
}

xent_status CheckBinary(const char* name, const xent_logits* inputs, const xent_targets* targets,
                        const xent_binary_options* options, const xent_binary_outputs* outputs, BinaryTask* task) {
  XENT_REQUIRE(inputs != nullptr, XENT_INVALID_ARGUMENT, "%s is NULL", name);
  XENT_REQUIRE(targets != nullptr, XENT_INVALID_ARGUMENT, "targets is NULL");
  XENT_REQUIRE(outputs != nullptr, XENT_INVALID_ARGUMENT, "outputs is NULL");
  XENT_REQUIRE(outputs->struct_size == sizeof(*outputs), XENT_VERSION_MISMATCH,
               "outputs.struct_size is %" PRId32 "; this version has %zu", outputs->struct_size, sizeof(*outputs));
  task->options = options != nullptr ? *options : xent_binary_options_default();
  task->outputs = *outputs;
  Matrix matrix;
  XENT_RULE(CheckInputs(name, *inputs, &matrix));
  task->dtype = matrix.dtype;
  task->inputs = StridedOf(ArrayOf(name, *inputs));
  XENT_REQUIRE(matrix.classes == 0 || matrix.rows <= kMaxBytes / 8 / matrix.classes, XENT_SIZE_OVERFLOW,
               "%s.outer is %" PRId64 "; arrays of so many elements do not fit the address space", name, inputs->outer);
  XENT_RULE(CheckBinaryTargets(*targets, *inputs, task));
  XENT_RULE(CheckBinaryOptions(*task));
  Array gradient;
  XENT_RULE(CheckGradient(GradientOf(*outputs, *inputs), *inputs, &gradient));
  task->gradient = StridedOf(gradient);
  task->gradient_dtype = DtypeOf(gradient.dtype);
  XENT_RULE(CheckBinaryOutputs(*task));
  task->ignored = 0;
  task->first_invalid = -1;
  if (matrix.rows == 0) return XENT_OK;
  Array dense = ArrayOf("targets", *inputs);
  if (!task->HasLabels()) XENT_RULE(CheckDense(*targets, *inputs, &dense));
  return CheckBinaryOverlap(name, matrix, MatrixOf(dense), MatrixOf(gradient), *task);
}

xent_status CheckBinaryCount(const BinaryTask& task) {
  XENT_REQUIRE(task.first_invalid < 0 || task.options.invalid_label == XENT_INVALID_LABEL_NAN, XENT_INVALID_LABEL,
               "labels[%" PRId64 "] is %" PRId64 "; labels are 0 and 1, and ignore_index is %" PRId64,
               task.first_invalid, task.invalid_value, task.options.ignore_index);
  const bool is_empty_mean = task.options.reduction == XENT_REDUCTION_MEAN && task.Denominator() == 0.0;
  XENT_REQUIRE(!is_empty_mean || task.options.empty_mean != XENT_EMPTY_MEAN_ERROR, XENT_EMPTY_MEAN,
               "the mean over no elements: of %" PRId64 ", %" PRId64 " are ignored", task.inputs.Count(), task.ignored);
  return XENT_OK;
}

}  // namespace xent
