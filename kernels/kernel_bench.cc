#include "kernels/kernel_bench.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/machine_limits.h"
#include "kernels/matmul.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

constexpr int64_t kRotatedBytes = int64_t{256} << 20;

struct KernelCase {
  const char* name;
  WeightFormatSpec spec;
  bool gradient;
};

constexpr KernelCase kCases[] = {
    {"matmul_int8", {WeightFormat::kInt8Group, 64}, false},
    {"matmul_int4", {WeightFormat::kInt4Group, 64}, false},
    {"matmul_int8_t", {WeightFormat::kInt8Group, 64}, true},
    {"matmul_int4_t", {WeightFormat::kInt4Group, 64}, true},
    {"matmul_int8_channel", {WeightFormat::kInt8, 0}, false},
    {"matmul_progressive4", {WeightFormat::kProgressive4, 128}, false},
    {"matmul_f32", {WeightFormat::kF32, 0}, false},
    {"matmul_bf16", {WeightFormat::kBf16, 0}, false},
    {"matmul_bf16_t", {WeightFormat::kBf16, 0}, true},
};

struct Sizes {
  int64_t out;
  int64_t in;
};
constexpr Sizes kSizes[] = {{2048, 2048}, {4096, 4096}, {11008, 4096}};
constexpr int64_t kTokens[] = {1, 16, 128, 512};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Scales that are ordinary numbers in bytes that are noise.
void WriteScales(const WeightFormatSpec& spec, const PackedLayout& layout, uint8_t* bytes) {
  if (spec.format == WeightFormat::kF32) {
    auto* values = reinterpret_cast<float*>(bytes);
    for (int64_t i = 0; i < layout.total_bytes / 4; ++i) {
      values[i] = static_cast<float>(i % 17 - 8) * 0.01f;
    }
    return;
  }
  if (spec.format == WeightFormat::kBf16) {
    auto* values = reinterpret_cast<uint16_t*>(bytes);
    for (int64_t i = 0; i < layout.total_bytes / 2; ++i) {
      values[i] = Bf16OfFloat(static_cast<float>(i % 17 - 8) * 0.01f);
    }
    return;
  }
  const bool channels = !HasGroups(spec.format) || spec.format == WeightFormat::kProgressive4;
  for (int64_t i = 0; i < layout.out_padded * (channels ? 1 : layout.groups); ++i) {
    const float scale = 0.01f + 0.0001f * static_cast<float>(i % 13);
    if (channels) {
      std::memcpy(bytes + layout.scale_offset + 4 * i, &scale, 4);
    } else {
      const uint16_t half = Bf16OfFloat(scale);
      std::memcpy(bytes + layout.scale_offset + 2 * i, &half, 2);
    }
  }
  for (int64_t i = layout.level2_offset; i > 0 && i < layout.zero_offset; ++i) {
    bytes[i] = static_cast<uint8_t>(1 + bytes[i] % 16);
  }
  for (int64_t i = layout.zero_offset; i > 0 && i < layout.total_bytes; ++i) bytes[i] %= 16;
}

// As many copies of a matrix as fill 256 MiB for one token, else one.
std::vector<PackedMatrix> Matrices(const WeightFormatSpec& spec, const Sizes& sizes,
                                   int64_t tokens) {
  const PackedLayout layout = LayoutOf(spec, sizes.out, sizes.in);
  const int64_t size = (layout.total_bytes + 4095) / 4096 * 4096;
  const int64_t copies = tokens == 1 ? (kRotatedBytes + size - 1) / size : 1;
  uint8_t* buffer = LargeBuffer(std::max(copies * size, kRotatedBytes));
  std::vector<PackedMatrix> matrices;
  for (int64_t i = 0; i < copies; ++i) {
    uint8_t* bytes = buffer + i * size;
    WriteScales(spec, layout, bytes);
    auto matrix = PackedMatrix::View({bytes, static_cast<size_t>(layout.total_bytes)}, sizes.out,
                                     sizes.in, spec, nullptr);
    ISTHMUS_CHECK(matrix.ok());
    matrices.push_back(*std::move(matrix));
  }
  return matrices;
}

