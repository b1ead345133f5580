// CLI11 hands over the text of a value; numbers are converted here, strictly, so that every message reads alike and
// names the option, the value and what it must be.
#include "command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "commands.h"
#include "errors.h"
#include "named_values.h"

namespace xent_command {
namespace {

constexpr int64_t kMostSteps = 100000000;
constexpr int64_t kMostSamples = 1000000000000;
constexpr int64_t kMostBins = 100000;

struct CommandLine {
  bool json = false;
  BinaryOptions binary;
  InformationOptions information;
  LossOptions loss;
  MapOptions map;
  TrainOptions train;
  UlpOptions ulp;
};

int64_t ParseInteger(const std::string& flag, const std::string& text, int64_t smallest, int64_t largest) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end || value < smallest || value > largest) {
    throw UsageError(
        fmt::format("{} is \"{}\"; it must be a whole number from {} to {}", flag, text, smallest, largest));
  }
  return value;
}

double ParseNumber(const std::string& flag, const std::string& text, double least, double most) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || end != text.c_str() + text.size() || !(value >= least && value <= most)) {
    const std::string range = most < 1e300     ? fmt::format("a number from {} to {}", least, most)
                              : least > -1e300 ? fmt::format("a finite number, {} or more", least)
                                               : std::string("a finite number");
    throw UsageError(fmt::format("{} is \"{}\"; it must be {}", flag, text, range));
  }
  return value;
}

// One of some names; its place.
int32_t ParseName(const std::string& flag, const std::string& text, const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (text == names[i]) return static_cast<int32_t>(i);
  }
  throw UsageError(fmt::format("{} is \"{}\"; it must be one of {}", flag, text, fmt::join(names, ", ")));
}

double ParsePositive(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || end != text.c_str() + text.size() || !std::isnormal(value) || value < 0) {
    throw UsageError(fmt::format("{} is \"{}\"; it must be a finite number above 0 (no subnormal one)", flag, text));
  }
  return value;
}

xent_reduction ParseReduction(const std::string& text) {
  if (text == "none") return XENT_REDUCTION_NONE;
  if (text == "sum") return XENT_REDUCTION_SUM;
  if (text == "mean") return XENT_REDUCTION_MEAN;
  throw UsageError(fmt::format("--reduction is \"{}\"; it must be none, sum or mean", text));
}

// An option whose text `use` takes.
template <typename Use>
void AddText(CLI::App* command, const std::string& flag, const char* type, const std::string& help, Use use) {
  command->add_option_function<std::string>(flag, use, help)->type_name(type);
}

void AddInteger(CLI::App* command, const std::string& flag, int64_t* value, int64_t smallest, int64_t largest,
                const std::string& help) {
  AddText(command, flag, "N", help,
          [=](const std::string& text) { *value = ParseInteger(flag, text, smallest, largest); });
}

constexpr double kMost = 1.7976931348623157e308;

void AddNumber(CLI::App* command, const std::string& flag, double* value, double least, double most,
               const std::string& help) {
  AddText(command, flag, "X", help, [=](const std::string& text) { *value = ParseNumber(flag, text, least, most); });
}

// Flags that name an enumerator of the library's by its place.
void AddName(CLI::App* command, const std::string& flag, int32_t* value, const std::vector<std::string>& names,
             const std::string& help) {
  AddText(command, flag, "NAME", help, [=](const std::string& text) { *value = ParseName(flag, text, names); });
}

void AddPath(CLI::App* command, const std::string& flag, std::optional<std::string>* path, const std::string& help) {
  AddText(command, flag, "FILE.npy", help, [=](const std::string& text) { *path = text; });
}

void AddThreads(CLI::App* command, int64_t* value) {
  constexpr int64_t kMostThreads = 1024;
  AddInteger(command, "--threads", value, 1, kMostThreads,
             "Use at most N threads (default: XENT_NUM_THREADS, else as OpenMP); results do not depend on it");
}

void AddJson(CLI::App* command, bool* json) {
  command->add_flag("--json", *json, "Write one JSON object to standard output instead of text");
}

