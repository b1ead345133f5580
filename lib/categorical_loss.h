// ROOM 2, categorical cross-entropy of probabilities: -sum_j u_j log p_j, with the targets of the softmax family.
#ifndef XENT_LIB_CATEGORICAL_LOSS_H_
#define XENT_LIB_CATEGORICAL_LOSS_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Computes what the task's outputs ask for. False: the caller's runner failed.
bool CategoricalLoss(const CategoricalTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_CATEGORICAL_LOSS_H_
