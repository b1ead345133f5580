// Entropies of rows of adjacent classes and f32 lanes.
#ifndef XENT_LIB_ROW_ENTROPY_H_
#define XENT_LIB_ROW_ENTROPY_H_

#include "lib/kernels.h"
#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Of a row, or a part of one, whose largest logit is `top_logit`, z there `top`: the sums of e^(z_j - top) over the
// others, and of e^(z_j - top) (top - z_j).
struct EntropyState {
  double top_logit;
  double top;
  double others;
  double gaps;
};

// Below this the sum of the others may have lost digits, or terms that f32 does not hold beside the largest.
constexpr double kLeastOthers = 0x1p-80;

// Of the task's logits and scale: whether RowEntropies knows its rows.
bool HasRowEntropies(const SoftmaxTask& task);

class RowEntropies {
 public:
  // wants_entropies: else only the distances of the largest logits from lse are found.
  RowEntropies(const SoftmaxTask& task, int isa_slot, bool wants_entropies);

  // What rows [first, first + count) are made of, kTileRows at most, that are read; of others nothing. The parts of
  // long rows are shared among the team. False: the caller's runner failed.
  bool FindStates(const Team& team, int64_t first, int64_t count, const int64_t* read, EntropyState* states) const;

  // lse - top and the entropy of each, if it is wanted; NaN where a row has none.
  void Finish(int64_t first, int64_t count, const int64_t* read, const EntropyState* states, double* gap,
              double* entropy) const;

 private:
  void FindParts(const char* logits, int64_t stride, int64_t count, int64_t classes, const int64_t* read,
                 EntropyState* parts) const;
  EntropyState Merge(const EntropyState* parts, int64_t count) const;
  void FindWide(int64_t row, double* gap, double* entropy) const;
  EntropyState FindSlice(int64_t row, int64_t slice) const;

  const SoftmaxTask& task_;
  const SoftmaxKernels& kernels_;
  const MathKernels& math_;
  void (*const sum_)(const Tile& tile, EntropySums* sums);
};

}  // namespace xent

#endif  // XENT_LIB_ROW_ENTROPY_H_
