// The rules of the functions of logits that have no targets.
#include <cinttypes>

#include "lib/check.h"
#include "lib/check_rules.h"

namespace xent {
namespace {

inline xent_status CheckUnset(const char* name, bool is_unset) {
  XENT_REQUIRE(is_unset, XENT_UNSUPPORTED,
               "options.%s is set; a function without targets knows scale, softcap, row_mask, masked_row, "
               "ignore_index, invalid_label "
               "and threads",
               name);
  return XENT_OK;
}

xent_status CheckNoTargets(const xent_softmax_options& options) {
  XENT_RULE(CheckUnset("label_smoothing", options.label_smoothing == 0.0));
  XENT_RULE(CheckUnset("z_loss", options.z_loss == 0.0));
  XENT_RULE(CheckUnset("entropy_weight", options.entropy_weight == 0.0));
  XENT_RULE(CheckUnset("focal_gamma", options.focal_gamma == 0.0));
  XENT_RULE(CheckUnset("class_weight", options.class_weight == nullptr));
  XENT_RULE(CheckUnset("row_weight", options.row_weight == nullptr));
  XENT_RULE(CheckUnset("row_upstream", options.row_upstream == nullptr));
  XENT_RULE(CheckUnset("lse_upstream", options.lse_upstream == nullptr));
  XENT_RULE(CheckUnset("entropy_upstream", options.entropy_upstream == nullptr));
  XENT_RULE(CheckUnset("row_state", options.row_state == nullptr));
  return CheckUnset("lse", options.lse == nullptr);
}

// What is written is not the rows' mask, which other threads may still read.
xent_status CheckMask(const Extent& written, const SoftmaxTask& task) {
  const Extent mask = {"options.row_mask", task.options.row_mask, task.logits.rows};
  XENT_REQUIRE(!written.Overlaps(mask), XENT_OVERLAP, "%s (%p, %" PRId64 " bytes) overlaps %s (%p)", written.name,
               written.begin, written.bytes, mask.name, mask.begin);
  return XENT_OK;
}

}  // namespace

xent_status CheckRowFunction(const xent_logits* logits, const xent_softmax_options* options, const char* name,
                             void* matrix, SoftmaxTask* task) {
  XENT_REQUIRE(logits != nullptr, XENT_INVALID_ARGUMENT, "logits is NULL");
  task->options = options != nullptr ? *options : xent_softmax_options_default();
  task->outputs = xent_softmax_outputs_none();
  task->outputs.gradient = matrix;
  XENT_RULE(CheckInputs("logits", *logits, &task->logits));
  task->targets = Targets{kNoTargets, {nullptr, XENT_I64, 0}, {}, 0, nullptr, XENT_REST_DROP};
  XENT_RULE(CheckOptions(task->options, task->logits.IsDouble()));
  XENT_RULE(CheckNoTargets(task->options));
  // Nothing but lse pulls at the probabilities, and no mean divides them.
  task->options.upstream = 0.0;
  task->options.reduction = XENT_REDUCTION_SUM;
  task->gradient = task->logits;
  task->gradient.data = matrix;
  if (name == nullptr || task->logits.rows == 0) return XENT_OK;
  XENT_REQUIRE(matrix != nullptr, XENT_INVALID_ARGUMENT, "%s is NULL", name);
  XENT_RULE(CheckAligned("argument", name, matrix, task->logits.ElementBytes()));
  const Extent from = ExtentOf("logits.data", task->logits);
  const Extent to = ExtentOf(name, task->gradient);
  XENT_REQUIRE(to.begin == from.begin || !to.Overlaps(from), XENT_OVERLAP,
               "%s (%p, %" PRId64 " bytes) overlaps logits.data (%p); in place means the same start", name, to.begin,
               to.bytes, from.begin);
  return CheckMask(to, *task);
}

xent_status CheckUpstream(const xent_logits& logits, const void* upstream, const SoftmaxTask& task, Matrix* matrix) {
  XENT_REQUIRE(task.options.softcap == 0.0, XENT_UNSUPPORTED,
               "options.softcap is %g; its slope cannot be told from the results", task.options.softcap);
  *matrix = task.logits;
  matrix->data = upstream;
  if (task.logits.rows == 0) return XENT_OK;
  XENT_REQUIRE(upstream != nullptr, XENT_INVALID_ARGUMENT, "upstream is NULL");
  XENT_RULE(CheckAligned("argument", "upstream", upstream, DtypeSize(logits.dtype)));
  const Extent from = ExtentOf("upstream", *matrix);
  const Extent to = ExtentOf("gradient", task.gradient);
  XENT_REQUIRE(to.begin == from.begin || !to.Overlaps(from), XENT_OVERLAP,
               "gradient (%p, %" PRId64 " bytes) overlaps upstream (%p); in place means the same start", to.begin,
               to.bytes, from.begin);
  return XENT_OK;
}

xent_status CheckRowArray(const char* name, const void* array, bool is_written, const SoftmaxTask& task) {
  if (task.logits.rows == 0) return XENT_OK;
  const int64_t real = task.logits.IsDouble() ? 8 : 4;
  XENT_REQUIRE(array != nullptr, XENT_INVALID_ARGUMENT, "%s is NULL", name);
  XENT_RULE(CheckAligned("argument", name, array, real));
  const Extent rows = {name, array, task.logits.rows * real};
  const Extent other = is_written ? ExtentOf("logits.data", task.logits) : ExtentOf("gradient", task.gradient);
  XENT_REQUIRE(!rows.Overlaps(other), XENT_OVERLAP, "%s (%p, %" PRId64 " bytes) overlaps %s (%p)", name, array,
               rows.bytes, other.name, other.begin);
  return is_written ? CheckMask(rows, task) : XENT_OK;
}

xent_status CheckTokens(const xent_logits* logits, const void* tokens, xent_dtype tokens_dtype, int64_t per_row,
                        const xent_softmax_options* options, void* log_probabilities, void* entropy,
                        SoftmaxTask* task) {
  XENT_RULE(CheckRowFunction(logits, options, nullptr, nullptr, task));
  XENT_REQUIRE(IsLabelDtype(tokens_dtype), XENT_INVALID_ARGUMENT,
               "tokens_dtype is %" PRId32 "; tokens are integers, XENT_U8 to XENT_I64", tokens_dtype);
  XENT_REQUIRE(per_row >= 1, XENT_INVALID_ARGUMENT, "per_row is %" PRId64 "; it must be at least 1", per_row);
  const int64_t rows = task->logits.rows;
  task->targets = Targets{XENT_TARGET_SPARSE, {tokens, tokens_dtype, task->options.ignore_index}, {}, per_row, nullptr,
                          XENT_REST_DROP};
  task->outputs.entropy = entropy;
  // A row's only token is its label, whose log-probability the shorter way knows; of an invalid label no entropy.
  const bool is_label = per_row == 1 && (entropy == nullptr || task->options.invalid_label == XENT_INVALID_LABEL_ERROR);
  if (is_label) {
    task->targets.kind = XENT_TARGET_LABELS;
    task->outputs.log_probability = log_probabilities;
  } else {
    task->token_log_probability = log_probabilities;
  }
  if (rows == 0) return XENT_OK;
  const int64_t real = task->logits.IsDouble() ? 8 : 4;
  XENT_REQUIRE(per_row <= kMaxBytes / 8 / rows, XENT_SIZE_OVERFLOW,
               "per_row is %" PRId64 "; so many tokens of %" PRId64 " rows do not fit the address space", per_row,
               rows);
  XENT_REQUIRE(tokens != nullptr, XENT_INVALID_ARGUMENT, "tokens is NULL");
  XENT_RULE(CheckAligned("argument", "tokens", tokens, DtypeSize(tokens_dtype)));
  XENT_REQUIRE(log_probabilities != nullptr, XENT_INVALID_ARGUMENT, "log_probabilities is NULL");
  XENT_RULE(CheckAligned("argument", "log_probabilities", log_probabilities, real));
  if (entropy != nullptr) XENT_RULE(CheckRowArray("entropy", entropy, true, *task));
  const Extent written[] = {{"log_probabilities", log_probabilities, rows * per_row * real},
                            {"entropy", entropy, rows * real}};
  const Extent read[] = {ExtentOf("logits.data", task->logits),
                         {"tokens", tokens, rows * per_row * DtypeSize(tokens_dtype)}};
  for (const Extent& to : written) {
    XENT_RULE(CheckMask(to, *task));
    for (const Extent& from : read) {
      XENT_REQUIRE(!to.Overlaps(from), XENT_OVERLAP, "%s (%p, %" PRId64 " bytes) overlaps %s (%p)", to.name, to.begin,
                   to.bytes, from.name, from.begin);
    }
  }
  XENT_REQUIRE(!written[0].Overlaps(written[1]), XENT_OVERLAP, "entropy (%p) overlaps log_probabilities (%p)", entropy,
               log_probabilities);
  return XENT_OK;
}

}  // namespace xent
