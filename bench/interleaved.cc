// xent_interleaved: the library beside the roofs of the machine, round by round in one process. See README.md.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "binary_workload.h"
#include "function_workload.h"
#include "machine.h"
#include "measure.h"
#include "report.h"
#include "roofs.h"
#include "shapes.h"
#include "softmax_workload.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

struct Options {
  std::vector<std::string> shapes, dtypes = {"f32", "bf16", "f16", "f64"}, modes, functions, losses, isas = {"best"},
                                   variants = {"plain"};
  std::vector<int> threads;
  int64_t elements = 1 << 24;
  std::string inputs = "normal";
  int rounds = 21;
  bool json = false, markdown = false, warm = false, roofs_only = false, huge_pages = false, no_pin = false;
};

void Declare(Options* o, CLI::App* app) {
  app->add_option("--shapes", o->shapes,
                  "ROWSxCLASSES, IMAGESxCLASSESxHEIGHTxWIDTH, or a name of shapes.h (1Mx10); default: all")
      ->delimiter(',');
  app->add_option(
         "--variants", o->variants,
         "what is asked for besides: plain, weights, z_loss, focal, smoothing, argmax, scale, softcap, entropy, "
         "entropy_weight, dense, or 'all'; default: plain")
      ->delimiter(',');
  app->add_option("--dtypes", o->dtypes, "f32, bf16, f16, f64; default: all")->delimiter(',');
  app->add_option("--modes", o->modes, "loss, gradient, gradient_in_place; default: all")->delimiter(',');
  app->add_option("--functions", o->functions, "arrays instead of softmax: names of xent_map's functions, or 'all'")
      ->delimiter(',');
  app->add_option("--losses", o->losses,
                  "binary losses and measures instead of softmax: sigmoid, focal, probabilities, entropy, "
                  "entropy_of_logits, kl, kl_of_logits, or 'all'; with --modes loss and gradient")
      ->delimiter(',');
  app->add_option("--elements", o->elements, "of an array; default: 16777216")->check(CLI::PositiveNumber);
  app->add_option("--threads", o->threads, "thread counts; default: 1 and all processors")->delimiter(',');
  app->add_option("--isa", o->isas, "names of instruction sets, 'best' or 'all'; default: best")->delimiter(',');
  app->add_option("--rounds", o->rounds, "rounds per case; default: 21")->check(CLI::Range(1, 100000));
  app->add_option("--inputs", o->inputs, "normal, wide, ascending, confident, neg-inf, neg-1e4; default: normal");
  app->add_flag("--warm", o->warm, "in cache, against a bare loop of exponentials; rows are cut to fit");
  app->add_flag("--roofs", o->roofs_only, "only find and print the roofs");
  app->add_flag("--huge-pages", o->huge_pages, "ask the system for 2 MiB pages");
  app->add_flag("--no-pin", o->no_pin, "let threads wander");
  app->add_flag("--json", o->json, "print JSON");
  app->add_flag("--markdown", o->markdown, "print a Markdown table");
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "xent_interleaved: %s\n", message.c_str());
  std::exit(2);
}

Shape ParseShape(const std::string& text) {
  for (const Shape& shape : kShapes) {
    if (text == shape.name) return shape;
  }
  long long rows = 0, classes = 0, height = 0, width = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "%lldx%lldx%lldx%lld%n", &rows, &classes, &height, &width, &used) == 4 &&
      static_cast<size_t>(used) == text.size() && rows > 0 && classes > 0 && height > 0 && width > 0) {
    return {"", rows * height * width, classes, "command line", height * width};
  }
  const int found = std::sscanf(text.c_str(), "%lldx%lld%n", &rows, &classes, &used);
  if (found != 2 || static_cast<size_t>(used) != text.size() || rows <= 0 || classes <= 0) {
    Fail("'" + text + "' is not a shape: ROWSxCLASSES, or a name of shapes.h");
  }
  return {"", rows, classes, "command line"};
}

