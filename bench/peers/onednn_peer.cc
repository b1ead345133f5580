// Softmax cross-entropy out of oneDNN's log-softmax, forward and backward, for onednn.py, which builds this: what
// oneDNN does not have (picking the labels' losses, placing their gradients) is written as a user would. f32 [N, C,
// inner].
#include <cstdint>
#include <cstdio>
#include <dnnl.hpp>
#include <exception>

namespace {

using dnnl::memory;

struct Loss {
  Loss(int64_t n, int64_t c) : rows(n), classes(c), engine(dnnl::engine::kind::cpu, 0), stream(engine) {
    const memory::desc shape({n, c}, memory::data_type::f32, memory::format_tag::ab);
    const int axis = 1;
#if DNNL_VERSION_MAJOR >= 3
    const auto logs = dnnl::algorithm::softmax_log;
    const dnnl::softmax_forward::primitive_desc forward_plan(engine, dnnl::prop_kind::forward_training, logs, shape,
                                                             shape, axis);
    forward = dnnl::softmax_forward(forward_plan);
    backward = dnnl::softmax_backward({engine, logs, shape, shape, shape, axis, forward_plan});
#else
    const dnnl::logsoftmax_forward::primitive_desc forward_plan({dnnl::prop_kind::forward_training, shape, axis},
                                                                engine);
    forward = dnnl::logsoftmax_forward(forward_plan);
    backward = dnnl::logsoftmax_backward({{shape, shape, axis}, engine, forward_plan});
#endif
    for (memory* one : {&x, &logs_of_x, &gradient}) *one = memory(shape, engine, nullptr);
  }

  int64_t rows, classes;
  dnnl::engine engine;
  dnnl::stream stream;
  dnnl::primitive forward, backward;
  memory x, logs_of_x, gradient;
};

}  // namespace

extern "C" {

const char* onednn_version() {
  static char text[40];
  const dnnl_version_t* const version = dnnl_version();
  std::snprintf(text, sizeof(text), "%d.%d.%d", version->major, version->minor, version->patch);
  return text;
}

// Null if oneDNN has no such primitives.
void* onednn_make(int64_t rows, int64_t classes) {
  try {
    return new Loss(rows, classes);
  } catch (const std::exception&) {
    return nullptr;
  }
}

void onednn_free(void* loss) { delete static_cast<Loss*>(loss); }

// The mean loss; `logs` is room for log-softmax, `gradient` may be null.
double onednn_run(void* handle, float* x, const int64_t* labels, float* logs, float* gradient) {
  Loss& loss = *static_cast<Loss*>(handle);
  loss.x.set_data_handle(x);
  loss.logs_of_x.set_data_handle(logs);
  loss.forward.execute(loss.stream, {{DNNL_ARG_SRC, loss.x}, {DNNL_ARG_DST, loss.logs_of_x}});
  loss.stream.wait();
  const int64_t rows = loss.rows, classes = loss.classes;
  double sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum) if (rows > 4096)
  for (int64_t row = 0; row < rows; ++row) sum -= logs[row * classes + labels[row]];
  if (gradient == nullptr) return sum / static_cast<double>(rows);
  const int64_t elements = rows * classes;
#pragma omp parallel for simd schedule(static) if (elements > 65536)
  for (int64_t i = 0; i < elements; ++i) gradient[i] = 0;
  const float share = -1 / static_cast<float>(rows);
#pragma omp parallel for schedule(static) if (rows > 4096)
  for (int64_t row = 0; row < rows; ++row) gradient[row * classes + labels[row]] = share;
  loss.gradient.set_data_handle(gradient);
  loss.backward.execute(
      loss.stream,
      {{DNNL_ARG_DST, loss.logs_of_x}, {DNNL_ARG_DIFF_DST, loss.gradient}, {DNNL_ARG_DIFF_SRC, loss.gradient}});
  loss.stream.wait();
  return sum / static_cast<double>(rows);
}

}  // extern "C"
