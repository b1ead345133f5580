// Laying out the arena and filling it with a call that succeeds; see call.h.
#include "support/call.h"

#include <algorithm>
#include <cstring>

namespace xent_test {
namespace {

constexpr int64_t kSlotBytes = 4096;
constexpr int64_t kSlots = 28;
constexpr unsigned char kPattern = 0xC3;

enum Slot : int64_t {
  kLogits = 1,
  kLabels,
  kSavedRowState,
  kSavedLse,
  kGradient,
  kRowLoss,
  kLse,
  kRowState,
  kScalars,  // total, sum, denominator, counted, ignored, correct and z_loss
  kEntropy,
  kProbability,
  kLogProbability,
  kArgmax,
  kClassWeight,
  kRowWeight,
  kRowMask,
  kRowUpstream,
  kLseUpstream,
  kEntropyUpstream,
  kTargetWeights,
  kDense
};

void RunInOrder(void*, int64_t tasks, void (*task)(void*, int64_t), void* task_context) {
  for (int64_t i = 0; i < tasks; ++i) task(task_context, i);
}

}  // namespace

Call::Call(xent_dtype storage, xent_dtype label_type, CallMode mode)
    : runner{RunInOrder, nullptr, 2, 0}, mode_(mode), arena_(kSlots * kSlotBytes, 0, kPattern) {
  for (int64_t i = 0; i < kRows * kRowStride; ++i) {
    SetElement(Buffer(kLogits), storage, i, static_cast<double>(i * 5 % 11) * 0.5 - 2);
  }
  for (int64_t r = 0; r < kRows; ++r) SetLabel(Buffer(kLabels), label_type, r, r);
  logits = xent_logits_strided(Buffer(kLogits), storage, kRows, kClasses, kRowStride);
  targets = xent_targets_labels(Buffer(kLabels), label_type);
  options = xent_softmax_options_default();
  outputs = xent_softmax_outputs_none();
  PlaceOutputs();
  if (mode == CallMode::kWithRowState || mode == CallMode::kWithLse) SaveForward();
  if (mode >= CallMode::kFull) GiveEverything();
}

void* Call::Buffer(int64_t index) { return arena_.data() + index * kSlotBytes; }

void Call::PlaceOutputs() {
  outputs.gradient = Buffer(kGradient);
  outputs.row_loss = Buffer(kRowLoss);
  outputs.lse = Buffer(kLse);
  outputs.row_state = static_cast<xent_row_state*>(Buffer(kRowState));
  outputs.total = static_cast<double*>(Buffer(kScalars));
  outputs.sum = static_cast<double*>(Buffer(kScalars)) + 64;
  outputs.denominator = static_cast<double*>(Buffer(kScalars)) + 128;
  outputs.counted = static_cast<int64_t*>(Buffer(kScalars)) + 192;
  outputs.ignored = static_cast<int64_t*>(Buffer(kScalars)) + 256;
}

// Runs the call once, keeps what it saved as input, and takes the results away again.
void Call::SaveForward() {
  if (Make() != XENT_OK) return;
  std::memcpy(Buffer(kSavedRowState), outputs.row_state, kRows * sizeof(xent_row_state));
  std::memcpy(Buffer(kSavedLse), outputs.lse, kRows * sizeof(double));
  std::memset(Buffer(kGradient), kPattern, static_cast<size_t>(kSlots - kGradient) * kSlotBytes);
  if (mode_ == CallMode::kWithRowState) {
    options.row_state = static_cast<const xent_row_state*>(Buffer(kSavedRowState));
  } else {
    options.lse = Buffer(kSavedLse);
    outputs.row_loss = outputs.lse = nullptr;
    outputs.total = outputs.sum = nullptr;
    outputs.row_state = nullptr;
  }
}

void Call::GiveEverything() {
  const xent_dtype row = RowType(logits.dtype);
  const auto numbers = [&](Slot slot, xent_dtype dtype, int64_t n) {
    for (int64_t i = 0; i < n; ++i) SetElement(Buffer(slot), dtype, i, 0.5 + 0.25 * static_cast<double>(i % 3));
    return Buffer(slot);
  };
  options.class_weight = numbers(kClassWeight, row, kClasses);
  options.row_weight = numbers(kRowWeight, row, kRows);
  options.row_upstream = numbers(kRowUpstream, row, kRows);
  options.lse_upstream = numbers(kLseUpstream, row, kRows);
  options.entropy_upstream = numbers(kEntropyUpstream, row, kRows);
  options.row_mask = static_cast<const uint8_t*>(std::memset(Buffer(kRowMask), 1, kRows));
  outputs.entropy = Buffer(kEntropy);
  outputs.argmax = static_cast<int64_t*>(Buffer(kArgmax));
  outputs.z_loss = static_cast<double*>(Buffer(kScalars)) + 384;
  if (mode_ == CallMode::kFull) {
    outputs.probability = Buffer(kProbability);
    outputs.log_probability = Buffer(kLogProbability);
    outputs.correct = static_cast<int64_t*>(Buffer(kScalars)) + 320;
  } else if (mode_ == CallMode::kFullDense) {
    targets = xent_targets_dense(numbers(kDense, logits.dtype, kRows * kClasses), logits.dtype);
  } else {
    const xent_dtype label_type = targets.dtype;
    for (int64_t i = 0; i < kRows * kPerRow; ++i) SetLabel(Buffer(kLabels), label_type, i, i % kClasses);
    const void* const weights = numbers(kTargetWeights, row, kRows * kPerRow);
    targets = xent_targets_sparse(Buffer(kLabels), label_type, weights, kPerRow, XENT_REST_DROP);
  }
}

std::vector<CallBuffer> Call::Buffers() {
  const int64_t element = xent_dtype_size(logits.dtype);
  const int64_t label = xent_dtype_size(targets.dtype);
  const int64_t labels =
      mode_ == CallMode::kFullDense ? kRows * kClasses : kRows * std::max<int64_t>(targets.per_row, 1);
  const int64_t row = xent_dtype_size(RowType(logits.dtype));
  const int64_t matrix = ((kRows - 1) * kRowStride + kClasses) * element;
  const int64_t states = kRows * static_cast<int64_t>(sizeof(xent_row_state));
  const std::vector<CallBuffer> all = {
      {"logits.data", &logits.data, matrix, element, false},
      {"targets.data", &targets.data, labels * label, label, false},
      {"targets.weights", &targets.weights, kRows * kPerRow * row, row, false},
      {"options.class_weight", &options.class_weight, kClasses * row, row, false},
      {"options.row_weight", &options.row_weight, kRows * row, row, false},
      {"options.row_mask", &options.row_mask, kRows, 1, false},
      {"options.row_upstream", &options.row_upstream, kRows * row, row, false},
      {"options.lse_upstream", &options.lse_upstream, kRows * row, row, false},
      {"options.entropy_upstream", &options.entropy_upstream, kRows * row, row, false},
      {"options.row_state", &options.row_state, states, 8, false},
      {"options.lse", &options.lse, kRows * row, row, false},
      {"outputs.gradient", &outputs.gradient, matrix, element, true},
      {"outputs.row_loss", &outputs.row_loss, kRows * row, row, true},
      {"outputs.lse", &outputs.lse, kRows * row, row, true},
      {"outputs.row_state", &outputs.row_state, states, 8, true},
      {"outputs.total", &outputs.total, 8, 8, true},
      {"outputs.sum", &outputs.sum, 8, 8, true},
      {"outputs.denominator", &outputs.denominator, 8, 8, true},
      {"outputs.counted", &outputs.counted, 8, 8, true},
      {"outputs.ignored", &outputs.ignored, 8, 8, true},
      {"outputs.correct", &outputs.correct, 8, 8, true},
      {"outputs.z_loss", &outputs.z_loss, 8, 8, true},
      {"outputs.entropy", &outputs.entropy, kRows * row, row, true},
      {"outputs.probability", &outputs.probability, kRows * row, row, true},
      {"outputs.log_probability", &outputs.log_probability, kRows * row, row, true},
      {"outputs.argmax", &outputs.argmax, kRows * 8, 8, true},
  };
  std::vector<CallBuffer> present;
  for (const CallBuffer& buffer : all) {
    if (buffer.begin() != nullptr) present.push_back(buffer);
  }
  return present;
}

}  // namespace xent_test
