#include "cli/npy_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/bytes.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 32;

absl::Status Not(const std::string& path, absl::string_view expected, absl::string_view got) {
  return InvalidArgument("--input: expected ", expected, ", got ", got, " (", path, ")");
}

// What stands behind 'key': in the header's Python dictionary, up to `end`.
absl::string_view ValueOf(absl::string_view header, absl::string_view key, char end) {
  const size_t at = header.find(absl::StrCat("'", key, "':"));
  if (at == absl::string_view::npos) return {};
  absl::string_view rest = header.substr(at + key.size() + 3);
  return rest.substr(0, rest.find(end));
}

// "(12, 64" to dimensions.
absl::StatusOr<std::vector<int64_t>> Shape(const std::string& path, absl::string_view text) {
  std::vector<int64_t> shape;
  int64_t elements = 1;
  const size_t open = text.find('(');
  if (open == absl::string_view::npos) return Not(path, "a shape", "none");
  for (absl::string_view part : absl::StrSplit(text.substr(open + 1), ',')) {
    int64_t size = 0;
    if (absl::StripAsciiWhitespace(part).empty()) continue;
    if (!absl::SimpleAtoi(part, &size) || size < 1 || size > kMostElements / elements)
      return Not(path, "dimensions from 1, 2^32 values in all", part);
    elements *= size;
    shape.push_back(size);
  }
  if (shape.empty()) return Not(path, "at least one dimension", "none");
  return shape;
}

absl::StatusOr<std::string> Header(const std::string& path, std::istream* file) {
  char magic[8];
  if (!file->read(magic, 8) || std::memcmp(magic, "\x93NUMPY", 6) != 0)
    return Not(path, "a .npy file", "another");
  const bool wide = magic[6] >= 2;
  uint8_t bytes[4] = {};
  if (magic[6] > 2 || !file->read(reinterpret_cast<char*>(bytes), wide ? 4 : 2))
    return Not(path, "a .npy file of version 1 or 2", "another");
  uint32_t size;
  std::memcpy(&size, bytes, 4);
  std::string header(size, '\0');
  if (size > 1 << 16 || !file->read(header.data(), size))
    return Not(path, "a header of at most 64 KiB", "another");
  return header;
}

}  // namespace

absl::StatusOr<NpyMatrix> ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Not(path, "a readable file", "none");
  ISTHMUS_ASSIGN_OR_RETURN(const std::string header, Header(path, &file));
  const absl::string_view type = ValueOf(header, "descr", ',');
  if (type.find("<f4") == absl::string_view::npos) return Not(path, "'<f4' values", type);
  if (ValueOf(header, "fortran_order", ',').find("False") == absl::string_view::npos)
    return Not(path, "values in C order", "others");
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape,
                           Shape(path, ValueOf(header, "shape", ')')));
  NpyMatrix matrix;
  matrix.width = shape.back();
  size_t elements = 1;
  for (const int64_t size : shape) elements *= static_cast<size_t>(size);
  // Grows with what the file holds, not with what its header says.
  constexpr size_t kPiece = 1 << 20;
  while (matrix.values.size() < elements) {
    const size_t at = matrix.values.size(), n = std::min(kPiece, elements - at);
    matrix.values.resize(at + n);
    if (!file.read(reinterpret_cast<char*>(matrix.values.data() + at),
                   static_cast<std::streamsize>(n * sizeof(float)))) {
      return Not(path, absl::StrCat(elements, " values"), "fewer");
    }
  }
  return matrix;
}

}  // namespace isthmus
