// Element types are matched here; everything about the file itself has been checked by NpyArray.
#include "loss_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>

#include "errors.h"
#include "float_array.h"

namespace xent_command {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

namespace {

void RequireShape(const NpyArray& array, const std::vector<int64_t>& shape, const char* meaning) {
  const std::vector<int64_t>& found = array.header().shape;
  if (found == shape) return;
  if (found.size() != shape.size()) {
    throw RunError(fmt::format("{} has {} dimension{}; it must have {} ({})", array.subject(), found.size(),
                               found.size() == 1 ? "" : "s", shape.size(), meaning));
  }
  throw RunError(fmt::format("{} has the shape {}; it must have {} ({})", array.subject(), ShapeText(found),
                             ShapeText(shape), meaning));
}

// 1, 5 and 10 bits of sign, exponent and significand.
float FloatOfF16(uint16_t word) {
  const int exponent = word >> 10 & 31;
  const float significand = static_cast<float>(word & 1023);
  float size = exponent == 0 ? std::ldexp(significand, -24) : std::ldexp(1024 + significand, exponent - 25);
  if (exponent == 31) size = significand == 0 ? HUGE_VALF : std::nanf("");
  return word >> 15 != 0 ? -size : size;
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

Logits::Logits(const std::string& path, bool bf16, int64_t axis, const char* argument, const char* what)
    : array_(argument, path), dtype_(FloatType(array_, bf16, what)), axis_(0) {
  const int64_t rank = static_cast<int64_t>(shape().size());
  if (rank == 0)
    throw RunError(array_.subject() + " has 0 dimensions; it must have 1 or more, one of them the classes");
  if (axis < -rank || axis >= rank) {
    throw UsageError(
        fmt::format("--axis is {}; {} has {} dimension{}", axis, array_.subject(), rank, rank == 1 ? "" : "s"));
  }
  axis_ = static_cast<size_t>(axis < 0 ? axis + rank : axis);
  for (size_t i = 0; i < shape().size(); ++i) {
    if (i == axis_) continue;
    (i < axis_ ? outer_ : inner_) *= shape()[i];
    row_shape_.push_back(shape()[i]);
  }
}

Labels::Labels(const std::string& path, const Logits& logits) : array_("LABELS", path), dtype_(LabelsType(array_)) {
  const std::vector<int64_t>& shape = array_.header().shape;
  if (shape.size() == 1 && logits.row_shape().size() == 1 && shape[0] != logits.rows()) {
    throw RunError(fmt::format("{} has {} labels; LOGITS has {} rows", array_.subject(), shape[0], logits.rows()));
  }
  RequireShape(array_, logits.row_shape(), "one label per row; --axis says where the classes are");
  if (array_.header().type.kind == 'u' && array_.header().type.size == 8) ConvertU64();
}

Targets::Targets(const std::string& path, const Logits& logits)
    : array_("--targets", path), dtype_(FloatType(array_, false, "targets")) {
  RequireShape(array_, logits.shape(), "one target per logit");
}

BinaryTargets::BinaryTargets(const std::string& path, const Logits& logits) : array_("TARGETS", path) {
  const char kind = array_.header().type.kind;
  dtype_ = kind == 'f' ? FloatType(array_, false, "targets") : kind == 'b' ? XENT_U8 : LabelsType(array_);
  if (kind == 'u' && array_.header().type.size == 8) {
    throw RunError(array_.subject() + " has elements of type uint64; save targets.astype(numpy.uint8)");
  }
  RequireShape(array_, logits.shape(), "one target per element");
}

xent_targets BinaryTargets::View() const {
  return array_.header().type.kind == 'f' ? xent_targets_dense(array_.data(), dtype_)
                                          : xent_targets_labels(array_.data(), dtype_);
}

Weights::Weights(const std::string& flag, const std::string& path, const std::vector<int64_t>& shape,
                 xent_dtype logits) {
  const NpyArray array(flag, path);
  const xent_dtype dtype = FloatType(array, false, "weights");
  RequireShape(array, shape, "the shape of what is weighted");
  const size_t n = static_cast<size_t>(array.header().elements);
  const auto at = [&](size_t i) -> double {
    if (dtype == XENT_F64) return static_cast<const double*>(array.data())[i];
    if (dtype == XENT_F32) return static_cast<double>(static_cast<const float*>(array.data())[i]);
    return static_cast<double>(FloatOfF16(static_cast<const uint16_t*>(array.data())[i]));
  };
  const double most = logits == XENT_F64 ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  for (size_t i = 0; i < n; ++i) {
    if (at(i) >= 0 && at(i) <= most) continue;
    throw RunError(
        fmt::format("{} has {} as its weight {}; weights are numbers from 0 to {:g}", array.subject(), at(i), i, most));
  }
  if (logits == XENT_F64) {
    doubles_.resize(n + 1);  // not empty, as floats are not
    for (size_t i = 0; i < n; ++i) doubles_[i] = at(i);
  } else {
    floats_.resize(n + 1);
    for (size_t i = 0; i < n; ++i) floats_[i] = static_cast<float>(at(i));
  }
}

Mask::Mask(const std::string& flag, const std::string& path, const std::vector<int64_t>& shape) : array_(flag, path) {
  const NpyType& type = array_.header().type;
  if (type.size != 1 || (type.kind != 'b' && type.kind != 'u' && type.kind != 'i')) {
    throw RunError(fmt::format("{} has elements '{}'; a mask must be of bool or of integers of one byte",
                               array_.subject(), type.Text()));
  }
  RequireShape(array_, shape, "one byte per row");
}

void Labels::ConvertU64() {
  const uint64_t* labels = static_cast<const uint64_t*>(array_.data());
  const int64_t rows = array_.header().elements;
  converted_.reset(new int64_t[static_cast<size_t>(rows) + 1]);
  for (int64_t i = 0; i < rows; ++i) {
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
