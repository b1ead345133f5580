// Every rule about arguments, with its status and sentence. Nothing else in the library doubts an argument.
#ifndef XENT_LIB_CHECK_H_
#define XENT_LIB_CHECK_H_

#include "lib/task.h"

namespace xent {

// Notes a sentence for xent_last_error() and returns the status.
xent_status Fail(xent_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));
const char* LastError();

// Checks the arguments of xent_softmax_cross_entropy, but not the labels' values, and fills the task but its count.
// `name`: of the rows.
// name: of the logits in messages; null: there are none, and their data stand for nothing.
xent_status CheckSoftmax(const char* name, const xent_logits* logits, const xent_targets* targets,
                         const xent_softmax_options* options, const xent_softmax_outputs* outputs, SoftmaxTask* task);

// Checks the arguments of a function of logits without targets that writes a matrix (named `name`; null: none) with
// their layout and type, in place too, and fills the task.
xent_status CheckRowFunction(const xent_logits* logits, const xent_softmax_options* options, const char* name,
                             void* matrix, SoftmaxTask* task);

// Checks one more matrix with the logits' layout and type, which may not overlap the gradient but exactly.
xent_status CheckUpstream(const xent_logits& logits, const void* upstream, const SoftmaxTask& task, Matrix* matrix);

// Checks a row array that a function writes or reads.
xent_status CheckRowArray(const char* name, const void* array, bool is_written, const SoftmaxTask& task);

// Checks the arguments of xent_token_logprob, but not the tokens' values, and fills the task but its count.
xent_status CheckTokens(const xent_logits* logits, const void* tokens, xent_dtype tokens_dtype, int64_t per_row,
                        const xent_softmax_options* options, void* log_probabilities, void* entropy, SoftmaxTask* task);

// Checks what the pass over the targets found.
xent_status CheckTargetCount(const SoftmaxTask& task);

// Check the arguments of the calls for some classes at a time, but not the labels' values, and fill the task but its
// count: of all (`rows` of `classes`), and of a slice besides.
xent_status CheckStream(int64_t rows, int64_t classes, xent_dtype dtype, const xent_row_state* states,
                        const double* label_logits, const xent_targets* labels, const xent_softmax_options* options,
                        const xent_softmax_outputs* outputs, StreamTask* task);
xent_status CheckStreamSlice(const xent_logits* slice, int64_t first_class, int64_t classes,
                             const xent_row_state* states, const double* label_logits, const xent_targets* labels,
                             const xent_softmax_options* options, const char* name, void* gradient, StreamTask* task);
// Of the two arrays alone.
xent_status CheckMerge(int64_t rows, const xent_row_state* more_states, const double* more_label_logits,
                       const xent_row_state* states, const double* label_logits);
xent_status CheckStreamArrays(int64_t rows, const char* states_name, const xent_row_state* states,
                              const char* logits_name, const double* label_logits);

// Checks the arguments of a binary cross-entropy, but not the labels' values, and fills the task but its count. `name`:
// of the inputs, "logits" or "probabilities".
xent_status CheckBinary(const char* name, const xent_logits* inputs, const xent_targets* targets,
                        const xent_binary_options* options, const xent_binary_outputs* outputs, BinaryTask* task);
// Checks what the pass over the targets found.
xent_status CheckBinaryCount(const BinaryTask& task);

// Checks the arguments of xent_categorical_cross_entropy, but not the labels' values, and fills the task but its count.
xent_status CheckCategorical(const xent_logits* probabilities, xent_distribution given, const xent_targets* targets,
                             xent_log_rule log_rule, double epsilon, const xent_softmax_options* options,
                             const xent_softmax_outputs* outputs, int64_t* outside, CategoricalTask* task);

// Check the arguments of xent_information and of xent_joint_information, and fill the tasks.
xent_status CheckInformation(xent_measure measure, const xent_logits* p, const xent_logits* q,
                             const xent_information_options* options, const xent_information_outputs* outputs,
                             InformationTask* task);
xent_status CheckEnsemble(const xent_logits* samples, const xent_information_options* options,
                          const xent_ensemble_outputs* outputs, EnsembleTask* task);
xent_status CheckJoint(const xent_logits* table, double base, double* values, xent_joint_measure gradient_of,
                       void* gradient, JointTask* task);

// Checks the arguments of xent_map and fills the task.
xent_status CheckMap(xent_function function, xent_dtype dtype, const void* x, void* y, int64_t n,
                     const xent_map_options* options, MapTask* task);

// 0 for a number that is no dtype.
int32_t DtypeSize(xent_dtype dtype);

}  // namespace xent

#endif  // XENT_LIB_CHECK_H_