void AddIsa(CLI::App* command, std::optional<std::string>* isa, const std::string& help) {
  AddText(command, "--isa", "NAME", help, [=](const std::string& text) { *isa = text; });
}

void AddInfo(CLI::App* app, CommandLine* line) {
  CLI::App* command = app->add_subcommand("info", "Say how the library was built and what it uses on this machine");
  AddJson(command, &line->json);
  command->footer(kInfoHelp);
  command->callback([=] { RunInfo(line->json); });
}

void ParseDenominator(const std::string& text, xent_softmax_options* settings) {
  settings->denominator = text == "weight" ? XENT_DENOMINATOR_WEIGHT
                          : text == "rows" ? XENT_DENOMINATOR_ROWS
                                           : XENT_DENOMINATOR_GIVEN;
  if (settings->denominator != XENT_DENOMINATOR_GIVEN) return;
  try {
    settings->denominator_value = ParsePositive("--denominator", text);
  } catch (const UsageError&) {
    throw UsageError(fmt::format("--denominator is \"{}\"; it must be weight, rows or a finite number above 0", text));
  }
}

void AddLossSettings(CLI::App* command, LossOptions* options) {
  xent_softmax_options* const settings = &options->settings;
  AddPath(command, "--class-weight", &options->class_weight, "Multiply each class's term by its weight");
  AddPath(command, "--row-weight", &options->row_weight, "Multiply each row's loss by its weight; 0: it is not read");
  AddPath(command, "--row-mask", &options->row_mask, "Leave out rows that have 0 here");
  AddNumber(command, "--label-smoothing", &settings->label_smoothing, 0, 1, "Share X of the target among the classes");
  command->add_flag_callback(
      "--smooth-others", [=] { settings->smoothing = XENT_SMOOTHING_OTHERS; },
      "Smoothing goes to the other classes only, in equal parts");
  command->add_flag_callback(
      "--live-classes", [=] { settings->live_classes = 1; }, "Smoothing leaves out classes at -inf");
  AddNumber(command, "--z-loss", &settings->z_loss, -kMost, kMost, "Add X * lse^2 to each row's loss");
  AddNumber(command, "--entropy-weight", &settings->entropy_weight, -kMost, kMost,
            "Subtract X * entropy from each row's loss");
  AddNumber(command, "--focal", &settings->focal_gamma, 0, kMost, "Multiply by (1 - p)^X, p of the label");
  AddText(command, "--scale", "X", "Multiply the logits by X (temperature T: 1/T)",
          [=](const std::string& text) { settings->scale = ParsePositive("--scale", text); });
  AddText(command, "--softcap", "X", "Replace the logits by X * tanh(logits / X)",
          [=](const std::string& text) { settings->softcap = ParsePositive("--softcap", text); });
  AddText(command, "--denominator", "NAME|X", "A mean divides by: weight (default), rows, or the number X",
          [=](const std::string& text) { ParseDenominator(text, settings); });
  AddName(command, "--empty-mean", &settings->empty_mean, {"nan", "zero", "error"},
          "A mean of nothing is: nan (default), zero or error");
  AddName(command, "--masked-row", &settings->masked_row, {"nan", "zero"},
          "A row with nothing but -inf is: nan (default) or zero");
}

