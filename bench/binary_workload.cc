// Logits are 4 * N(0, 1); targets 0 or 1; probabilities the softmax or sigmoid of such logits, which need not sum to 1
// to the last digit.
#include "binary_workload.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "machine.h"

namespace xent_bench {
namespace {

constexpr const char* kNames[] = {"sigmoid",           "focal", "probabilities", "entropy",
                                  "entropy_of_logits", "kl",    "kl_of_logits"};
constexpr int64_t kClasses = 32000;

int64_t ClassesOf(const BinaryCase& c) {
  return c.kind >= BinaryKind::kEntropy ? std::min(kClasses, c.elements) : c.elements;
}

size_t ArrayBytes(const BinaryCase& c) {
  const int64_t elements = c.elements / ClassesOf(c) * ClassesOf(c);
  return RoundUp(static_cast<size_t>(elements) * static_cast<size_t>(xent_dtype_size(c.dtype.value)), kLine);
}

// Rows of logits to what the kind takes; in place.
void ToProbabilities(xent_dtype dtype, int64_t rows, int64_t classes, char* array, bool by_row) {
  const xent_logits x = xent_logits_rows(array, dtype, rows, classes);
  const xent_status status =
      by_row ? xent_softmax(&x, nullptr, array) : xent_map(XENT_SIGMOID, dtype, array, array, rows * classes, nullptr);
  if (status != XENT_OK) throw std::runtime_error(xent_last_error());
}

}  // namespace

const char* BinaryKindName(int index) { return index < 7 ? kNames[index] : nullptr; }

BinaryWorkload::BinaryWorkload(const BinaryCase& c)
    : case_(c),
      rows_(c.elements / ClassesOf(c)),
      classes_(ClassesOf(c)),
      bytes_(ArrayBytes(c)),
      ring_({2 * bytes_, c.wants_gradient, c.footprint, c.threads, c.huge_pages}) {
  Fill();
  ring_.Spread();
}

void BinaryWorkload::Fill() {
  const xent_dtype dtype = case_.dtype.value;
  char* const first = ring_.master();
  char* const second = first + bytes_;
  const std::vector<int64_t> no_labels(static_cast<size_t>(rows_), -1);
  FillLogits({"", rows_, classes_, ""}, dtype, Inputs::kNormal, no_labels.data(), first);
  // The same, an element further.
  const size_t size = static_cast<size_t>(xent_dtype_size(dtype));
  const size_t used = static_cast<size_t>(elements()) * size;
  std::memcpy(second, first + size, used - size);
  std::memcpy(second + used - size, first, size);
  if (case_.kind == BinaryKind::kEntropy || case_.kind == BinaryKind::kDivergence) {
    ToProbabilities(dtype, rows_, classes_, first, true);
    ToProbabilities(dtype, rows_, classes_, second, true);
  }
  if (case_.kind == BinaryKind::kProbabilities) ToProbabilities(dtype, rows_, classes_, first, false);
  if (IsMeasure()) return;
  // 1.0 where the logit is positive.
  const uint64_t one = dtype == XENT_F64    ? 0x3FF0000000000000u
                       : dtype == XENT_F32  ? 0x3F800000u
                       : dtype == XENT_BF16 ? 0x3F80u
                                            : 0x3C00u;
  for (int64_t i = 0; i < elements(); ++i) {
    const uint64_t word = LoadAsDouble(second, dtype, i) > 0 ? one : 0;
    std::memcpy(second + static_cast<size_t>(i) * size, &word, size);
  }
}

double BinaryWorkload::FloorBytes() const {
  const int arrays = (HasSecond() ? 2 : 1) + (case_.wants_gradient ? 1 : 0);
  return arrays * static_cast<double>(elements()) * xent_dtype_size(case_.dtype.value);
}

void BinaryWorkload::Call(size_t slot) {
  const xent_dtype dtype = case_.dtype.value;
  const xent_logits x = xent_logits_rows(ring_.Input(slot), dtype, rows_, classes_);
  const xent_logits y = xent_logits_rows(ring_.Input(slot) + bytes_, dtype, rows_, classes_);
  void* const gradient = case_.wants_gradient ? ring_.Output(slot) : nullptr;
  xent_status status;
  if (IsMeasure()) {
    const bool of_logits = case_.kind == BinaryKind::kEntropyOfLogits || case_.kind == BinaryKind::kDivergenceOfLogits;
    xent_information_options options = xent_information_options_default();
    options.p_given = options.q_given = of_logits ? XENT_LOGITS : XENT_PROBABILITIES;
    options.num_threads = case_.threads;
    xent_information_outputs outputs = xent_information_outputs_none();
    outputs.total = &total_;
    outputs.p_gradient = gradient;
    status = xent_information(HasSecond() ? XENT_KL_DIVERGENCE : XENT_ENTROPY, &x, HasSecond() ? &y : nullptr, &options,
                              &outputs);
  } else {
    xent_binary_options options = xent_binary_options_default();
    options.num_threads = case_.threads;
    options.focal_gamma = case_.kind == BinaryKind::kFocal ? 2.0 : 0.0;
    const xent_targets t = xent_targets_dense(y.data, dtype);
    xent_binary_outputs outputs = xent_binary_outputs_none();
    outputs.total = &total_;
    outputs.gradient = gradient;
    const auto call = case_.kind == BinaryKind::kProbabilities ? xent_binary_cross_entropy : xent_sigmoid_cross_entropy;
    status = call(&x, &t, &options, &outputs);
  }
  if (status != XENT_OK) throw std::runtime_error(xent_last_error());
}

RoofJob BinaryWorkload::Job(size_t slot) const {
  const size_t second = HasSecond() ? bytes_ : 0;
  if (!case_.wants_gradient) return {Traffic::kRead, ring_.Input(slot), nullptr, bytes_ + second, nullptr, 0};
  return {Traffic::kCopy, ring_.Input(slot), ring_.Output(slot), bytes_, ring_.Input(slot) + bytes_, second};
}

// The mean of some kinds, in double.
std::string BinaryWorkload::Check() {
  Call(0);
  const xent_dtype dtype = case_.dtype.value;
  if (case_.kind != BinaryKind::kSigmoid && case_.kind != BinaryKind::kProbabilities) {
    return std::isfinite(total_) && total_ >= 0 ? "" : GotAndWanted("the mean", total_, 1);
  }
  double sum = 0;
  for (int64_t i = 0; i < elements(); ++i) {
    const double x = LoadAsDouble(ring_.Input(0), dtype, i);
    const double t = LoadAsDouble(ring_.Input(0) + bytes_, dtype, i);
    const double signed_x = t > 0 ? -x : x;
    sum += case_.kind == BinaryKind::kSigmoid ? std::max(signed_x, 0.0) + std::log1p(std::exp(-std::fabs(x)))
                                              : -(t > 0 ? std::log(x) : std::log1p(-x));
  }
  const double want = sum / static_cast<double>(elements());
  return std::fabs(total_ - want) <= 1e-5 * want || (std::isinf(want) && std::isinf(total_))
             ? ""
             : GotAndWanted("the mean", total_, want);
}

std::string BinaryWorkload::What() const {
  return std::string(kNames[static_cast<int>(case_.kind)]) + (case_.wants_gradient ? ", gradient" : "");
}

std::string BinaryWorkload::JsonFields() const {
  return "\"loss\": \"" + std::string(kNames[static_cast<int>(case_.kind)]) +
         "\", \"gradient\": " + (case_.wants_gradient ? "true" : "false") + ", \"rows\": " + std::to_string(rows_) +
         ", \"classes\": " + std::to_string(classes_);
}

}  // namespace xent_bench
