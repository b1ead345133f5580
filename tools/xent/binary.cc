// xent binary: the binary cross-entropy of an array in a file, with losses and gradient as files where they are asked
// for.
#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "errors.h"
#include "json_output.h"
#include "loss_input.h"
#include "named_values.h"
#include "output_files.h"
#include "xent/xent.h"

namespace xent_command {
namespace {

struct BinaryResult {
  double loss = 0;
  double sum = 0;
  double denominator = 0;
  int64_t counted = 0;
  int64_t ignored = 0;
  int64_t outside = 0;
};

std::vector<NamedPath> Given(const std::vector<std::pair<const char*, std::optional<std::string>>>& all) {
  std::vector<NamedPath> paths;
  for (const auto& [name, path] : all) {
    if (path.has_value()) paths.push_back({name, *path});
  }
  return paths;
}

// Labels are compared with the ignored number as integers, targets as they are.
void SetIgnored(const BinaryOptions& options, const xent_targets& targets, xent_binary_options* settings) {
  if (targets.kind == XENT_TARGET_DENSE) {
    settings->ignore_target = options.ignored.value_or(std::nan(""));
    return;
  }
  settings->ignore_index = INT64_MIN;
  if (!options.ignored.has_value()) return;
  if (std::floor(*options.ignored) != *options.ignored || std::fabs(*options.ignored) > 9e15) {
    throw UsageError(fmt::format("--ignore is {}; TARGETS are integers", *options.ignored));
  }
  settings->ignore_index = static_cast<int64_t>(*options.ignored);
}

BinaryResult Compute(const BinaryOptions& options, const Logits& inputs, const xent_targets& targets) {
  xent_binary_options settings = options.settings;
  settings.num_threads = static_cast<int32_t>(options.threads);
  SetIgnored(options, targets, &settings);
  std::vector<Weights> kept;
  kept.reserve(4);
  const auto load = [&](const char* flag, const std::optional<std::string>& path, const std::vector<int64_t>& shape) {
    if (!path.has_value()) return static_cast<const void*>(nullptr);
    kept.emplace_back(flag, *path, shape, inputs.dtype());
    return kept.back().data();
  };
  settings.class_pos_weight = load("--class-pos-weight", options.class_pos_weight, {inputs.classes()});
  settings.class_weight = load("--class-weight", options.class_weight, {inputs.classes()});
  settings.row_weight = load("--row-weight", options.row_weight, inputs.row_shape());
  settings.element_weight = load("--weight", options.element_weight, inputs.shape());
  OutputFiles files;
  BinaryResult result;
  xent_binary_outputs out = xent_binary_outputs_none();
  out.total = &result.loss;
  out.sum = &result.sum;
  out.denominator = &result.denominator;
  out.counted = &result.counted;
  out.ignored = &result.ignored;
  if (options.from_probabilities) out.outside = &result.outside;
  if (options.loss.has_value()) {
    out.loss = files.Add({"--loss", *options.loss}, 'f', inputs.dtype() == XENT_F64 ? 8 : 4, inputs.shape());
  }
  if (options.gradient.has_value()) {
    out.gradient = files.Add({"--gradient", *options.gradient}, inputs.dtype() == XENT_BF16 ? 'u' : 'f',
                             xent_dtype_size(inputs.dtype()), inputs.shape());
  }
  const xent_logits x = inputs.View();
  const auto call = options.from_probabilities ? xent_binary_cross_entropy : xent_sigmoid_cross_entropy;
  const xent_status status = call(&x, &targets, &settings, &out);
  if (status != XENT_OK) {
    throw RunError(fmt::format("the loss cannot be computed ({}): {}", xent_status_name(status), xent_last_error()));
  }
  files.Commit();
  if (result.outside == 0) {
    ExplainBadNumber("the loss", result.loss, "some number is NaN, or a target that counts is not in [0, 1]");
  }
  return result;
}

void Print(const BinaryOptions& options, const BinaryResult& result, bool json) {
  const int64_t used = options.threads != 0 ? options.threads : xent_num_threads();
  if (json) {
    JsonObject object;
    object.SetNumber("loss", result.loss);
    object.SetNumber("sum", result.sum);
    object.SetNumber("denominator", result.denominator);
    object.SetInteger("counted", result.counted);
    object.SetInteger("ignored", result.ignored);
    if (options.from_probabilities) object.SetInteger("outside", result.outside);
    object.SetText("isa", xent_isa_chosen());
    object.SetInteger("threads", used);
    object.Print();
    return;
  }
  fmt::print("loss     {}\ncounted  {}\nignored  {}\n", NumberText(result.loss), result.counted, result.ignored);
  if (options.from_probabilities) fmt::print("outside  {}\n", result.outside);
  fmt::print("isa      {}\nthreads  {}\n", xent_isa_chosen(), used);
}

}  // namespace

const char kBinaryHelp[] =
    "The loss of an element x with target t is -[t log p + (1 - t) log(1 - p)], p = sigmoid(x), or x itself with\n"
    "--probabilities.\n"
    "INPUTS.npy: f2, f4 or f8 (bfloat16 words with --bf16), C order, any shape but a scalar. TARGETS.npy: the same "
    "shape;\n"
    "f2, f4 or f8 from 0 to 1, or bool or integers 0 and 1. A target out of range makes its element's loss NaN; an "
    "integer\n"
    "that is neither 0 nor 1 nor ignored is an error.\n"
    "Weights are f2, f4 or f8: --class-weight and --class-pos-weight one for each class (on --axis), --row-weight in "
    "the\n"
    "shape of INPUTS without that axis, --weight in the shape of INPUTS. Losses are written as f8 for f8 inputs, else "
    "as\n"
    "f4; the gradient has the type of the inputs (with --bf16: bfloat16 words as u2). Files appear whole or not at "
    "all.\n"
    "JSON keys: loss, sum, denominator, counted, ignored, isa, threads, and with --probabilities outside: how many "
    "inputs\n"
    "are none (their losses are NaN). NaN and infinite numbers are the strings \"NaN\", \"Infinity\" and "
    "\"-Infinity\".";

void RunBinary(const BinaryOptions& options, bool json) {
  const auto refuse = [&](bool is_given, const char* flag, const char* why) {
    if (is_given) throw UsageError(fmt::format("{} is given {}", flag, why));
  };
  const char* const needs_logits = "with --probabilities; the focal factor needs logits";
  refuse(options.from_probabilities && options.settings.focal_gamma != 0, "--focal", needs_logits);
  refuse(options.from_probabilities && options.settings.focal_alpha >= 0, "--alpha", needs_logits);
  refuse(!options.from_probabilities && options.settings.log_rule != XENT_LOG_EXACT, "--log-rule",
         "without --probabilities; logits need no rule for the logarithm of 0");
  RefuseSharedPaths(Given({{"INPUTS", options.inputs},
                           {"TARGETS", options.targets},
                           {"--class-pos-weight", options.class_pos_weight},
                           {"--class-weight", options.class_weight},
                           {"--row-weight", options.row_weight},
                           {"--weight", options.element_weight}}),
                    Given({{"--loss", options.loss}, {"--gradient", options.gradient}}));
  CapIsa(options.isa);
  const Logits inputs(options.inputs, options.bf16, options.axis, "INPUTS");
  const BinaryTargets targets(options.targets, inputs);
  Print(options, Compute(options, inputs, targets.View()), json);
}

}  // namespace xent_command