void AddLoss(CLI::App* app, CommandLine* line) {
  LossOptions* options = &line->loss;
  CLI::App* command = app->add_subcommand("loss", "Softmax cross-entropy of logits and labels in .npy files");
  command->add_option("LOGITS", options->logits, "The logits: rows x classes, or see --axis")
      ->required()
      ->type_name("FILE.npy");
  command->add_option("LABELS", options->labels, "The labels: one class per row")->type_name("FILE.npy");
  AddPath(command, "--targets", &options->targets, "In place of LABELS: a number for each logit");
  AddInteger(command, "--axis", &options->axis, -64, 63,
             "The axis of LOGITS that the classes are on (default: -1, the last)");
  AddText(command, "--reduction", "NAME", "How row losses become one: none, sum or mean (default: mean)",
          [=](const std::string& text) { options->settings.reduction = ParseReduction(text); });
  AddInteger(command, "--ignore-index", &options->settings.ignore_index, INT64_MIN, INT64_MAX,
             "Rows with this label do not count (default: -100)");
  AddLossSettings(command, options);
  AddPath(command, "--row-loss", &options->row_loss, "Write the loss of each row");
  AddPath(command, "--lse", &options->lse, "Write the log-sum-exp of each row");
  AddPath(command, "--gradient", &options->gradient, "Write d loss / d logits");
  AddPath(command, "--probability", &options->probability, "Write the probability of each row's label");
  AddPath(command, "--log-probability", &options->log_probability, "Write its logarithm");
  AddPath(command, "--entropy", &options->entropy, "Write the entropy of each row's softmax");
  AddPath(command, "--argmax", &options->argmax, "Write the class of each row's largest logit");
  AddThreads(command, &options->threads);
  AddIsa(command, &options->isa, "Use no better instruction set than NAME (see xent info)");
  command->add_flag("--bf16", options->bf16, "The logits are bfloat16 words (u2, i2, V2 or f2)");
  AddJson(command, &line->json);
  command->footer(kLossHelp);
  command->callback([=] { RunLoss(*options, line->json); });
}

void ParseElementDenominator(const std::string& text, xent_binary_options* settings) {
  settings->denominator = text == "all"       ? XENT_ELEMENTS_ALL
                          : text == "counted" ? XENT_ELEMENTS_COUNTED
                                              : XENT_ELEMENTS_GIVEN;
  if (settings->denominator != XENT_ELEMENTS_GIVEN) return;
  try {
    settings->denominator_value = ParsePositive("--denominator", text);
  } catch (const UsageError&) {
    throw UsageError(fmt::format("--denominator is \"{}\"; it must be all, counted or a finite number above 0", text));
  }
}

void ParseLogRule(const std::string& text, xent_binary_options* settings) {
  settings->log_rule = text == "exact" ? XENT_LOG_EXACT : text == "clamp" ? XENT_LOG_CLAMP : XENT_LOG_EPSILON;
  if (settings->log_rule != XENT_LOG_EPSILON) return;
  char* end = nullptr;
  settings->epsilon = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(settings->epsilon > 0 && settings->epsilon < 0.5)) {
    throw UsageError(fmt::format("--log-rule is \"{}\"; it must be exact, clamp or a number between 0 and 0.5", text));
  }
}

void AddBinary(CLI::App* app, CommandLine* line) {
  BinaryOptions* options = &line->binary;
  xent_binary_options* const settings = &options->settings;
  CLI::App* command = app->add_subcommand("binary", "Binary cross-entropy of elements and targets in .npy files");
  command->add_option("INPUTS", options->inputs, "Logits, or with --probabilities probabilities")
      ->required()
      ->type_name("FILE.npy");
  command->add_option("TARGETS", options->targets, "What they should be: from 0 to 1, the same shape")
      ->required()
      ->type_name("FILE.npy");
  command->add_flag("--probabilities", options->from_probabilities, "INPUTS are probabilities");
  AddText(command, "--reduction", "NAME", "How losses become one: none, sum or mean (default: mean)",
          [=](const std::string& text) { settings->reduction = ParseReduction(text); });
  AddText(command, "--denominator", "NAME|X",
          "A mean divides by: all elements (default), counted ones, or the number X",
          [=](const std::string& text) { ParseElementDenominator(text, settings); });
  AddText(command, "--ignore", "X", "Elements with this target do not count",
          [=](const std::string& text) { options->ignored = ParseNumber("--ignore", text, -kMost, kMost); });
  AddNumber(command, "--focal", &settings->focal_gamma, 0, kMost,
            "Multiply by (1 - p)^X, p of the target (logits only)");
  AddNumber(command, "--alpha", &settings->focal_alpha, 0, 1, "Target 1 weighs X, target 0 1 - X (logits only)");
  AddNumber(command, "--pos-weight", &settings->pos_weight, 0, kMost, "Multiply the part of target 1 by X");
  AddPath(command, "--class-pos-weight", &options->class_pos_weight, "The same, a number for each class");
  AddPath(command, "--class-weight", &options->class_weight, "Multiply losses by the weight of their class");
  AddPath(command, "--row-weight", &options->row_weight, "Multiply losses by the weight of their row");
  AddPath(command, "--weight", &options->element_weight, "Multiply losses by weights of their own");
  AddInteger(command, "--axis", &options->axis, -64, 63,
             "The axis of INPUTS that classes are on (default: -1, the last)");
  AddNumber(command, "--label-smoothing", &settings->label_smoothing, 0, 1, "Targets become (1 - X) t + X / 2");
  AddText(command, "--log-rule", "NAME|X",
          "Probabilities: exact (default), clamp logarithms at -100, or clip to [X, 1 - X]",
          [=](const std::string& text) { ParseLogRule(text, settings); });
  AddName(command, "--empty-mean", &settings->empty_mean, {"nan", "zero", "error"},
          "A mean of nothing is: nan (default), zero or error");
  AddPath(command, "--loss", &options->loss, "Write the loss of each element");
  AddPath(command, "--gradient", &options->gradient, "Write d loss / d inputs");
  AddThreads(command, &options->threads);
  AddIsa(command, &options->isa, "Use no better instruction set than NAME (see xent info)");
  command->add_flag("--bf16", options->bf16, "INPUTS are bfloat16 words (u2, i2, V2 or f2)");
  AddJson(command, &line->json);
  command->footer(kBinaryHelp);
  command->callback([=] { RunBinary(*options, line->json); });
}

