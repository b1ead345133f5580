// xent information: entropies and divergences of distributions in files, and the measures of a joint table.
#include <fmt/format.h>

#include <cmath>
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

xent_measure ParseMeasure(const std::string& name) {
  if (name == "entropy") return XENT_ENTROPY;
  if (name == "cross-entropy") return XENT_CROSS_ENTROPY;
  if (name == "kl") return XENT_KL_DIVERGENCE;
  if (name == "js") return XENT_JENSEN_SHANNON;
  throw UsageError(
      fmt::format("MEASURE is \"{}\"; it must be entropy, cross-entropy, kl, js, joint or ensemble", name));
}

xent_distribution ParseGiven(const char* flag, const std::string& name) {
  if (name == "probabilities") return XENT_PROBABILITIES;
  if (name == "logs") return XENT_LOG_PROBABILITIES;
  if (name == "logits") return XENT_LOGITS;
  throw UsageError(fmt::format("{} is \"{}\"; it must be probabilities, logs or logits", flag, name));
}

constexpr char kBadValue[] = "some probability is negative, infinite or NaN (--given logits takes logits)";

void Refuse(const char* flag, bool is_given, const char* why) {
  if (is_given) throw UsageError(fmt::format("{} is given; {}", flag, why));
}

const char* NameOf(xent_distribution given) {
  return given == XENT_PROBABILITIES ? "probabilities" : given == XENT_LOGITS ? "logits" : "logarithms";
}

void Require(xent_status status) {
  if (status == XENT_OK) return;
  throw RunError(fmt::format("it cannot be computed ({}): {}", xent_status_name(status), xent_last_error()));
}

void* AddOutput(const char* flag, const std::optional<std::string>& path, const Logits& like, bool per_row,
                OutputFiles* files) {
  if (!path.has_value()) return nullptr;
  const int32_t size = per_row ? (like.dtype() == XENT_F64 ? 8 : 4) : xent_dtype_size(like.dtype());
  return files->Add({flag, *path}, 'f', size, per_row ? like.row_shape() : like.shape());
}

void RunMeasure(const InformationOptions& options, bool json) {
  xent_information_options settings = options.settings;
  settings.num_threads = static_cast<int32_t>(options.threads);
  settings.p_given = ParseGiven("--given", options.p_given);
  settings.q_given = options.q_given.has_value() ? ParseGiven("--q-given", *options.q_given) : settings.p_given;
  const xent_measure measure = ParseMeasure(options.measure);
  if (options.q.has_value() != (measure != XENT_ENTROPY)) {
    throw UsageError(measure == XENT_ENTROPY ? "Q is given; entropy is of P alone"
                                             : fmt::format("Q is missing; {} is of P and Q", options.measure));
  }
  const xent_information_options defaults = xent_information_options_default();
  Refuse("--q-gradient", options.q_gradient.has_value() && measure == XENT_ENTROPY, "entropy is of P alone");
  Refuse("--q-given", options.q_given.has_value() && measure == XENT_ENTROPY, "entropy is of P alone");
  Refuse("--beta", settings.beta != defaults.beta && measure != XENT_JENSEN_SHANNON, "it is a weight of js");
  const bool has_logits =
      settings.p_given == XENT_LOGITS || (measure != XENT_ENTROPY && settings.q_given == XENT_LOGITS);
  Refuse("--scale", settings.scale != defaults.scale && !has_logits, "it multiplies logits (--given logits)");
  CapIsa(options.isa);
  const Logits p(options.p, false, options.axis, "P", NameOf(settings.p_given));
  std::optional<Logits> q;
  if (options.q.has_value()) q.emplace(*options.q, false, options.axis, "Q", NameOf(settings.q_given));
  if (q.has_value() && q->shape() != p.shape()) {
    throw RunError(fmt::format("Q \"{}\" has the shape {}; it must have that of P, {}", *options.q,
                               ShapeText(q->shape()), ShapeText(p.shape())));
  }
  OutputFiles files;
  xent_information_outputs out = xent_information_outputs_none();
  double total = 0, sum = 0;
  out.total = &total;
  out.sum = &sum;
  out.rows = AddOutput("--rows", options.rows, p, true, &files);
  out.p_gradient = AddOutput("--gradient", options.gradient, p, false, &files);
  if (q.has_value()) out.q_gradient = AddOutput("--q-gradient", options.q_gradient, *q, false, &files);
  const xent_logits p_view = p.View();
  const xent_logits q_view = q.has_value() ? q->View() : p_view;
  Require(xent_information(measure, &p_view, q.has_value() ? &q_view : nullptr, &settings, &out));
  files.Commit();
  ExplainBadNumber("the value", total, kBadValue);
  const std::string base = settings.base == 0 ? "e" : fmt::format("{:g}", settings.base);
  if (json) {
    JsonObject object;
    object.SetText("measure", options.measure);
    object.SetNumber("value", total);
    object.SetNumber("sum", sum);
    object.SetText("base", base);
    object.SetInteger("rows", p.rows());
    object.SetInteger("classes", p.classes());
    object.Print();
    return;
  }
  fmt::print("value    {}\nbase     {}\nrows     {}\nclasses  {}\n", NumberText(total), base, p.rows(), p.classes());
}

