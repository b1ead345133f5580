// Elements go in pieces of a constant length, in the order o, j, i whatever the strides are, so that sums have the same
// bits in every layout. What lies side by side in the type that the kernel takes is worked on where it is; anything
// else is copied, converted or multiplied together first, a piece at a time.
#include "lib/binary_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/cache.h"
#include "lib/isa.h"
#include "lib/lots.h"
#include "lib/reduce.h"
#include "lib/targets.h"

namespace xent {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Elements that are copied at a time: buffers for all that may have to be fit a small stack and the L1 cache.
constexpr int64_t kElements = kBinaryBlock;
// Elements that a thread takes as one. The bits of sums depend on it.
constexpr int64_t kTile = 8 * kBinaryBlock;

// What labels are in place of a number when they are ignored; invalid ones are no target either.
constexpr double kIgnoredLabel = static_cast<double>(kSkipRow);

struct BinaryTotals {
  Sum loss;
  int64_t ignored = 0;
  int64_t outside = 0;

  void Add(const BinaryTotals& other) {
    loss.Add(other.loss);
    ignored += other.ignored;
    outside += other.outside;
  }
};

// A piece's arrays where they could not be used as they are.
struct Buffers {
  alignas(64) double x[kElements];
  double targets[kElements];
  double weight[kElements];
  double pos_weight[kElements];
  double gradient[kElements];
  double words[kElements];  // on their way from one type to another
};

class Binary {
 public:
  Binary(const BinaryTask& task, const Team& team);

  bool Run() const;
  bool Count(BinaryTask* task) const;

 private:
  void RunTile(int64_t first, int64_t n, BinaryTotals* totals) const;
  void RunPiece(int64_t first, int64_t n, Buffers* buffers, BinarySums* sums) const;
  bool IsDirect() const;
  void CountPiece(int64_t first, int64_t n, int64_t* ignored, int64_t* invalid) const;
  const void* Inputs(int64_t first, int64_t n, Buffers* buffers) const;
  const void* Targets(int64_t first, int64_t n, Buffers* buffers) const;
  void WidenLabels(int64_t first, int64_t n, int64_t* labels) const;
  const void* Factors(const void* of_rows, const void* of_classes, const void* of_elements, int64_t first, int64_t n,
                      double* buffer) const;
  void* Gradient(int64_t first, Buffers* buffers) const;
  void WriteGradient(int64_t first, int64_t n, Buffers* buffers) const;
  void Write(const BinaryTotals& totals) const;
  BinaryTerms Terms() const;

  int64_t ComputedBytes() const { return task_.IsDouble() ? 8 : 4; }
  Dtype Computed() const { return task_.IsDouble() ? Dtype::kF64 : Dtype::kF32; }
  const char* At(const void* array, int64_t first) const {
    return array == nullptr ? nullptr : static_cast<const char*>(array) + first * ComputedBytes();
  }
  // Element of one of the caller's arrays; 1 if there is none.
  double Value(const void* array, int64_t i) const {
    if (array == nullptr) return 1.0;
    return task_.IsDouble() ? static_cast<const double*>(array)[i] : static_cast<const float*>(array)[i];
  }
  bool KernelTakes(Dtype dtype) const { return dtype == (is_computed_ ? Computed() : task_.dtype); }

