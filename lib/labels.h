// Labels of any integer type: counting and checking them all, and widening some.
#ifndef XENT_LIB_LABELS_H_
#define XENT_LIB_LABELS_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Goes over all labels once: how many rows are ignored, and which label is the first that is neither ignored nor in
// [0, classes). False: the caller's runner failed.
bool CountLabels(const Labels& labels, int64_t rows, int64_t classes, const Team& team, LabelCount* count);

// Labels of rows [first, first + n); ignored ones become kSkipRow, invalid ones kInvalidLabel.
constexpr int64_t kInvalidLabel = -2;
void LoadLabels(const Labels& labels, int64_t first, int64_t n, int64_t classes, int64_t* classes_of_rows);

}  // namespace xent

#endif  // XENT_LIB_LABELS_H_
