// Softmax cross-entropy with everything: any targets, options, layout and outputs.
#ifndef XENT_LIB_SOFTMAX_GENERAL_H_
#define XENT_LIB_SOFTMAX_GENERAL_H_

#include "lib/parallel.h"
#include "lib/softmax_totals.h"
#include "lib/task.h"

namespace xent {

// Whether logits and gradient have rows side by side whose classes are apart, and not too many.
bool HasColumns(const SoftmaxTask& task);

// Whether the kernels for rows of adjacent classes can scale logits as they read them.
bool IsScaledEarly(const SoftmaxTask& task);

// Whether a task has terms per class, a layout or an output that softmax_loss.cc does not know.
bool IsGeneral(const SoftmaxTask& task);

// Whether targets are dense rows that the kernels for labels can go over: then a row's label is its largest class.
bool HasDenseRows(const SoftmaxTask& task);

// As SoftmaxLoss.
bool GeneralSoftmaxLoss(const SoftmaxTask& task, const Team& team);

// Some rows of it, on this thread, in little memory.
void RunGeneralRows(const SoftmaxTask& task, int64_t first, int64_t count, RowTotals* totals);

// log-sum-exp - max, and max, of kTileRows rows at most, all of which are read; NaN where a row has none.
void FindGaps(const SoftmaxTask& task, int64_t first, int64_t count, double* max, double* gap);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_GENERAL_H_
