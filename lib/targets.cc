// One template per job, instantiated for the seven label types. The comparison with [0, classes) is one unsigned one.
#include "lib/targets.h"

#include <algorithm>

#include "lib/isa.h"
#include "lib/reduce.h"

namespace xent {
namespace {

// Pieces of the pass over the targets; each leaves one TargetCount, so that they fit the stack.
constexpr int64_t kMaxPieces = 64;
constexpr int64_t kMinPiece = 4096;

template <class Body>
auto WithLabelType(const Labels& labels, const Body& body) {
  switch (labels.dtype) {
    case XENT_U8:
      return body(static_cast<const uint8_t*>(labels.data));
    case XENT_I8:
      return body(static_cast<const int8_t*>(labels.data));
    case XENT_U16:
      return body(static_cast<const uint16_t*>(labels.data));
    case XENT_I16:
      return body(static_cast<const int16_t*>(labels.data));
    case XENT_I32:
      return body(static_cast<const int32_t*>(labels.data));
    case XENT_U32:
      return body(static_cast<const uint32_t*>(labels.data));
    default:
      return body(static_cast<const int64_t*>(labels.data));
  }
}

bool IsClass(int64_t label, int64_t classes) { return static_cast<uint64_t>(label) < static_cast<uint64_t>(classes); }

bool HasLabelArray(const SoftmaxTask& task) {
  return task.targets.kind == XENT_TARGET_LABELS || task.targets.kind == XENT_TARGET_SPARSE;
}

bool IsMasked(const SoftmaxTask& task, int64_t row) {
  return task.options.row_mask != nullptr && task.options.row_mask[row] == 0;
}

const LabelKernels& KernelsOf(const Labels& labels) {
  return LabelKernelsFor(IsaChosen().slot, labels.dtype - XENT_U8);
}

const char* LabelsFrom(const Labels& labels, int64_t index) {
  return static_cast<const char*>(labels.data) + index * xent_dtype_size(labels.dtype);
}

// Labels without a mask.
template <class Label>
TargetCount CountPlainLabels(const SoftmaxTask& task, const Label* label, int64_t first, int64_t last) {
  const Labels& labels = task.targets.labels;
  TargetCount count = {0, -1, 0, 0.0};
  int64_t invalid;
  KernelsOf(labels).count(label + first, last - first, labels.ignore_index, task.logits.classes, &count.ignored,
                          &invalid);
  for (int64_t r = first; invalid > 0 && count.first_invalid < 0; ++r) {
    const int64_t value = static_cast<int64_t>(label[r]);
    if (value == labels.ignore_index || IsClass(value, task.logits.classes)) continue;
    count.first_invalid = r;
    count.invalid_value = value;
  }
  return count;
}

// Rows of `per_row` labels each, one or several. A row is ignored if all its labels are, or if it is masked.
template <class Label>
TargetCount CountRows(const SoftmaxTask& task, const Label* label, int64_t first, int64_t last) {
  const int64_t per_row = task.targets.per_row;
  TargetCount count = {0, -1, 0, 0.0};
  for (int64_t r = first; r < last; ++r) {
    bool skip = true;
    for (int64_t i = r * per_row; i < (r + 1) * per_row && !IsMasked(task, r); ++i) {
      const int64_t value = static_cast<int64_t>(label[i]);
      if (value == task.targets.labels.ignore_index) continue;
      skip = false;
      if (count.first_invalid >= 0 || IsClass(value, task.logits.classes)) continue;
      count.first_invalid = i;
      count.invalid_value = value;
    }
    count.ignored += skip;
  }
  return count;
}

TargetCount CountMasked(const SoftmaxTask& task, int64_t first, int64_t last) {
  TargetCount count = {0, -1, 0, 0.0};
  for (int64_t r = first; r < last; ++r) count.ignored += IsMasked(task, r);
  return count;
}

// An invalid label has no class weight; its row's loss is NaN, and others' gradients do not depend on it.
double WeighRows(const SoftmaxTask& task, int64_t first, int64_t last) {
  constexpr int64_t kSome = 256;
  Sum sum;
  int64_t labels[kSome];
  for (int64_t from = first; from < last; from += kSome) {
    const int64_t n = std::min(kSome, last - from);
    LoadLabels(task, from, n, labels);
    for (int64_t i = 0; i < n; ++i) {
      if (labels[i] == kSkipRow) continue;
      const bool has_class = task.HasLabels() && labels[i] >= 0;
      const double of_class = has_class ? task.RowValue(task.options.class_weight, labels[i], 1.0) : 1.0;
      sum.Add(task.RowValue(task.options.row_weight, from + i, 1.0) * of_class);
    }
  }
  return sum.Value();
}

TargetCount CountPiece(const SoftmaxTask& task, int64_t first, int64_t last) {
  if (!HasLabelArray(task)) return CountMasked(task, first, last);
  return WithLabelType(task.targets.labels, [&](const auto* label) {
    const bool is_plain = task.HasLabels() && task.options.row_mask == nullptr;
    return is_plain ? CountPlainLabels(task, label, first, last) : CountRows(task, label, first, last);
  });
}

}  // namespace

bool CountTargets(const Team& team, SoftmaxTask* task) {
  const int64_t rows = task->logits.rows;
  const bool is_weighted =
      task->options.row_weight != nullptr || (task->options.class_weight != nullptr && task->HasLabels());
  TargetCount pieces[kMaxPieces];
  const int64_t length = std::max(kMinPiece, (rows + kMaxPieces - 1) / kMaxPieces);
  const int64_t used = (rows + length - 1) / length;
  auto body = [&](int64_t piece) {
    const int64_t first = piece * length;
    const int64_t last = std::min(rows, first + length);
    pieces[piece] = CountPiece(*task, first, last);
    if (is_weighted) pieces[piece].weight = WeighRows(*task, first, last);
  };
  if (!ParallelFor(team, used, body)) return false;
  TargetCount count = {0, -1, 0, 0.0};
  Sum weight;
  for (int64_t piece = used - 1; piece >= 0; --piece) {
    count.ignored += pieces[piece].ignored;
    weight.Add(pieces[piece].weight);
    if (pieces[piece].first_invalid < 0) continue;
    count.first_invalid = pieces[piece].first_invalid;
    count.invalid_value = pieces[piece].invalid_value;
  }
  count.weight = is_weighted ? weight.Value() : static_cast<double>(rows - count.ignored);
  task->count = count;
  return true;
}

bool LoadLabels(const SoftmaxTask& task, int64_t first, int64_t n, int64_t* labels) {
  const int64_t classes = task.logits.classes;
  const int64_t ignore_index = task.targets.labels.ignore_index;
  int64_t signs = 0;
  if (!HasLabelArray(task)) {
    std::fill(labels, labels + n, 0);
  } else if (task.targets.per_row == 1) {
    signs =
        KernelsOf(task.targets.labels).widen(LabelsFrom(task.targets.labels, first), n, ignore_index, classes, labels);
  } else {
    WithLabelType(task.targets.labels, [&](const auto* label) {
      const int64_t per_row = task.targets.per_row;
      for (int64_t i = 0; i < n; ++i) {
        labels[i] = kSkipRow;
        for (int64_t k = 0; k < per_row && labels[i] != kInvalidLabel; ++k) {
          const int64_t value = static_cast<int64_t>(label[(first + i) * per_row + k]);
          if (value != ignore_index) labels[i] = IsClass(value, classes) ? value : kInvalidLabel;
        }
        signs |= labels[i];
      }
    });
  }
  // Each token stands for itself: rows are read whatever the first one is.
  if (task.token_log_probability != nullptr) signs = 0;
  for (int64_t i = 0; i < n && task.token_log_probability != nullptr; ++i) {
    if (labels[i] == kInvalidLabel) labels[i] = 0;
    signs |= labels[i];
  }
  for (int64_t i = 0; i < n && task.options.row_mask != nullptr; ++i) {
    if (IsMasked(task, first + i)) signs = labels[i] = kSkipRow;
  }
  return signs >= 0;
}

int64_t LabelAt(const Labels& labels, int64_t index) {
  return WithLabelType(labels, [=](const auto* label) { return static_cast<int64_t>(label[index]); });
}

Pair SparsePair(const SoftmaxTask& task, int64_t row, int64_t index) {
  const int64_t at = row * task.targets.per_row + index;
  return WithLabelType(task.targets.labels, [&](const auto* label) {
    const int64_t value = static_cast<int64_t>(label[at]);
    const int64_t valid = IsClass(value, task.logits.classes) ? value : kInvalidLabel;
    return Pair{value == task.targets.labels.ignore_index ? kSkipRow : valid,
                task.RowValue(task.targets.weights, at, 0.0)};
  });
}

}  // namespace xent
