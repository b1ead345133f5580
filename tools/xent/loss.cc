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
  int64_t counted = 0;
  int64_t ignored = 0;
};

std::vector<NamedPath> OutputPaths(const LossOptions& options) {
  std::vector<NamedPath> paths;
  if (options.row_loss.has_value()) paths.push_back({"--row-loss", *options.row_loss});
  if (options.lse.has_value()) paths.push_back({"--lse", *options.lse});
  if (options.gradient.has_value()) paths.push_back({"--gradient", *options.gradient});
  return paths;
}

// Sets the outputs that are asked for to the elements of files to come.
void AddOutputs(const LossOptions& options, const Logits& logits, OutputFiles* files, xent_softmax_outputs* out) {
  const int32_t size = xent_dtype_size(logits.dtype());
  const int32_t row_size = logits.dtype() == XENT_F64 ? 8 : 4;
  const char gradient_kind = logits.dtype() == XENT_BF16 ? 'u' : 'f';
  const std::vector<int64_t> rows = {logits.rows()};
  const std::vector<int64_t> matrix = {logits.rows(), logits.classes()};
  if (options.row_loss.has_value()) out->row_loss = files->Add({"--row-loss", *options.row_loss}, 'f', row_size, rows);
  if (options.lse.has_value()) out->lse = files->Add({"--lse", *options.lse}, 'f', row_size, rows);
  if (options.gradient.has_value()) {
    out->gradient = files->Add({"--gradient", *options.gradient}, gradient_kind, size, matrix);
  }
}

LossResult Compute(const LossOptions& options, const Logits& logits, const Labels& labels) {
  OutputFiles files;
  LossResult result;
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &result.loss;
  out.counted = &result.counted;
  out.ignored = &result.ignored;
  AddOutputs(options, logits, &files, &out);

  xent_softmax_options settings = xent_softmax_options_default();
  settings.reduction = options.reduction;
  settings.ignore_index = options.ignore_index;
  settings.num_threads = static_cast<int32_t>(options.threads);
  const xent_logits x = logits.View();
  const xent_targets y = labels.View();
  const xent_status status = xent_softmax_cross_entropy(&x, &y, &settings, &out);
  if (status != XENT_OK) {
    throw RunError(fmt::format("the loss cannot be computed ({}): {}", xent_status_name(status), xent_last_error()));
  }
  files.Commit();
  return result;
}

void Print(const LossResult& result, const Logits& logits, int64_t threads, bool json) {
  const int64_t used = threads != 0 ? threads : xent_num_threads();
  if (json) {
    JsonObject object;
    object.SetNumber("loss", result.loss);
    object.SetInteger("counted", result.counted);
    object.SetInteger("ignored", result.ignored);
    object.SetInteger("rows", logits.rows());
    object.SetInteger("classes", logits.classes());
    object.SetText("isa", xent_isa_chosen());
    object.SetInteger("threads", used);
    object.Print();
    return;
  }
  fmt::print("loss     {}\ncounted  {}\nignored  {}\n", NumberText(result.loss), result.counted, result.ignored);
  fmt::print("rows     {}\nclasses  {}\n", logits.rows(), logits.classes());
  fmt::print("isa      {}\nthreads  {}\n", xent_isa_chosen(), used);
}

}  // namespace

const char kLossHelp[] =
    "LOGITS.npy: rows x classes, f2, f4 or f8 (bfloat16 words with --bf16), C order. LABELS.npy: one integer per row.\n"
    ".npy files of versions 1, 2 and 3 are read by mapping them; pickled objects never are.\n"
    "Row losses and log-sum-exp are written as f8 for f8 logits, else as f4; the gradient has the type of the logits\n"
    "(with --bf16: bfloat16 words as u2). Output files appear whole or not at all.\n"
    "With --reduction none, `loss` is the sum, and the gradient is that of each row's own loss.\n"
    "JSON keys: loss, counted, ignored, rows, classes, isa, threads. A loss that is infinite or not a number is one\n"
    "of the strings \"NaN\", \"Infinity\" and \"-Infinity\"; every other has the digits that read back to its bits.";

void RunLoss(const LossOptions& options, bool json) {
  RefuseSharedPaths({{"LOGITS", options.logits}, {"LABELS", options.labels}}, OutputPaths(options));
  CapIsa(options.isa);
  const Logits logits(options.logits, options.bf16);
  const Labels labels(options.labels);
  if (labels.rows() != logits.rows()) {
    throw RunError(fmt::format("LABELS \"{}\" has {} labels; LOGITS \"{}\" has {} rows", options.labels, labels.rows(),
                               options.logits, logits.rows()));
  }
  Print(Compute(options, logits, labels), logits, options.threads, json);
}

}  // namespace xent_command
