// ROOM 1: every extern "C" function: check, then hand over. Nothing is computed here.
#include <cinttypes>
#include <cstdio>

#include "lib/binary_loss.h"
#include "lib/categorical_loss.h"
#include "lib/check.h"
#include "lib/fp_environment.h"
#include "lib/function_array.h"
#include "lib/information.h"
#include "lib/isa.h"
#include "lib/parallel.h"
#include "lib/presets.h"
#include "lib/softmax_backward.h"
#include "lib/softmax_loss.h"
#include "lib/softmax_stream.h"
#include "lib/targets.h"
#include "xent/xent.h"

#define XENT_TEXT_OF(x) #x
#define XENT_TEXT(x) XENT_TEXT_OF(x)
#define XENT_VERSION_TEXT \
  XENT_TEXT(XENT_VERSION_MAJOR) "." XENT_TEXT(XENT_VERSION_MINOR) "." XENT_TEXT(XENT_VERSION_PATCH)

#if defined(__clang__)
#define XENT_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define XENT_COMPILER "gcc " __VERSION__
#else
#define XENT_COMPILER "unknown compiler"
#endif

namespace {

struct BuildInfo {
  BuildInfo() {
    int length = std::snprintf(text, sizeof(text), "xent %s, %s, %s, instruction sets:", XENT_VERSION_TEXT,
                               XENT_COMPILER, XENT_BUILD_TYPE);
    for (int i = 0; i < xent::IsaCount() && length < static_cast<int>(sizeof(text)); ++i) {
      length += std::snprintf(text + length, sizeof(text) - static_cast<size_t>(length), " %s", xent::IsaAt(i).name);
    }
  }
  char text[256];
};

xent_status RunnerFailed();

// A checked task of a function without targets.
xent_status RunWithoutTargets(xent::SoftmaxTask* task) {
  const xent::Team team =
      xent::ChooseTeam(task->options.num_threads, task->options.runner, task->logits.rows * task->logits.classes);
  if (!xent::CountTargets(team, task)) return RunnerFailed();
  const xent_status status = xent::CheckTargetCount(*task);
  if (status != XENT_OK) return status;
  return xent::SoftmaxLoss(*task, team) ? XENT_OK : RunnerFailed();
}

xent_status RunBackward(xent::Product product, const xent_logits* results, const xent_softmax_options* options,
                        const void* upstream, void* gradient) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  xent::Matrix matrix;
  task.product = product;
  xent_status status = xent::CheckRowFunction(results, options, "gradient", gradient, &task);
  if (status == XENT_OK) status = xent::CheckUpstream(*results, upstream, task, &matrix);
  if (status != XENT_OK) return status;
  const xent::Team team =
      xent::ChooseTeam(task.options.num_threads, task.options.runner, task.logits.rows * task.logits.classes);
  return xent::SoftmaxBackward(task, matrix, team) ? XENT_OK : RunnerFailed();
}

xent_status RunBinary(xent::BinaryForm form, const char* name, const xent_logits* inputs, const xent_targets* targets,
                      const xent_binary_options* options, const xent_binary_outputs* outputs) {
  const xent::FpEnvironment environment;
  xent::BinaryTask task;
  task.form = form;
  xent_status status = xent::CheckBinary(name, inputs, targets, options, outputs, &task);
  if (status != XENT_OK) return status;
  const xent::Team team = xent::ChooseTeam(task.options.num_threads, task.options.runner, task.inputs.Count());
  if (!xent::CountBinaryTargets(team, &task)) return RunnerFailed();
  status = xent::CheckBinaryCount(task);
  if (status != XENT_OK) return status;
  return xent::BinaryLoss(task, team) ? XENT_OK : RunnerFailed();
}

xent::Team TeamOf(const xent::StreamTask& task) {
  const xent_softmax_options& options = task.whole.options;
  return xent::ChooseTeam(options.num_threads, options.runner, task.slice.rows * task.slice.classes);
}

// Once the labels have been looked at.
xent_status RunStream(xent::StreamTask* task, bool (*run)(const xent::StreamTask& task, const xent::Team& team)) {
  const xent::Team team = TeamOf(*task);
  if (!xent::CountTargets(team, &task->whole)) return RunnerFailed();
  const xent_status status = xent::CheckTargetCount(task->whole);
  if (status != XENT_OK) return status;
  return run(*task, team) ? XENT_OK : RunnerFailed();
}

