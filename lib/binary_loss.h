// ROOM 2, binary cross-entropy: pieces of elements in order, what their loss is made of, the reduction.
#ifndef XENT_LIB_BINARY_LOSS_H_
#define XENT_LIB_BINARY_LOSS_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Goes over the targets if their values matter before a loss does: labels, or what a mean divides by. False: the
// caller's runner failed.
bool CountBinaryTargets(const Team& team, BinaryTask* task);

// Computes what the task's outputs ask for. False: the caller's runner failed.
bool BinaryLoss(const BinaryTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_BINARY_LOSS_H_