// Samples on the first axis, what they agree and disagree about.
void RunEnsemble(const InformationOptions& options, bool json) {
  const auto refuse = [](const char* flag, bool is_given) { Refuse(flag, is_given, "an ensemble has none"); };
  refuse("Q", options.q.has_value());
  refuse("--gradient", options.gradient.has_value());
  refuse("--q-gradient", options.q_gradient.has_value());
  refuse("--q-given", options.q_given.has_value());
  CapIsa(options.isa);
  const Logits p(options.p, false, options.axis, "P");
  const std::vector<int64_t>& shape = p.shape();
  if (shape.size() < 2) {
    throw RunError(
        fmt::format("P \"{}\" has {} dimension; an ensemble has at least 2, samples first", options.p, shape.size()));
  }
  const xent_logits view = p.View();
  const int64_t samples = shape[0];
  if (samples == 0 || view.outer % samples != 0)
    throw RunError("P has no samples, or its first axis is that of the classes");
  // The first axis alone is `outer`; the others are rows, which lie on both sides of the classes only in images.
  xent_logits rows = view;
  if (view.outer != samples) {
    if (view.inner != 1)
      throw RunError("P has axes before and behind the classes; with samples, classes are the last axis or the second");
    rows = xent_logits_samples(view.data, view.dtype, samples, view.outer / samples, view.classes);
  }
  xent_information_options settings = options.settings;
  settings.num_threads = static_cast<int32_t>(options.threads);
  settings.p_given = ParseGiven("--given", options.p_given);
  OutputFiles files;
  double totals[3] = {};
  xent_ensemble_outputs out = xent_ensemble_outputs_none();
  out.totals = totals;
  if (options.rows.has_value()) {
    const std::vector<int64_t>& of_samples = p.row_shape();
    const std::vector<int64_t> of_rows(of_samples.begin() + 1, of_samples.end());
    out.mutual_information = files.Add({"--rows", *options.rows}, 'f', p.dtype() == XENT_F64 ? 8 : 4, of_rows);
  }
  Require(xent_ensemble_information(&rows, &settings, &out));
  files.Commit();
  ExplainBadNumber("the predictive entropy", totals[XENT_PREDICTIVE_ENTROPY - 1], kBadValue);
  const std::pair<const char*, double> all[] = {{"predictive_entropy", totals[XENT_PREDICTIVE_ENTROPY - 1]},
                                                {"expected_entropy", totals[XENT_EXPECTED_ENTROPY - 1]},
                                                {"mutual_information", totals[XENT_ENSEMBLE_INFORMATION - 1]}};
  if (json) {
    JsonObject object;
    for (const auto& [name, value] : all) object.SetNumber(name, value);
    object.SetInteger("samples", samples);
    object.SetInteger("rows", rows.inner);
    object.SetInteger("classes", rows.classes);
    object.Print();
    return;
  }
  for (const auto& [name, value] : all) fmt::print("{:<20}{}\n", name, NumberText(value));
}

