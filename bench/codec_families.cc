#include "bench/codec_families.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace isthmus::bench {

std::string CodecFamily::Spec(size_t index) const {
  return absl::StrReplaceAll(
      form, {{"{}", absl::StrCat(values[index])}, {"{+1}", absl::StrCat(values[index] + 1)}});
}

const std::vector<CodecFamily>& CodecFamilies() {
  static const auto* const kFamilies = new std::vector<CodecFamily>{
      {"ecq", "ecq(db={})", {36, 32, 28, 24, 20, 16, 12, 8, 4, 0}, 4},
      {"int per channel", "int(bits={},group=channel)", {8, 7, 6, 5, 4, 3, 2, 1}, 4, true},
      {"Hadamard, int per token",
       "hadamard+int(bits={},group=token)",
       {8, 7, 6, 5, 4, 3, 2, 1},
       4,
       true},
      // Every sample is new in a cold start: `value` is the width of what later visits send.
      {"aqsgd, first visit", "aqsgd(bits={})", {4}, 0, true},
      // The gates' start: they learn in training alone.
      {"amaq, fixed length", "amaq(min=1,max={+1},target=1,start={})", {7, 6, 5, 4, 3, 2}, 2, true},
      {"tah", "tah(bits={})", {8, 7, 6, 5, 4, 3, 2}, 4, true},
      {"stamp", "stamp(bits={})", {7, 6, 5, 4, 3, 2, 1}, 3, true},
      {"hadanorm", "hadanorm(bits={})", {8, 7, 6, 5, 4, 3, 2, 1}, 4, true},
      {"int per tile of 64", "int(bits={},group=tile,n=64)", {8, 7, 6, 5, 4, 3, 2, 1}, 4},
      {"quest", "quest(bits={})", {4, 3, 2, 1}, 0},
      {"llmint8", "llmint8(bits={})", {8, 7, 6, 5, 4, 3, 2}, 4},
      {"shiftquant", "shiftquant(bits={})", {8, 7, 6, 5, 4, 3, 2}, 4},
      {"mixdq-pin", "mixdq-pin(bits={})", {8, 7, 6, 5, 4, 3, 2}, 1},
      {"splitlite-style, first visit", "splitlite-style(bits={})", {4}, 0},
      {"splitcom-style", "splitcom-style(bits={})", {8, 7, 6, 5, 4, 3, 2}, 4},
      {"one step, rANS", "step(db={})+rans", {36, 32, 28, 24, 20, 16, 12, 8, 4, 0}, 4}};
  return *kFamilies;
}

}  // namespace isthmus::bench
