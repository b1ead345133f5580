// Laying out the arena and filling it with a call that succeeds; see call.h.
#include "support/call.h"

#include <cstring>

namespace xent_test {
namespace {

constexpr int64_t kSlotBytes = 4096;
constexpr int64_t kSlots = 13;
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
  kScalars  // total, sum, denominator, counted and ignored
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
  if (mode != CallMode::kPlain) SaveForward();
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

std::vector<CallBuffer> Call::Buffers() {
  const int64_t element = xent_dtype_size(logits.dtype);
  const int64_t label = xent_dtype_size(targets.dtype);
  const int64_t row = xent_dtype_size(RowType(logits.dtype));
  const int64_t matrix = ((kRows - 1) * kRowStride + kClasses) * element;
  const int64_t states = kRows * static_cast<int64_t>(sizeof(xent_row_state));
  const std::vector<CallBuffer> all = {
      {"logits.data", &logits.data, matrix, element, false},
      {"targets.data", &targets.data, kRows * label, label, false},
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
  };
  std::vector<CallBuffer> present;
  for (const CallBuffer& buffer : all) {
    if (buffer.begin() != nullptr) present.push_back(buffer);
  }
  return present;
}

}  // namespace xent_test
