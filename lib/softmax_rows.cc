// lse - logit = log1p(S / e), with S / e = ratio * 2^ratio_exponent so that neither overflows. Where the class left out
// is so far from the rest that one of them is nothing, it is 0 or the distance itself. With F = (1 - p_y)^gamma:
//   loss = v (F B + lambda lse^2 - beta H)
//   a = s (F U + F' + 2 lambda lse) + d H    b = s F    d = s beta    F' = gamma p_y (1 - p_y)^(gamma - 1) B
//   at y: p_y (s F (U - u_y) + 2 lambda s lse + d (H + z_y - lse)) - (1 - p_y) (s F u_y + s F')
#include "lib/softmax_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/reduce.h"
#include "lib/row_state.h"
#include "lib/targets.h"
#include "lib/wide_rows.h"

namespace xent {
namespace {

// Factors of probabilities are at most so large for f32 elements; beyond kLargeFactor they share what is too much with
// the probabilities, since f32 holds 2^127.
constexpr double kLargeFactor = 0x1p120;
constexpr double kMostFactor = kLargeFactor * kLargeFactor;

// Beyond this distance between logits, e^-distance is 0 beside anything.
constexpr double kFar = 524288.0;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The gap where a term is 0, far away or not finite.
double UnusualGap(const MathKernels& math, const RowState& state, double logit) {
  if (!(state.sum >= 0.0) || !(logit < kInfinity)) return kNaN;
  if (logit == -kInfinity) return state.sum > 0.0 ? kInfinity : kNaN;
  if (state.sum == 0.0 || logit > state.anchor) return 0.0;
  const double others = state.sum + state.low;
  const double exponent = state.exponent;
  double log;
  math.log_scaled(0.0, &others, &exponent, 1, &log);
  return log + (state.anchor - logit);
}

// A state with nothing in it takes its anchor from the class left out, the only one there is; a row that is not read
// takes any.
void AnchorEmptyState(const Rows& rows, int64_t r, RowState* state) {
  if (rows.read[r] == kSkipRow) {
    *state = RowState{1.0, 0.0, 0.0, 0, kPlain};
  } else if (state->sum == 0.0 && std::isfinite(rows.logit[r])) {
    *state = RowState{0.0, 0.0, rows.logit[r], 0, kCareful};
  }
}

// max + log1p(sum of e^(x - max) over all classes but the first largest), in double.
double CloseLse(const Matrix& logits, double scale, int64_t row, const RowKernels& kernels) {
  double values[kWiden], packed[kWiden];
  const auto widen = [&](int64_t first) {
    const int64_t n = std::min(kWiden, logits.classes - first);
    kernels.logits.widen(PackedRow(logits, row, first, n, packed), n, values);
    for (int64_t i = 0; i < n && scale != 1.0; ++i) values[i] *= scale;
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
    const int64_t count =
        kernels.doubles.fold_slice(Slice{values, n, largest - first, stage, false, 1.0, {}, nullptr}, parts, nullptr);
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

void SkipMasked(Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow || rows->logit[r] != -kInfinity || rows->states[r].sum != 0.0) continue;
    rows->labels[r] = rows->read[r] = kSkipRow;
  }
}

void AddLeftOut(const MathKernels& math, bool is_short, Rows* rows) {
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
  if (is_short) {
    math.log_one_plus(rows->ratio, rows->ratio_exponent, rows->count, rows->gap);
  } else {
    math.log_scaled(1.0, rows->ratio, rows->ratio_exponent, rows->count, rows->gap);
  }
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    const double distance = rows->logit[r] - state.anchor;
    if (state.sum > 0.0 && distance > -kFar && distance < kFar) continue;
    rows->gap[r] = UnusualGap(math, state, rows->logit[r]);
    if (rows->logit[r] == -kInfinity) rows->mantissa[r] = 0.0;
  }
}

void FindTotals(Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    const double others = state.sum + state.low;
    const double left_out = rows->mantissa[r];
    const int64_t left_out_exponent = static_cast<int64_t>(rows->exponent[r]);
    int64_t exponent = std::max<int64_t>(state.exponent, left_out_exponent);
    if (others == 0.0) exponent = left_out_exponent;
    if (left_out == 0.0) exponent = state.exponent;
    rows->total_exponent[r] = static_cast<double>(exponent);
    rows->total[r] = std::isnan(rows->gap[r]) ? kNaN
                                              : TimesPowerOfTwo(others, state.exponent - exponent) +
                                                    TimesPowerOfTwo(left_out, left_out_exponent - exponent);
  }
}