std::vector<Shape> ChosenShapes(const Options& o) {
  if (o.shapes.empty()) return {std::begin(kShapes), std::end(kShapes)};
  std::vector<Shape> shapes;
  for (const std::string& text : o.shapes) shapes.push_back(ParseShape(text));
  return shapes;
}

std::vector<const Variant*> ChosenVariants(const Options& o) {
  std::vector<const Variant*> variants;
  for (const std::string& text : o.variants) {
    for (const Variant* one = kVariants; text == "all" && one->name != nullptr; ++one) variants.push_back(one);
    if (text == "all") continue;
    variants.push_back(FindVariant(text));
    if (variants.back() == nullptr) Fail("'" + text + "' is not a variant");
  }
  return variants;
}

std::vector<Mode> ChosenModes(const Options& o) {
  if (o.modes.empty()) return {std::begin(kModes), std::end(kModes)};
  std::vector<Mode> modes;
  for (const std::string& text : o.modes) {
    const size_t before = modes.size();
    for (Mode mode : kModes) {
      if (text == ModeName(mode)) modes.push_back(mode);
    }
    if (modes.size() == before) Fail("'" + text + "' is not a mode");
  }
  return modes;
}

std::vector<std::string> ChosenIsas(const Options& o) {
  std::vector<std::string> isas;
  for (const std::string& name : o.isas) {
    if (name == "best") isas.push_back(xent_isa_chosen());
    if (name != "best" && name != "all") isas.push_back(name);
    for (int32_t i = 0; name == "all" && i < xent_isa_count(); ++i) {
      if (xent_isa_supported(i) != 0) isas.push_back(xent_isa_name(i));
    }
  }
  return isas;
}

std::vector<xent_function> ChosenFunctions(const Options& o) {
  std::vector<xent_function> functions;
  for (const std::string& text : o.functions) {
    const size_t before = functions.size();
    for (xent_function function = 1; xent_function_name(function) != nullptr; ++function) {
      if (text == "all" || text == xent_function_name(function)) functions.push_back(function);
    }
    if (functions.size() == before) Fail("'" + text + "' is not a function");
  }
  return functions;
}

std::vector<Dtype> ChosenDtypes(const Options& o) {
  std::vector<Dtype> dtypes(o.dtypes.size());
  for (size_t i = 0; i < dtypes.size(); ++i) {
    if (!ParseDtype(o.dtypes[i], &dtypes[i])) Fail("'" + o.dtypes[i] + "' is not a dtype");
  }
  return dtypes;
}

// A case to measure: only one has its memory at a time.
using MakeWorkload = std::function<std::unique_ptr<Workload>()>;

std::vector<MakeWorkload> SoftmaxCases(const Options& o, int threads, size_t footprint) {
  Inputs inputs;
  if (!ParseInputs(o.inputs, &inputs)) Fail("no inputs are called '" + o.inputs + "': see --help");
  std::vector<MakeWorkload> cases;
  for (const Shape& shape : ChosenShapes(o)) {
    for (const Dtype& dtype : ChosenDtypes(o)) {
      for (Mode mode : ChosenModes(o)) {
        const Shape fitting = o.warm ? FitToCache(shape, dtype.value, mode, threads) : shape;
        for (const Variant* variant : ChosenVariants(o)) {
          const SoftmaxCase c = {variant, fitting, dtype, mode, inputs, threads, o.huge_pages, footprint};
          cases.push_back([c] { return std::make_unique<SoftmaxWorkload>(c); });
        }
      }
    }
  }
  return cases;
}

std::vector<MakeWorkload> FunctionCases(const Options& o, int threads, size_t footprint) {
  if (o.inputs != "normal") Fail("arrays have normal inputs only");
  std::vector<MakeWorkload> cases;
  for (const xent_function function : ChosenFunctions(o)) {
    for (const Dtype& dtype : ChosenDtypes(o)) {
      const int64_t n = o.warm ? FitToCache(o.elements, dtype.value, threads) : o.elements;
      const FunctionCase c = {function, dtype, n, threads, o.huge_pages, footprint};
      cases.push_back([c] { return std::make_unique<FunctionWorkload>(c); });
    }
  }
  return cases;
}

