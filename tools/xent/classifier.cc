// logits[r][k] = biases[k] + sum_f inputs[r][f] * weights[f][k]; with g = d loss / d logits,
// d loss / d weights[f][k] = sum_r inputs[r][f] * g[r][k] and d loss / d biases[k] = sum_r g[r][k].
#include <algorithm>
#include <utility>

#include "mean_loss.h"
#include "problem.h"

namespace xent_command {
namespace {

class Classifier : public Problem {
 public:
  Classifier(Dataset data, int32_t threads)
      : data_(std::move(data)),
        threads_(threads),
        weights_(data_.features * data_.classes, 0.0),
        biases_(data_.classes, 0.0),
        step_(weights_.size()) {}

  double Step(double learning_rate) override {
    ComputeLogits(data_.training, &logits_);
    const double loss = MeanLoss(logits_, data_.training.labels, data_.classes, threads_, &gradient_);
    Descend(learning_rate);
    return loss;
  }

  double Loss() override {
    ComputeLogits(data_.training, &logits_);
    return MeanLoss(logits_, data_.training.labels, data_.classes, threads_, nullptr);
  }

  std::vector<int32_t> Predictions() const override {
    std::vector<double> logits;
    ComputeLogits(data_.test, &logits);
    std::vector<int32_t> predictions;
    for (auto row = logits.begin(); row != logits.end(); row += data_.classes) {
      predictions.push_back(static_cast<int32_t>(std::max_element(row, row + data_.classes) - row));
    }
    return predictions;
  }

  const std::vector<int32_t>& Answers() const override { return data_.test.labels; }
  int64_t rows() const override { return data_.training.rows; }
  int64_t classes() const override { return data_.classes; }

 private:
  void ComputeLogits(const Samples& samples, std::vector<double>* logits) const {
    const int64_t classes = data_.classes;
    logits->resize(samples.rows * classes);
    for (int64_t r = 0; r < samples.rows; ++r) {
      double* row = logits->data() + r * classes;
      std::copy(biases_.begin(), biases_.end(), row);
      for (int64_t f = 0; f < data_.features; ++f) {
        const double input = samples.inputs[r * data_.features + f];
        const double* weights = weights_.data() + f * classes;
        for (int64_t k = 0; k < classes; ++k) row[k] += input * weights[k];
      }
    }
  }

  void Descend(double learning_rate) {
    const int64_t classes = data_.classes;
    std::fill(step_.begin(), step_.end(), 0.0);
    for (int64_t r = 0; r < data_.training.rows; ++r) {
      const double* gradient = gradient_.data() + r * classes;
      for (int64_t k = 0; k < classes; ++k) biases_[k] -= learning_rate * gradient[k];
      for (int64_t f = 0; f < data_.features; ++f) {
        const double input = data_.training.inputs[r * data_.features + f];
        double* step = step_.data() + f * classes;
        for (int64_t k = 0; k < classes; ++k) step[k] += input * gradient[k];
      }
    }
    for (size_t i = 0; i < weights_.size(); ++i) weights_[i] -= learning_rate * step_[i];
  }

  const Dataset data_;
  const int32_t threads_;
  std::vector<double> weights_;  // features x classes
  std::vector<double> biases_;
  std::vector<double> logits_;
  std::vector<double> gradient_;
  std::vector<double> step_;
};

}  // namespace

std::unique_ptr<Problem> MakeClassifier(Dataset data, int32_t threads) {
  return std::make_unique<Classifier>(std::move(data), threads);
}

}  // namespace xent_command
