// Labels of any integer type, and the classes of sparse targets: counting and checking them all, and widening some.
#ifndef XENT_LIB_TARGETS_H_
#define XENT_LIB_TARGETS_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Goes over all targets once and fills task->count. False: the caller's runner failed.
bool CountTargets(const Team& team, SoftmaxTask* task);

// Labels of rows [first, first + n); those of ignored rows become kSkipRow, invalid ones kInvalidLabel. Rows without
// labels that are not ignored get 0. Whether all are classes.
bool LoadLabels(const SoftmaxTask& task, int64_t first, int64_t n, int64_t* labels);

// One label, as it is.
int64_t LabelAt(const Labels& labels, int64_t index);

// A target of one class; weights of a class that comes twice add up.
struct Pair {
  int64_t label;  // kSkipRow: leave it out; kInvalidLabel
  double weight;
};
Pair SparsePair(const SoftmaxTask& task, int64_t row, int64_t index);

}  // namespace xent

#endif  // XENT_LIB_TARGETS_H_