xent_status RunnerFailed() {
  return xent::Fail(XENT_RUNNER_FAILED, "options.runner did not run every task exactly once");
}

}  // namespace

extern "C" {

const char* xent_status_name(xent_status status) {
  static const char* const kNames[] = {
      "XENT_OK",          "XENT_INVALID_ARGUMENT", "XENT_INVALID_LABEL", "XENT_OVERLAP",    "XENT_SIZE_OVERFLOW",
      "XENT_UNSUPPORTED", "XENT_VERSION_MISMATCH", "XENT_OUT_OF_MEMORY", "XENT_EMPTY_MEAN", "XENT_RUNNER_FAILED"};
  constexpr xent_status kCount = sizeof(kNames) / sizeof(kNames[0]);
  return status >= 0 && status < kCount ? kNames[status] : "unknown status";
}

const char* xent_last_error(void) { return xent::LastError(); }

int32_t xent_version(void) { return XENT_VERSION_MAJOR * 10000 + XENT_VERSION_MINOR * 100 + XENT_VERSION_PATCH; }

const char* xent_version_string(void) { return XENT_VERSION_TEXT; }

const char* xent_build_info(void) {
  static const BuildInfo info;
  return info.text;
}

int32_t xent_isa_count(void) { return xent::IsaCount(); }

const char* xent_isa_name(int32_t index) {
  return index >= 0 && index < xent::IsaCount() ? xent::IsaAt(index).name : nullptr;
}

int32_t xent_isa_supported(int32_t index) {
  return index >= 0 && index < xent::IsaCount() && xent::IsaAt(index).supported ? 1 : 0;
}

const char* xent_isa_chosen(void) { return xent::IsaChosen().name; }

xent_status xent_isa_cap(const char* name) {
  switch (xent::CapIsa(name)) {
    case xent::IsaCap::kUnknown:
      return xent::Fail(XENT_INVALID_ARGUMENT, "name is \"%.64s\"; it is no instruction set of this build", name);
    case xent::IsaCap::kUnsupported:
      return xent::Fail(XENT_UNSUPPORTED, "name is \"%.64s\"; this machine cannot run it", name);
    default:
      return XENT_OK;
  }
}

int32_t xent_num_threads(void) { return xent::DefaultThreads(); }

xent_status xent_set_num_threads(int32_t num_threads) {
  if (num_threads < 0) {
    return xent::Fail(XENT_INVALID_ARGUMENT, "num_threads is %d; it must not be negative", num_threads);
  }
  xent::SetDefaultThreads(num_threads);
  return XENT_OK;
}

int32_t xent_dtype_size(xent_dtype dtype) { return xent::DtypeSize(dtype); }

xent_status xent_softmax_cross_entropy(const xent_logits* logits, const xent_targets* targets,
                                       const xent_softmax_options* options, const xent_softmax_outputs* outputs) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  xent_status status = xent::CheckSoftmax("logits", logits, targets, options, outputs, &task);
  if (status != XENT_OK) return status;
  const xent::Matrix& x = task.logits;
  const xent::Team team = xent::ChooseTeam(task.options.num_threads, task.options.runner, x.rows * x.classes);
  bool ran = xent::CountTargets(team, &task);
  if (ran) {
    status = xent::CheckTargetCount(task);
    if (status != XENT_OK) return status;
    ran = xent::SoftmaxLoss(task, team);
  }
  return ran ? XENT_OK : RunnerFailed();
}

xent_status xent_softmax_options_preset(xent_preset preset, xent_target_kind kind, xent_softmax_options* options) {
  return xent::FillPreset(preset, kind, options);
}

xent_status xent_softmax_begin(int64_t rows, xent_row_state* states, double* label_logits) {
  const xent_status status = xent::CheckStreamArrays(rows, "states", states, "label_logits", label_logits);
  if (status == XENT_OK) xent::BeginStates(rows, reinterpret_cast<xent::RowState*>(states), label_logits);
  return status;
}

xent_status xent_softmax_push(const xent_logits* slice, int64_t first_class, const xent_targets* labels,
                              const xent_softmax_options* options, xent_row_state* states, double* label_logits) {
  const xent::FpEnvironment environment;
  xent::StreamTask task;
  const xent_status status = xent::CheckStreamSlice(slice, first_class, INT64_MAX, states, label_logits, labels,
                                                    options, nullptr, nullptr, &task);
  if (status != XENT_OK) return status;
  return xent::PushClasses(task, TeamOf(task)) ? XENT_OK : RunnerFailed();
}

