// The scalars of softmax rows: one array element per row of a tile, filled step by step.
#ifndef XENT_LIB_SOFTMAX_ROWS_H_
#define XENT_LIB_SOFTMAX_ROWS_H_

#include <cstdint>

#include "lib/kernels.h"
#include "lib/task.h"

namespace xent {

// Rows of a tile at most. More would not fit a small stack.
constexpr int64_t kTileRows = 48;

// One value per row of a tile. `y` is the row's mark: the class whose gradient element is made without subtracting its
// probability from 1 (the label; of targets without labels, the class of the largest logit).
struct Rows {
  int64_t first;
  int64_t count;
  char* kept;                 // long rows: where their exponentials stay until the gradient is written; null: nowhere
  int64_t labels[kTileRows];  // a class, kSkipRow or kInvalidLabel
  int64_t read[kTileRows];    // the class that its state leaves out, or kSkipRow: what the kernels see

  // What the options say: v, s = v * d(objective) / d(row loss), and d(objective) / d(lse), d(entropy) from outside.
  double weight[kTileRows];
  double slope[kTileRows];
  double lse_slope[kTileRows];
  double entropy_slope[kTileRows];

  // From the logits. What is left out has e = mantissa * 2^exponent, from the anchor.
  RowState states[kTileRows];
  double logit[kTileRows];  // of the class left out; of rows that are not read: see SkipMasked
  double mantissa[kTileRows];
  double exponent[kTileRows];
  double ratio[kTileRows];
  double ratio_exponent[kTileRows];
  double gap[kTileRows];  // lse - logit
  double lse[kTileRows];
  double total[kTileRows];  // S + e = total * 2^total_exponent, from the anchor
  double total_exponent[kTileRows];

  // From logits and targets u_j (the weighted ones): U, u_y, U - u_y, B = sum_j u_j (lse - z_j), H; p_y, lse - z_y and
  // 1 - p_y = rest * 2^rest_exponent.
  double target_sum[kTileRows];
  double target_own[kTileRows];
  double target_rest[kTileRows];
  double unnamed_share[kTileRows];  // what a class has that a sparse target does not name
  double cross[kTileRows];
  double entropy[kTileRows];
  double probability[kTileRows];
  double mark_gap[kTileRows];
  double rest[kTileRows];
  double rest_exponent[kTileRows];

  // Where an entropy pulls: the largest logit x, and lse less its z.
  double top[kTileRows];
  double top_gap[kTileRows];

  bool is_unusual[kTileRows];  // of few classes: see SoftmaxKernels::few_rows

  // The focal factor F and its derivative's part F'.
  double factor[kTileRows];
  double derivative[kTileRows];