std::vector<MakeWorkload> BinaryCases(const Options& o, int threads, size_t footprint) {
  if (o.inputs != "normal") Fail("binary losses have normal inputs only");
  std::vector<MakeWorkload> cases;
  for (const std::string& text : o.losses) {
    const size_t before = cases.size();
    for (int kind = 0; BinaryKindName(kind) != nullptr; ++kind) {
      if (text != "all" && text != BinaryKindName(kind)) continue;
      for (const Dtype& dtype : ChosenDtypes(o)) {
        for (const Mode mode : ChosenModes(o)) {
          if (mode == Mode::kGradientInPlace) continue;
          const int64_t n = o.warm ? FitToCache(o.elements, dtype.value, threads) / 2 : o.elements;
          const BinaryCase c = {
              static_cast<BinaryKind>(kind), mode == Mode::kGradient, dtype, n, threads, o.huge_pages, footprint};
          cases.push_back([c] { return std::make_unique<BinaryWorkload>(c); });
        }
      }
    }
    if (cases.size() == before) Fail("'" + text + "' is no binary loss");
  }
  return cases;
}

// In the order in which they are measured.
std::vector<MakeWorkload> Cases(const Options& o, int threads) {
  const size_t footprint = o.warm ? 0 : 4 * LastLevelCacheBytes();
  if (!o.losses.empty()) return BinaryCases(o, threads, footprint);
  return o.functions.empty() ? SoftmaxCases(o, threads, footprint) : FunctionCases(o, threads, footprint);
}

void Measure(const Options& o, const Roofs* roofs, Workload* workload, std::vector<Result>* results) {
  for (const std::string& isa : ChosenIsas(o)) {
    if (xent_isa_cap(isa.c_str()) != XENT_OK) Fail(xent_last_error());
    const std::string wrong = workload->Check();
    if (!wrong.empty()) {
      Fail(workload->Size() + " " + workload->dtype().name + " " + workload->What() + " " + isa + ": " + wrong);
    }
    results->push_back(o.warm ? MeasureWarm(workload, o.rounds) : MeasureCold(workload, *roofs, o.rounds));
    xent_isa_cap(nullptr);
    std::fprintf(stderr, ".");
  }
}

int Main(const Options& o) {
  Run run = {o.json       ? Format::kJson
             : o.markdown ? Format::kMarkdown
                          : Format::kText,
             !o.functions.empty() || !o.losses.empty(),
             o.warm,
             o.rounds,
             Inputs::kNormal,
             !o.no_pin,
             {},
             {}};
  ParseInputs(o.inputs, &run.inputs);
  std::vector<int> thread_counts = o.threads;
  if (thread_counts.empty()) thread_counts = CpuCount() > 1 ? std::vector<int>{1, CpuCount()} : std::vector<int>{1};
  std::deque<Roofs> roofs;  // keeps addresses
  for (int threads : thread_counts) {
    if (threads < 1) Fail("a thread count is at least 1");
    if (!o.no_pin) run.pinned = PinThreads(threads) && run.pinned;
    if (!o.warm) {
      roofs.emplace_back(threads, 4 * LastLevelCacheBytes(), o.huge_pages);
      run.roofs.push_back(&roofs.back());
    }
    if (o.roofs_only) continue;
    for (const MakeWorkload& make : Cases(o, threads)) {
      Measure(o, o.warm ? nullptr : &roofs.back(), make().get(), &run.results);
    }
  }
  if (!run.results.empty()) std::fprintf(stderr, "\n");
  Print(run);
  return 0;
}

}  // namespace
}  // namespace xent_bench

int main(int argc, char** argv) {
  xent_bench::Options options;
  CLI::App app("The library beside the roofs of the machine, round by round in one process");
  xent_bench::Declare(&options, &app);
  CLI11_PARSE(app, argc, argv);
  try {
    return xent_bench::Main(options);
  } catch (const std::exception& error) {
    xent_bench::Fail(error.what());
  }
}
