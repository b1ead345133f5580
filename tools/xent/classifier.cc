// logits[r][k] = biases[k] + sum_f inputs[r][f] * weights[f][k]; with g = d loss / d logits,
// d loss / d weights[f][k] = sum_r inputs[r][f] * g[r][k] and d loss / d biases[k] = sum_r g[r][k].
#include <algorithm>
#include <utility>

#include "problem.h"
#include "training_loss.h"

namespace xent_command {
namespace {

class Classifier : public Problem {
 public:
  Classifier(Dataset data, Objective objective, int32_t threads)
      : data_(std::move(data)),
        objective_(objective),
        threads_(threads),
        columns_(data_.classes == 2 ? 1 : data_.classes),
        weights_(data_.features * columns_, 0.0),
        biases_(columns_, 0.0),
        step_(weights_.size()) {}

  double Step(double learning_rate) override {
    ComputeLogits(data_.training, &logits_);
    const double loss = TrainingLoss(&gradient_);
    Descend(learning_rate);
    return loss;
  }

  double Loss() override {
    ComputeLogits(data_.training, &logits_);
    return TrainingLoss(nullptr);
  }

  std::vector<int32_t> Predictions() const override {
    std::vector<double> logits;
    ComputeLogits(data_.test, &logits);
    std::vector<int32_t> predictions;
    for (auto row = logits.begin(); row != logits.end(); row += columns_) {
      const auto largest = std::max_element(row, row + columns_);
      predictions.push_back(columns_ == 1 ? (*row > 0 ? 1 : 0) : static_cast<int32_t>(largest - row));
    }
    return predictions;
  }

  const std::vector<int32_t>& Answers() const override { return data_.test.labels; }
  int64_t rows() const override { return data_.training.rows; }
  int64_t classes() const override { return data_.classes; }

 private:
  double TrainingLoss(std::vector<double>* gradient) const {
    const std::vector<int32_t>& labels = data_.training.labels;
    return columns_ == 1 ? SigmoidLoss(objective_, logits_, labels, threads_, gradient)
                         : SoftmaxLoss(objective_, logits_, labels, columns_, threads_, gradient);
  }

  void ComputeLogits(const Samples& samples, std::vector<double>* logits) const {
    const int64_t classes = columns_;
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
    const int64_t classes = columns_;
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
  const Objective objective_;
  const int32_t threads_;
  const int64_t columns_;        // logits of a row
  std::vector<double> weights_;  // features x columns
  std::vector<double> biases_;
  std::vector<double> logits_;
  std::vector<double> gradient_;
  std::vector<double> step_;
};

}  // namespace

std::unique_ptr<Problem> MakeClassifier(Dataset data, Objective objective, int32_t threads) {
  return std::make_unique<Classifier>(std::move(data), objective, threads);
}

}  // namespace xent_command