// lse = logit + gap where the class left out leads, else anchor + log(S + e). Near 0 that logarithm would lose the
// digits of the largest logit beside 1.
void FindLse(const Matrix& logits, double scale, const RowKernels& kernels, Rows* rows) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  constexpr double kNearZero = 2.0;
  kernels.math.log_scaled(0.0, rows->total, rows->total_exponent, rows->count, rows->lse);
  for (int64_t r = 0; r < rows->count; ++r) {
    if (rows->read[r] == kSkipRow) continue;
    const bool leads = rows->gap[r] < kLn2;
    rows->lse[r] = leads ? rows->logit[r] + rows->gap[r] : rows->states[r].anchor + rows->lse[r];
    if (std::isnan(rows->total[r])) rows->lse[r] = kNaN;
    if (logits.data != nullptr && std::fabs(rows->lse[r]) < kNearZero)
      rows->lse[r] = CloseLse(logits, scale, rows->first + r, kernels);
  }
}

void ScaleByLse(const SoftmaxTask& task, const MathKernels& math, Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    const double lse = task.RowValue(task.options.lse, rows->first + r, 0.0);
    AnchorEmptyState(*rows, r, &rows->states[r]);
    const bool usable = std::isfinite(lse) && rows->logit[r] < kInfinity;
    const double distance = usable ? lse - rows->states[r].anchor : 0.0;
    rows->gap[r] = usable ? lse - rows->logit[r] : kNaN;
    rows->mantissa[r] = rows->exponent[r] = 0.0;
    rows->ratio[r] = std::min(std::max(distance, -kFar), kFar);
  }
  math.exp_parts(rows->ratio, rows->count, rows->total, rows->total_exponent);
  for (int64_t r = 0; r < rows->count; ++r) {
    const RowState& state = rows->states[r];
    if (std::isnan(rows->gap[r]) || std::isnan(state.sum)) rows->total[r] = kNaN;
  }
}

double GradientScale(const SoftmaxTask& task) {
  if (task.options.reduction != XENT_REDUCTION_MEAN) return task.options.upstream;
  const double denominator = task.Denominator();
  return denominator == 0.0 ? 0.0 : task.options.upstream / denominator;
}

namespace {

// Elements of one of the caller's arrays, if it is given.
void LoadValues(const SoftmaxTask& task, const void* array, int64_t first, int64_t n, double* to) {
  for (int64_t i = 0; i < n && array != nullptr; ++i) to[i] = task.RowValue(array, first + i, 0.0);
}

}  // namespace

void StartRows(const SoftmaxTask& task, int64_t count, Rows* rows) {
  const auto fill = [count](double value, double* array) { std::fill(array, array + count, value); };
  for (double* const one : {rows->weight, rows->target_sum, rows->target_own, rows->factor}) fill(1.0, one);
  for (double* const zero : {rows->lse_slope, rows->entropy_slope, rows->target_rest, rows->entropy, rows->derivative,
                             rows->z_loss, rows->d}) {
    fill(0.0, zero);
  }
  fill(GradientScale(task), rows->slope);
  // Probabilities are the gradient of lse.
  if (task.product == Product::kProbabilities) fill(1.0, rows->lse_slope);
}

void LoadSlopes(const SoftmaxTask& task, int64_t first, int64_t count, int64_t* labels, double* weight, double* slope) {
  const xent_softmax_options& options = task.options;
  if (options.row_weight == nullptr && options.row_upstream == nullptr) return;
  LoadValues(task, options.row_weight, first, count, weight);
  const double scale = GradientScale(task);
  for (int64_t r = 0; r < count; ++r) {
    const double upstream = scale * task.RowValue(options.row_upstream, first + r, 1.0);
    slope[r] = scale == 0.0 ? 0.0 : weight[r] * upstream;
    if (weight[r] == 0.0) labels[r] = kSkipRow;
  }
}

void LoadRows(const SoftmaxTask& task, int64_t first, int64_t count, Rows* rows) {
  const xent_softmax_options& options = task.options;
  rows->first = first;
  rows->count = count;
  rows->kept = nullptr;
  LoadLabels(task, first, count, rows->labels);
  LoadValues(task, options.lse_upstream, first, count, rows->lse_slope);
  LoadValues(task, options.entropy_upstream, first, count, rows->entropy_slope);
  LoadSlopes(task, first, count, rows->labels, rows->weight, rows->slope);
  for (int64_t r = 0; r < count; ++r) rows->read[r] = std::max(rows->labels[r], kSkipRow);
}

