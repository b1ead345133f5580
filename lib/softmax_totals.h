// What a softmax call leaves behind that is not a gradient: numbers per row, and the totals of all rows.
#ifndef XENT_LIB_SOFTMAX_TOTALS_H_
#define XENT_LIB_SOFTMAX_TOTALS_H_

#include <optional>

#include "lib/lots.h"
#include "lib/reduce.h"
#include "lib/softmax_rows.h"
#include "lib/task.h"

namespace xent {

// Of rows, one after another.
struct RowTotals {
  LaneSums loss;
  std::optional<LaneSums> z_loss;  // most calls have none
  int64_t correct = 0;
};

// Of lots of them.
struct Totals {
  Sum loss;
  Sum z_loss;
  int64_t correct = 0;

  void Add(const Totals& other) {
    loss.Add(other.loss);
    z_loss.Add(other.z_loss);
    correct += other.correct;
  }

  void Add(const RowTotals& rows) {
    loss.Add(SumOf(rows.loss));
    if (rows.z_loss) z_loss.Add(SumOf(*rows.z_loss));
    correct += rows.correct;
  }
};

// A saved state that no other call can use: it will find its own.
void MarkAsOther(xent_row_state* saved);

// Whether the task asks for anything that rows must be read for.
bool WantsRows(const SoftmaxTask& task);
bool WantsLosses(const SoftmaxTask& task);

// Writes values of rows [first, first + count), one array element each; of rows that are not read `unread` (null: 0),
// and of invalid ones NaN. No labels: all are read.
void WriteValues(const SoftmaxTask& task, int64_t first, int64_t count, const double* values, const int64_t* labels,
                 const double* unread, void* array);

// Writes the losses of rows [first, first + count) if they were asked for, and adds them to the totals. No labels: all
// rows are read.
void WriteLosses(const SoftmaxTask& task, const MathKernels& math, int64_t first, int64_t count, const double* loss,
                 const int64_t* labels, RowTotals* totals);

// Writes what was asked for of each row.
void WriteRows(const SoftmaxTask& task, const Rows& rows);

// Adds rows [begin, end) of the tile to the totals.
void AddRows(const SoftmaxTask& task, const MathKernels& math, const Rows& rows, int64_t begin, int64_t end,
             RowTotals* totals);

// Whether the class of the largest logit of rows is asked for.
bool WantsClasses(const SoftmaxTask& task);

// Writes that class of rows [first, first + count), `largest` where the row is read and its gap not NaN, and counts
// those that are labels.
void WriteClasses(const SoftmaxTask& task, int64_t first, int64_t count, const int64_t* labels, const double* gap,
                  const int64_t* largest, RowTotals* totals);

void WriteTotals(const SoftmaxTask& task, const Totals& totals);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_TOTALS_H_
