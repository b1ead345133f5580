#include "lib/wide_rows.h"

#include <algorithm>

#include "lib/strided.h"

namespace xent {
namespace {

// Slopes that are short stop at 2^-993: times a larger scale and two upstream factors they might be seen.
constexpr double kMostShortScale = 0x1p300;

}  // namespace

const void* PackedRow(const Matrix& matrix, int64_t row, int64_t begin, int64_t n, void* packed) {
  const int64_t element = matrix.ElementBytes();
  const char* const from = matrix.Row(row) + begin * matrix.class_stride * element;
  if (matrix.class_stride == 1) return from;
  CopyElements(element, from, matrix.class_stride, n, packed, 1);
  return packed;
}

WideRows::WideRows(const SoftmaxTask& task, int isa_slot)
    : task_(task),
      logits_(SoftmaxKernelsFor(isa_slot, task.logits.dtype)),
      gradient_(SoftmaxKernelsFor(isa_slot, task.gradient.dtype)),
      terms_(TermKernelsFor(isa_slot)),
      cap_{task.options.scale, task.options.softcap, !task.logits.IsDouble() && task.options.scale < kMostShortScale},
      is_changed_(task.options.scale != 1.0 || task.options.softcap != 0.0) {}

void WideRows::Load(const Rows& rows, int64_t begin, int64_t n, Piece* piece) const {
  const Matrix& x = task_.logits;
  piece->begin = begin;
  piece->classes = n;
  piece->has_slopes = false;
  const bool is_dense = x.HasPlainRows() && n == x.classes && x.outer_stride == n;
  if (is_dense && std::find(rows.read, rows.read + rows.count, kSkipRow) == rows.read + rows.count) {
    logits_.widen(x.Row(rows.first), rows.count * n, piece->z);
    return;
  }
  double packed[kPiece];
  for (int64_t r = 0; r < rows.count; ++r) {
    double* const z = piece->z + r * n;
    if (rows.read[r] == kSkipRow) {
      std::fill(z, z + n, 0.0);
      continue;
    }
    logits_.widen(PackedRow(x, rows.first + r, begin, n, packed), n, z);
  }
}

void WideRows::Transform(const Rows& rows, bool wants_slopes, Piece* piece) const {
  if (!is_changed_) return;
  const int64_t n = rows.count * piece->classes;
  piece->has_slopes = wants_slopes;
  if (task_.options.softcap != 0.0) {
    terms_.cap(cap_, n, piece->z, wants_slopes ? piece->slopes : nullptr);
    return;
  }
  for (int64_t i = 0; i < n; ++i) piece->z[i] *= task_.options.scale;
  if (wants_slopes) std::fill(piece->slopes, piece->slopes + n, task_.options.scale);
}

double WideRows::At(int64_t row, int64_t j, double* slope) const {
  double packed;
  double z[1 + kStageSlack / sizeof(double)];
  double slopes[1 + kStageSlack / sizeof(double)] = {task_.options.scale};
  logits_.widen(PackedRow(task_.logits, row, j, 1, &packed), 1, z);
  if (task_.options.softcap == 0.0) {
    z[0] *= task_.options.scale;
  } else {
    terms_.cap(cap_, 1, z, slope == nullptr ? nullptr : slopes);
  }
  if (slope != nullptr) *slope = slopes[0];
  return z[0];
}

void WideRows::Store(const Rows& rows, const Piece& piece, const double* values, bool only_read) const {
  for (int64_t r = 0; r < rows.count; ++r) {
    if (only_read && rows.read[r] == kSkipRow) continue;
    StoreRow(task_.gradient, gradient_, rows.first + r, piece.begin, piece.classes, values + r * piece.classes);
  }
}

void StoreRow(const Matrix& matrix, const SoftmaxKernels& kernels, int64_t row, int64_t begin, int64_t n,
              const double* values) {
  const int64_t element = matrix.ElementBytes();
  char* const to = const_cast<char*>(matrix.Row(row)) + begin * matrix.class_stride * element;
  if (matrix.class_stride == 1) {
    kernels.narrow(values, n, to);
    return;
  }
  double packed[kPiece];
  kernels.narrow(values, n, packed);
  CopyElements(element, packed, 1, n, to, matrix.class_stride);
}

}  // namespace xent
