// The two inputs of xent loss as the library takes them: a matrix of logits and one label per row.
#ifndef XENT_TOOLS_LOSS_INPUT_H_
#define XENT_TOOLS_LOSS_INPUT_H_

#include <memory>
#include <string>

#include "npy_array.h"
#include "xent/xent.h"

namespace xent_command {

class Logits {
 public:
  // With `bf16`, words of two bytes are bfloat16; nothing else is taken then.
  Logits(const std::string& path, bool bf16);

  int64_t rows() const { return array_.header().shape[0]; }
  int64_t classes() const { return array_.header().shape[1]; }
  xent_dtype dtype() const { return dtype_; }
  xent_logits View() const { return xent_logits_rows(array_.data(), dtype_, rows(), classes()); }

 private:
  NpyArray array_;
  xent_dtype dtype_;
};

class Labels {
 public:
  explicit Labels(const std::string& path);

  int64_t rows() const { return array_.header().shape[0]; }
  xent_targets View() const;

 private:
  void ConvertU64();

  NpyArray array_;
  xent_dtype dtype_;
  std::unique_ptr<int64_t[]> converted_;  // labels of type u8 (eight bytes), which the library does not take
};

}  // namespace xent_command

#endif  // XENT_TOOLS_LOSS_INPUT_H_
