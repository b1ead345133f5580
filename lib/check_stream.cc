// The rules of softmax cross-entropy, some classes at a time.
#include <cinttypes>
#include <iterator>

#include "lib/check.h"
#include "lib/check_rules.h"

namespace xent {
namespace {

xent_status CheckStreamOptions(const xent_softmax_options& options) {
  const bool is_known = options.scale == 1.0 && options.softcap == 0.0 && options.label_smoothing == 0.0 &&
                        options.entropy_weight == 0.0 && options.entropy_upstream == nullptr &&
                        options.lse == nullptr && options.row_state == nullptr &&
                        options.masked_row == XENT_MASKED_ROW_NAN && options.smoothing == XENT_SMOOTHING_UNIFORM &&
                        options.live_classes == 0;
  XENT_REQUIRE(is_known, XENT_UNSUPPORTED,
               "one of options.scale, softcap, label_smoothing, smoothing, live_classes, entropy_weight, "
               "entropy_upstream, lse, row_state and masked_row is set; slices of classes go without");
  return XENT_OK;
}

xent_status CheckStreamOutputs(const xent_softmax_outputs& out) {
  const bool is_known = out.gradient == nullptr && out.row_state == nullptr && out.entropy == nullptr &&
                        out.correct == nullptr && out.argmax == nullptr;
  XENT_REQUIRE(is_known, XENT_UNSUPPORTED,
               "one of outputs.gradient, row_state, entropy, correct and argmax is given; states do not tell them");
  return XENT_OK;
}

// What rows have so far, which a push writes and the others read.
Extents StatesOf(const StreamTask& task) {
  const int64_t rows = task.whole.logits.rows;
  Extents all;
  all.Add("states", task.states, rows * static_cast<int64_t>(sizeof(RowState)));
  all.Add("label_logits", task.label_logits, rows * 8);
  return all;
}

// The rest, the slice first.
Extents StreamInputsOf(const StreamTask& task) {
  Extents all;
  all.Add("slice.data", task.slice.data, ExtentOf("", task.slice).bytes);
  all.Add(InputsOf("", task.whole));
  return all;
}

}  // namespace

xent_status CheckStreamArrays(int64_t rows, const char* states_name, const xent_row_state* states,
                              const char* logits_name, const double* label_logits) {
  XENT_REQUIRE(rows >= 0 && rows <= kMaxBytes / static_cast<int64_t>(sizeof(xent_row_state)), XENT_INVALID_ARGUMENT,
               "rows is %" PRId64 "; it must not be negative, nor more than fit the address space", rows);
  XENT_REQUIRE(states != nullptr || rows == 0, XENT_INVALID_ARGUMENT, "%s is NULL", states_name);
  XENT_REQUIRE(label_logits != nullptr || rows == 0, XENT_INVALID_ARGUMENT, "%s is NULL", logits_name);
  XENT_RULE(CheckAligned("argument", states_name, states, alignof(xent_row_state)));
  XENT_RULE(CheckAligned("argument", logits_name, label_logits, 8));
  const Extent of_states = {states_name, states, rows * static_cast<int64_t>(sizeof(xent_row_state))};
  const Extent of_logits = {logits_name, label_logits, rows * 8};
  XENT_REQUIRE(!of_states.Overlaps(of_logits), XENT_OVERLAP, "%s (%p) overlaps %s (%p)", states_name, of_states.begin,
               logits_name, of_logits.begin);
  return XENT_OK;
}

xent_status CheckMerge(int64_t rows, const xent_row_state* more_states, const double* more_label_logits,
                       const xent_row_state* states, const double* label_logits) {
  XENT_RULE(CheckStreamArrays(rows, "states", states, "label_logits", label_logits));
  XENT_RULE(CheckStreamArrays(rows, "more_states", more_states, "more_label_logits", more_label_logits));
  const int64_t bytes = rows * static_cast<int64_t>(sizeof(xent_row_state));
  const Extent read[] = {{"more_states", more_states, bytes}, {"more_label_logits", more_label_logits, rows * 8}};
  const Extent written[] = {{"states", states, bytes}, {"label_logits", label_logits, rows * 8}};
  return CheckOverlaps(read, 2, written, 2, false);
}

xent_status CheckStream(int64_t rows, int64_t classes, xent_dtype dtype, const xent_row_state* states,
                        const double* label_logits, const xent_targets* labels, const xent_softmax_options* options,
                        const xent_softmax_outputs* outputs, StreamTask* task) {
  XENT_RULE(CheckStreamArrays(rows, "states", states, "label_logits", label_logits));
  XENT_REQUIRE(classes >= 1, XENT_INVALID_ARGUMENT, "classes is %" PRId64 "; it must be at least 1", classes);
  XENT_REQUIRE(IsRealDtype(dtype), XENT_INVALID_ARGUMENT,
               "dtype is %" PRId32 "; XENT_F32, XENT_F64, XENT_BF16 and XENT_F16 are allowed", dtype);
  XENT_REQUIRE(labels == nullptr || labels->kind == XENT_TARGET_LABELS || labels->kind < 1 || labels->kind > 3,
               XENT_UNSUPPORTED, "labels.kind is %" PRId32 "; slices of classes have labels", labels->kind);
  // Every other rule is one of the call on whole rows, whose logits lie where nothing is read.
  static const double nothing = 0.0;
  xent_logits whole = xent_logits_rows(&nothing, dtype, rows, 1);
  XENT_RULE(CheckSoftmax(nullptr, &whole, labels, options, outputs, &task->whole));
  XENT_RULE(CheckStreamOptions(task->whole.options));
  XENT_RULE(CheckStreamOutputs(*outputs));
  task->whole.logits.data = nullptr;
  task->whole.logits.classes = classes;
  task->slice = task->whole.logits;
  task->states = reinterpret_cast<RowState*>(const_cast<xent_row_state*>(states));
  task->label_logits = const_cast<double*>(label_logits);
  Extents inputs = StreamInputsOf(*task);
  inputs.Add(StatesOf(*task));
  const Extents written = OutputsOf(task->whole);
  return CheckOverlaps(inputs.list, inputs.count, written.list, written.count, false);
}

xent_status CheckStreamSlice(const xent_logits* slice, int64_t first_class, int64_t classes,
                             const xent_row_state* states, const double* label_logits, const xent_targets* labels,
                             const xent_softmax_options* options, const char* name, void* gradient, StreamTask* task) {
  XENT_REQUIRE(slice != nullptr, XENT_INVALID_ARGUMENT, "slice is NULL");
  Matrix matrix;
  XENT_RULE(CheckInputs("slice", *slice, &matrix));
  XENT_REQUIRE(matrix.HasPlainRows() || matrix.rows == 0, XENT_UNSUPPORTED,
               "slice has class_stride %" PRId64 " and inner %" PRId64 "; the classes of a row must be adjacent",
               slice->class_stride, slice->inner);
  XENT_REQUIRE(classes >= 1, XENT_INVALID_ARGUMENT, "classes is %" PRId64 "; it must be at least 1", classes);
  XENT_REQUIRE(first_class >= 0 && first_class <= classes - matrix.classes, XENT_INVALID_ARGUMENT,
               "first_class is %" PRId64 "; with %" PRId64 " classes from there on it must lie in [0, %" PRId64 "]",
               first_class, matrix.classes, classes - matrix.classes);
  const xent_softmax_outputs none = xent_softmax_outputs_none();
  XENT_RULE(CheckStream(matrix.rows, classes, slice->dtype, states, label_logits, labels, options, &none, task));
  task->slice = matrix;
  task->first_class = first_class;
  task->gradient = matrix;
  task->gradient.data = gradient;
  Extents inputs = StreamInputsOf(*task);
  const Extents states_and_logits = StatesOf(*task);
  if (name == nullptr) {
    return CheckOverlaps(inputs.list, inputs.count, states_and_logits.list, states_and_logits.count, false);
  }
  inputs.Add(states_and_logits);
  XENT_REQUIRE(gradient != nullptr || matrix.rows == 0, XENT_INVALID_ARGUMENT, "%s is NULL", name);
  XENT_RULE(CheckAligned("argument", name, gradient, matrix.ElementBytes()));
  task->whole.outputs.gradient = gradient;  // so that its scalars are found
  const Extent written[] = {ExtentOf(name, task->gradient)};
  return CheckOverlaps(inputs.list, inputs.count, written, 1, true);
}

}  // namespace xent
