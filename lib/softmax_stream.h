// ROOM 2, softmax cross-entropy of rows whose classes come a slice at a time.
#ifndef XENT_LIB_SOFTMAX_STREAM_H_
#define XENT_LIB_SOFTMAX_STREAM_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

void BeginStates(int64_t rows, RowState* states, double* label_logits);

// Adds the slice's classes. False, here and below: the caller's runner failed.
bool PushClasses(const StreamTask& task, const Team& team);

// Adds states of later classes.
void MergeRows(int64_t rows, const RowState* more, const double* more_label_logits, RowState* states,
               double* label_logits);

// What the outputs ask for.
bool FinishRows(const StreamTask& task, const Team& team);

// The gradient of the slice.
bool PushGradient(const StreamTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_STREAM_H_
