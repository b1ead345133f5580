// The rules of information measures.
#include <cinttypes>
#include <cmath>
#include <iterator>
#include <limits>

#include "lib/check.h"
#include "lib/check_rules.h"

namespace xent {
namespace {

// 1 / log(base).
xent_status CheckBase(const char* name, double base, double* unit) {
  XENT_REQUIRE(base == 0.0 || (base > 1.0 && std::isfinite(base)), XENT_INVALID_ARGUMENT,
               "%s is %g; it must be 0 (for e) or a finite number above 1", name, base);
  // Of the usual bases to the last digit on every machine.
  constexpr double kBits = 0x1.71547652b82fep+0, kDecimal = 0x1.bcb7b1526e50ep-2;
  *unit = base == 0.0 ? 1.0 : base == 2.0 ? kBits : base == 10.0 ? kDecimal : 1.0 / std::log(base);
  return XENT_OK;
}

// A task that reads rows and, if there is a gradient, writes it where they are laid out.
xent_status CheckRows(const char* name, const char* gradient_name, const xent_logits& x, bool has_logits, double scale,
                      void* gradient, SoftmaxTask* task) {
  XENT_RULE(CheckInputs(name, x, &task->logits));
  task->options = xent_softmax_options_default();
  if (has_logits) task->options.scale = scale;
  task->outputs = xent_softmax_outputs_none();
  task->outputs.gradient = gradient;
  task->targets = Targets{kNoTargets, {nullptr, XENT_I64, 0}, {}, 0, nullptr, XENT_REST_DROP};
  task->count = TargetCount{0, -1, 0, 0.0};
  task->gradient = task->logits;
  task->gradient.data = gradient;
  return gradient == nullptr ? XENT_OK : CheckAligned("outputs", gradient_name, gradient, task->logits.ElementBytes());
}

xent_status CheckInformationOptions(const xent_information_options& options, bool is_double) {
  XENT_REQUIRE(options.struct_size == sizeof(options), XENT_VERSION_MISMATCH,
               "options.struct_size is %" PRId32 "; this version has %zu", options.struct_size, sizeof(options));
  XENT_RULE(CheckEnumerator("reduction", "xent_reduction", options.reduction, XENT_REDUCTION_NONE));
  XENT_RULE(CheckEnumerator("reserved", "number but 0", options.reserved, 0));
  XENT_REQUIRE(options.p_given >= XENT_PROBABILITIES && options.p_given <= XENT_LOGITS, XENT_INVALID_ARGUMENT,
               "options.p_given is %" PRId32 "; it is no xent_distribution", options.p_given);
  XENT_REQUIRE(options.q_given >= XENT_PROBABILITIES && options.q_given <= XENT_LOGITS, XENT_INVALID_ARGUMENT,
               "options.q_given is %" PRId32 "; it is no xent_distribution", options.q_given);
  XENT_RULE(CheckRange("scale", options.scale, std::numeric_limits<double>::min(), std::numeric_limits<double>::max()));
  XENT_RULE(CheckRange("beta", options.beta, 0.0, 1.0));
  XENT_RULE(CheckUpstreamFactor(options.upstream, is_double));
  XENT_RULE(CheckThreads(options.num_threads, options.runner));
  return CheckAligned("options", "row_upstream", options.row_upstream, is_double ? 8 : 4);
}

xent_status CheckInformationOverlap(const InformationTask& task) {
  const xent_information_outputs& out = task.outputs;
  const int64_t rows = task.p.logits.rows * (task.p.logits.IsDouble() ? 8 : 4);
  const Extent p = ExtentOf("p.data", task.p.logits);
  const Extent q = task.has_q ? ExtentOf("q.data", task.q.logits) : Extent{"q.data", nullptr, 0};
  const Extent upstream = {"options.row_upstream", task.options.row_upstream, rows};
  const Extent of_p = ExtentOf("outputs.p_gradient", task.p.gradient);
  const Extent of_q =
      task.has_q ? ExtentOf("outputs.q_gradient", task.q.gradient) : Extent{"outputs.q_gradient", nullptr, 0};
  const Extent others[] = {
      {"outputs.rows", out.rows, rows}, {"outputs.total", out.total, 8}, {"outputs.sum", out.sum, 8}};
  const Extent p_inputs[] = {p, q, upstream};
  const Extent p_outputs[] = {of_p, others[0], others[1], others[2]};
  XENT_RULE(CheckOverlaps(p_inputs, std::size(p_inputs), p_outputs, std::size(p_outputs), true));
  const Extent q_inputs[] = {q, p, upstream};
  const Extent q_outputs[] = {of_q, of_p, others[0], others[1], others[2]};
  // What q's gradient alone can add: it is first, and p's is in its own place or was refused above.
  const Extent alone[] = {of_q};
  XENT_RULE(CheckOverlaps(q_inputs, std::size(q_inputs), alone, 1, true));
  const Extent none[] = {{"", nullptr, 0}};
  return CheckOverlaps(none, 1, q_outputs, std::size(q_outputs), false);
}

}  // namespace

xent_status CheckInformation(xent_measure measure, const xent_logits* p, const xent_logits* q,
                             const xent_information_options* options, const xent_information_outputs* outputs,
                             InformationTask* task) {
  XENT_REQUIRE(measure >= XENT_ENTROPY && measure <= XENT_JENSEN_SHANNON, XENT_INVALID_ARGUMENT,
               "measure is %" PRId32 "; it is no xent_measure", measure);
  XENT_REQUIRE(p != nullptr, XENT_INVALID_ARGUMENT, "p is NULL");
  task->has_q = measure != XENT_ENTROPY;
  XENT_REQUIRE(task->has_q == (q != nullptr), XENT_INVALID_ARGUMENT,
               "q is %p; it is NULL for XENT_ENTROPY and for no other measure", static_cast<const void*>(q));
  XENT_REQUIRE(outputs != nullptr, XENT_INVALID_ARGUMENT, "outputs is NULL");
  XENT_REQUIRE(outputs->struct_size == sizeof(*outputs), XENT_VERSION_MISMATCH,
               "outputs.struct_size is %" PRId32 "; this version has %zu", outputs->struct_size, sizeof(*outputs));
  XENT_REQUIRE(outputs->reserved == 0, XENT_INVALID_ARGUMENT, "outputs.reserved is %" PRId32 "; it must be 0",
               outputs->reserved);
  task->measure = static_cast<Measure>(measure - XENT_ENTROPY);
  task->options = options != nullptr ? *options : xent_information_options_default();
  task->outputs = *outputs;
  XENT_RULE(CheckInformationOptions(task->options, p->dtype == XENT_F64));
  XENT_RULE(CheckBase("options.base", task->options.base, &task->unit));
  XENT_RULE(CheckRows("p", "p_gradient", *p, task->options.p_given == XENT_LOGITS, task->options.scale,
                      outputs->p_gradient, &task->p));
  if (task->has_q) {
    XENT_RULE(CheckRows("q", "q_gradient", *q, task->options.q_given == XENT_LOGITS, task->options.scale,
                        outputs->q_gradient, &task->q));
    XENT_REQUIRE(p->outer == q->outer && p->inner == q->inner && p->classes == q->classes, XENT_INVALID_ARGUMENT,
                 "q has %" PRId64 " x %" PRId64 " x %" PRId64 " elements; p has %" PRId64 " x %" PRId64 " x %" PRId64,
                 q->outer, q->classes, q->inner, p->outer, p->classes, p->inner);
  }
  XENT_REQUIRE(task->has_q || outputs->q_gradient == nullptr, XENT_INVALID_ARGUMENT,
               "outputs.q_gradient is given; XENT_ENTROPY has no q");
  XENT_RULE(CheckAligned("outputs", "total", outputs->total, 8));
  XENT_RULE(CheckAligned("outputs", "sum", outputs->sum, 8));
  XENT_RULE(CheckAligned("outputs", "rows", outputs->rows, p->dtype == XENT_F64 ? 8 : 4));
  return CheckInformationOverlap(*task);
}

xent_status CheckEnsemble(const xent_logits* samples, const xent_information_options* options,
                          const xent_ensemble_outputs* outputs, EnsembleTask* task) {
  XENT_REQUIRE(samples != nullptr, XENT_INVALID_ARGUMENT, "samples is NULL");
  XENT_REQUIRE(outputs != nullptr, XENT_INVALID_ARGUMENT, "outputs is NULL");
  XENT_REQUIRE(outputs->struct_size == sizeof(*outputs), XENT_VERSION_MISMATCH,
               "outputs.struct_size is %" PRId32 "; this version has %zu", outputs->struct_size, sizeof(*outputs));
  const bool is_double = samples->dtype == XENT_F64;
  task->options = options != nullptr ? *options : xent_information_options_default();
  task->outputs = *outputs;
  XENT_RULE(CheckInformationOptions(task->options, is_double));
  XENT_RULE(CheckBase("options.base", task->options.base, &task->unit));
  const bool has_logits = task->options.p_given == XENT_LOGITS;
  XENT_RULE(
      CheckRows("samples", "gradient", *samples, has_logits, task->options.scale, outputs->gradient, &task->samples));
  XENT_REQUIRE(samples->outer > 0, XENT_INVALID_ARGUMENT, "samples.outer is %" PRId64 "; a mean needs a sample",
               samples->outer);
  const bool has_gradient = outputs->gradient != nullptr;
  const xent_ensemble_measure measure = outputs->gradient_of;
  XENT_REQUIRE(has_gradient ? measure >= XENT_PREDICTIVE_ENTROPY && measure <= XENT_ENSEMBLE_INFORMATION : measure == 0,
               XENT_INVALID_ARGUMENT,
               "outputs.gradient_of is %" PRId32 "; it is an xent_ensemble_measure where there is a gradient, else 0",
               measure);
  task->count = samples->outer;
  task->rows = samples->inner;
  const int64_t real = is_double ? 8 : 4;
  XENT_RULE(CheckAligned("outputs", "totals", outputs->totals, 8));
  XENT_RULE(CheckAligned("outputs", "predictive_entropy", outputs->predictive_entropy, real));
  XENT_RULE(CheckAligned("outputs", "expected_entropy", outputs->expected_entropy, real));
  XENT_RULE(CheckAligned("outputs", "mutual_information", outputs->mutual_information, real));
  const Extent inputs[] = {ExtentOf("samples.data", task->samples.logits),
                           {"options.row_upstream", task->options.row_upstream, task->rows * real}};
  const Extent written[] = {ExtentOf("outputs.gradient", task->samples.gradient),
                            {"outputs.totals", outputs->totals, 3 * 8},
                            {"outputs.predictive_entropy", outputs->predictive_entropy, task->rows * real},
                            {"outputs.expected_entropy", outputs->expected_entropy, task->rows * real},
                            {"outputs.mutual_information", outputs->mutual_information, task->rows * real}};
  return CheckOverlaps(inputs, std::size(inputs), written, std::size(written), true);
}

xent_status CheckJoint(const xent_logits* table, double base, double* values, xent_joint_measure gradient_of,
                       void* gradient, JointTask* task) {
  XENT_REQUIRE(table != nullptr, XENT_INVALID_ARGUMENT, "table is NULL");
  XENT_RULE(CheckInputs("table", *table, &task->table));
  XENT_REQUIRE(table->inner == 1, XENT_INVALID_ARGUMENT, "table.inner is %" PRId64 "; it must be 1", table->inner);
  XENT_REQUIRE(table->outer > 0, XENT_INVALID_ARGUMENT, "table.outer is %" PRId64 "; a table has rows", table->outer);
  XENT_RULE(CheckBase("base", base, &task->unit));
  XENT_RULE(CheckAligned("argument", "values", values, 8));
  const bool has_gradient = gradient != nullptr;
  XENT_REQUIRE(
      has_gradient ? gradient_of >= XENT_JOINT_ENTROPY && gradient_of <= XENT_MUTUAL_INFORMATION : gradient_of == 0,
      XENT_INVALID_ARGUMENT,
      "gradient_of is %" PRId32 "; it is an xent_joint_measure where there is a gradient, else 0", gradient_of);
  XENT_RULE(CheckAligned("argument", "gradient", gradient, task->table.ElementBytes()));
  task->values = values;
  task->gradient_of = gradient_of;
  task->gradient = task->table;
  task->gradient.data = gradient;
  const Extent inputs[] = {ExtentOf("table.data", task->table)};
  const Extent outputs[] = {ExtentOf("gradient", task->gradient), {"values", values, 5 * 8}};
  return CheckOverlaps(inputs, 1, outputs, 2, true);
}

}  // namespace xent
