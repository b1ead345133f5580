// Element types are matched here; everything about the file itself has been checked by NpyArray.
#include "loss_input.h"

#include <fmt/format.h>

#include "errors.h"
#include "float_array.h"

namespace xent_command {
namespace {

void RequireRank(const NpyArray& array, size_t rank, const char* meaning) {
  const size_t found = array.header().shape.size();
  if (found == rank) return;
  throw RunError(fmt::format("{} has {} dimension{}; it must have {} ({})", array.subject(), found,
                             found == 1 ? "" : "s", rank, meaning));
}

// Labels of eight unsigned bytes are given as XENT_I64, the type that they are converted to.
xent_dtype LabelsType(const NpyArray& array) {
  const NpyType& type = array.header().type;
  const bool is_signed = type.kind == 'i';
  if (type.kind == 'b') throw RunError(array.subject() + " has elements of type bool; save labels.astype(numpy.uint8)");
  if (is_signed || type.kind == 'u') {
    if (type.size == 1) return is_signed ? XENT_I8 : XENT_U8;
    if (type.size == 2) return is_signed ? XENT_I16 : XENT_U16;
    if (type.size == 4) return is_signed ? XENT_I32 : XENT_U32;
    if (type.size == 8) return XENT_I64;
  }
  throw RunError(
      fmt::format("{} has elements '{}'; labels must be integers of 1, 2, 4 or 8 bytes", array.subject(), type.Text()));
}

}  // namespace

Logits::Logits(const std::string& path, bool bf16) : array_("LOGITS", path), dtype_(FloatType(array_, bf16, "logits")) {
  RequireRank(array_, 2, "rows x classes");
}

Labels::Labels(const std::string& path) : array_("LABELS", path), dtype_(LabelsType(array_)) {
  RequireRank(array_, 1, "one label per row");
  if (array_.header().type.kind == 'u' && array_.header().type.size == 8) ConvertU64();
}

void Labels::ConvertU64() {
  const uint64_t* labels = static_cast<const uint64_t*>(array_.data());
  converted_.reset(new int64_t[static_cast<size_t>(rows()) + 1]);
  for (int64_t i = 0; i < rows(); ++i) {
    if (labels[i] > uint64_t{INT64_MAX}) {
      throw RunError(fmt::format("{} has {} as its label {}; the largest label that can be read is {}",
                                 array_.subject(), labels[i], i, INT64_MAX));
    }
    converted_[i] = static_cast<int64_t>(labels[i]);
  }
}

xent_targets Labels::View() const {
  return xent_targets_labels(converted_ != nullptr ? static_cast<const void*>(converted_.get()) : array_.data(),
                             dtype_);
}

}  // namespace xent_command
