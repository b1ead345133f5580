// The one call into the library that training makes.
#ifndef XENT_TOOLS_MEAN_LOSS_H_
#define XENT_TOOLS_MEAN_LOSS_H_

#include <cstdint>
#include <vector>

namespace xent_command {

// The mean softmax cross-entropy of logits [labels.size(), classes]. A gradient that is not null is resized and
// written. Throws RunError.
double MeanLoss(const std::vector<double>& logits, const std::vector<int32_t>& labels, int64_t classes, int32_t threads,
                std::vector<double>* gradient);

}  // namespace xent_command

#endif  // XENT_TOOLS_MEAN_LOSS_H_