xent_status xent_softmax_merge(int64_t rows, const xent_row_state* more_states, const double* more_label_logits,
                               xent_row_state* states, double* label_logits) {
  const xent::FpEnvironment environment;
  const xent_status status = xent::CheckMerge(rows, more_states, more_label_logits, states, label_logits);
  if (status == XENT_OK) {
    xent::MergeRows(rows, reinterpret_cast<const xent::RowState*>(more_states), more_label_logits,
                    reinterpret_cast<xent::RowState*>(states), label_logits);
  }
  return status;
}

xent_status xent_softmax_finish(int64_t rows, int64_t classes, xent_dtype dtype, const xent_row_state* states,
                                const double* label_logits, const xent_targets* labels,
                                const xent_softmax_options* options, const xent_softmax_outputs* outputs) {
  const xent::FpEnvironment environment;
  xent::StreamTask task;
  const xent_status status =
      xent::CheckStream(rows, classes, dtype, states, label_logits, labels, options, outputs, &task);
  return status != XENT_OK ? status : RunStream(&task, xent::FinishRows);
}

xent_status xent_softmax_push_gradient(const xent_logits* slice, int64_t first_class, int64_t classes,
                                       const xent_row_state* states, const double* label_logits,
                                       const xent_targets* labels, const xent_softmax_options* options,
                                       void* gradient) {
  const xent::FpEnvironment environment;
  xent::StreamTask task;
  const xent_status status = xent::CheckStreamSlice(slice, first_class, classes, states, label_logits, labels, options,
                                                    "gradient", gradient, &task);
  return status != XENT_OK ? status : RunStream(&task, xent::PushGradient);
}

xent_status xent_logsumexp(const xent_logits* logits, const xent_softmax_options* options, void* lse) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  xent_status status = xent::CheckRowFunction(logits, options, nullptr, nullptr, &task);
  if (status == XENT_OK) status = xent::CheckRowArray("lse", lse, true, task);
  if (status != XENT_OK) return status;
  task.outputs.lse = lse;
  return RunWithoutTargets(&task);
}

xent_status xent_softmax(const xent_logits* logits, const xent_softmax_options* options, void* probabilities) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  task.product = xent::Product::kProbabilities;
  const xent_status status = xent::CheckRowFunction(logits, options, "probabilities", probabilities, &task);
  return status != XENT_OK ? status : RunWithoutTargets(&task);
}

xent_status xent_log_softmax(const xent_logits* logits, const xent_softmax_options* options, void* log_probabilities) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  task.product = xent::Product::kLogProbabilities;
  const xent_status status = xent::CheckRowFunction(logits, options, "log_probabilities", log_probabilities, &task);
  return status != XENT_OK ? status : RunWithoutTargets(&task);
}

xent_status xent_logsumexp_backward(const xent_logits* logits, const xent_softmax_options* options,
                                    const void* upstream, void* gradient) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  xent_status status = xent::CheckRowFunction(logits, options, "gradient", gradient, &task);
  if (status == XENT_OK) status = xent::CheckRowArray("upstream", upstream, false, task);
  if (status != XENT_OK) return status;
  task.options.lse_upstream = upstream;
  return RunWithoutTargets(&task);
}

xent_status xent_softmax_backward(const xent_logits* probabilities, const xent_softmax_options* options,
                                  const void* upstream, void* gradient) {
  return RunBackward(xent::Product::kProbabilities, probabilities, options, upstream, gradient);
}

xent_status xent_log_softmax_backward(const xent_logits* log_probabilities, const xent_softmax_options* options,
                                      const void* upstream, void* gradient) {
  return RunBackward(xent::Product::kLogProbabilities, log_probabilities, options, upstream, gradient);
}

xent_status xent_token_logprob(const xent_logits* logits, const void* tokens, xent_dtype tokens_dtype, int64_t per_row,
                               const xent_softmax_options* options, void* log_probabilities, void* entropy) {
  const xent::FpEnvironment environment;
  xent::SoftmaxTask task;
  const xent_status status =
      xent::CheckTokens(logits, tokens, tokens_dtype, per_row, options, log_probabilities, entropy, &task);
  return status != XENT_OK ? status : RunWithoutTargets(&task);
}

xent_status xent_binary_options_preset(xent_preset preset, int32_t has_probabilities, xent_dtype dtype,
                                       xent_binary_options* options) {
  return xent::FillBinaryPreset(preset, has_probabilities, dtype, options);
}

