// Parses the embedded CSV text: a line of names, then one row per line, numbers separated by commas, the label last.
#include "dataset.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "embedded.h"

namespace xent_command {
namespace {

void AddRow(const char* line, int64_t features, Samples* samples) {
  char* at = nullptr;
  for (int64_t i = 0; i < features; ++i) {
    samples->inputs.push_back(std::strtod(line, &at));
    line = at + 1;
  }
  samples->labels.push_back(static_cast<int32_t>(std::strtol(line, &at, 10)));
  ++samples->rows;
}

Dataset Parse(const char* csv, int64_t classes) {
  constexpr int64_t kTestEvery = 5;
  Dataset data;
  data.classes = classes;
  const char* line = std::strchr(csv, '\n') + 1;
  for (const char* c = csv; c != line; ++c) data.features += *c == ',';
  for (int64_t row = 0; *line != '\0'; ++row) {
    AddRow(line, data.features, row % kTestEvery == kTestEvery - 1 ? &data.test : &data.training);
    line = std::strchr(line, '\n') + 1;
  }
  return data;
}

void Scale(int64_t feature, int64_t features, double offset, double divisor, Samples* samples) {
  for (int64_t row = 0; row < samples->rows; ++row) {
    double& input = samples->inputs[row * features + feature];
    input = (input - offset) / divisor;
  }
}

void Standardise(Dataset* data) {
  const Samples& training = data->training;
  const double rows = static_cast<double>(training.rows);
  for (int64_t feature = 0; feature < data->features; ++feature) {
    double mean = 0;
    double variance = 0;
    for (int64_t row = 0; row < training.rows; ++row) mean += training.inputs[row * data->features + feature] / rows;
    for (int64_t row = 0; row < training.rows; ++row) {
      const double difference = training.inputs[row * data->features + feature] - mean;
      variance += difference * difference / rows;
    }
    Scale(feature, data->features, mean, std::sqrt(variance), &data->training);
    Scale(feature, data->features, mean, std::sqrt(variance), &data->test);
  }
}

}  // namespace

Dataset LoadDigits() {
  constexpr double kLargestPixel = 16;
  Dataset data = Parse(kDigitsCsv, 10);
  for (double& pixel : data.training.inputs) pixel /= kLargestPixel;
  for (double& pixel : data.test.inputs) pixel /= kLargestPixel;
  return data;
}

Dataset LoadBreastCancer() {
  Dataset data = Parse(kBreastCancerCsv, 2);
  Standardise(&data);
  return data;
}

}  // namespace xent_command
