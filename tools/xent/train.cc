// xent train: full-batch gradient descent on a small problem, with every loss and gradient from the library.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "errors.h"
#include "json_output.h"
#include "problem.h"
#include "progress.h"

namespace xent_command {
namespace {

struct ProblemKind {
  const char* name;
  int64_t steps;
  double learning_rate;
  std::unique_ptr<Problem> (*make)(Objective objective, int32_t threads);
};

std::unique_ptr<Problem> MakeDigits(Objective objective, int32_t threads) {
  return MakeClassifier(LoadDigits(), objective, threads);
}
std::unique_ptr<Problem> MakeBreastCancer(Objective objective, int32_t threads) {
  return MakeClassifier(LoadBreastCancer(), objective, threads);
}

constexpr ProblemKind kKinds[] = {
    {"digits", 500, 1.0, MakeDigits},
    {"breast-cancer", 500, 1.0, MakeBreastCancer},
    {"article", 1000, 0.01, MakeArticle},
};

// A step that was reported.
struct Point {
  int64_t step;
  double loss;
  double accuracy;
};

struct Training {
  std::vector<Point> history;
  double final_loss = 0;
  double accuracy = 0;
};

double Accuracy(const Problem& problem) {
  const std::vector<int32_t> predictions = problem.Predictions();
  int64_t right = 0;
  for (size_t i = 0; i < predictions.size(); ++i) right += predictions[i] == problem.Answers()[i];
  return static_cast<double>(right) / static_cast<double>(predictions.size());
}

Training Train(Problem* problem, const TrainOptions& options, bool print) {
  Training training;
  Progress progress(options.problem, options.steps);
  for (int64_t step = 0; step < options.steps; ++step) {
    const bool is_reported = step % options.every == 0;
    const double accuracy = is_reported ? Accuracy(*problem) : 0;
    const double loss = problem->Step(options.learning_rate);
    progress.Update(step + 1);
    if (!is_reported) continue;
    training.history.push_back({step, loss, accuracy});
    if (!print) continue;
    progress.Clear();
    fmt::print("{:>8}  {}\n", step, NumberText(loss));
  }
  training.final_loss = problem->Loss();
  training.accuracy = Accuracy(*problem);
  return training;
}

void PrintObject(const Training& training, const Problem& problem, const TrainOptions& options) {
  std::vector<JsonObject> history;
  for (const Point& point : training.history) {
    JsonObject item;
    item.SetInteger("step", point.step);
    item.SetNumber("loss", point.loss);
    item.SetNumber("accuracy", point.accuracy);
    history.push_back(std::move(item));
  }
  JsonObject object;
  object.SetText("problem", options.problem);
  object.SetText("loss", options.loss);
  object.SetInteger("steps", options.steps);
  object.SetNumber("learning_rate", options.learning_rate);
  object.SetInteger("rows", problem.rows());
  object.SetInteger("classes", problem.classes());
  object.SetObjects("history", history);
  object.SetNumber("final_loss", training.final_loss);
  object.SetNumber("accuracy", training.accuracy);
  if (options.predictions) {
    object.SetIntegers("predictions", problem.Predictions());
    object.SetIntegers("answers", problem.Answers());
  }
  object.Print();
}

const ProblemKind& FindKind(const std::string& name) {
  for (const ProblemKind& kind : kKinds) {
    if (name == kind.name) return kind;
  }
  throw UsageError(fmt::format("PROBLEM is \"{}\"; it must be digits, breast-cancer or article", name));
}

Objective ParseObjective(const std::string& name) {
  if (name == "cross-entropy") return Objective::kCrossEntropy;
  if (name == "focal") return Objective::kFocal;
  if (name == "squared-error") return Objective::kSquaredError;
  throw UsageError(fmt::format("--loss is \"{}\"; it must be cross-entropy, focal or squared-error", name));
}

}  // namespace

const char kTrainHelp[] =
    "digits: multinomial logistic regression on 8x8 images of handwritten digits (1,797 rows, 10 classes).\n"
    "breast-cancer: logistic regression on 30 measurements of cell nuclei (569 rows, 2 classes), standardised.\n"
    "Every fifth row of these two is a test row and is not trained on. Their data, under the licence CC BY 4.0, are "
    "from\n"
    "the UCI repository: E. Alpaydin and C. Kaynak, doi:10.24432/C50P49 (digits); W. Wolberg, O. Mangasarian, N. "
    "Street\n"
    "and W. Street, doi:10.24432/C5DW2B (breast-cancer); tests/data/README.md says what was changed.\n"
    "article: sigmoid cross-entropy of eight logits, which are themselves trained.\n"
    "Two classes have one logit, through the sigmoid; ten have one each, through the softmax. --loss focal has gamma "
    "2;\n"
    "squared-error is that of the probabilities.\n"
    "Defaults: digits 500 steps at rate 1, breast-cancer 500 at 1, article 1000 at 0.01.\n"
    "JSON keys: problem, loss (its name), steps, learning_rate, rows and classes (trained on), history: a list of "
    "{step,\n"
    "loss, accuracy} before that step's update, final_loss, accuracy (test rows that are classified right; article:\n"
    "rounded predictions that equal their targets), and with --predictions the lists predictions and answers.";

void RunTrain(TrainOptions options, bool json) {
  const ProblemKind& kind = FindKind(options.problem);
  if (options.predictions && !json) {
    throw UsageError("--predictions is given without --json; it adds to the JSON object");
  }
  if (options.steps == 0) options.steps = kind.steps;
  if (options.learning_rate == 0) options.learning_rate = kind.learning_rate;
  const std::unique_ptr<Problem> problem =
      kind.make(ParseObjective(options.loss), static_cast<int32_t>(options.threads));
  if (!json) fmt::print("{:>8}  {}\n", "step", "loss");
  const Training training = Train(problem.get(), options, !json);
  if (json) {
    PrintObject(training, *problem, options);
    return;
  }
  fmt::print("{:>8}  {}\n", "end", NumberText(training.final_loss));
  fmt::print("accuracy  {:.4f}\n", training.accuracy);
}

}  // namespace xent_command