xent_status xent_sigmoid_cross_entropy(const xent_logits* logits, const xent_targets* targets,
                                       const xent_binary_options* options, const xent_binary_outputs* outputs) {
  return RunBinary(xent::BinaryForm::kLogits, "logits", logits, targets, options, outputs);
}

xent_status xent_binary_cross_entropy(const xent_logits* probabilities, const xent_targets* targets,
                                      const xent_binary_options* options, const xent_binary_outputs* outputs) {
  return RunBinary(xent::BinaryForm::kProbabilities, "probabilities", probabilities, targets, options, outputs);
}

xent_status xent_categorical_cross_entropy(const xent_logits* probabilities, xent_distribution given,
                                           const xent_targets* targets, xent_log_rule log_rule, double epsilon,
                                           const xent_softmax_options* options, const xent_softmax_outputs* outputs,
                                           int64_t* outside) {
  const xent::FpEnvironment environment;
  xent::CategoricalTask task;
  xent_status status =
      xent::CheckCategorical(probabilities, given, targets, log_rule, epsilon, options, outputs, outside, &task);
  if (status != XENT_OK) return status;
  const xent::Matrix& x = task.rows.logits;
  const xent::Team team = xent::ChooseTeam(task.rows.options.num_threads, task.rows.options.runner, x.rows * x.classes);
  if (!xent::CountTargets(team, &task.rows)) return RunnerFailed();
  status = xent::CheckTargetCount(task.rows);
  if (status != XENT_OK) return status;
  return xent::CategoricalLoss(task, team) ? XENT_OK : RunnerFailed();
}

xent_status xent_information(xent_measure measure, const xent_logits* p, const xent_logits* q,
                             const xent_information_options* options, const xent_information_outputs* outputs) {
  const xent::FpEnvironment environment;
  xent::InformationTask task;
  const xent_status status = xent::CheckInformation(measure, p, q, options, outputs, &task);
  if (status != XENT_OK) return status;
  const xent::Matrix& x = task.p.logits;
  const xent::Team team = xent::ChooseTeam(task.options.num_threads, task.options.runner, x.rows * x.classes);
  return xent::InformationOfRows(task, team) ? XENT_OK : RunnerFailed();
}

xent_status xent_ensemble_information(const xent_logits* samples, const xent_information_options* options,
                                      const xent_ensemble_outputs* outputs) {
  const xent::FpEnvironment environment;
  xent::EnsembleTask task;
  xent_status status = xent::CheckEnsemble(samples, options, outputs, &task);
  if (status != XENT_OK) return status;
  const xent::Matrix& x = task.samples.logits;
  const xent::Team team = xent::ChooseTeam(task.options.num_threads, task.options.runner, x.rows * x.classes);
  status = xent::InformationOfEnsemble(task, team);
  if (status == XENT_RUNNER_FAILED) return RunnerFailed();
  return status == XENT_OK
             ? status
             : xent::Fail(status, "there is no memory for what is known of %" PRId64 " samples", task.count);
}

xent_status xent_joint_information(const xent_logits* table, double base, double* values,
                                   xent_joint_measure gradient_of, void* gradient) {
  const xent::FpEnvironment environment;
  xent::JointTask task;
  const xent_status status = xent::CheckJoint(table, base, values, gradient_of, gradient, &task);
  if (status != XENT_OK) return status;
  return xent::InformationOfTable(task)
             ? XENT_OK
             : xent::Fail(XENT_OUT_OF_MEMORY, "there is no memory for the sums of the table's rows and columns");
}

const char* xent_function_name(xent_function function) {
  static const char* const kNames[] = {"exp", "log", "log1p", "expm1", "sigmoid", "log_sigmoid", "softplus", "tanh"};
  return function >= XENT_EXP && function <= XENT_TANH ? kNames[function - XENT_EXP] : nullptr;
}

xent_status xent_map(xent_function function, xent_dtype dtype, const void* x, void* y, int64_t n,
                     const xent_map_options* options) {
  const xent::FpEnvironment environment;
  xent::MapTask task;
  const xent_status status = xent::CheckMap(function, dtype, x, y, n, options, &task);
  if (status != XENT_OK) return status;
  const xent::Team team = xent::ChooseTeam(task.options.num_threads, task.options.runner, n);
  return xent::MapArray(task, team) ? XENT_OK : RunnerFailed();
}

}  // extern "C"