void ParseBase(const std::string& text, double* base) {
  *base = text == "e" ? 0 : ParseNumber("--base", text, -kMost, kMost);
  if (text == "e" || *base > 1) return;
  throw UsageError(fmt::format("--base is \"{}\"; it must be e or a number above 1", text));
}

void AddInformation(CLI::App* app, CommandLine* line) {
  InformationOptions* options = &line->information;
  xent_information_options* const settings = &options->settings;
  CLI::App* command = app->add_subcommand("information", "Entropies and divergences of distributions in .npy files");
  command->add_option("MEASURE", options->measure, "entropy, cross-entropy, kl, js, joint or ensemble")
      ->required()
      ->type_name("NAME");
  command->add_option("P", options->p, "The distributions, a joint table, or samples")
      ->required()
      ->type_name("FILE.npy");
  command->add_option("Q", options->q, "Those that they are compared with")->type_name("FILE.npy");
  AddText(command, "--given", "NAME", "P and Q are probabilities (default), logs or logits",
          [=](const std::string& text) { options->p_given = text; });
  AddText(command, "--q-given", "NAME", "Q is something else than P",
          [=](const std::string& text) { options->q_given = text; });
  AddText(command, "--base", "X", "Of the logarithm: 2 (bits), 10, ... (default: e)",
          [=](const std::string& text) { ParseBase(text, &settings->base); });
  AddInteger(command, "--axis", &options->axis, -64, 63, "The axis that a distribution is on (default: -1, the last)");
  AddText(command, "--scale", "X", "Multiply logits by X (temperature T: 1/T)",
          [=](const std::string& text) { settings->scale = ParsePositive("--scale", text); });
  AddNumber(command, "--beta", &settings->beta, 0, 1, "js: the weight of P in the mixture (default: 0.5)");
  AddText(command, "--reduction", "NAME", "How rows become one number: none, sum or mean (default: mean)",
          [=](const std::string& text) { settings->reduction = ParseReduction(text); });
  AddPath(command, "--rows", &options->rows, "Write the measure of each distribution");
  AddPath(command, "--gradient", &options->gradient, "Write d result / d P");
  AddPath(command, "--q-gradient", &options->q_gradient, "Write d result / d Q");
  AddThreads(command, &options->threads);
  AddIsa(command, &options->isa, "Use no better instruction set than NAME (see xent info)");
  AddJson(command, &line->json);
  command->footer(kInformationHelp);
  command->callback([=] { RunInformation(*options, line->json); });
}

