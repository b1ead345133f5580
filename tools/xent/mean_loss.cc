// A wrapper that turns vectors into the library's views, and a status into an exception.
#include "mean_loss.h"

#include <fmt/format.h>

#include "errors.h"
#include "xent/xent.h"

namespace xent_command {

double MeanLoss(const std::vector<double>& logits, const std::vector<int32_t>& labels, int64_t classes, int32_t threads,
                std::vector<double>* gradient) {
  const xent_logits x = xent_logits_rows(logits.data(), XENT_F64, static_cast<int64_t>(labels.size()), classes);
  const xent_targets y = xent_targets_labels(labels.data(), XENT_I32);
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = threads;
  double loss = 0;
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &loss;
  if (gradient != nullptr) {
    gradient->resize(logits.size());
    out.gradient = gradient->data();
  }
  const xent_status status = xent_softmax_cross_entropy(&x, &y, &options, &out);
  if (status != XENT_OK) {
    throw RunError(fmt::format("the loss cannot be computed ({}): {}", xent_status_name(status), xent_last_error()));
  }
  return loss;
}

}  // namespace xent_command
