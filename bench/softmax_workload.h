// Softmax cross-entropy as a workload: a shape in one storage type and mode, logits and labels side by side.
#ifndef XENT_BENCH_SOFTMAX_WORKLOAD_H_
#define XENT_BENCH_SOFTMAX_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "inputs.h"
#include "ring.h"
#include "roofs.h"
#include "shapes.h"
#include "workload.h"

namespace xent_bench {

enum class Mode { kLoss, kGradient, kGradientInPlace };
inline constexpr Mode kModes[] = {Mode::kLoss, Mode::kGradient, Mode::kGradientInPlace};
const char* ModeName(Mode mode);

// Arrays that variants point to.
struct SoftmaxArrays {
  const void* class_weight;
  const void* row_weight;
  const void* dense;
  xent_dtype dense_dtype;
  void* row_values;
  int64_t* argmax;
};

// What a call asks for besides the plain loss.
struct Variant {
  const char* name;  // "plain"
  void (*set)(const SoftmaxArrays& arrays, xent_softmax_options* options, xent_targets* targets,
              xent_softmax_outputs* outputs);
};
// nullptr for a name that is none; all of them, up to one without a name.
const Variant* FindVariant(const std::string& name);
extern const Variant kVariants[];

struct SoftmaxCase {
  const Variant* variant;
  Shape shape;
  Dtype dtype;
  Mode mode;
  Inputs inputs;
  int threads;
  bool huge_pages;
  size_t footprint;  // bytes that the ring has at least; 0: one copy
};

class SoftmaxWorkload : public Workload {
 public:
  explicit SoftmaxWorkload(const SoftmaxCase& c);

  const Dtype& dtype() const override { return case_.dtype; }
  int threads() const override { return case_.threads; }
  int64_t elements() const override { return case_.shape.rows * case_.shape.classes; }
  size_t slots() const override { return ring_.slots(); }

  // Logits and labels read, the gradient written.
  double FloorBytes() const override;

  // Mean loss, and the gradient if the mode has one.
  void Call(size_t slot) override;
  RoofJob Job(size_t slot) const override;
  bool OverwritesInput() const override { return case_.mode == Mode::kGradientInPlace; }
  void Restore(size_t begin, size_t end) override;
  std::string Check() override;

  std::string Size() const override;
  std::string What() const override {
    return std::string(ModeName(case_.mode)) + (IsPlain() ? "" : std::string(", ") + case_.variant->name);
  }
  std::string JsonFields() const override;

 private:
  bool IsPlain() const { return case_.variant == kVariants; }
  int64_t Index(int64_t row, int64_t j) const {
    const int64_t inner = case_.shape.inner;
    return (row / inner * case_.shape.classes + j) * inner + row % inner;
  }
  char* Gradient(size_t slot) const;
  std::string CheckGradient(const std::vector<double>& first_row);
  std::vector<double> ReferenceRow(int64_t row, double* loss) const;

  SoftmaxCase case_;
  size_t logit_bytes_;  // padded to whole lines
  size_t label_bytes_;
  std::vector<int64_t> label_values_;
  CopyRing ring_;                     // logits, then labels; and gradients if mode is kGradient
  std::vector<double> class_weight_;  // room for either type
  std::vector<double> row_weight_;
  std::vector<float> dense_;
  std::vector<double> row_values_;
  std::vector<int64_t> argmax_;
  double loss_ = 0;
};

// As many rows of `shape` as fit half of the second-level caches of so many threads, gradient included; at least 1.
Shape FitToCache(const Shape& shape, xent_dtype dtype, Mode mode, int threads);

}  // namespace xent_bench

#endif  // XENT_BENCH_SOFTMAX_WORKLOAD_H_
