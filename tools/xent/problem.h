// What gradient descent needs to know of a problem, and the two kinds of problem that xent train has. Losses and
// gradients come from the library; everything around them is plain loops in double.
#ifndef XENT_TOOLS_PROBLEM_H_
#define XENT_TOOLS_PROBLEM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "dataset.h"
#include "training_loss.h"

namespace xent_command {

class Problem {
 public:
  virtual ~Problem() = default;

  // One step of gradient descent on all training rows; returns their mean loss before the step.
  virtual double Step(double learning_rate) = 0;

  // The mean loss of the training rows as things stand.
  virtual double Loss() = 0;

  // The class that is predicted for each row that accuracy is measured on, and the one that would be right.
  virtual std::vector<int32_t> Predictions() const = 0;
  virtual const std::vector<int32_t>& Answers() const = 0;

  virtual int64_t rows() const = 0;
  virtual int64_t classes() const = 0;
};

// Logistic regression, weights and biases starting at 0: logits = inputs * weights + biases. Two classes have one
// logit, through the sigmoid; more have one each, through the softmax. Accuracy is measured on the test rows.
std::unique_ptr<Problem> MakeClassifier(Dataset data, Objective objective, int32_t threads);

// Eight independent logits x with targets y of 0 or 1: loss -[y log p + (1 - y) log(1 - p)], p = 1 / (1 + exp(-x)). The
// x themselves are what is trained, and accuracy is the share of rounded p that equal their targets.
std::unique_ptr<Problem> MakeArticle(Objective objective, int32_t threads);

}  // namespace xent_command

#endif  // XENT_TOOLS_PROBLEM_H_
