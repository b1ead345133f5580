// The scalars of softmax rows: one array element per row of a tile, filled step by step.
#ifndef XENT_LIB_SOFTMAX_ROWS_H_
#define XENT_LIB_SOFTMAX_ROWS_H_

#include <cstdint>

#include "lib/kernels.h"
#include "lib/task.h"

namespace xent {

// Rows of a tile at most. More would not fit a small stack.
constexpr int64_t kTileRows = 48;

// One value per row of a tile.
struct Rows {
  int64_t first;
  int64_t count;
  char* kept;  // long rows: where their exponentials stay until the gradient is written; null: nowhere
  int64_t labels[kTileRows];  // a class, kSkipRow or kInvalidLabel
  int64_t read[kTileRows];    // a class or kSkipRow: what the kernels see
  RowState states[kTileRows];
  double logit[kTileRows];  // of the label
  double mantissa[kTileRows];
  double exponent[kTileRows];
  double ratio[kTileRows];
  double ratio_exponent[kTileRows];
  double loss[kTileRows];
  double lse[kTileRows];
  double total[kTileRows];  // S + e = total * 2^total_exponent, from the anchor
  double total_exponent[kTileRows];
  RowGrad grads[kTileRows];
};

// From states and logit: e, and the loss of each row. A row that holds NaN or +inf, or nothing but -inf, gets NaN.
void AddLabels(const MathKernels& math, Rows* rows);

// S + e. NaN where the loss is.
void FindTotals(Rows* rows);

// lse, from loss and total.
void FindLse(const Matrix& logits, const RowKernels& kernels, Rows* rows);

// S + e as the caller's log-sum-exp says, in place of AddLabels and FindTotals.
void ScaleByLse(const SoftmaxTask& task, const MathKernels& math, Rows* rows);

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_ROWS_H_