  const BinaryTask& task_;
  const Team team_;
  const int isa_slot_;
  const int64_t count_;
  const BinaryTerms terms_;
  const bool is_computed_;  // targets and gradient are of the type that arithmetic is in, not of the inputs'
  const bool writes_directly_;
  const BinaryKernel kernel_;
  bool stream_;
};

bool IsHalf(Dtype dtype) { return dtype == Dtype::kBF16 || dtype == Dtype::kF16; }

// NaN, none, where the arithmetic's type would make another number of it.
double IgnoredTarget(const BinaryTask& task) {
  const double value = task.options.ignore_target;
  const float single = static_cast<float>(value);
  const bool fits =
      task.IsDouble() || (std::isfinite(single) == std::isfinite(value) && (single == 0.0f) == (value == 0.0));
  return fits ? value : std::numeric_limits<double>::quiet_NaN();
}

BinaryTerms TermsOf(const BinaryTask& task) {
  const xent_binary_options& options = task.options;
  const bool is_clamped = options.log_rule == XENT_LOG_CLAMP;
  const double denominator = options.reduction == XENT_REDUCTION_MEAN ? task.Denominator() : 1.0;
  BinaryTerms terms;
  terms.slope = denominator == 0.0 ? 0.0 : options.upstream / denominator;
  terms.pos_weight = options.pos_weight;
  terms.smoothing = options.label_smoothing;
  terms.ignored = task.HasLabels() ? kIgnoredLabel : IgnoredTarget(task);
  terms.gamma = options.focal_gamma;
  terms.alpha = options.focal_alpha;
  terms.least_log = is_clamped ? -100.0 : -std::numeric_limits<double>::infinity();
  terms.least_product = is_clamped ? 1e-12 : 0.0;
  terms.clip = options.log_rule == XENT_LOG_EPSILON ? options.epsilon : 0.0;
  return terms;
}

BinaryForm FormOf(const BinaryTask& task) {
  const bool is_focal = task.options.focal_gamma != 0.0 || task.options.focal_alpha != -1.0;
  return is_focal ? BinaryForm::kFocal : task.form;
}

Binary::Binary(const BinaryTask& task, const Team& team)
    : task_(task),
      team_(team),
      isa_slot_(IsaChosen().slot),
      count_(task.inputs.Count()),
      terms_(TermsOf(task)),
      is_computed_(!IsHalf(task.dtype) || FormOf(task) != BinaryForm::kLogits || task.HasLabels() ||
                   task.target_dtype != task.dtype ||
                   (task.outputs.gradient != nullptr && task.gradient_dtype != task.dtype)),
      writes_directly_(task.gradient.IsDense() && KernelTakes(task.gradient_dtype)),
      kernel_(BinaryKernelFor(isa_slot_, FormOf(task), task.dtype, is_computed_)) {
  const bool in_place = task.outputs.gradient == task.inputs.data;
  stream_ = writes_directly_ && !in_place && task.outputs.gradient != nullptr &&
            GoesPastCache(count_ * task.gradient.element);
}

// Whether the kernel takes every array where it is.
bool Binary::IsDirect() const {
  const xent_binary_options& options = task_.options;
  return task_.inputs.IsDense() && !task_.HasLabels() && task_.targets.IsDense() && KernelTakes(task_.target_dtype) &&
         options.row_weight == nullptr && options.class_weight == nullptr && options.class_pos_weight == nullptr &&
         (task_.outputs.gradient == nullptr || writes_directly_);
}

const void* Binary::Inputs(int64_t first, int64_t n, Buffers* buffers) const {
  if (task_.inputs.IsDense()) return task_.inputs.data + first * task_.inputs.element;
  Gather(task_.inputs, first, n, buffers->x);
  return buffers->x;
}

// Doubles as the type that arithmetic is in.
void Narrow(const double* values, int64_t n, bool is_double, double* to) {
  if (is_double) {
    std::copy(values, values + n, to);
  } else {
    std::copy(values, values + n, reinterpret_cast<float*>(to));
  }
}

void Binary::WidenLabels(int64_t first, int64_t n, int64_t* labels) const {
  const char* const from = static_cast<const char*>(task_.labels.data) + first * xent_dtype_size(task_.labels.dtype);
  LabelKernelsFor(isa_slot_, task_.labels.dtype - XENT_U8).widen(from, n, task_.labels.ignore_index, 2, labels);
}

const void* Binary::Targets(int64_t first, int64_t n, Buffers* buffers) const {
  double values[kElements];
  if (task_.HasLabels()) {
    int64_t labels[kElements];
    WidenLabels(first, n, labels);
    std::copy(labels, labels + n, values);
    Narrow(values, n, task_.IsDouble(), buffers->targets);
    return buffers->targets;
  }
  const Strided& targets = task_.targets;
  const bool is_as_taken = KernelTakes(task_.target_dtype);
  const char* from = targets.data + first * targets.element;
  if (!targets.IsDense()) {
    double* const packed = is_as_taken ? buffers->targets : buffers->words;
    Gather(targets, first, n, packed);
    from = reinterpret_cast<const char*>(packed);
  }
  if (is_as_taken) return from;
  const SoftmaxKernels& kernels = SoftmaxKernelsFor(isa_slot_, task_.target_dtype);
  for (int64_t i = 0; i < n; i += kWiden) {
    kernels.widen(from + i * targets.element, std::min(kWiden, n - i), values + i);
  }
  Narrow(values, n, task_.IsDouble(), buffers->targets);
  return buffers->targets;
}

// The product of what is given of rows, classes and elements.
const void* Binary::Factors(const void* of_rows, const void* of_classes, const void* of_elements, int64_t first,
                            int64_t n, double* buffer) const {
  if (of_rows == nullptr && of_classes == nullptr) return At(of_elements, first);
  const int64_t inner = task_.inputs.inner;
  const int64_t classes = task_.inputs.classes;
  int64_t i = first % inner;
  int64_t j = first / inner % classes;
  int64_t row = first / inner / classes * inner;  // (o, 0)
  double values[kElements];
  for (int64_t k = 0; k < n; ++k) {
    values[k] = Value(of_rows, row + i) * Value(of_classes, j) * Value(of_elements, first + k);
    if (++i < inner) continue;
    i = 0;
    if (++j < classes) continue;
    j = 0;
    row += inner;
  }
  Narrow(values, n, task_.IsDouble(), buffer);
  return buffer;
}

void* Binary::Gradient(int64_t first, Buffers* buffers) const {
  if (task_.outputs.gradient == nullptr) return nullptr;
  return writes_directly_ ? task_.gradient.data + first * task_.gradient.element
                          : reinterpret_cast<char*>(buffers->gradient);
}

// The kernel's gradient elements to where they go.
void Binary::WriteGradient(int64_t first, int64_t n, Buffers* buffers) const {
  if (task_.outputs.gradient == nullptr || writes_directly_) return;
  const void* from = buffers->gradient;
  if (!KernelTakes(task_.gradient_dtype)) {
    // From f32 to the inputs' type.
    double values[kElements];
    const float* const computed = reinterpret_cast<const float*>(buffers->gradient);
    std::copy(computed, computed + n, values);
    const SoftmaxKernels& kernels = SoftmaxKernelsFor(isa_slot_, task_.gradient_dtype);
    char* const words = reinterpret_cast<char*>(buffers->words);
    for (int64_t i = 0; i < n; i += kWiden) {
      kernels.narrow(values + i, std::min(kWiden, n - i), words + i * task_.gradient.element);
    }
    from = words;
  }
  Scatter(from, first, n, task_.gradient);
}

void Binary::RunPiece(int64_t first, int64_t n, Buffers* buffers, BinarySums* sums) const {
  const xent_binary_options& options = task_.options;
  BinaryPiece piece;
  piece.n = n;
  piece.x = Inputs(first, n, buffers);
  piece.targets = Targets(first, n, buffers);
  piece.weight = Factors(options.row_weight, options.class_weight, options.element_weight, first, n, buffers->weight);
  piece.pos_weight =
      Factors(nullptr, options.class_pos_weight, options.element_pos_weight, first, n, buffers->pos_weight);
  piece.upstream = At(options.element_upstream, first);
  piece.loss = const_cast<char*>(At(task_.outputs.loss, first));
  piece.gradient = Gradient(first, buffers);
  piece.stream = stream_;
  kernel_(terms_, piece, sums);
  WriteGradient(first, n, buffers);
}

void Binary::RunTile(int64_t first, int64_t n, BinaryTotals* totals) const {
  BinarySums sums = {0.0, 0.0, 0, 0};
  Buffers buffers;
  const int64_t length = IsDirect() ? n : kElements;
  for (int64_t i = 0; i < n; i += length) RunPiece(first + i, std::min(length, n - i), &buffers, &sums);
  totals->loss.Add(Sum(sums.sum, sums.low));
  totals->ignored += sums.ignored;
  totals->outside += sums.outside;
}

bool Binary::Run() const {
  const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_tile, BinaryTotals* parts) {
    for (int64_t lot = first_lot; lot < last_lot; ++lot) {
      const int64_t end = std::min(count_, first_tile(lot + 1) * kTile);
      for (int64_t first = first_tile(lot) * kTile; first < end; first += kTile) {
        RunTile(first, std::min(kTile, end - first), &parts[lot]);
      }
    }
  };
  BinaryTotals totals;
  if (count_ > 0 && !RunLots(team_, (count_ + kTile - 1) / kTile, range, &totals)) return false;
  Write(totals);
  return true;
}

