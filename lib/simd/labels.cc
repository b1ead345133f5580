// Passes over labels of any integer type. The loops are plain C++, which the compiler makes vectors of: one comparison
// with the number of classes, unsigned, tells classes from everything else.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/labels.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <algorithm>

#include "lib/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Whether none is ignored or invalid: neither a label nor what is left to the last class has a sign.
template <class Label>
bool AreAllClasses(const Label* label, int64_t n, int64_t ignore_index, int64_t classes) {
  if (static_cast<uint64_t>(ignore_index) < static_cast<uint64_t>(classes)) return false;
  const uint64_t last = static_cast<uint64_t>(classes - 1);
  uint64_t signs = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t value = static_cast<uint64_t>(label[i]);
    signs |= value | (last - value);
  }
  return signs >> 63 == 0;
}

template <class Label>
void CountLabels(const void* labels, int64_t n, int64_t ignore_index, int64_t classes, int64_t* ignored,
                 int64_t* invalid) {
  const Label* const label = static_cast<const Label*>(labels);
  *ignored = *invalid = 0;
  if (AreAllClasses(label, n, ignore_index, classes)) return;
  int64_t all_ignored = 0;
  int64_t all_classes = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t value = static_cast<int64_t>(label[i]);
    const int64_t is_ignored = value == ignore_index ? 1 : 0;
    const int64_t is_class = static_cast<uint64_t>(value) < static_cast<uint64_t>(classes) ? 1 : 0;
    all_ignored += is_ignored;
    all_classes += is_class & ~is_ignored;
  }
  *ignored = all_ignored;
  *invalid = n - all_ignored - all_classes;
}

template <class Label>
int64_t WidenLabels(const void* labels, int64_t n, int64_t ignore_index, int64_t classes, int64_t* loaded) {
  const Label* const label = static_cast<const Label*>(labels);
  if (AreAllClasses(label, n, ignore_index, classes)) {
    std::copy(label, label + n, loaded);
    return 0;
  }
  int64_t signs = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t value = static_cast<int64_t>(label[i]);
    const int64_t valid = static_cast<uint64_t>(value) < static_cast<uint64_t>(classes) ? value : kInvalidLabel;
    loaded[i] = value == ignore_index ? kSkipRow : valid;
  }
  for (int64_t i = 0; i < n; ++i) signs |= loaded[i];  // in the same loop it would keep the compiler from vectors
  return signs;
}

template <class Label>
constexpr LabelKernels LabelKernelsOf() {
  return {CountLabels<Label>, WidenLabels<Label>};
}

const LabelKernels& ChooseLabels(int type) {
  static constexpr LabelKernels kKernels[] = {
      LabelKernelsOf<uint8_t>(), LabelKernelsOf<int8_t>(),   LabelKernelsOf<uint16_t>(), LabelKernelsOf<int16_t>(),
      LabelKernelsOf<int32_t>(), LabelKernelsOf<uint32_t>(), LabelKernelsOf<int64_t>()};
  return kKernels[type];
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const LabelKernels& LabelKernelsFor(int isa, int type) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseLabels)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseLabels),
                                                                            HWY_CHOOSE_FALLBACK(ChooseLabels)};
  return kTable[isa](type);
}

}  // namespace xent
#endif  // HWY_ONCE
