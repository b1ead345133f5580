// A binary cross-entropy or an information measure of rows as a workload.
#ifndef XENT_BENCH_BINARY_WORKLOAD_H_
#define XENT_BENCH_BINARY_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "inputs.h"
#include "ring.h"
#include "roofs.h"
#include "workload.h"
#include "xent/xent.h"

namespace xent_bench {

// What is computed of two arrays (entropies: of one).
enum class BinaryKind {
  kSigmoid,
  kFocal,
  kProbabilities,
  kEntropy,
  kEntropyOfLogits,
  kDivergence,
  kDivergenceOfLogits
};

// Its name in options and tables; null: there are no more.
const char* BinaryKindName(int index);

struct BinaryCase {
  BinaryKind kind;
  bool wants_gradient;
  Dtype dtype;
  int64_t elements;  // measures have rows of 32000 (fewer in cache)
  int threads;
  bool huge_pages;
  size_t footprint;  // bytes that the ring has at least; 0: one copy
};

class BinaryWorkload : public Workload {
 public:
  explicit BinaryWorkload(const BinaryCase& c);

  const Dtype& dtype() const override { return case_.dtype; }
  int threads() const override { return case_.threads; }
  int64_t elements() const override { return rows_ * classes_; }
  size_t slots() const override { return ring_.slots(); }

  // Both arrays read, the gradient (of the first) written.
  double FloorBytes() const override;
  void Call(size_t slot) override;
  RoofJob Job(size_t slot) const override;
  std::string Check() override;

  std::string Size() const override { return std::to_string(rows_) + " x " + std::to_string(classes_); }
  std::string What() const override;
  std::string JsonFields() const override;

 private:
  bool IsMeasure() const { return case_.kind >= BinaryKind::kEntropy; }
  bool HasSecond() const { return case_.kind != BinaryKind::kEntropy && case_.kind != BinaryKind::kEntropyOfLogits; }
  void Fill();

  BinaryCase case_;
  int64_t rows_;
  int64_t classes_;
  size_t bytes_;  // of an array, in whole lines
  CopyRing ring_;
  double total_ = 0;
};

}  // namespace xent_bench

#endif  // XENT_BENCH_BINARY_WORKLOAD_H_
