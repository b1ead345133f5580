// A .npy file as an array in memory: mapped read-only, after its header and its length have been checked.
#ifndef XENT_TOOLS_NPY_ARRAY_H_
#define XENT_TOOLS_NPY_ARRAY_H_

#include <cstddef>
#include <memory>
#include <string>

#include "npy_header.h"

namespace xent_command {

struct Unmap {
  size_t size = 0;
  void operator()(void* bytes) const;
};

class NpyArray {
 public:
  // Opens the file of a command-line argument. Refuses, with RunError: anything that is not a regular .npy file of
  // plain numbers in C order and in the machine's byte order, whose length is exactly what its header says.
  NpyArray(const std::string& argument, const std::string& path);

  const NpyHeader& header() const { return header_; }
  // The elements, aligned for their type. Not null, even without elements.
  const void* data() const { return data_; }
  // The argument and the path, as messages name them: LOGITS "x.npy".
  const std::string& subject() const { return subject_; }

 private:
  void Map(int file, size_t size);

  std::string subject_;
  NpyHeader header_;
  std::unique_ptr<void, Unmap> mapping_;
  std::unique_ptr<char[]> copy_;
  const void* data_ = nullptr;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_NPY_ARRAY_H_
