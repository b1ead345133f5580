// xent.hpp beyond its example: dense targets; xent::Map of containers and views of every element type, the bits of the
// C function, errors as exceptions.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "support/functions.h"
#include "xent/xent.hpp"

namespace xent_test {
namespace {

TEST(Wrapper, MapsVectorsArraysAndViewsToTheBitsOfTheCFunction) {
  const std::vector<float> x = {-1.5f, 0.0f, 0.75f, 90.0f, -200.0f};
  std::vector<float> wanted(x.size()), vector(x.size());
  ASSERT_EQ(xent_map(XENT_EXP, XENT_F32, x.data(), wanted.data(), 5, nullptr), XENT_OK);
  xent::Map(XENT_EXP, x, vector);
  EXPECT_EQ(vector, wanted);

  std::array<float, 5> array = {};
  xent::Map(XENT_EXP, xent::View<const float>(x), array);
  EXPECT_EQ(std::vector<float>(array.begin(), array.end()), wanted);

  std::vector<float> viewed(x.size());
  xent::Map(XENT_EXP, x, xent::View<float>(viewed));
  EXPECT_EQ(viewed, wanted);
}

TEST(Wrapper, TakesLabelsAndDenseTargets) {
  const std::vector<float> x = {2.0f, 0.5f, -1.0f, 90.0f, 0.0f, 0.0f};
  const std::vector<int32_t> labels = {1, 0};
  const std::vector<double> one_hot = {0, 1, 0, 1, 0, 0};
  std::vector<float> by_label(x.size()), by_target(x.size());
  xent::SoftmaxOutputs<float> outputs;
  outputs.gradient = by_label;
  const xent::Logits<float> logits(x, 2, 3);
  const double loss = xent::SoftmaxCrossEntropy(logits, labels, {}, outputs);
  outputs.gradient = by_target;
  const double same = xent::SoftmaxCrossEntropy(logits, xent::DenseTargets<double>(one_hot), {}, outputs);
  EXPECT_NEAR(loss, same, 1e-6 * loss);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(by_label[i], by_target[i], 1e-6f * std::fabs(by_label[i])) << i;
  const std::vector<double> few = {0, 1, 0};
  try {
    xent::SoftmaxCrossEntropy(logits, xent::DenseTargets<double>(few));
    FAIL() << "no error";
  } catch (const xent::Error& error) {
    EXPECT_NE(std::string(error.what()).find("targets has 3 elements; 6 are needed"), std::string::npos)
        << error.what();
  }
}

TEST(Wrapper, MapsInPlace) {
  std::vector<double> x = {0.0, 1.0, -3.0};
  std::vector<double> wanted(x.size());
  xent::Map(XENT_TANH, x, wanted);
  xent::Map(XENT_TANH, x, x);
  EXPECT_EQ(x, wanted);
}

TEST(Wrapper, MapsHalfTypes) {
  const std::array<xent::BFloat16, 2> bf16 = {{{0x0000}, {0x3F80}}};
  std::array<xent::BFloat16, 2> bf16_result = {};
  xent::Map(XENT_EXP, bf16, bf16_result);
  EXPECT_EQ(bf16_result[0].bits, 0x3F80);  // 1
  EXPECT_EQ(bf16_result[1].bits, 0x402E);  // 2.71875
  const std::vector<xent::Float16> f16 = {{0x0000}, {0x3C00}};
  std::vector<xent::Float16> f16_result(2);
  xent::Map(XENT_EXP, f16, f16_result);
  EXPECT_EQ(f16_result[0].bits, 0x3C00);
  EXPECT_EQ(f16_result[1].bits, 0x4170);  // 2.71875
}

TEST(Wrapper, MapsAsManyElementsAsXHasAndLeavesTheRestAlone) {
  const std::vector<float> x = {1.0f, 1.0f};
  std::vector<float> y = {7.0f, 7.0f, 7.0f};
  xent::Map(XENT_LOG, x, y);
  EXPECT_EQ(y, (std::vector<float>{0.0f, 0.0f, 7.0f}));
  xent::Map(XENT_LOG, std::vector<float>(), y);
  EXPECT_EQ(y, (std::vector<float>{0.0f, 0.0f, 7.0f}));
}

// What a call throws; XENT_OK if nothing.
template <typename Call>
xent_status Thrown(const std::string& sentence, Call call) {
  try {
    call();
  } catch (const xent::Error& error) {
    EXPECT_NE(std::string(error.what()).find(sentence), std::string::npos) << error.what();
    return error.status();
  }
  return XENT_OK;
}

TEST(Wrapper, ThrowsWhereYIsTooShortAndWritesNothing) {
  const std::vector<float> x(3, 1.0f);
  std::vector<float> y(2, 7.0f);
  EXPECT_EQ(Thrown("y has 2 elements; 3 are needed", [&] { xent::Map(XENT_EXP, x, y); }), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(y, (std::vector<float>{7.0f, 7.0f}));
  std::vector<float> none;
  EXPECT_EQ(Thrown("y", [&] { xent::Map(XENT_EXP, x, none); }), XENT_INVALID_ARGUMENT);
}

TEST(Wrapper, ThrowsWhatTheLibrarySays) {
  std::vector<float> x(3, 1.0f), y(3, 7.0f);
  EXPECT_EQ(Thrown("function is 99", [&] { xent::Map(99, x, y); }), XENT_INVALID_ARGUMENT);
  const xent::View<float> shifted(x.data() + 1, 2);
  EXPECT_EQ(Thrown("overlaps", [&] { xent::Map(XENT_EXP, xent::View<float>(x.data(), 2), shifted); }), XENT_OVERLAP);
  xent::MapOptions options;
  options.num_threads = -4;
  EXPECT_EQ(Thrown("options.num_threads is -4", [&] { xent::Map(XENT_EXP, x, y, options); }), XENT_INVALID_ARGUMENT);
  EXPECT_EQ(y, std::vector<float>(3, 7.0f));
  options.num_threads = 2;
  xent::Map(XENT_EXP, x, y, options);
  EXPECT_NE(y, std::vector<float>(3, 7.0f));
}

}  // namespace
}  // namespace xent_test