void TargetLabels(const SoftmaxTask& task, Rows* rows) {
  if (task.options.class_weight == nullptr) {
    std::copy(rows->mark_gap, rows->mark_gap + rows->count, rows->cross);
    return;
  }
  for (int64_t r = 0; r < rows->count; ++r) {
    const double weight = rows->labels[r] >= 0 ? task.RowValue(task.options.class_weight, rows->labels[r], 1.0) : 1.0;
    // A weight of 0 makes nothing of an infinite gap; NaN stays.
    const bool is_nothing = weight == 0.0 && !std::isnan(rows->mark_gap[r]);
    rows->target_sum[r] = weight;
    rows->target_own[r] = weight;
    rows->cross[r] = is_nothing ? 0.0 : weight * rows->mark_gap[r];
  }
}

void SetTarget(double own, double rest, double gaps, int64_t r, Rows* rows) {
  rows->target_own[r] = own;
  rows->target_rest[r] = rest;
  rows->target_sum[r] = own + rest;
  const double at_top = rows->target_sum[r] == 0.0 ? 0.0 * rows->gap[r] : rows->target_sum[r] * rows->gap[r];
  rows->cross[r] = at_top + gaps;
}

double LeastProbability(const SoftmaxTask& task) {
  return task.logits.IsDouble() ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
}

Smoothing SmoothingOf(const SoftmaxTask& task) {
  const double eps = task.options.label_smoothing;
  const bool is_uniform = task.options.smoothing == XENT_SMOOTHING_UNIFORM;
  const int64_t classes = task.logits.classes - (is_uniform ? 0 : 1);
  const double share = classes > 0 ? eps / static_cast<double>(classes) : 0.0;
  const double others = static_cast<double>(task.logits.classes - 1);
  return {share, others * share, (1.0 - eps) + (is_uniform ? share : 0.0), others};
}

// sum_{j != y} (lse - x_j) = (K - 1) gap - sum_j (x_j - x_y). Both are as large as the distances between logits, and
// what cancels is no more than the label's own term holds.
double SmoothedCross(const Smoothing& smoothing, double gap, double differences) {
  if (std::isnan(gap)) return kNaN;
  if (std::isinf(gap)) return kInfinity;
  const double of_others = smoothing.others * gap - differences;
  return smoothing.own * gap + smoothing.share * std::max(of_others, 0.0);
}

void TargetSmoothedLabels(const SoftmaxTask& task, const double* differences, Rows* rows) {
  const Smoothing smoothing = SmoothingOf(task);
  for (int64_t r = 0; r < rows->count; ++r) {
    rows->target_own[r] = smoothing.own;
    rows->target_rest[r] = smoothing.rest;
    rows->target_sum[r] = smoothing.own + smoothing.rest;
    rows->cross[r] = SmoothedCross(smoothing, rows->mark_gap[r], differences[r]);
  }
}

void FindRest(bool is_double, Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    const double others = rows->states[r].sum + rows->states[r].low;
    rows->rest[r] = is_double ? others / rows->total[r] : others * (1.0 / rows->total[r]);
    rows->rest_exponent[r] = rows->states[r].exponent - rows->total_exponent[r];
  }
}

void FindProbability(Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    rows->probability[r] = TimesPowerOfTwo(rows->mantissa[r] / rows->total[r],
                                           static_cast<int64_t>(rows->exponent[r] - rows->total_exponent[r]));
  }
}

