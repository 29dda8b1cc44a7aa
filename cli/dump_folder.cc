#include "cli/dump_folder.h"

#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "model/npy.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::json;

constexpr char kIndex[] = "/index.jsonl";

// A member of a kind; a null where it is absent or of another.
Json Member(const Json& line, const char* name, Json::value_t type) {
  const auto found = line.find(name);
  return found != line.end() && found->type() == type ? *found : Json();
}

bool IsCounts(const Json& list) {
  if (!list.is_array() || list.empty()) return false;
  for (const Json& value : list)
    if (!value.is_number_unsigned()) return false;
  return true;
}

// A name in the folder itself.
bool IsFileName(const Json& name) {
  return name.is_string() && name.get_ref<const std::string&>().find('/') == std::string::npos &&
         name != "";
}

struct IndexLine {
  std::string file, row_ids;
  std::pair<uint64_t, Direction> edge;
  bool row_ids_shared = false;
  CapturedFrame frame;  // without values and row ids
};

absl::StatusOr<IndexLine> ParseLine(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return InvalidArgument("expected a JSON object, got something else");
  const Json file = Member(json, "file", Json::value_t::string);
  const Json row_ids = json.value("row_ids", Json());
  const Json direction = Member(json, "direction", Json::value_t::string);
  if (!IsFileName(file) || !(row_ids.is_null() || IsFileName(row_ids)))
    return InvalidArgument("expected `file` and `row_ids` in the folder, got others");
  if (direction != "forward" && direction != "backward")
    return InvalidArgument("expected `direction` forward or backward, got another");
  IndexLine line;
  line.file = file.get<std::string>();
  if (!row_ids.is_null()) line.row_ids = row_ids.get<std::string>();
  line.row_ids_shared = Member(json, "row_ids_shared", Json::value_t::boolean) == true;
  for (const char* name : {"edge", "step", "micro_batch"})
    if (Member(json, name, Json::value_t::number_unsigned).is_null())
      return InvalidArgument("expected a number `", name, "`, got none");
  line.edge = {json["edge"].get<uint64_t>(),
               direction == "forward" ? Direction::kForward : Direction::kBackward};
  line.frame.step = json["step"].get<uint64_t>();
  line.frame.micro_batch = json["micro_batch"].get<uint32_t>();
  const Json samples = json.value("samples", Json()), lengths = json.value("lengths", Json());
  if (!IsCounts(samples) || !IsCounts(lengths) || samples.size() != lengths.size())
    return InvalidArgument("expected as many `lengths` as `samples`, got others");
  int64_t begin = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto tokens = static_cast<int64_t>(lengths[i].get<uint32_t>());
    line.frame.samples.push_back({samples[i].get<uint64_t>(), begin, tokens});
    begin += tokens;
  }
  return line;
}

size_t Rows(const CapturedEdge& edge, const CapturedFrame& frame) {
  return frame.x_TD.size() / static_cast<size_t>(edge.width);
}

absl::Status ReadValues(const std::string& folder, IndexLine* line, int64_t* width) {
  const std::string path = absl::StrCat(folder, "/", line->file);
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor x_TD, ReadNpy(path));
  const SampleRows& last = line->frame.samples.back();
  const int64_t tokens = last.begin + last.tokens;
  if (x_TD.dtype() != DType::kF32 || x_TD.shape().size() != 2 || x_TD.dim(0) != tokens)
    return InvalidArgument(path, ": expected '<f4' values of ", tokens, " rows, got ",
                           Name(x_TD.dtype()), " ", ToString(x_TD.shape()));
  *width = x_TD.dim(1);
  line->frame.x_TD.assign(x_TD.floats().begin(), x_TD.floats().end());
  if (line->row_ids.empty()) return absl::OkStatus();
  const std::string ids_path = absl::StrCat(folder, "/", line->row_ids);
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor ids, ReadNpy(ids_path));
  if (ids.dtype() != DType::kI32 || ids.num_elements() != tokens)
    return InvalidArgument(ids_path, ": expected ", tokens, " '<i4' ids, got ", Name(ids.dtype()),
                           " ", ToString(ids.shape()));
  line->frame.row_ids.assign(ids.ints().begin(), ids.ints().end());
  return absl::OkStatus();
}

// Where an edge's codec sent no numbers of its own, those of the first edge stand in: they tell the
// same rows from each other, as numbers do that travel with the micro-batch.
void LendRowIds(std::map<std::pair<uint64_t, Direction>, CapturedEdge>* edges) {
  std::map<std::pair<uint64_t, uint32_t>, const std::vector<uint32_t>*> known;
  for (auto& [key, edge] : *edges) {
    if (key.second != Direction::kForward) continue;
    for (CapturedFrame& frame : edge.frames) {
      const auto [place, first] =
          known.try_emplace({frame.step, frame.micro_batch}, &frame.row_ids);
      if (!first && frame.row_ids.empty() && place->second->size() == Rows(edge, frame))
        frame.row_ids = *place->second;
    }
  }
}

}  // namespace

bool IsDumpFolder(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path + kIndex, error);
}

absl::StatusOr<std::vector<DumpedEdge>> ReadDumpFolder(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string index, ReadFile(path + kIndex));
  std::map<std::pair<uint64_t, Direction>, CapturedEdge> edges;
  int64_t number = 0;
  for (const absl::string_view text : absl::StrSplit(index, '\n', absl::SkipEmpty())) {
    const std::string where = absl::StrCat(path, kIndex, ":", ++number);
    absl::StatusOr<IndexLine> line = ParseLine(text);
    if (!line.ok()) return Annotate(line.status(), where);
    int64_t width = 0;
    ISTHMUS_RETURN_IF_ERROR(ReadValues(path, &*line, &width));
    CapturedEdge& edge = edges[line->edge];
    if (edge.frames.empty()) edge.width = width;
    if (edge.width != width)
      return InvalidArgument(where, ": expected rows of ", edge.width, " values, got ", width);
    edge.direction = line->edge.second;
    edge.shared_row_ids = line->row_ids_shared;
    edge.frames.push_back(std::move(line->frame));
  }
  if (edges.empty()) return InvalidArgument(path, kIndex, ": expected a line, got none");
  LendRowIds(&edges);
  std::vector<DumpedEdge> dumped;
  for (auto& [key, edge] : edges)
    dumped.push_back({absl::StrCat("edge ", key.first, " ", Name(key.second)), std::move(edge)});
  return dumped;
}

}  // namespace isthmus