class Runner {
 public:
  Runner(const KernelCase& kernel, const Sizes& sizes, int64_t tokens)
      : kernel_(kernel),
        tokens_(tokens),
        matrices_(Matrices(kernel.spec, sizes, tokens)),
        x_(tokens * std::max(sizes.in, sizes.out)),
        y_(x_.size()),
        scratch_(MatmulScratchBytes(matrices_[0], tokens, 1,
                                    kernel.spec.format == WeightFormat::kBf16)) {
    for (size_t i = 0; i < x_.size(); ++i) {
      x_[i] = static_cast<float>(static_cast<int>(i * 7919 % 1000) - 500) * 0.002f;
    }
    options_.scratch = absl::MakeSpan(scratch_);
    options_.bf16_activations = kernel.spec.format == WeightFormat::kBf16;
    Once();
  }

  // Products per second over about `seconds`.
  double PerSecond(double seconds) {
    const double begin = ThreadSeconds();
    int64_t count = 0;
    double spent = 0.0;
    do {
      Once();
      ++count;
      spent = ThreadSeconds() - begin;
    } while (spent < seconds);
    return static_cast<double>(count) / spent;
  }

  int64_t packed_bytes() const { return static_cast<int64_t>(matrices_[0].bytes().size()); }

 private:
  void Once() {
    const PackedMatrix& w = matrices_[next_++ % matrices_.size()];
    if (kernel_.gradient) {
      MatmulInputGradient(x_.data(), tokens_, w, y_.data(), options_);
    } else {
      MatmulForward(x_.data(), tokens_, w, y_.data(), options_);
    }
  }

  const KernelCase& kernel_;
  int64_t tokens_;
  std::vector<PackedMatrix> matrices_;
  std::vector<float> x_;
  std::vector<float> y_;
  std::vector<uint8_t> scratch_;
  MatmulOptions options_;
  size_t next_ = 0;
};

double LimitOf(const KernelCase& kernel, int64_t tokens) {
  if (tokens == 1) return ReadGbPerS();
  return IsIntegerFormat(kernel.spec.format) ? IntPeakGops() : FmaPeakGflops();
}

KernelBenchRow MeasureRow(const KernelCase& kernel, const Sizes& sizes, int64_t tokens,
                          const KernelBenchOptions& options) {
  Runner runner(kernel, sizes, tokens);
  const double gop = 2e-9 * static_cast<double>(tokens * sizes.out * sizes.in);
  const double gb = 1e-9 * static_cast<double>(runner.packed_bytes());
  std::vector<double> gops, gbs, shares;
  for (int i = 0; i < options.repeats; ++i) {
    const double limit = LimitOf(kernel, tokens);
    const double rate = runner.PerSecond(options.seconds_per_repeat);
    gops.push_back(rate * gop);
    gbs.push_back(rate * gb);
    shares.push_back((tokens == 1 ? gbs.back() : gops.back()) / limit);
  }
  KernelBenchRow row = {kernel.name, sizes.out, sizes.in, tokens};
  row.gop_per_s = Median(gops);
  row.gb_per_s = Median(gbs);
  row.share_of_limit = Median(shares);
  const bool has_reference =
      options.reference && !kernel.gradient && kernel.spec.format == WeightFormat::kInt8Group;
  if (has_reference) row.reference_gop_per_s = options.reference(sizes.out, sizes.in, tokens);
  return row;
}

void MeasureLimits(int repeats, KernelBenchReport* report) {
  std::vector<double> ints, fmas, reads, copies;
  for (int i = 0; i < repeats; ++i) {
    ints.push_back(IntPeakGops());
    fmas.push_back(FmaPeakGflops());
    reads.push_back(ReadGbPerS());
    copies.push_back(MemcpyGbPerS());
  }
  report->int_peak_gops = Median(ints);
  report->fma_peak_gflops = Median(fmas);
  report->read_gb_per_s = Median(reads);
  report->memcpy_gb_per_s = Median(copies);
}

}  // namespace

KernelBenchReport RunKernelBench(const KernelBenchOptions& options) {
  KernelBenchReport report;
  report.target = std::string(TargetName(CurrentTarget()));
  MeasureLimits(options.repeats, &report);
  for (const Sizes& sizes : kSizes) {
    if (options.quick && sizes.out > 2048) break;
    for (int64_t tokens : kTokens) {
      for (const KernelCase& kernel : kCases) {
        report.rows.push_back(MeasureRow(kernel, sizes, tokens, options));
      }
    }
  }
  return report;
}

}  // namespace isthmus
