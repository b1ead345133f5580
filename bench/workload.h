// One case to measure: a shape in one storage type and mode, in a ring of copies large enough that a copy has left
// every cache before it is used again (cold), or in a single one (warm).
#ifndef XENT_BENCH_WORKLOAD_H_
#define XENT_BENCH_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "inputs.h"
#include "memory.h"
#include "roofs.h"
#include "shapes.h"

namespace xent_bench {

enum class Mode { kLoss, kGradient, kGradientInPlace };
inline constexpr Mode kModes[] = {Mode::kLoss, Mode::kGradient, Mode::kGradientInPlace};
const char* ModeName(Mode mode);

struct Case {
  Shape shape;
  Dtype dtype;
  Mode mode;
  Inputs inputs;
  int threads;
  bool huge_pages;
  size_t footprint;  // bytes that the ring has at least; 0: one copy
};

class Workload {
 public:
  explicit Workload(const Case& c);

  const Case& spec() const { return case_; }
  int64_t elements() const { return case_.shape.rows * case_.shape.classes; }
  size_t slots() const { return slots_; }

  // Bytes that a call cannot avoid to move: logits and labels read, the gradient written.
  double FloorBytes() const;

  // Calls the library on copy `slot`: mean loss, and the gradient if the mode has one. Throws if it fails.
  void Call(size_t slot);
  double loss() const { return loss_; }

  // What a roof has to do to have moved as much as Call(slot).
  RoofJob Job(size_t slot) const;

  // Undoes what in-place calls did to the copies [begin, end). Not for timed regions.
  void Restore(size_t begin, size_t end);

  // Compares one call with a reference in double: "" or what is wrong. A guard against timing a wrong answer, not a
  // test of accuracy.
  std::string Check();

 private:
  char* Logits(size_t slot) const { return logits_.get() + slot * stride_; }
  char* Gradient(size_t slot) const;
  std::string CheckGradient(const std::vector<double>& first_row);
  std::vector<double> ReferenceRow(int64_t row, double* loss) const;

  Case case_;
  size_t logit_bytes_;  // padded to whole lines
  size_t label_bytes_;
  size_t stride_;  // from one copy to the next
  size_t slots_;
  std::vector<int64_t> label_values_;
  Memory master_;    // logits and labels
  Memory logits_;    // the ring: copies of master_
  Memory gradient_;  // the ring of gradients; null unless mode is kGradient
  double loss_ = 0;
};

}  // namespace xent_bench

#endif  // XENT_BENCH_WORKLOAD_H_
