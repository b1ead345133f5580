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

void WriteValues(const SoftmaxTask& task, int64_t first, int64_t count, const double* values, const int64_t* labels,
                 const double* unread, void* array) {
  const auto value = [&](int64_t r) {
    if (labels == nullptr || labels[r] >= 0) return values[r];
    return labels[r] == kInvalidLabel ? kNaN : unread != nullptr ? unread[r] : 0.0;
  };
  if (array == nullptr) return;
  for (int64_t r = 0; r < count; ++r) {
    if (task.logits.IsDouble()) {
      static_cast<double*>(array)[first + r] = value(r);
    } else {
      static_cast<float*>(array)[first + r] = static_cast<float>(value(r));
    }
  }
}

void WriteLosses(const SoftmaxTask& task, const MathKernels& math, int64_t first, int64_t count, const double* loss,
                 const int64_t* labels, RowTotals* totals) {
  WriteValues(task, first, count, loss, labels, nullptr, task.outputs.row_loss);
  if (WantsLosses(task)) math.sum_rows(loss, labels, first, count, &totals->loss);
}

void WriteRows(const SoftmaxTask& task, const Rows& rows) {
  const xent_softmax_outputs& out = task.outputs;
  const auto write = [&](void* array, const double* values, const double* unread) {
    WriteValues(task, rows.first, rows.count, values, rows.labels, unread, array);
  };
  write(out.row_loss, rows.loss, nullptr);
  write(out.lse, rows.lse, rows.logit);  // of masked rows -inf
  write(out.entropy, rows.entropy, nullptr);
  write(out.probability, rows.probability, nullptr);
  if (out.log_probability != nullptr) {
    double values[kTileRows];
    for (int64_t r = 0; r < rows.count; ++r) values[r] = 0.0 - rows.mark_gap[r];
    write(out.log_probability, values, nullptr);
  }
  if (out.row_state != nullptr) {
    std::memcpy(out.row_state + rows.first, rows.states, static_cast<size_t>(rows.count) * sizeof(RowState));
  }
  for (int64_t r = 0; r < rows.count && out.row_state != nullptr; ++r) {
    // A row of -inf that is masked has given its state away.
    const bool is_masked = rows.read[r] == kSkipRow && std::isinf(rows.logit[r]);
    if (is_masked) MarkAsOther(&out.row_state[rows.first + r]);
  }
}

void AddRows(const SoftmaxTask& task, const MathKernels& math, const Rows& rows, int64_t begin, int64_t end,
             RowTotals* totals) {
  const int64_t first = rows.first + begin;
  if (WantsLosses(task)) {
    math.sum_rows(rows.loss + begin, rows.labels + begin, first, end - begin, &totals->loss);
  }
  if (task.outputs.z_loss == nullptr) return;
  if (!totals->z_loss) totals->z_loss.emplace();
  math.sum_rows(rows.z_loss + begin, rows.labels + begin, first, end - begin, &*totals->z_loss);
}

bool WantsClasses(const SoftmaxTask& task) { return task.outputs.argmax != nullptr || task.outputs.correct != nullptr; }

void WriteClasses(const SoftmaxTask& task, int64_t first, int64_t count, const int64_t* labels, const double* gap,
                  const int64_t* largest, RowTotals* totals) {
  for (int64_t r = 0; r < count; ++r) {
    const bool has_largest = labels[r] >= 0 && !std::isnan(gap[r]);
    if (task.outputs.argmax != nullptr) task.outputs.argmax[first + r] = has_largest ? largest[r] : -1;
    totals->correct += has_largest && labels[r] == largest[r];
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
