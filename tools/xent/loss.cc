// xent loss: the softmax cross-entropy of a matrix of logits in a file, with row losses, log-sum-exp and gradient as
// files where they are asked for.
#include <fmt/format.h>

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

struct LossResult {
  double loss = 0;
  double sum = 0;
  double denominator = 0;
  double z_loss = 0;
  int64_t counted = 0;
  int64_t ignored = 0;
  int64_t correct = 0;
};

// An output file that may be asked for, with one element per row.
struct RowOutput {
  const char* flag;
  const std::optional<std::string>& path;
  void** pointer;
};

std::vector<RowOutput> RowOutputs(const LossOptions& options, xent_softmax_outputs* out) {
  return {{"--row-loss", options.row_loss, &out->row_loss},
          {"--lse", options.lse, &out->lse},
          {"--probability", options.probability, &out->probability},
          {"--log-probability", options.log_probability, &out->log_probability},
          {"--entropy", options.entropy, &out->entropy}};
}

std::vector<NamedPath> OutputPaths(const LossOptions& options) {
  std::vector<NamedPath> paths;
  xent_softmax_outputs unused = xent_softmax_outputs_none();
  for (const RowOutput& output : RowOutputs(options, &unused)) {
    if (output.path.has_value()) paths.push_back({output.flag, *output.path});
  }
  if (options.gradient.has_value()) paths.push_back({"--gradient", *options.gradient});
  if (options.argmax.has_value()) paths.push_back({"--argmax", *options.argmax});
  return paths;
}

std::vector<NamedPath> InputPaths(const LossOptions& options) {
  std::vector<NamedPath> paths = {{"LOGITS", options.logits}};
  const auto add = [&](const char* name, const std::optional<std::string>& path) {
    if (path.has_value()) paths.push_back({name, *path});
  };
  add("LABELS", options.labels);
  add("--targets", options.targets);
  add("--class-weight", options.class_weight);
  add("--row-weight", options.row_weight);
  add("--row-mask", options.row_mask);
  return paths;
}

// Sets the outputs that are asked for to the elements of files to come.
void AddOutputs(const LossOptions& options, const Logits& logits, OutputFiles* files, xent_softmax_outputs* out) {
  const int32_t size = xent_dtype_size(logits.dtype());
  const int32_t row_size = logits.dtype() == XENT_F64 ? 8 : 4;
  const char gradient_kind = logits.dtype() == XENT_BF16 ? 'u' : 'f';
  for (const RowOutput& output : RowOutputs(options, out)) {
    if (output.path.has_value()) {
      *output.pointer = files->Add({output.flag, *output.path}, 'f', row_size, logits.row_shape());
    }
  }
  if (options.argmax.has_value()) {
    out->argmax = static_cast<int64_t*>(files->Add({"--argmax", *options.argmax}, 'i', 8, logits.row_shape()));
  }
  if (options.gradient.has_value()) {
    out->gradient = files->Add({"--gradient", *options.gradient}, gradient_kind, size, logits.shape());
  }
}

// The largest logits are looked for only if they are asked for: it takes time.
bool CountsCorrect(const LossOptions& options) { return options.labels.has_value() && options.argmax.has_value(); }

LossResult Compute(const LossOptions& options, const Logits& logits, const xent_targets& y) {
  xent_softmax_options settings = options.settings;
  settings.num_threads = static_cast<int32_t>(options.threads);
  std::optional<Weights> class_weight, row_weight;
  std::optional<Mask> row_mask;
  if (options.class_weight.has_value()) {
    class_weight.emplace("--class-weight", *options.class_weight, std::vector<int64_t>{logits.classes()},
                         logits.dtype());
    settings.class_weight = class_weight->data();
  }
  if (options.row_weight.has_value()) {
    row_weight.emplace("--row-weight", *options.row_weight, logits.row_shape(), logits.dtype());
    settings.row_weight = row_weight->data();
  }
  if (options.row_mask.has_value()) {
    row_mask.emplace("--row-mask", *options.row_mask, logits.row_shape());
    settings.row_mask = row_mask->data();
  }
  OutputFiles files;
  LossResult result;
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &result.loss;
  out.sum = &result.sum;
  out.denominator = &result.denominator;
  out.z_loss = &result.z_loss;
  out.counted = &result.counted;
  out.ignored = &result.ignored;
  if (CountsCorrect(options)) out.correct = &result.correct;
  AddOutputs(options, logits, &files, &out);

  const xent_logits x = logits.View();
  const xent_status status = xent_softmax_cross_entropy(&x, &y, &settings, &out);
  if (status != XENT_OK) {
    throw RunError(fmt::format("the loss cannot be computed ({}): {}", xent_status_name(status), xent_last_error()));
  }
  files.Commit();
  const char* const causes = result.counted == 0
                                 ? "it is a mean, and no row counts"
                                 : "some logit is NaN or +inf, a row holds nothing but -inf, a target is "
                                   "negative or NaN, or the weights add up to 0";
  ExplainBadNumber("the loss", result.loss, causes);
  return result;
}

