// z = c tanh(t), t = scale x / c, has dz/dx = scale (1 - tanh^2 t) = scale * 4 q / (1 + q)^2, q = e^(-2|t|): the
// difference would lose its digits where the cap is near.
#include "lib/wide_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/strided.h"

namespace xent {
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
      tanh_(MapKernelFor(isa_slot, Function::kTanh, Dtype::kF64)),
      exp_(MapKernelFor(isa_slot, Function::kExp, Dtype::kF64)),
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
    Cap(n, wants_slopes, piece->z, piece->slopes);
    return;
  }
  for (int64_t i = 0; i < n; ++i) piece->z[i] *= task_.options.scale;
  if (wants_slopes) std::fill(piece->slopes, piece->slopes + n, task_.options.scale);
}

void WideRows::Cap(int64_t n, bool wants_slopes, double* z, double* slopes) const {
  const double scale = task_.options.scale;
  const double cap = task_.options.softcap;
  // What is not finite stays as it is.
  constexpr double kLargest = std::numeric_limits<double>::max();
  double t[kPiece] = {};
  const double steepness = scale / cap;
  if (std::isnormal(steepness)) {
    for (int64_t i = 0; i < n; ++i) t[i] = steepness * z[i];
  } else {
    for (int64_t i = 0; i < n; ++i) t[i] = z[i] == 0.0 ? 0.0 : scale * z[i] / cap;
  }
  if (wants_slopes) {
    for (int64_t i = 0; i < n; ++i) slopes[i] = -2.0 * std::fabs(t[i]);
    exp_(slopes, n, slopes, false);
    for (int64_t i = 0; i < n; ++i) slopes[i] = scale * (4.0 * slopes[i] / ((1.0 + slopes[i]) * (1.0 + slopes[i])));
    for (int64_t i = 0; i < n; ++i) slopes[i] = std::fabs(z[i]) <= kLargest ? slopes[i] : scale;
  }
  tanh_(t, n, t, false);
  for (int64_t i = 0; i < n; ++i) z[i] = std::fabs(z[i]) <= kLargest ? cap * t[i] : z[i];
}

double WideRows::At(int64_t row, int64_t j) const {
  double packed, z, slope;
  logits_.widen(PackedRow(task_.logits, row, j, 1, &packed), 1, &z);
  if (task_.options.softcap != 0.0) {
    Cap(1, false, &z, &slope);
    return z;
  }
  return z * task_.options.scale;
}

void WideRows::Store(const Rows& rows, const Piece& piece, const double* values) const {
  for (int64_t r = 0; r < rows.count; ++r) {
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
