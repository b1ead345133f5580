// NumPy has no bfloat16, so its words come under other names: u2, i2, V2 or f2.
#include "float_array.h"

#include <fmt/format.h>

#include "errors.h"

namespace xent_command {
namespace {

bool IsWord(const NpyType& type) {
  return type.size == 2 && (type.kind == 'u' || type.kind == 'i' || type.kind == 'V' || type.kind == 'f');
}

}  // namespace

xent_dtype FloatType(const NpyArray& array, bool bf16, const char* what) {
  const NpyType& type = array.header().type;
  if (bf16 && IsWord(type)) return XENT_BF16;
  if (bf16) {
    throw RunError(fmt::format("{} has elements '{}'; with --bf16 they must be words of two bytes (u2, i2, V2 or f2)",
                               array.subject(), type.Text()));
  }
  if (type.kind == 'f' && type.size == 2) return XENT_F16;
  if (type.kind == 'f' && type.size == 4) return XENT_F32;
  if (type.kind == 'f' && type.size == 8) return XENT_F64;
  const bool is_integer = type.kind == 'b' || type.kind == 'i' || type.kind == 'u';
  throw RunError(fmt::format("{} has elements '{}'; {} must be f2, f4 or f8{}{}", array.subject(), type.Text(), what,
                             IsWord(type) ? ", or bfloat16 words with --bf16" : "",
                             is_integer ? " (save x.astype(numpy.float32))" : ""));
}

}  // namespace xent_command
