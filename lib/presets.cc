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

xent_status FillBinaryPreset(xent_preset preset, int32_t has_probabilities, xent_dtype dtype,
                             xent_binary_options* options) {
  XENT_REQUIRE(preset >= XENT_PRESET_TORCH && preset <= XENT_PRESET_SKLEARN, XENT_INVALID_ARGUMENT,
               "preset is %" PRId32 "; it is no xent_preset", preset);
  XENT_REQUIRE(has_probabilities == 0 || has_probabilities == 1, XENT_INVALID_ARGUMENT,
               "has_probabilities is %" PRId32 "; it is 0 or 1", has_probabilities);
  XENT_REQUIRE(dtype == XENT_F32 || dtype == XENT_F64, XENT_INVALID_ARGUMENT,
               "dtype is %" PRId32 "; XENT_F32 and XENT_F64 are allowed", dtype);
  XENT_REQUIRE(options != nullptr, XENT_INVALID_ARGUMENT, "options is NULL");
  XENT_REQUIRE(has_probabilities == 0 || (preset != XENT_PRESET_ONNX && preset != XENT_PRESET_OPTAX), XENT_UNSUPPORTED,
               "preset is %" PRId32 "; that library has no loss of probabilities", preset);
  *options = xent_binary_options_default();
  options->ignore_index = std::numeric_limits<int64_t>::min();
  if (preset == XENT_PRESET_OPTAX) options->reduction = XENT_REDUCTION_NONE;
  if (has_probabilities == 0) return XENT_OK;
  options->log_rule = preset == XENT_PRESET_TORCH ? XENT_LOG_CLAMP : XENT_LOG_EPSILON;
  if (preset == XENT_PRESET_KERAS) options->epsilon = 1e-7;
  if (preset == XENT_PRESET_SKLEARN) options->epsilon = dtype == XENT_F64 ? 0x1p-52 : 0x1p-23;
  return XENT_OK;
}

}  // namespace xent
