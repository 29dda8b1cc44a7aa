// The codecs that are compared, each as a family of specs from fine to coarse.
#ifndef ISTHMUS_BENCH_CODEC_FAMILIES_H_
#define ISTHMUS_BENCH_CODEC_FAMILIES_H_

#include <cstddef>
#include <string>
#include <vector>

namespace isthmus::bench {

struct CodecFamily {
  std::string name;
  std::string form;         // a spec with {} for the value and {+1} for the next
  std::vector<int> values;  // finer first
  size_t start = 0;         // index of a value of about 4 bits: a search begins there
  bool rival = false;       // one of those that `ecq` has to beat by a stated share

  std::string Spec(size_t index) const;
};

const std::vector<CodecFamily>& CodecFamilies();

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_CODEC_FAMILIES_H_
