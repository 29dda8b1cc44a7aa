#include "bench/onednn.h"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels/machine_limits.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace isthmus::bench {
namespace {

using Tag = dnnl::memory::format_tag;
using Type = dnnl::memory::data_type;

constexpr int kRepeats = 5;
constexpr double kSeconds = 0.04;

dnnl::memory Filled(const dnnl::memory::desc& desc, const dnnl::engine& engine) {
  dnnl::memory memory(desc, engine);
  auto* bytes = static_cast<uint8_t*>(memory.get_data_handle());
  for (size_t i = 0; i < desc.get_size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 % 101);
  return memory;
}

double Measure(int64_t out, int64_t in, int64_t tokens) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl::memory::desc x({tokens, in}, Type::u8, Tag::ab);
  const dnnl::memory::desc w({in, out}, Type::s8, Tag::any);
  const dnnl::memory::desc y({tokens, out}, Type::s32, Tag::ab);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, y), engine);
  // One token walks over 256 MiB, as ours does.
  const int64_t copies = tokens == 1 ? std::max<int64_t>(1, (int64_t{256} << 20) / (out * in)) : 1;
  std::vector<dnnl::memory> weights;
  for (int64_t i = 0; i < copies; ++i) {
    weights.push_back(Filled(description.weights_desc(), engine));
  }
  dnnl::memory from = Filled(x, engine);
  dnnl::memory to(y, engine);
  dnnl::matmul product(description);
  std::vector<double> rates;
  size_t next = 0;
  for (int i = 0; i <= kRepeats; ++i) {
    int64_t count = 0;
    double spent = 0.0;
    const double begin = ThreadSeconds();
    do {
      product.execute(stream, {{DNNL_ARG_SRC, from},
                               {DNNL_ARG_WEIGHTS, weights[next++ % weights.size()]},
                               {DNNL_ARG_DST, to}});
      stream.wait();
      ++count;
      spent = ThreadSeconds() - begin;
    } while (spent < kSeconds);
    if (i > 0) rates.push_back(static_cast<double>(count) / spent);
  }
  std::sort(rates.begin(), rates.end());
  return 2e-9 * static_cast<double>(tokens * out * in) * rates[rates.size() / 2];
}

}  // namespace

std::function<double(int64_t, int64_t, int64_t)> OnednnInt8() {
  omp_set_num_threads(1);
  // The yardstick is VNNI's peak; and version 2.6 takes an illegal instruction on AMX in a program
  // that releases the tiles between its calls, as ours does.
  dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_vnni);
  return Measure;
}

}  // namespace isthmus::bench
