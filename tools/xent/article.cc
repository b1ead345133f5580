// The worked example of sigmoid cross-entropy: four samples with two independent labels each.
#include "problem.h"
#include "training_loss.h"

namespace xent_command {
namespace {

class Article : public Problem {
 public:
  Article(Objective objective, int32_t threads) : objective_(objective), threads_(threads) {}

  double Step(double learning_rate) override {
    const double loss = SigmoidLoss(objective_, logits_, targets_, threads_, &gradient_);
    for (size_t i = 0; i < logits_.size(); ++i) logits_[i] -= learning_rate * gradient_[i];
    return loss;
  }

  double Loss() override { return SigmoidLoss(objective_, logits_, targets_, threads_, nullptr); }

  std::vector<int32_t> Predictions() const override {
    std::vector<int32_t> predictions;
    for (const double logit : logits_) predictions.push_back(logit > 0 ? 1 : 0);
    return predictions;
  }

  const std::vector<int32_t>& Answers() const override { return targets_; }
  int64_t rows() const override { return static_cast<int64_t>(targets_.size()); }
  int64_t classes() const override { return 2; }

 private:
  const Objective objective_;
  const int32_t threads_;
  const std::vector<int32_t> targets_ = {1, 0, 0, 1, 0, 0, 1, 1};
  std::vector<double> logits_ = {0.8, 0.2, 0.2, 0.8, 0.1, 0.9, 0.5, 0.5};
  std::vector<double> gradient_;
};

}  // namespace

std::unique_ptr<Problem> MakeArticle(Objective objective, int32_t threads) {
  return std::make_unique<Article>(objective, threads);
}

}  // namespace xent_command
