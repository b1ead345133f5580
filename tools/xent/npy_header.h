// The header of a .npy file (NumPy's format, versions 1, 2 and 3): parsed from bytes that nobody vouches for, and
// written. The dict literal is read by a parser of its own; nothing is evaluated and nothing is unpickled.
#ifndef XENT_TOOLS_NPY_HEADER_H_
#define XENT_TOOLS_NPY_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace xent_command {

// The element types '<f4', '|u1' and so on: byte order, kind and bytes per element.
struct NpyType {
  char order = '|';  // '<' little-endian, '>' big-endian, '|' does not apply, '=' the machine's own
  char kind = '\0';  // 'f' float, 'i' and 'u' integers, 'b' bool, 'c' complex, 'V' raw words
  int64_t size = 0;

  std::string Text() const;
  // One-byte elements have no order; others have the machine's own or have to be swapped.
  bool IsNative() const;
};

struct NpyHeader {
  NpyType type;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  size_t data_offset = 0;  // where the elements start in the file
  int64_t elements = 0;
  size_t data_size = 0;  // elements times type.size; known not to overflow
};

// So many bytes from the start of a file hold every header that is accepted.
constexpr size_t kMaxNpyHeader = 65536 + 12;

// Parses the first `size` bytes of a file. Throws RunError, one sentence that starts with `subject`.
NpyHeader ParseNpyHeader(const std::string& subject, const uint8_t* bytes, size_t size);

// A version 1 header, padded as NumPy pads it, for little- or big-endian elements as the machine has them (raw words
// have no byte order).
std::string MakeNpyHeader(char kind, int64_t size, const std::vector<int64_t>& shape);

}  // namespace xent_command

#endif  // XENT_TOOLS_NPY_HEADER_H_
