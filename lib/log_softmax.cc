// log p_j = scale (x_j - top) - gap, top the largest logit of the row and gap = log(1 + T) its distance from the
// log-sum-exp, T as for an entropy (row_entropy.h). Of the likeliest class, too, the digits are those of the gap.
#include "lib/log_softmax.h"

#include <algorithm>

#include "lib/cache.h"
#include "lib/isa.h"
#include "lib/row_entropy.h"
#include "lib/softmax_general.h"
#include "lib/softmax_tiles.h"
#include "lib/targets.h"

namespace xent {
namespace {

class LogRows {
 public:
  LogRows(const SoftmaxTask& task, int isa_slot)
      : task_(task),
        kernels_(SoftmaxKernelsFor(isa_slot, task.logits.dtype)),
        functions_(RowFunctionKernelsFor(isa_slot, task.logits.dtype)),
        entropies_(task, isa_slot, false),
        stream_(task.gradient.data != task.logits.data &&
                GoesPastCache(task.logits.rows * task.logits.classes * task.logits.ElementBytes())) {}

  // Rows [first, first + count), kTileRows at most; the slices of long ones are shared among the team.
  bool Run(const Team& team, int64_t first, int64_t count) const {
    int64_t read[kTileRows];
    EntropyState states[kTileRows];
    double gap[kTileRows], entropy[kTileRows];
    LoadLabels(task_, first, count, read);
    if (!entropies_.FindStates(team, first, count, read, states)) return false;
    entropies_.Finish(first, count, read, states, gap, entropy);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = first + r;
      if (read[r] == kSkipRow) {
        functions_.write_constant(0.0f, task_.logits.classes, Out(row, 0));
      } else if (task_.options.scale < 1.0 && states[r].top_logit > kFarthest) {
        RowTotals unused;
        RunGeneralRows(task_, row, 1, &unused);
      } else if (!Write(team, row, LogRow{task_.options.scale, states[r].top_logit, gap[r]})) {
        return false;
      }
    }
    return true;
  }

  // What went past the cache can be read by other threads then.
  void Finish() const {
    PendingWrite nothing = {};
    nothing.stream = stream_;
    kernels_.finish_write(&nothing);
  }

 private:
  // Distances from a larger logit may overflow, though scaled ones need not.
  static constexpr double kFarthest = 0x1p100;

  char* Out(int64_t row, int64_t begin) const {
    return const_cast<char*>(task_.gradient.Row(row)) + begin * task_.gradient.ElementBytes();
  }

  bool Write(const Team& team, int64_t row, const LogRow& log) const {
    auto write = [&](int64_t slice) {
      const int64_t begin = slice * kSlice;
      const int64_t n = std::min(kSlice, task_.logits.classes - begin);
      functions_.write_logs(log, task_.logits.Row(row) + begin * task_.logits.ElementBytes(), n, Out(row, begin),
                            stream_);
    };
    return ParallelFor(team, (task_.logits.classes + kSlice - 1) / kSlice, write);
  }

  const SoftmaxTask& task_;
  const SoftmaxKernels& kernels_;
  const RowFunctionKernels& functions_;
  const RowEntropies entropies_;
  const bool stream_;
};

}  // namespace

bool HasShortLogs(const SoftmaxTask& task) {
  return task.product == Product::kLogProbabilities && HasRowEntropies(task) && task.gradient.HasPlainRows() &&
         task.gradient.dtype == task.logits.dtype && task.options.masked_row != XENT_MASKED_ROW_ZERO &&
         task.options.scale >= 0x1p-20 && task.options.scale <= 0x1p20;
}

bool LogSoftmax(const SoftmaxTask& task, const Team& team) {
  const LogRows logs(task, IsaChosen().slot);
  const int64_t rows = task.logits.rows;
  const Team alone = {1, nullptr};
  const int64_t tile =
      std::min(kTileRows, std::max<int64_t>(kTileElements / std::max<int64_t>(task.logits.classes, 1), 1));
  auto range = [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) logs.Run(alone, t * tile, std::min(tile, rows - t * tile));
    logs.Finish();
  };
  if (rows >= team.threads || task.logits.classes <= kSlice)
    return ParallelRanges(team, (rows + tile - 1) / tile, range);
  for (int64_t row = 0; row < rows; ++row) {
    if (!logs.Run(team, row, 1)) return false;
  }
  logs.Finish();
  return true;
}

}  // namespace xent
