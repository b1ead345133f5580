// A .npy file whose elements are floating-point numbers that the library computes with.
#ifndef XENT_TOOLS_FLOAT_ARRAY_H_
#define XENT_TOOLS_FLOAT_ARRAY_H_

#include "npy_array.h"
#include "xent/xent.h"

namespace xent_command {

// The type of the elements, which messages call `what`. With `bf16`, words of two bytes are bfloat16 and nothing else
// is taken. Throws RunError.
xent_dtype FloatType(const NpyArray& array, bool bf16, const char* what);

}  // namespace xent_command

#endif  // XENT_TOOLS_FLOAT_ARRAY_H_
