// Softcapped rows of adjacent classes and f32 lanes in f32, a row at a time: what the general way does in f64.
#ifndef XENT_LIB_CAPPED_ROWS_H_
#define XENT_LIB_CAPPED_ROWS_H_

#include "lib/kernels.h"
#include "lib/softmax_rows.h"
#include "lib/task.h"
#include "lib/wide_rows.h"

namespace xent {

class CappedRows {
 public:
  CappedRows(const SoftmaxTask& task, int isa_slot);

  // Whether the task's rows are worked on here.
  bool AreKnown() const { return are_known_; }

  // The first largest logit of a row. False: there is NaN or +inf.
  bool FindLargest(int64_t row, int64_t* largest, double* value) const;

  // The sum of e^z of all classes but one; and what a gradient is made of, in the thread's scratch memory, or null.
  // False: f32 does not suffice, and nothing was found.
  bool FindState(int64_t row, int64_t without, RowState* state, const float** kept) const;

  // The gradient of the only row of a tile, or its probabilities, after its state. False: it is not a p_j times a slope
  // but at the mark, or f32 does not suffice, and nothing was written.
  bool WriteGradient(const Rows& rows, const WideRows& wide, const float* kept) const;

 private:
  bool HasSlopes() const { return task_.product == Product::kGradient; }
  // Whether a gradient follows that is written here.
  bool HasGradient() const;
  void WriteAgain(int64_t row, double factor, char* out) const;

  const SoftmaxTask& task_;
  const SoftmaxKernels& kernels_;
  const CappedKernels& capped_;
  const CapTerms terms_;
  const bool are_known_;
};

}  // namespace xent

#endif  // XENT_LIB_CAPPED_ROWS_H_
