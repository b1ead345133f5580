// log softmax of rows of adjacent classes and f32 lanes, in f32.
#ifndef XENT_LIB_LOG_SOFTMAX_H_
#define XENT_LIB_LOG_SOFTMAX_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Whether LogSoftmax knows the task, whose product is log-probabilities.
bool HasShortLogs(const SoftmaxTask& task);

// False: the caller's runner failed.
bool LogSoftmax(const SoftmaxTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_LOG_SOFTMAX_H_
