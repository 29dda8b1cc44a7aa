#include "bench/training_families.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace isthmus::bench {
namespace {

using Rungs = std::vector<std::pair<int, int>>;

// Gradients of all rivals: fixed-length and unbiased.
constexpr char kGradient[] = "hadamard+int(bits={},group=token,round=stochastic)";

const Rungs kOnce = {{0, 0}};
// Coarser gradients than activations: rounded at random they cost less.
const Rungs kWidths = {{8, 6}, {6, 4}, {5, 3}, {4, 3}, {4, 2}, {3, 2}, {2, 2}};
const Rungs kDecibels = {{28, 8}, {24, 4}, {22, 2}, {20, 0}, {19, -1}, {18, -2}, {16, -4}};

TrainingFamily Fixed(const char* name, const char* forward, const char* backward) {
  return {name, FamilyRole::kPublished, forward, backward, kOnce};
}

TrainingFamily Rival(const char* name, const char* forward, const Rungs& rungs = kWidths) {
  return {name, FamilyRole::kRival, forward, kGradient, rungs};
}

TrainingFamily Further(const char* name, const char* forward, const Rungs& rungs = kWidths) {
  return {name, FamilyRole::kFurther, forward, kGradient, rungs};
}

}  // namespace

CodecPair TrainingFamily::At(size_t rung) const {
  const auto& [up, down] = rungs[rung];
  return {absl::StrReplaceAll(forward, {{"{}", absl::StrCat(up)}}),
          absl::StrReplaceAll(backward, {{"{}", absl::StrCat(down)}})};
}

const std::vector<TrainingFamily>& TrainingFamilies() {
  static const auto* const kFamilies = new std::vector<TrainingFamily>{
      // Where samples are seen again the error of an activation comes again with them, and
      // gradients
      // may be the coarser; in a single pass both are noise.
      {"ecq", FamilyRole::kOurs, "ecq(db={})", "ecq(db={})", kDecibels},
      {"ecq, finer gradients",
       FamilyRole::kOurs,
       "ecq(db={})",
       "ecq(db={})",
       {{28, 14}, {24, 10}, {20, 6}, {18, 4}, {17, 3}, {16, 2}, {14, 0}}},
      {"ecq, sampled gradients",
       FamilyRole::kVariant,
       "ecq(db={})",
       "ecq(db=4,keep=0.{})",
       {{28, 80}, {24, 70}, {20, 60}, {17, 50}, {14, 40}, {12, 30}, {10, 20}}},
      {"auto, links behind", FamilyRole::kVariant, "ecq(db=20)", "ecq(db=10)", kOnce, true},
      Fixed("aqsgd 4/8 as published", "aqsgd(bits=4,first=fp16)", "int8"),
      Fixed("aqsgd 2/4 as published", "aqsgd(bits=2,first=fp16)",
            "int(bits=4,group=token,round=stochastic)"),
      Rival("aqsgd", "aqsgd(bits={})", {{6, 4}, {4, 4}, {4, 3}, {3, 3}, {3, 2}, {2, 2}, {1, 2}}),
      Rival("int per channel", "int(bits={},group=channel)"),
      Rival("Hadamard, int per token", "hadamard+int(bits={},group=token)"),
      {"amaq",
       FamilyRole::kRival,
       "amaq(min=1,max=8,target={},start={})",
       "amaq(min=1,max=8,target={},start={})",
       {{7, 6}, {6, 4}, {5, 3}, {4, 3}, {4, 2}, {3, 2}, {2, 2}}},
      Rival("tah", "tah(bits={})"),
      Rival("stamp", "stamp(bits={})", {{7, 6}, {6, 4}, {5, 3}, {4, 3}, {4, 2}, {3, 2}, {2, 2}}),
      Rival("hadanorm", "hadanorm(bits={})"),
      Rival("quest", "quest(bits={})", {{4, 6}, {4, 4}, {4, 3}, {4, 2}, {3, 3}, {3, 2}, {2, 2}}),
      Fixed("fp16", "fp16", "fp16"),
      Fixed("int8", "int8", "int8"),
      Fixed("int4", "int4", "int4"),
      Further("llmint8", "llmint8(bits={})"),
      Further("shiftquant", "shiftquant(bits={})"),
      Further("mixdq-pin", "mixdq-pin(bits={})"),
      Further("splitlite-style", "splitlite-style(bits={})"),
      Further("splitcom-style", "splitcom-style(bits={},cosine=0.998)"),
      {"one step, rANS", FamilyRole::kFurther, "step(db={})+rans", "step(db={},round=dither)+rans",
       kDecibels}};
  return *kFamilies;
}

}  // namespace isthmus::bench