  // Results. The gradient is a p_j + d (z_j - lse) p_j - b u_j, and `mark` at y.
  double loss[kTileRows];
  double z_loss[kTileRows];
  double a[kTileRows];
  double b[kTileRows];
  double d[kTileRows];
  double mark[kTileRows];
  RowGrad grads[kTileRows];
};

// The factor of every gradient: d(objective) / d(row loss) of a row of weight 1.
double GradientScale(const SoftmaxTask& task);

// Fills in what is the same for all rows, because options do not say otherwise: once for many tiles of at most `count`.
void StartRows(const SoftmaxTask& task, int64_t count, Rows* rows);

// Labels, weights and slopes of rows [first, first + count). Rows of weight 0 are not read.
void LoadRows(const SoftmaxTask& task, int64_t first, int64_t count, Rows* rows);

// Weights and slopes of rows [first, first + count), where options give rows some of their own. Rows of weight 0 become
// kSkipRow.
void LoadSlopes(const SoftmaxTask& task, int64_t first, int64_t count, int64_t* labels, double* weight, double* slope);

// Turns rows that hold nothing but -inf into rows that are not read, whose logit is -inf; that of others is 0.
void SkipMasked(Rows* rows);

// From states and logit: e, and lse - logit. A row that holds NaN or +inf, or nothing but -inf, gets NaN. is_short:
// with as many digits as a row of f32 lanes that is plain.
void AddLeftOut(const MathKernels& math, bool is_short, Rows* rows);

// S + e. NaN where the gap is.
void FindTotals(Rows* rows);

// lse, from gap and total. Where it is near 0 its last digits need the logits again: they keep an absolute error if
// these have no data.
void FindLse(const Matrix& logits, double scale, const RowKernels& kernels, Rows* rows);

// S + e as the caller's log-sum-exp says, in place of AddLeftOut and FindTotals.
void ScaleByLse(const SoftmaxTask& task, const MathKernels& math, Rows* rows);

// 1 - p, and p, of the class left out.
void FindRest(bool is_double, Rows* rows);
void FindProbability(Rows* rows);

// The target of rows whose mark is their label, with nothing else to it.
void TargetLabels(const SoftmaxTask& task, Rows* rows);

// The target of row r whose mark y is its largest class, from u_y, the sum of the others and sum_j u_j (z_y - z_j): no
// term of the cross-entropy is negative then.
void SetTarget(double own, double rest, double gaps, int64_t r, Rows* rows);

// The same with label smoothing, from the sums of x_j - x_y over the classes.
void TargetSmoothedLabels(const SoftmaxTask& task, const double* differences, Rows* rows);

// What label smoothing gives to each class that is not the label, to all of them, and what it leaves to the label.
struct Smoothing {
  double share;
  double rest;
  double own;
  double others;  // classes that are not the label
};
Smoothing SmoothingOf(const SoftmaxTask& task);

// The cross-entropy of smoothed labels from lse - x_y and the sum of x_j - x_y over the classes.
double SmoothedCross(const Smoothing& smoothing, double gap, double differences);

// A smaller probability counts as 0 in the gradient.
double LeastProbability(const SoftmaxTask& task);

// Whether a row's loss is lse less the logit of its label, weighted perhaps; and no output asks for what plain_rows
// does not find: what most calls are. Or the same smoothed.
bool IsPlainLoss(const SoftmaxTask& task);

// Whether rows have weights or upstream factors of their own.
bool HasOwnSlopes(const SoftmaxTask& task);

// Whether a row's loss is lse less the logit of its label, and its gradient that times a slope which all rows share.
bool HasPlainOptions(const SoftmaxTask& task);

// Whether anything but a row's label pulls at its probabilities: then FindLosses needs p_y for a gradient.
bool HasBeside(const SoftmaxTask& task);

// The row losses and, if the gradient is wanted, its parts.
void FindLosses(const SoftmaxTask& task, const MathKernels& math, Rows* rows);

// Whether the entropy is asked for, or a part of the loss or of the gradient.
bool WantsEntropy(const SoftmaxTask& task);
bool HasEntropyGradient(const SoftmaxTask& task);

// Turns gradients by z into those by x = z / slope.
void ScaleGradients(const SoftmaxTask& task, double slope, Rows* rows);

// The RowGrads of scale * p_j - offset_of_b * b, and these values at the class left out; NaN where the row is. (Each is
// written where it stays: a copy of what was just stored in parts would wait.)
void FindGrads(const double* scale, double offset_of_b, const double* left_out, Rows* rows);

// The same of a p_j + d (z_j - lse) p_j - offset_of_b * b and the marks, scale being dz / dx.
void FindTiltedGrads(double scale, double offset_of_b, Rows* rows);

// Whether the row's gradient is 0 whatever its logits are.
inline bool IsFlat(const Rows& rows, int64_t r) {
  return rows.labels[r] == kSkipRow ||
         (rows.slope[r] == 0.0 && rows.lse_slope[r] == 0.0 && rows.entropy_slope[r] == 0.0);
}

}  // namespace xent

#endif  // XENT_LIB_SOFTMAX_ROWS_H_
