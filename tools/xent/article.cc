// The worked example of sigmoid cross-entropy: four samples with two independent labels each.
#include "mean_loss.h"
#include "problem.h"

namespace xent_command {
namespace {

class Article : public Problem {
 public:
  explicit Article(int32_t threads) : threads_(threads) {}

  double Step(double learning_rate) override {
    const double loss = MeanLoss(logits_, targets_, kClasses, threads_, &gradient_);
    for (size_t i = 1; i < logits_.size(); i += kClasses) logits_[i] -= learning_rate * gradient_[i];
    return loss;
  }

  double Loss() override { return MeanLoss(logits_, targets_, kClasses, threads_, nullptr); }

  std::vector<int32_t> Predictions() const override {
    std::vector<int32_t> predictions;
    for (size_t i = 1; i < logits_.size(); i += kClasses) predictions.push_back(logits_[i] > 0 ? 1 : 0);
    return predictions;
  }

  const std::vector<int32_t>& Answers() const override { return targets_; }
  int64_t rows() const override { return static_cast<int64_t>(targets_.size()); }
  int64_t classes() const override { return kClasses; }

 private:
  static constexpr int64_t kClasses = 2;

  const int32_t threads_;
  const std::vector<int32_t> targets_ = {1, 0, 0, 1, 0, 0, 1, 1};
  std::vector<double> logits_ = {0, 0.8, 0, 0.2, 0, 0.2, 0, 0.8, 0, 0.1, 0, 0.9, 0, 0.5, 0, 0.5};  // pairs (0, x)
  std::vector<double> gradient_;
};

}  // namespace

std::unique_ptr<Problem> MakeArticle(int32_t threads) { return std::make_unique<Article>(threads); }

}  // namespace xent_command
