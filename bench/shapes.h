// The workloads that are measured, and where they come from. Beside the usual sizes stand the two ends: very few
// classes, where memory and labels decide, and a single row, where the cost of a call does.
#ifndef XENT_BENCH_SHAPES_H_
#define XENT_BENCH_SHAPES_H_

#include <cstdint>

namespace xent_bench {

struct Shape {
  const char* name;
  int64_t rows;
  int64_t classes;
  const char* origin;
  int64_t inner = 1;  // images [rows / inner, classes, inner]: rows lie side by side, their classes apart
};

inline constexpr Shape kShapes[] = {
    {"1Mx2", 1 << 20, 2, "foreground or background of each voxel in a 128 x 128 x 64 scan"},
    {"1Mx10", 1 << 20, 10, "ten classes per point of a million-point cloud"},
    {"65536x100", 65536, 100, "CIFAR-100 (Krizhevsky 2009), more than an epoch at once"},
    {"8192x1000", 8192, 1000, "ImageNet-1k (Russakovsky et al. 2015), a large batch"},
    {"512x32000", 512, 32000, "vocabulary of Llama 2, 512 tokens"},
    {"256x50257", 256, 50257, "vocabulary of GPT-2, 256 tokens; odd, so that most rows are not aligned"},
    {"128x128256", 128, 128256, "vocabulary of Llama 3, 128 tokens"},
    {"64x256000", 64, 256000, "vocabulary of Gemma, 64 tokens"},
    {"1x10", 1, 10, "one digit of MNIST: the cost of a call"},
    {"1x128256", 1, 128256, "one token of Llama 3"},
    {"4x151936", 4, 151936, "four tokens of Qwen 2"},
    {"8x21x512x512", 8 * 512 * 512, 21, "Pascal VOC (Everingham et al. 2010), eight segmented images", 512 * 512},
    {"1x150x512x512", 512 * 512, 150, "ADE20K (Zhou et al. 2017), one segmented image", 512 * 512},
};

}  // namespace xent_bench

#endif  // XENT_BENCH_SHAPES_H_
