// isthmus codec list: the codecs of this build.
#include "base/status.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "compression/codec_table.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<Json> Row(const CodecRow& row) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto codec, Codec::Parse(row.example));
  return Json{{"name", std::string(row.name)},
              {"arguments", std::string(row.summary)},
              {"example", std::string(row.example)},
              {"directions", codec->ForwardOnly() ? "forward" : "both"}};
}

std::string ForPeople(const Json& rows) {
  std::vector<std::vector<std::string>> table = {{"codec", "directions", "example", "what it is"}};
  for (const Json& row : rows) {
    table.push_back({row["name"], row["directions"], row["example"], row["arguments"]});
  }
  return Table(table);
}

absl::Status RunCodec(const Invocation& in) {
  if (in.arguments()[0] != "list") {
    return InvalidArgument("codec: expected `list`, got ", in.arguments()[0]);
  }
  Json rows = Json::array();
  for (const CodecRow& row : CodecTable()) {
    ISTHMUS_ASSIGN_OR_RETURN(Json json, Row(row));
    rows.push_back(std::move(json));
  }
  Print(in.On("json") ? Json{{"codecs", rows}}.dump() + "\n" : ForPeople(rows));
  return absl::OkStatus();
}

}  // namespace

CliCommand CodecCommand() {
  return {.name = "codec",
          .arguments = "list",
          .least_arguments = 1,
          .most_arguments = 1,
          .summary = "the codecs of this build",
          .flags = {{.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
          .run = RunCodec};
}

}  // namespace isthmus
