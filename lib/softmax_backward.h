// From the upstream gradients of softmax and log-softmax to those of their logits, given their results.
#ifndef XENT_LIB_SOFTMAX_BACKWARD_H_
#define XENT_LIB_SOFTMAX_BACKWARD_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// task: logits are the results y, gradient is where dx goes; product says what y is. False: the runner failed.
bool SoftmaxBackward(const SoftmaxTask& task, const Matrix& upstream, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_BACKWARD_H_
