// codebook(nf4 | dynamic8 | log2, n, bits): fixed levels times the largest magnitude of n channels
// of a token.
//
//   nf4        16 levels at the quantiles of a Gaussian (QLoRA, arXiv 2305.14314)
//   dynamic8   256 levels, finer towards zero over seven decades (8-bit optimizers, arXiv
//              2110.02861): values whose sizes differ by orders of magnitude
//   log2       zero and signed powers of two, 2^bits - 1 levels (Agile-Quant's softmax codes)
#include <memory>

#include "compression/levels_part.h"
#include "compression/part_table.h"

namespace isthmus {
namespace {

enum class Book : uint8_t { kNf4, kDynamic8, kLog2 };
constexpr const char* kBooks[] = {"nf4", "dynamic8", "log2"};

class CodebookSpec final : public PartSpec {
 public:
  CodebookSpec(Book book, int bits, const LevelOptions& options)
      : book_(book), bits_(bits), options_(options) {}
  std::string canonical() const override {
    const std::string bits = book_ == Book::kLog2 ? absl::StrCat(",bits=", bits_) : "";
    return absl::StrCat("codebook(", kBooks[static_cast<int>(book_)], ",n=", options_.n, bits, ")");
  }
  PartTraits traits() const override { return {.takes_entropy = true}; }
  std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape&) const override {
    if (book_ == Book::kLog2) return MakeLevelFormat(PowerLevels(bits_), options_);
    return MakeLevelFormat(book_ == Book::kNf4 ? NormalFloat4Levels() : Dynamic8Levels(), options_);
  }

 private:
  Book book_;
  int bits_;
  LevelOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeCodebookPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(
      const SpecArguments arguments,
      SpecArguments::Bind(part, {"n", "bits"}, {kBooks[0], kBooks[1], kBooks[2]}));
  int given = 0;
  Book book = Book::kNf4;
  for (int k = 0; k < 3; ++k) {
    if (!arguments.Flag(kBooks[k])) continue;
    ++given;
    book = static_cast<Book>(k);
  }
  if (given != 1)
    return InvalidArgument("codec codebook: expected one of nf4, dynamic8, log2, got ", given);
  LevelOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.n,
                           arguments.Int("n", 1, 1 << 24, book == Book::kDynamic8 ? 256 : 64));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 2, 7, 4));
  if (arguments.Has("bits") && book != Book::kLog2)
    return InvalidArgument("codec codebook: bits: expected log2 with it, got another book");
  return std::make_shared<CodebookSpec>(book, static_cast<int>(bits), options);
}

}  // namespace isthmus
