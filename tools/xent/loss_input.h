// The inputs of xent loss as the library takes them: logits with their classes on any axis, labels or dense targets,
// and weights.
#ifndef XENT_TOOLS_LOSS_INPUT_H_
#define XENT_TOOLS_LOSS_INPUT_H_

#include <memory>
#include <string>
#include <vector>

#include "npy_array.h"
#include "xent/xent.h"

namespace xent_command {

// As NumPy writes it: (4, 5).
std::string ShapeText(const std::vector<int64_t>& shape);

class Logits {
 public:
  // The classes are on `axis`, counted from the end if it is negative. With `bf16`, words of two bytes are bfloat16;
  // nothing else is taken then. Messages call the file `argument`, and its elements `what`.
  Logits(const std::string& path, bool bf16, int64_t axis, const char* argument = "LOGITS",
         const char* what = "logits");

  int64_t rows() const { return outer_ * inner_; }
  int64_t classes() const { return array_.header().shape[axis_]; }
  xent_dtype dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return array_.header().shape; }
  // That of an array with one element per row.
  const std::vector<int64_t>& row_shape() const { return row_shape_; }
  xent_logits View() const { return xent_logits_channels(array_.data(), dtype_, outer_, classes(), inner_); }

 private:
  NpyArray array_;
  xent_dtype dtype_;
  size_t axis_;
  int64_t outer_ = 1;
  int64_t inner_ = 1;
  std::vector<int64_t> row_shape_;
};

class Labels {
 public:
  // One for each row of the logits.
  Labels(const std::string& path, const Logits& logits);

  xent_targets View() const;

 private:
  void ConvertU64();

  NpyArray array_;
  xent_dtype dtype_;
  std::unique_ptr<int64_t[]> converted_;  // labels of type u8 (eight bytes), which the library does not take
};

// Dense targets, one for each logit.
class Targets {
 public:
  Targets(const std::string& path, const Logits& logits);

  xent_targets View() const { return xent_targets_dense(array_.data(), dtype_); }

 private:
  NpyArray array_;
  xent_dtype dtype_;
};

// Targets of a binary loss, one for each logit: reals in [0, 1], or bool or integers 0 and 1.
class BinaryTargets {
 public:
  BinaryTargets(const std::string& path, const Logits& logits);

  xent_targets View() const;

 private:
  NpyArray array_;
  xent_dtype dtype_;
};

// Numbers in the type that the library takes them in beside logits of this type.
class Weights {
 public:
  Weights(const std::string& flag, const std::string& path, const std::vector<int64_t>& shape, xent_dtype logits);

  const void* data() const { return doubles_.empty() ? static_cast<const void*>(floats_.data()) : doubles_.data(); }

 private:
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

// A byte per row, 0 for rows that are left out.
class Mask {
 public:
  Mask(const std::string& flag, const std::string& path, const std::vector<int64_t>& shape);

  const uint8_t* data() const { return static_cast<const uint8_t*>(array_.data()); }

 private:
  NpyArray array_;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_LOSS_INPUT_H_
