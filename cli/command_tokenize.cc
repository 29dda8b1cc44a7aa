// isthmus tokenize: standard input line by line, {"text"} in, {"ids"} out.
#include <iostream>
#include <string>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::string> TextOf(const std::string& line, int64_t number) {
  const Json json = Json::parse(line, nullptr, false);
  const auto text = json.is_object() ? json.find("text") : json.end();
  if (json.is_object() && text != json.end() && text->is_string()) return text->get<std::string>();
  return InvalidArgument("standard input: expected {\"text\": …}, got ", line.substr(0, 60),
                         " (line ", number, ")");
}

Json Pieces(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  Json pieces = Json::array();
  for (const int32_t id : ids) pieces.push_back(tokenizer.Decode({&id, 1}, false));
  return pieces;
}

absl::Status RunTokenize(const Invocation& in) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Open(in.Text("model")));
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.empty()) continue;
    ISTHMUS_ASSIGN_OR_RETURN(const std::string text, TextOf(line, number));
    const auto ids = tokenizer->Encode(text);
    if (!ids.ok()) return Annotate(ids.status(), absl::StrCat("standard input, line ", number));
    Json out = {{"ids", *ids}};
    if (!in.On("json")) out["pieces"] = Pieces(*tokenizer, *ids);
    const auto replace = Json::error_handler_t::replace;  // a piece may be half a character
    if (!Print(out.dump(-1, ' ', false, replace) + "\n")) break;
  }
  return absl::OkStatus();
}

}  // namespace

CliCommand TokenizeCommand() {
  return {.name = "tokenize",
          .summary = "token ids of standard input",
          .notes =
              "Standard input: one JSON object {\"text\": …} a line. Standard output: {\"ids\": "
              "[…]} a line.",
          .flags = {{.name = "model",
                     .value = "DIR",
                     .help = "folder with the tokenizer",
                     .required = true},
                    {.name = "json",
                     .kind = FlagKind::kSwitch,
                     .help = "ids alone, without their pieces of text"}},
          .run = RunTokenize};
}

}  // namespace isthmus