void Print(const LossOptions& options, const LossResult& result, const Logits& logits, bool json) {
  const int64_t used = options.threads != 0 ? options.threads : xent_num_threads();
  if (json) {
    JsonObject object;
    object.SetNumber("loss", result.loss);
    object.SetInteger("counted", result.counted);
    object.SetInteger("ignored", result.ignored);
    object.SetInteger("rows", logits.rows());
    object.SetInteger("classes", logits.classes());
    object.SetText("isa", xent_isa_chosen());
    object.SetInteger("threads", used);
    object.SetNumber("sum", result.sum);
    object.SetNumber("denominator", result.denominator);
    object.SetNumber("z_loss", result.z_loss);
    if (CountsCorrect(options)) object.SetInteger("correct", result.correct);
    object.Print();
    return;
  }
  fmt::print("loss     {}\ncounted  {}\nignored  {}\n", NumberText(result.loss), result.counted, result.ignored);
  if (options.settings.z_loss != 0) fmt::print("z-loss   {}\n", NumberText(result.z_loss));
  if (CountsCorrect(options)) fmt::print("correct  {}\n", result.correct);
  fmt::print("rows     {}\nclasses  {}\n", logits.rows(), logits.classes());
  fmt::print("isa      {}\nthreads  {}\n", xent_isa_chosen(), used);
}

}  // namespace

const char kLossHelp[] =
    "LOGITS.npy: f2, f4 or f8 (bfloat16 words with --bf16), C order, any shape with the classes on --axis. Targets: "
    "either\n"
    "LABELS.npy, one integer per row, in the shape of LOGITS without that axis; or --targets, one number per logit.\n"
    ".npy files of versions 1, 2 and 3 are read by mapping them; pickled objects never are.\n"
    "Weights are f2, f4 or f8. Numbers per row are written as f8 for f8 logits, else as f4 (--argmax: i8), in the "
    "shape\n"
    "of LABELS; the gradient has the type and shape of the logits (with --bf16: bfloat16 words as u2). Output files\n"
    "appear whole or not at all.\n"
    "With --reduction none, `loss` is the sum, and the gradient is that of each row's own loss.\n"
    "JSON keys: loss, counted, ignored, rows, classes, isa, threads, sum, denominator, z_loss, and with --argmax and "
    "LABELS\n"
    "correct. A loss that is infinite or not a number is one of the strings \"NaN\", \"Infinity\" and \"-Infinity\"; "
    "every\n"
    "other has the digits that read back to its bits.";

void RunLoss(const LossOptions& options, bool json) {
  if (options.labels.has_value() == options.targets.has_value()) {
    throw UsageError(options.labels.has_value() ? "LABELS and --targets are both given; a loss has one of them"
                                                : "LABELS is missing (or --targets in its place)");
  }
  if (options.targets.has_value()) {
    const auto refuse = [](const char* flag, bool is_given) {
      if (is_given) throw UsageError(fmt::format("{} needs LABELS; --targets is given in their place", flag));
    };
    refuse("--focal", options.settings.focal_gamma != 0);
    refuse("--smooth-others", options.settings.smoothing == XENT_SMOOTHING_OTHERS);
    refuse("--ignore-index", options.settings.ignore_index != xent_softmax_options_default().ignore_index);
    refuse("--probability", options.probability.has_value());
    refuse("--log-probability", options.log_probability.has_value());
  }
  if (options.settings.label_smoothing == 0) {
    const auto refuse = [](const char* flag, bool is_given) {
      if (is_given) throw UsageError(fmt::format("{} is given without --label-smoothing", flag));
    };
    refuse("--smooth-others", options.settings.smoothing == XENT_SMOOTHING_OTHERS);
    refuse("--live-classes", options.settings.live_classes != 0);
  }
  RefuseSharedPaths(InputPaths(options), OutputPaths(options));
  CapIsa(options.isa);
  const Logits logits(options.logits, options.bf16, options.axis);
  if (options.labels.has_value()) {
    const Labels labels(*options.labels, logits);
    Print(options, Compute(options, logits, labels.View()), logits, json);
  } else {
    const Targets targets(*options.targets, logits);
    Print(options, Compute(options, logits, targets.View()), logits, json);
  }
}

}  // namespace xent_command