namespace {

// base^gamma of each row, base = rest * 2^rest_exponent = m * 2^k with m near 1: 2^(gamma k) e^(gamma log m), and of
// gamma k only what is left of the nearest integer goes through the exponential: its error would be as large as itself.
void FindPowers(double gamma, const MathKernels& math, const Rows& rows, double* power) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  double m[kTileRows], zero[kTileRows], log[kTileRows], whole[kTileRows], mantissa[kTileRows], exponent[kTileRows];
  for (int64_t r = 0; r < rows.count; ++r) {
    const bool is_positive = rows.read[r] != kSkipRow && rows.rest[r] > 0.0;
    const double base = is_positive ? rows.rest[r] : 1.0;
    const double base_exponent = is_positive ? rows.rest_exponent[r] : 0.0;
    const int64_t high = ExponentOf(base * 0x1.8p0);  // m in [2/3, 4/3)
    const double k = static_cast<double>(high) + base_exponent;
    m[r] = TimesPowerOfTwo(base, -high);
    zero[r] = 0.0;
    const double product = std::max(gamma * k, -kFar);
    whole[r] = std::floor(product + 0.5);
    exponent[r] = product > -kFar ? std::fma(gamma, k, -whole[r]) * kLn2 : 0.0;
  }
  math.log_scaled(0.0, m, zero, rows.count, log);
  for (int64_t r = 0; r < rows.count; ++r) log[r] = std::max(gamma * log[r] + exponent[r], -kFar);
  math.exp_parts(log, rows.count, mantissa, exponent);
  for (int64_t r = 0; r < rows.count; ++r) {
    power[r] = TimesPowerOfTwo(mantissa[r], static_cast<int64_t>(exponent[r] + whole[r]));
    if (rows.rest[r] == 0.0) power[r] = 0.0;
  }
}

void FindFocal(double gamma, const MathKernels& math, Rows* rows) {
  FindPowers(gamma, math, *rows, rows->factor);
  for (int64_t r = 0; r < rows->count; ++r) {
    rows->derivative[r] = 0.0;
    if (rows->read[r] == kSkipRow) continue;
    if (std::isnan(rows->rest[r])) rows->factor[r] = kNaN;
    if (rows->probability[r] == 0.0) continue;
    // B / (1 - p_y) is the weight where both vanish.
    const double others = TimesPowerOfTwo(rows->rest[r], static_cast<int64_t>(rows->rest_exponent[r]));
    const double all = others > 0.0 ? rows->cross[r] / others : rows->target_own[r];
    const double ratio = all < std::numeric_limits<double>::max() ? all : std::numeric_limits<double>::max();
    rows->derivative[r] = gamma * rows->probability[r] * rows->factor[r] * ratio;
  }
}

// x * y, but 0 where x is.
double Term(double x, double y) { return x == 0.0 ? 0.0 : x * y; }

// What pulls at p_j besides the target: of lse and of the entropy; and what that and the other targets make of p_y.
void AddBeside(const SoftmaxTask& task, Rows* rows) {
  const xent_softmax_options& options = task.options;
  const double least = LeastProbability(task);
  for (int64_t r = 0; r < rows->count; ++r) {
    const double s = rows->slope[r];
    const double d = s * options.entropy_weight - rows->entropy_slope[r];
    const double of_lse = options.z_loss == 0.0 ? 0.0 : 2.0 * s * options.z_loss * rows->lse[r];
    const double beside = of_lse + rows->lse_slope[r] + Term(d, rows->entropy[r]);
    rows->d[r] = d;
    rows->a[r] += beside;
    const double others = rows->b[r] * rows->target_rest[r] + beside - Term(d, rows->mark_gap[r]);
    rows->mark[r] += rows->probability[r] < least ? 0.0 : Term(rows->probability[r], others);
  }
}

// HasBeside, but for label smoothing.
bool HasOtherBeside(const SoftmaxTask& task) {
  const xent_softmax_options& options = task.options;
  return options.z_loss != 0.0 || options.entropy_weight != 0.0 || options.lse_upstream != nullptr ||
         options.entropy_upstream != nullptr || !task.HasLabels() || task.product != Product::kGradient;
}

}  // namespace

bool HasBeside(const SoftmaxTask& task) { return HasOtherBeside(task) || task.options.label_smoothing != 0.0; }

bool HasEntropyGradient(const SoftmaxTask& task) {
  return task.options.entropy_weight != 0.0 || task.options.entropy_upstream != nullptr;
}

bool WantsEntropy(const SoftmaxTask& task) { return task.outputs.entropy != nullptr || HasEntropyGradient(task); }

bool HasOwnSlopes(const SoftmaxTask& task) {
  const xent_softmax_options& options = task.options;
  return options.class_weight != nullptr || options.row_weight != nullptr || options.row_upstream != nullptr;
}

namespace {

// Perhaps smoothed.
bool HasPlainTerms(const SoftmaxTask& task) {
  return !HasOtherBeside(task) && task.options.focal_gamma == 0.0 && task.options.lse == nullptr;
}

}  // namespace

bool HasPlainOptions(const SoftmaxTask& task) {
  return HasPlainTerms(task) && task.options.label_smoothing == 0.0 && !HasOwnSlopes(task);
}

