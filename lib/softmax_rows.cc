// loss = log1p(S / e), with S / e = ratio * 2^ratio_exponent so that neither overflows. Where the label is so far from
// the rest that one of them is nothing, the loss is 0 or the distance itself.
#include "lib/softmax_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/reduce.h"
#include "lib/row_state.h"

namespace xent {
namespace {

// Beyond this distance between logits, e^-distance is 0 beside anything.
constexpr double kFar = 524288.0;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The loss where a term is 0, far away or not finite.
double UnusualLoss(const MathKernels& math, const RowState& state, double logit) {
  if (!(state.sum >= 0.0) || !(logit < kInfinity)) return kNaN;
  if (logit == -kInfinity) return state.sum > 0.0 ? kInfinity : kNaN;
  if (state.sum == 0.0 || logit > state.anchor) return 0.0;
  const double others = state.sum + state.low;
  const double exponent = state.exponent;
  double log;
  math.log_scaled(0.0, &others, &exponent, 1, &log);
  return log + (state.anchor - logit);
}

// A state with nothing in it takes its anchor from the label, the only class there is; a row that is not read takes any.
void AnchorEmptyState(const Rows& rows, int64_t r, RowState* state) {
  if (rows.read[r] == kSkipRow) {
    *state = RowState{1.0, 0.0, 0.0, 0, kPlain};
  } else if (state->sum == 0.0 && std::isfinite(rows.logit[r])) {
    *state = RowState{0.0, 0.0, rows.logit[r], 0, kCareful};
  }
}

// max + log1p(sum of e^(x - max) over all classes but the first largest), in double.
double CloseLse(const Matrix& logits, int64_t row, const RowKernels& kernels) {
  const char* const x = logits.Row(row);
  double values[kWiden];
  const auto widen = [&](int64_t first) {
    const int64_t n = std::min(kWiden, logits.classes - first);
    kernels.logits.widen(x + first * logits.ElementBytes(), n, values);
    return n;
  };
  double max = -kInfinity;
  int64_t largest = 0;
  for (int64_t first = 0; first < logits.classes; first += kWiden) {
    const double* const here = std::max_element(values, values + widen(first));
    if (*here > max) {
      max = *here;
      largest = first + (here - values);
    }
  }
  alignas(64) double stage[kWiden + kStageSlack / sizeof(double)];
  RowState others = {0.0, 0.0, 0.0, 0, kPlain};
  for (int64_t first = 0; first < logits.classes; first += kWiden) {
    const int64_t n = widen(first);
    for (int64_t i = 0; i < n; ++i) values[i] -= max;
    RowState parts[kSliceStates];
    const int64_t count = kernels.doubles.fold_slice(Slice{values, n, largest - first, stage, false}, parts, nullptr);
    others = MergeStates(others, MergeStates(parts, count, kernels.math), kernels.math);
  }
  const double sum = others.sum + others.low;
  const double exponent = others.exponent;
  double log;
  kernels.math.log_scaled(1.0, &sum, &exponent, 1, &log);
  // An anchor far below: nothing beside 1.
  return max + (sum > 0.0 && others.anchor == 0.0 ? log : 0.0);
}

}  // namespace

void AddLabels(const MathKernels& math, Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    AnchorEmptyState(*rows, r, &rows->states[r]);
    const double distance = rows->logit[r] - rows->states[r].anchor;
    const double not_above = distance < kFar ? distance : kFar;  // NaN becomes kFar
    rows->ratio[r] = not_above > -kFar ? not_above : -kFar;
  }
  math.exp_parts(rows->ratio, rows->count, rows->mantissa, rows->exponent);
  for (int64_t r = 0; r < rows->count; ++r) {
    rows->ratio[r] = (rows->states[r].sum + rows->states[r].low) / rows->mantissa[r];
    rows->ratio_exponent[r] = rows->states[r].exponent - rows->exponent[r];
  }
  math.log_scaled(1.0, rows->ratio, rows->ratio_exponent, rows->count, rows->loss);
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    const double distance = rows->logit[r] - state.anchor;
    if (state.sum > 0.0 && distance > -kFar && distance < kFar) continue;
    rows->loss[r] = UnusualLoss(math, state, rows->logit[r]);
    if (rows->logit[r] == -kInfinity) rows->mantissa[r] = 0.0;
  }
}

void FindTotals(Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    const double others = state.sum + state.low;
    const double label = rows->mantissa[r];
    const int64_t label_exponent = static_cast<int64_t>(rows->exponent[r]);
    int64_t exponent = std::max<int64_t>(state.exponent, label_exponent);
    if (others == 0.0) exponent = label_exponent;
    if (label == 0.0) exponent = state.exponent;
    rows->total_exponent[r] = static_cast<double>(exponent);
    rows->total[r] = std::isnan(rows->loss[r]) ? kNaN
                                               : TimesPowerOfTwo(others, state.exponent - exponent) +
                                                     TimesPowerOfTwo(label, label_exponent - exponent);
  }
}

// lse = x_y + loss where the label leads, else anchor + log(S + e). Near 0 that logarithm would lose the digits of the
// largest logit beside 1.
void FindLse(const Matrix& logits, const RowKernels& kernels, Rows* rows) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  constexpr double kNearZero = 2.0;
  kernels.math.log_scaled(0.0, rows->total, rows->total_exponent, rows->count, rows->lse);
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) continue;
    const bool leads = rows->loss[r] < kLn2;
    rows->lse[r] = leads ? rows->logit[r] + rows->loss[r] : rows->states[r].anchor + rows->lse[r];
    if (std::isnan(rows->total[r])) rows->lse[r] = kNaN;
    if (std::fabs(rows->lse[r]) < kNearZero) rows->lse[r] = CloseLse(logits, rows->first + r, kernels);
  }
}

void ScaleByLse(const SoftmaxTask& task, const MathKernels& math, Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    const int64_t row = rows->first + r;
    const double lse = task.logits.IsDouble() ? static_cast<const double*>(task.options.lse)[row]
                                               : static_cast<const float*>(task.options.lse)[row];
    AnchorEmptyState(*rows, r, &rows->states[r]);
    const bool usable = std::isfinite(lse) && rows->logit[r] < kInfinity;
    const double distance = usable ? lse - rows->states[r].anchor : 0.0;
    rows->loss[r] = usable ? 0.0 : kNaN;
    rows->ratio[r] = std::min(std::max(distance, -kFar), kFar);
  }
  math.exp_parts(rows->ratio, rows->count, rows->total, rows->total_exponent);
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    if (std::isnan(rows->loss[r]) || std::isnan(state.sum)) rows->total[r] = kNaN;
  }
}

}  // namespace xent