void Binary::Write(const BinaryTotals& totals) const {
  const xent_binary_outputs& out = task_.outputs;
  const double denominator = task_.Denominator();
  if (out.sum != nullptr) *out.sum = totals.loss.Value();
  if (out.denominator != nullptr) *out.denominator = denominator;
  if (out.counted != nullptr) *out.counted = count_ - totals.ignored;
  if (out.ignored != nullptr) *out.ignored = totals.ignored;
  if (out.outside != nullptr) *out.outside = totals.outside;
  if (out.total == nullptr) return;
  if (task_.options.reduction != XENT_REDUCTION_MEAN) {
    *out.total = totals.loss.Value();
  } else if (denominator != 0.0) {
    *out.total = totals.loss.Value() / denominator;
  } else {
    *out.total = task_.options.empty_mean == XENT_EMPTY_MEAN_ZERO ? 0.0 : kNaN;
  }
}

void Binary::CountPiece(int64_t first, int64_t n, int64_t* ignored, int64_t* invalid) const {
  if (task_.HasLabels()) {
    const char* const labels =
        static_cast<const char*>(task_.labels.data) + first * xent_dtype_size(task_.labels.dtype);
    LabelKernelsFor(isa_slot_, task_.labels.dtype - XENT_U8)
        .count(labels, n, task_.labels.ignore_index, 2, ignored, invalid);
    return;
  }
  Buffers buffers;
  const Dtype dtype = is_computed_ ? Computed() : task_.dtype;
  const char* const targets = static_cast<const char*>(Targets(first, n, &buffers));
  double values[kElements];
  for (int64_t i = 0; i < n; i += kWiden) {
    const int64_t offset = i * (is_computed_ ? ComputedBytes() : task_.inputs.element);
    SoftmaxKernelsFor(isa_slot_, dtype).widen(targets + offset, std::min(kWiden, n - i), values + i);
  }
  *ignored = std::count(values, values + n, task_.IsDouble() ? terms_.ignored : static_cast<float>(terms_.ignored));
  *invalid = 0;
}

