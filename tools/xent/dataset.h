// The data sets that are built into the command (tests/data says whose they are), split into training and test rows:
// every fifth row, counted from the fifth, is a test row; the rest are training rows. The split is always the same.
#ifndef XENT_TOOLS_DATASET_H_
#define XENT_TOOLS_DATASET_H_

#include <cstdint>
#include <vector>

namespace xent_command {

struct Samples {
  int64_t rows = 0;
  std::vector<double> inputs;  // rows x Dataset::features
  std::vector<int32_t> labels;
};

struct Dataset {
  int64_t features = 0;
  int64_t classes = 0;
  Samples training;
  Samples test;
};

// 8x8 images of handwritten digits, pixels divided by 16 so that they lie in [0, 1].
Dataset LoadDigits();

// Measurements of cell nuclei; class 1 is benign. Each feature has the training rows' mean taken away and is divided
// by their standard deviation.
Dataset LoadBreastCancer();

}  // namespace xent_command

#endif  // XENT_TOOLS_DATASET_H_