void RunJoint(const InformationOptions& options, bool json) {
  const auto refuse = [](const char* flag, bool is_given) { Refuse(flag, is_given, "a joint table has none"); };
  refuse("Q", options.q.has_value());
  refuse("--rows", options.rows.has_value());
  refuse("--gradient", options.gradient.has_value());
  refuse("--q-gradient", options.q_gradient.has_value());
  refuse("--q-given", options.q_given.has_value());
  refuse("--given", options.p_given != "probabilities");
  CapIsa(options.isa);
  const Logits p(options.p, false, -1, "P", "counts");
  if (p.shape().size() != 2) {
    throw RunError(fmt::format("P \"{}\" has {} dimensions; a joint table has 2", options.p, p.shape().size()));
  }
  const xent_logits table = p.View();
  xent_logits turned = table;
  turned.outer = table.classes;
  turned.classes = table.outer;
  turned.outer_stride = table.class_stride;
  turned.class_stride = table.outer_stride;
  double values[5], of_turned[5];
  Require(xent_joint_information(&table, options.settings.base, values, 0, nullptr));
  Require(xent_joint_information(&turned, options.settings.base, of_turned, 0, nullptr));
  ExplainBadNumber("the joint entropy", values[XENT_JOINT_ENTROPY - 1],
                   "some cell is negative, infinite or NaN, or all are 0");
  const std::pair<const char*, double> all[] = {{"joint_entropy", values[XENT_JOINT_ENTROPY - 1]},
                                                {"row_entropy", values[XENT_ROW_ENTROPY - 1]},
                                                {"column_entropy", values[XENT_COLUMN_ENTROPY - 1]},
                                                {"columns_given_rows", values[XENT_CONDITIONAL_ENTROPY - 1]},
                                                {"rows_given_columns", of_turned[XENT_CONDITIONAL_ENTROPY - 1]},
                                                {"mutual_information", values[XENT_MUTUAL_INFORMATION - 1]}};
  if (json) {
    JsonObject object;
    for (const auto& [name, value] : all) object.SetNumber(name, value);
    object.Print();
    return;
  }
  for (const auto& [name, value] : all) fmt::print("{:<20}{}\n", name, NumberText(value));
}

}  // namespace

const char kInformationHelp[] =
    "MEASURE: entropy H(P); cross-entropy H(P, Q); kl, the divergence of Kullback and Leibler; js, that of Jensen and\n"
    "Shannon. P and Q: f2, f4 or f8, C order, the same shape, one distribution for each place of the other axes. Rows "
    "of\n"
    "probabilities are taken as they are, whatever they sum to; a negative one makes its row NaN (entropy: -inf).\n"
    "joint: P is a table of counts or probabilities (f2, f4 or f8), of any sum; entropies of both sides, of each given "
    "the other\n"
    "(columns_given_rows is H(column given row)), and the mutual information.\n"
    "ensemble: P holds samples on its first axis; the entropy of their mean (predictive), the mean of their entropies\n"
    "(expected), and the difference, which --rows writes.\n"
    "Numbers per row are written as f8 for f8 files, else as f4; gradients have the type and shape of their file.\n"
    "JSON keys: measure, value, sum, base, rows, classes; or joint_entropy, row_entropy, column_entropy,\n"
    "columns_given_rows, rows_given_columns, mutual_information; or predictive_entropy, expected_entropy,\n"
    "mutual_information, samples, rows, classes. Infinite numbers and NaN are strings.";

void RunInformation(const InformationOptions& options, bool json) {
  std::vector<NamedPath> inputs = {{"P", options.p}};
  std::vector<NamedPath> outputs;
  const auto add = [](const char* name, const std::optional<std::string>& path, std::vector<NamedPath>* to) {
    if (path.has_value()) to->push_back({name, *path});
  };
  add("Q", options.q, &inputs);
  add("--rows", options.rows, &outputs);
  add("--gradient", options.gradient, &outputs);
  add("--q-gradient", options.q_gradient, &outputs);
  RefuseSharedPaths(inputs, outputs);
  if (options.measure == "joint") {
    RunJoint(options, json);
  } else if (options.measure == "ensemble") {
    RunEnsemble(options, json);
  } else {
    RunMeasure(options, json);
  }
}

}  // namespace xent_command
