// Options that make other libraries' results.
#ifndef XENT_LIB_PRESETS_H_
#define XENT_LIB_PRESETS_H_

#include "xent/xent.h"

namespace xent {

// Fills the options; an error leaves them alone.
xent_status FillPreset(xent_preset preset, xent_target_kind kind, xent_softmax_options* options);

xent_status FillBinaryPreset(xent_preset preset, int32_t has_probabilities, xent_dtype dtype,
                             xent_binary_options* options);

}  // namespace xent

#endif  // XENT_LIB_PRESETS_H_
