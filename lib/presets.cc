// What each library divides a mean by, which label it leaves out, and what its mean over nothing is; tests/peers
// compares with the libraries themselves.
#include "lib/presets.h"

#include <cinttypes>
#include <limits>

#include "lib/check_rules.h"

namespace xent {

xent_status FillPreset(xent_preset preset, xent_target_kind kind, xent_softmax_options* options) {
  XENT_REQUIRE(preset >= XENT_PRESET_TORCH && preset <= XENT_PRESET_SKLEARN, XENT_INVALID_ARGUMENT,
               "preset is %" PRId32 "; it is no xent_preset", preset);
  XENT_REQUIRE(kind == XENT_TARGET_LABELS || kind == XENT_TARGET_DENSE, XENT_INVALID_ARGUMENT,
               "kind is %" PRId32 "; presets are for XENT_TARGET_LABELS and XENT_TARGET_DENSE", kind);
  XENT_REQUIRE(options != nullptr, XENT_INVALID_ARGUMENT, "options is NULL");
  *options = xent_softmax_options_default();
  // Only PyTorch leaves a label out without being told so.
  if (preset != XENT_PRESET_TORCH) options->ignore_index = std::numeric_limits<int64_t>::min();
  switch (preset) {
    case XENT_PRESET_TORCH:
    case XENT_PRESET_ONNX:
      if (kind == XENT_TARGET_DENSE) options->denominator = XENT_DENOMINATOR_ROWS;
      break;
    case XENT_PRESET_KERAS:
      options->denominator = XENT_DENOMINATOR_ROWS;
      options->empty_mean = XENT_EMPTY_MEAN_ZERO;
      break;
    case XENT_PRESET_OPTAX:
      options->reduction = XENT_REDUCTION_NONE;
      break;
    default:
      break;
  }
  return XENT_OK;
}

}  // namespace xent
