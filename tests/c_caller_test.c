/* A caller in plain C99: the example that opens xent.h, and the inline constructors, compiled and linked as C. Exits
 * with the number of the first check that fails. */
#include <math.h>
#include <stdio.h>

#include "xent/xent.h"

int main(void) {
  const float x[] = {0.0f, 0.0f, 1.0f, 1.0f};
  const int64_t y[] = {0, 1};
  float gradient[4] = {9.0f, 9.0f, 9.0f, 9.0f};
  double loss = 0.0;
  xent_logits logits = xent_logits_rows(x, XENT_F32, 2, 2);
  xent_targets labels = xent_targets_labels(y, XENT_I64);
  xent_softmax_outputs out = xent_softmax_outputs_none();
  out.total = &loss;
  out.gradient = gradient;
  if (xent_softmax_cross_entropy(&logits, &labels, NULL, &out) != XENT_OK) {
    puts(xent_last_error());
    return 1;
  }
  if (fabs(loss - 0.69314718055994531) > 1e-6) return 2;
  if (gradient[0] != -0.25f || gradient[1] != 0.25f || gradient[2] != 0.25f || gradient[3] != -0.25f) return 3;
  if (xent_softmax_options_default().upstream != 1.0) return 4;
  if (xent_version() / 10000 != XENT_VERSION_MAJOR) return 5;
  return 0;
}
