// Rows of any layout and storage type as doubles, piece by piece, and doubles as such rows.
#ifndef XENT_LIB_WIDE_ROWS_H_
#define XENT_LIB_WIDE_ROWS_H_

#include <algorithm>
#include <cstdint>

#include "lib/kernels.h"
#include "lib/softmax_rows.h"
#include "lib/task.h"

namespace xent {

// Doubles of a piece: several of its arrays fit the L1 cache, and all of a tile's a small stack. Bits of results
// depend on it.
constexpr int64_t kPiece = kWiden;
constexpr int64_t kPieceRoom = kPiece + kStageSlack / static_cast<int64_t>(sizeof(double));

// How many rows of so many classes are worked on together, as one piece: at least one.
inline int64_t RowsOfPiece(int64_t classes) {
  return std::min(kTileRows, std::max<int64_t>(kPiece / std::max<int64_t>(classes, 1), 1));
}

// Classes [begin, begin + classes) of the rows of a tile.
struct Piece {
  int64_t begin;
  int64_t classes;
  bool has_slopes;
  alignas(64) double z[kPieceRoom];       // row by row
  alignas(64) double slopes[kPieceRoom];  // dz / dx

  const double* Row(int64_t row) const { return z + row * classes; }
};

// Classes [begin, begin + n) of a row without gaps: where they are, or copied to `packed`.
const void* PackedRow(const Matrix& matrix, int64_t row, int64_t begin, int64_t n, void* packed);

// n doubles to classes [begin, begin + n) of a row, in the matrix's type, whose kernels these are.
void StoreRow(const Matrix& matrix, const SoftmaxKernels& kernels, int64_t row, int64_t begin, int64_t n,
              const double* values);

class WideRows {
 public:
  WideRows(const SoftmaxTask& task, int isa_slot);

  // The logits of the rows that are read, as they are.
  void Load(const Rows& rows, int64_t begin, int64_t n, Piece* piece) const;
  // Scales and caps them.
  void Transform(const Rows& rows, bool wants_slopes, Piece* piece) const;
  // One logit, scaled and capped; and dz / dx there, if it is wanted.
  double At(int64_t row, int64_t j, double* slope = nullptr) const;
  // Doubles, row by row, to the gradient; or of the rows that are read only.
  void Store(const Rows& rows, const Piece& piece, const double* values, bool only_read = false) const;

 private:
  const SoftmaxTask& task_;
  const SoftmaxKernels& logits_;
  const SoftmaxKernels& gradient_;
  const TermKernels& terms_;
  const CapTerms cap_;
  const bool is_changed_;  // z is not x
};

}  // namespace xent

#endif  // XENT_LIB_WIDE_ROWS_H_