bool IsPlainLoss(const SoftmaxTask& task) {
  const xent_softmax_outputs& out = task.outputs;
  return HasPlainTerms(task) && (task.options.label_smoothing == 0.0 || !HasOwnSlopes(task)) &&
         task.options.row_state == nullptr && out.lse == nullptr && out.probability == nullptr &&
         out.log_probability == nullptr && out.row_state == nullptr;
}

namespace {

// -c (1 - p_y). The power of two comes last: a confident row's share may be below the normal numbers, its gradient
// above.
double Missing(double c, double rest, int64_t exponent) {
  const int64_t near = ExponentOf(rest) + 1;  // a mantissa below 1 overflows with no scale
  return 0.0 - TimesPowerOfTwo(c * TimesPowerOfTwo(rest, -near), exponent + near);
}

// Elements of a larger factor overflow, but where p_j counts as 0: there an infinite one would make NaN.
void BoundFactors(const SoftmaxTask& task, Rows* rows) {
  const double most = task.logits.IsDouble() ? std::numeric_limits<double>::max() : kMostFactor;
  for (int64_t r = 0; r < rows->count; ++r) rows->a[r] = std::min(std::max(rows->a[r], -most), most);
}

}  // namespace

void FindLosses(const SoftmaxTask& task, const MathKernels& math, Rows* rows) {
  const xent_softmax_options& options = task.options;
  if (options.focal_gamma != 0.0) FindFocal(options.focal_gamma, math, rows);
  for (int64_t r = 0; r < rows->count; ++r) rows->loss[r] = rows->weight[r] * Term(rows->factor[r], rows->cross[r]);
  for (int64_t r = 0; r < rows->count && options.entropy_weight != 0.0; ++r) {
    rows->loss[r] -= rows->weight[r] * options.entropy_weight * rows->entropy[r];
  }
  for (int64_t r = 0; r < rows->count && options.z_loss != 0.0; ++r) {
    rows->z_loss[r] = rows->weight[r] * options.z_loss * (rows->lse[r] * rows->lse[r]);
    rows->loss[r] += rows->z_loss[r];
  }
  if (task.outputs.gradient == nullptr) return;
  for (int64_t r = 0; r < rows->count; ++r) {
    const double focal = rows->slope[r] * rows->derivative[r];
    rows->b[r] = rows->slope[r] * rows->factor[r];
    rows->a[r] = rows->b[r] * rows->target_sum[r] + focal;
    rows->mark[r] =
        Missing(rows->b[r] * rows->target_own[r] + focal, rows->rest[r], static_cast<int64_t>(rows->rest_exponent[r]));
  }
  if (HasBeside(task)) AddBeside(task, rows);
  BoundFactors(task, rows);
}

void ScaleGradients(const SoftmaxTask& task, double slope, Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    rows->a[r] *= slope;
    rows->b[r] *= slope;
    rows->d[r] *= slope;
    rows->mark[r] *= slope;
  }
  BoundFactors(task, rows);
}

void FindGrads(const double* scale, double offset_of_b, const double* left_out, Rows* rows) {
  for (int64_t r = 0; r < rows->count; ++r) {
    RowGrad& grad = rows->grads[r];
    int64_t up = 2 - ExponentOf(rows->total[r]);
    const double size = std::min(std::fabs(scale[r]), kMostFactor);
    if (size > kLargeFactor) up += ExponentOf(size / kLargeFactor);
    const bool is_nan = rows->labels[r] == kInvalidLabel || std::isnan(rows->total[r]);
    grad.scale = scale[r];
    grad.total = TimesPowerOfTwo(rows->total[r], up);
    grad.anchor = rows->states[r].anchor;
    grad.label_value = left_out[r];
    grad.offset = grad.base = grad.tilt = 0.0;
    grad.target = rows->b[r];
    grad.exponent = static_cast<int32_t>(static_cast<int64_t>(rows->total_exponent[r]) - up);
    grad.plan = rows->states[r].plan;
    grad.is_tilted = false;
    grad.kind = rows->labels[r] == kSkipRow ? RowGrad::kZero : is_nan ? RowGrad::kNaN : RowGrad::kSoftmax;
  }
  for (int64_t r = 0; r < rows->count && offset_of_b != 0.0; ++r) rows->grads[r].offset = offset_of_b * rows->b[r];
}

}  // namespace xent
