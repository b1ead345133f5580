// Targets that have a term for every class: u_j = w_j ((1 - eps) t_j + smoothing's share).
#ifndef XENT_LIB_TARGET_TERMS_H_
#define XENT_LIB_TARGET_TERMS_H_

#include <cstdint>

#include "lib/softmax_rows.h"
#include "lib/task.h"
#include "lib/wide_rows.h"

namespace xent {

class TargetTerms {
 public:
  explicit TargetTerms(const SoftmaxTask& task) : task_(task) {}

  // False: a row's target is its label, and nothing else.
  bool HasTermPerClass() const {
    return task_.targets.kind == XENT_TARGET_DENSE || task_.targets.kind == XENT_TARGET_SPARSE ||
           task_.options.label_smoothing != 0.0;
  }

  // What Fill needs to know of whole rows.
  void Prepare(Rows* rows) const;

  // u_j of a row's classes in the piece. `live`: how many classes the row has, if options.live_classes says that those
  // at -inf are none. A target that is negative or NaN makes NaN.
  void Fill(const Rows& rows, int64_t row, int64_t live, const Piece& piece, double* u) const;

 private:
  void AddDense(int64_t row, int64_t begin, int64_t n, double* u) const;
  double ShareOfUnnamed(int64_t row) const;
  void AddSparse(const Rows& rows, int64_t r, int64_t begin, int64_t n, double* u) const;

  const SoftmaxTask& task_;
};

}  // namespace xent

#endif  // XENT_LIB_TARGET_TERMS_H_
