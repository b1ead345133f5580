#include "lib/softmax_totals.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "lib/targets.h"

namespace xent {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void MarkAsOther(xent_row_state* saved) {
  RowState state;
  std::memcpy(&state, saved, sizeof(state));
  state.plan = kOtherClass;
  std::memcpy(saved, &state, sizeof(state));
}

bool WantsLosses(const SoftmaxTask& task) {
  const xent_softmax_outputs& out = task.outputs;
  return out.total != nullptr || out.sum != nullptr || out.row_loss != nullptr || out.z_loss != nullptr;
}

bool WantsRows(const SoftmaxTask& task) {
  const xent_softmax_outputs& out = task.outputs;
  return WantsLosses(task) || out.lse != nullptr || out.gradient != nullptr || out.row_state != nullptr ||
         out.entropy != nullptr || out.probability != nullptr || out.log_probability != nullptr ||
         out.correct != nullptr || out.argmax != nullptr || task.token_log_probability != nullptr;
}

void WriteRows(const SoftmaxTask& task, const MathKernels& math, const Rows& rows, int64_t part, Totals* totals) {
  const xent_softmax_outputs& out = task.outputs;
  const double zeros[kTileRows] = {};
  const auto write = [&](void* array, const double* values, const double* unread) {
    if (array == nullptr) return;
    for (int64_t r = 0; r < rows.count; ++r) {
      const double instead = rows.labels[r] == kInvalidLabel ? kNaN : unread[r];
      const double value = rows.read[r] == kSkipRow ? instead : values[r];
      if (task.logits.IsDouble()) {
        static_cast<double*>(array)[rows.first + r] = value;
      } else {
        static_cast<float*>(array)[rows.first + r] = static_cast<float>(value);
      }
    }
  };
  write(out.row_loss, rows.loss, zeros);
  write(out.lse, rows.lse, rows.logit);  // of masked rows -inf
  write(out.entropy, rows.entropy, zeros);
  write(out.probability, rows.probability, zeros);
  if (out.log_probability != nullptr) {
    double values[kTileRows];
    for (int64_t r = 0; r < rows.count; ++r) values[r] = 0.0 - rows.mark_gap[r];
    write(out.log_probability, values, zeros);
  }
  if (out.row_state != nullptr) {
    std::memcpy(out.row_state + rows.first, rows.states, static_cast<size_t>(rows.count) * sizeof(RowState));
  }
  for (int64_t r = 0; r < rows.count && out.row_state != nullptr; ++r) {
    // A row of -inf that is masked has given its state away.
    const bool is_masked = rows.read[r] == kSkipRow && std::isinf(rows.logit[r]);
    if (is_masked) MarkAsOther(&out.row_state[rows.first + r]);
  }
  if (!WantsLosses(task)) return;
  const auto add = [&](const double* values, Sum* to) {
    for (int64_t first = 0; first < rows.count; first += part) {
      double sum, low;
      math.sum_rows(values + first, rows.labels + first, std::min(rows.count - first, part), &sum, &low);
      to->Add(Sum(sum, low));
    }
  };
  add(rows.loss, &totals->loss);
  if (out.z_loss != nullptr) add(rows.z_loss, &totals->z_loss);
}

void WriteClasses(const SoftmaxTask& task, const Rows& rows, const int64_t* largest, Totals* totals) {
  for (int64_t r = 0; r < rows.count; ++r) {
    const bool has_largest = rows.read[r] != kSkipRow && !std::isnan(rows.gap[r]);
    if (task.outputs.argmax != nullptr) task.outputs.argmax[rows.first + r] = has_largest ? largest[r] : -1;
    totals->correct += has_largest && rows.labels[r] == largest[r];
  }
}

void WriteTotals(const SoftmaxTask& task, const Totals& totals) {
  const xent_softmax_outputs& out = task.outputs;
  const double denominator = task.Denominator();
  if (out.sum != nullptr) *out.sum = totals.loss.Value();
  if (out.z_loss != nullptr) *out.z_loss = totals.z_loss.Value();
  if (out.denominator != nullptr) *out.denominator = denominator;
  if (out.counted != nullptr) *out.counted = task.Counted();
  if (out.ignored != nullptr) *out.ignored = task.count.ignored;
  if (out.correct != nullptr) *out.correct = totals.correct;
  if (out.total == nullptr) return;
  if (task.options.reduction != XENT_REDUCTION_MEAN) {
    *out.total = totals.loss.Value();
  } else if (denominator != 0.0) {
    *out.total = totals.loss.Value() / denominator;
  } else {
    *out.total = task.options.empty_mean == XENT_EMPTY_MEAN_ZERO ? 0.0 : kNaN;
  }
}

}  // namespace xent
