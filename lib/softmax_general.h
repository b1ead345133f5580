// Softmax cross-entropy with everything: any targets, options, layout and outputs.
#ifndef XENT_LIB_SOFTMAX_GENERAL_H_
#define XENT_LIB_SOFTMAX_GENERAL_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Whether a task has terms per class, a layout or an output that softmax_loss.cc does not know.
bool IsGeneral(const SoftmaxTask& task);

// As SoftmaxLoss.
bool GeneralSoftmaxLoss(const SoftmaxTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_GENERAL_H_
