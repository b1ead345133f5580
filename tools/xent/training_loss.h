// The calls into the library that training makes. Each gives the mean loss and, if the gradient is not null, resizes
// and writes it. They throw RunError.
#ifndef XENT_TOOLS_TRAINING_LOSS_H_
#define XENT_TOOLS_TRAINING_LOSS_H_

#include <cstdint>
#include <vector>

namespace xent_command {

enum class Objective {
  kCrossEntropy,
  kFocal,         // gamma 2
  kSquaredError,  // of probabilities: (sigmoid - target)^2, or summed over the classes of a softmax
};

// Of logits [labels.size(), classes] and a class per row.
double SoftmaxLoss(Objective objective, const std::vector<double>& logits, const std::vector<int32_t>& labels,
                   int64_t classes, int32_t threads, std::vector<double>* gradient);

// Of logits and targets of 0 or 1.
double SigmoidLoss(Objective objective, const std::vector<double>& logits, const std::vector<int32_t>& targets,
                   int32_t threads, std::vector<double>* gradient);

}  // namespace xent_command

#endif  // XENT_TOOLS_TRAINING_LOSS_H_