void AddMap(CLI::App* app, CommandLine* line) {
  MapOptions* options = &line->map;
  CLI::App* command = app->add_subcommand("map", "A function (exp, log, tanh, ...) of every element of a .npy file");
  command->add_option("FUNCTION", options->function, "exp, log, ...: see below")->required()->type_name("NAME");
  command->add_option("IN", options->in, "The arguments")->required()->type_name("FILE.npy");
  command->add_option("OUT", options->out, "Where the results go")->required()->type_name("FILE.npy");
  command->add_flag("--bf16", options->bf16, "The arguments are bfloat16 words (u2, i2, V2 or f2)");
  AddThreads(command, &options->threads);
  AddIsa(command, &options->isa, "Use no better instruction set than NAME (see xent info)");
  AddJson(command, &line->json);
  command->footer(kMapHelp);
  command->callback([=] { RunMap(*options, line->json); });
}

void AddTrain(CLI::App* app, CommandLine* line) {
  TrainOptions* options = &line->train;
  CLI::App* command = app->add_subcommand("train", "Train a small model by gradient descent");
  command->add_option("PROBLEM", options->problem, "digits, breast-cancer or article")->required()->type_name("NAME");
  AddText(command, "--loss", "NAME", "cross-entropy (default), focal or squared-error",
          [=](const std::string& text) { options->loss = text; });
  AddInteger(command, "--steps", &options->steps, 1, kMostSteps, "Take N steps");
  AddText(command, "--learning-rate", "X", "Multiply the gradient by X at each step",
          [=](const std::string& text) { options->learning_rate = ParsePositive("--learning-rate", text); });
  AddInteger(command, "--every", &options->every, 1, kMostSteps, "Report the loss of every N-th step (default: 100)");
  AddThreads(command, &options->threads);
  command->add_flag("--predictions", options->predictions, "With --json: add what is predicted, and what is right");
  AddJson(command, &line->json);
  command->footer(kTrainHelp);
  command->callback([=] { RunTrain(*options, line->json); });
}

void AddUlp(CLI::App* app, CommandLine* line) {
  UlpOptions* options = &line->ulp;
  CLI::App* command = app->add_subcommand("ulp", "Measure the errors of a function of xent map");
  command->add_option("FUNCTION", options->function, "exp, log, ...: see xent map")->required()->type_name("NAME");
  AddText(command, "--dtype", "NAME", "f32, f64, bf16 or f16 (default: f32)",
          [=](const std::string& text) { options->dtype = ParseDtype("--dtype", text); });
  AddIsa(command, &options->isa, "Use no better instruction set than NAME; all: each that this machine supports");
  command->add_flag("--exhaustive", options->exhaustive, "Take every bit pattern (not f64)");
  AddInteger(command, "--samples", &options->samples, 1, kMostSamples, "Take about N inputs (default: 10000000)");
  AddInteger(command, "--seed", &options->seed, INT64_MIN, INT64_MAX, "Of the random samples (default: 1)");
  AddInteger(command, "--curve", &options->curve, 1, kMostBins, "With --json: the largest error in N bins of inputs");
  AddThreads(command, &options->threads);
  AddJson(command, &line->json);
  command->footer(kUlpHelp);
  command->callback([=] { RunUlp(*options, line->json); });
}

}  // namespace

void RunCommandLine(int argc, char** argv) {
  CommandLine line;
  CLI::App app(
      "Cross-entropy on the CPU: losses and gradients of .npy files, functions of them and their errors, and "
      "small models",
      "xent");
  app.set_version_flag("--version", std::string("xent ") + xent_version_string());
  app.require_subcommand(1);
  AddJson(&app, &line.json);
  AddInfo(&app, &line);
  AddLoss(&app, &line);
  AddBinary(&app, &line);
  AddInformation(&app, &line);
  AddMap(&app, &line);
  AddTrain(&app, &line);
  AddUlp(&app, &line);
  app.footer("Exit code: 0, or 1 if the work failed, or 2 if the command line was wrong.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    app.exit(help);
    std::cout.flush();
    if (!std::cout) throw RunError("standard output cannot be written");
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> strays = app.remaining();
    const bool has_command = !app.get_subcommands().empty();
    if (has_command || (strays.empty() && argc > 1)) throw UsageError(error.what());
    throw UsageError(fmt::format(
        "{}; the commands are info, loss, binary, information, map, train and ulp (--help)",
        strays.empty() ? "a command is missing" : fmt::format("\"{}\" is not a command of xent", strays[0])));
  }
}

}  // namespace xent_command
