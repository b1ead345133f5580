// ROOM 2, softmax cross-entropy: blocks of rows, the scalars of a row, the reduction.
#ifndef XENT_LIB_SOFTMAX_LOSS_H_
#define XENT_LIB_SOFTMAX_LOSS_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Computes what the task's outputs ask for. False: the caller's runner failed.
bool SoftmaxLoss(const SoftmaxTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_LOSS_H_