// Ignored elements, and the first invalid label.
bool Binary::Count(BinaryTask* task) const {
  struct Counts {
    int64_t ignored = 0;
    int64_t invalid = -1;  // the first piece that holds one
    void Add(const Counts& other) {
      ignored += other.ignored;
      if (invalid < 0) invalid = other.invalid;
    }
  };
  const auto range = [&](int64_t first_lot, int64_t last_lot, const auto& first_piece, Counts* parts) {
    for (int64_t lot = first_lot; lot < last_lot; ++lot) {
      for (int64_t piece = first_piece(lot); piece < first_piece(lot + 1); ++piece) {
        int64_t ignored, invalid;
        CountPiece(piece * kElements, std::min(kElements, count_ - piece * kElements), &ignored, &invalid);
        parts[lot].Add(Counts{ignored, invalid > 0 ? piece : -1});
      }
    }
  };
  Counts counts;
  if (!RunLots(team_, (count_ + kElements - 1) / kElements, range, &counts)) return false;
  task->ignored = counts.ignored;
  if (counts.invalid < 0) return true;
  const int64_t first = counts.invalid * kElements;
  const int64_t n = std::min(kElements, count_ - first);
  int64_t labels[kElements];
  WidenLabels(first, n, labels);
  task->first_invalid = first + (std::find(labels, labels + n, kInvalidLabel) - labels);
  // What it is, and not which kind.
  task->invalid_value = LabelAt(task_.labels, task->first_invalid);
  return true;
}

}  // namespace

bool CountBinaryTargets(const Team& team, BinaryTask* task) {
  const bool matters = task->HasLabels() ||
                       (task->options.denominator == XENT_ELEMENTS_COUNTED && !std::isnan(task->options.ignore_target));
  return task->inputs.Count() == 0 || !matters || Binary(*task, team).Count(task);
}

bool BinaryLoss(const BinaryTask& task, const Team& team) { return Binary(task, team).Run(); }

}  // namespace xent
