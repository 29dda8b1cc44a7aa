#include "cli/flags.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"
#include "base/status.h"
#include "cli/config_file.h"
#include "cli/flag_value.h"
#include "cli/nearest.h"

namespace isthmus {

const std::vector<Flag>& CommonFlags() {
  static const auto* flags = new std::vector<Flag>{
      {.name = "config", .value = "FILE", .help = "YAML file of flags: `name: value`"},
      {.name = "log-level",
       .value = "LEVEL",
       .help = "what is logged on standard error",
       .fallback = "warning",
       .choices = {"debug", "info", "warning", "error", "off"}},
      {.name = "log-format",
       .value = "FORM",
       .help = "form of log lines",
       .fallback = "text",
       .choices = {"text", "json"}},
      {.name = "help", .kind = FlagKind::kSwitch, .help = "this text"},
  };
  return *flags;
}

std::string VariableName(absl::string_view flag) {
  return absl::StrCat("ISTHMUS_", absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

// --- values

const Invocation::Value& Invocation::Find(absl::string_view flag) const {
  static const auto* none = new Value();
  const auto it = values_.find(flag);
  return it == values_.end() ? *none : it->second;
}
bool Invocation::Has(absl::string_view flag) const { return !Find(flag).texts.empty(); }
bool Invocation::Given(absl::string_view flag) const { return Find(flag).given; }
bool Invocation::On(absl::string_view flag) const { return Find(flag).on; }
std::string Invocation::Text(absl::string_view flag) const {
  const Value& value = Find(flag);
  return value.texts.empty() ? "" : value.texts.back();
}
std::vector<std::string> Invocation::Texts(absl::string_view flag) const {
  return Find(flag).texts;
}
int64_t Invocation::Integer(absl::string_view flag) const { return Find(flag).integer; }
double Invocation::Number(absl::string_view flag) const { return Find(flag).number; }

namespace {

std::string Expected(const Flag& flag) {
  if (!flag.choices.empty()) return absl::StrCat("one of ", absl::StrJoin(flag.choices, ", "));
  const std::string range = flag.most < 1e18 ? absl::StrCat(" from ", flag.least, " to ", flag.most)
                                             : absl::StrCat(" of at least ", flag.least);
  switch (flag.kind) {
    case FlagKind::kSwitch:
      return "true or false";
    case FlagKind::kText:
      return "a text";
    case FlagKind::kInteger:
      return absl::StrCat("a whole number", range);
    case FlagKind::kNumber:
      return absl::StrCat("a number", range);
    case FlagKind::kBytes:
      return "a size such as 20GiB";
    case FlagKind::kSeconds:
      return "a time such as 60s";
  }
  return "a value";
}

std::vector<const Flag*> AllFlags(const CliCommand& command) {
  std::vector<const Flag*> flags;
  for (const Flag& flag : command.flags) flags.push_back(&flag);
  for (const Flag& flag : CommonFlags()) flags.push_back(&flag);
  return flags;
}

absl::StatusOr<const Flag*> FindFlag(const CliCommand& command, absl::string_view name,
                                     absl::string_view shown) {
  std::vector<std::string> names;
  for (const Flag* flag : AllFlags(command)) {
    if (flag->name == name) return flag;
    names.push_back(flag->name);
  }
  return InvalidArgument(shown, ": expected a flag of `isthmus ", command.name,
                         "`, got an unknown one (the nearest is --", Nearest(name, names), ")");
}

bool ParseSwitch(absl::string_view text, bool* on) {
  const std::string lower = absl::AsciiStrToLower(text);
  *on = lower == "true" || lower == "1" || lower == "yes";
  return *on || lower == "false" || lower == "0" || lower == "no";
}

}  // namespace

// Fills an Invocation from one source after the other; an earlier source wins.
class CommandLine {
 public:
  explicit CommandLine(const CliCommand& command) : command_(command) {}

  absl::Status ReadArguments(absl::Span<const std::string> arguments);
  absl::Status ReadVariables(const Environment& environment);
  absl::Status ReadFile();
  absl::Status Finish();
  Invocation Take() { return std::move(out_); }
  bool help() const { return out_.On("help"); }

 private:
  absl::Status Set(const Flag& flag, const std::string& text, absl::string_view where);
  absl::Status CheckArguments() const;

  const CliCommand& command_;
  Invocation out_;
};

absl::Status CommandLine::Set(const Flag& flag, const std::string& text, absl::string_view where) {
  Invocation::Value& value = out_.values_[flag.name];
  bool good = true;
  double number = 0.0;
  switch (flag.kind) {
    case FlagKind::kSwitch:
      good = ParseSwitch(text, &value.on);
      break;
    case FlagKind::kText:
      break;
    case FlagKind::kInteger:
      good = absl::SimpleAtoi(text, &value.integer);
      number = static_cast<double>(value.integer);
      good = good && number >= flag.least && number <= flag.most;
      break;
    case FlagKind::kNumber:
      good = absl::SimpleAtod(text, &number) && number >= flag.least && number <= flag.most;
      break;
    case FlagKind::kBytes: {
      const auto bytes = ParseBytes(text);
      good = bytes.has_value();
      value.integer = bytes.value_or(0);
      break;
    }
    case FlagKind::kSeconds: {
      const auto seconds = ParseSeconds(text);
      good = seconds.has_value();
      number = seconds.value_or(0.0);
      break;
    }
  }
  const auto& choices = flag.choices;
  if (!choices.empty()) good = std::find(choices.begin(), choices.end(), text) != choices.end();
  if (!good) return InvalidArgument(where, ": expected ", Expected(flag), ", got ", text);
  value.number = number;
  if (!flag.repeated) value.texts.clear();
  value.texts.push_back(text);
  value.given = true;
  return absl::OkStatus();
}

absl::Status CommandLine::ReadArguments(absl::Span<const std::string> arguments) {
  bool only_arguments = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (only_arguments || !absl::StartsWith(word, "-") || word == "-") {
      out_.arguments_.push_back(word);
      continue;
    }
    if (word == "--") {
      only_arguments = true;
      continue;
    }
    const size_t equals = word.find('=');
    const std::string shown = word == "-h" ? "--help" : word.substr(0, equals);
    const std::string name = absl::StartsWith(shown, "--") ? shown.substr(2) : shown;
    ISTHMUS_ASSIGN_OR_RETURN(const Flag* flag, FindFlag(command_, name, shown));
    std::string text = equals == std::string::npos ? "true" : word.substr(equals + 1);
    if (equals == std::string::npos && flag->kind != FlagKind::kSwitch) {
      if (i + 1 >= arguments.size() || absl::StartsWith(arguments[i + 1], "--")) {
        return InvalidArgument(shown, ": expected ", Expected(*flag), ", got no value");
      }
      text = arguments[++i];
    }
    ISTHMUS_RETURN_IF_ERROR(Set(*flag, text, shown));
  }
  return absl::OkStatus();
}

absl::Status CommandLine::ReadVariables(const Environment& environment) {
  for (const Flag* flag : AllFlags(command_)) {
    if (flag->name == "help" || out_.Given(flag->name)) continue;
    const std::string variable = VariableName(flag->name);
    const char* text = environment(variable);
    if (text == nullptr || *text == '\0') continue;
    ISTHMUS_RETURN_IF_ERROR(Set(*flag, text, variable));
  }
  return absl::OkStatus();
}

absl::Status CommandLine::ReadFile() {
  if (!out_.Given("config")) return absl::OkStatus();
  const std::string path = out_.Text("config");
  ISTHMUS_ASSIGN_OR_RETURN(const ConfigEntries entries, ReadConfigFile(path));
  for (const auto& [name, texts] : entries) {
    const std::string where = absl::StrCat(path, ": ", name);
    ISTHMUS_ASSIGN_OR_RETURN(const Flag* flag, FindFlag(command_, name, where));
    if (out_.Given(name)) continue;
    if (texts.size() != 1 && !flag->repeated) {
      return InvalidArgument(where, ": expected one value, got ", texts.size());
    }
    for (const std::string& text : texts) ISTHMUS_RETURN_IF_ERROR(Set(*flag, text, where));
  }
  return absl::OkStatus();
}

absl::Status CommandLine::CheckArguments() const {
  const int count = static_cast<int>(out_.arguments_.size());
  if (count < command_.least_arguments) {
    return InvalidArgument(command_.name, ": expected ", command_.arguments, ", got nothing");
  }
  if (count > command_.most_arguments) {
    return InvalidArgument(command_.name, ": expected ",
                           command_.arguments.empty() ? "no argument" : command_.arguments,
                           ", got also ", out_.arguments_[command_.most_arguments]);
  }
  return absl::OkStatus();
}

absl::Status CommandLine::Finish() {
  ISTHMUS_RETURN_IF_ERROR(CheckArguments());
  for (const Flag* flag : AllFlags(command_)) {
    if (out_.Has(flag->name)) continue;
    if (flag->required) {
      return InvalidArgument("--", flag->name, ": expected ", flag->value,
                             ", got nothing (`isthmus ", command_.name, "` needs it)");
    }
    if (flag->fallback.empty()) continue;
    const absl::Status status = Set(*flag, flag->fallback, flag->name);
    ISTHMUS_CHECK(status.ok());  // a default of the table
    out_.values_[flag->name].given = false;
  }
  return absl::OkStatus();
}

absl::StatusOr<Invocation> ParseCommandLine(const CliCommand& command,
                                            absl::Span<const std::string> arguments,
                                            const Environment& environment) {
  CommandLine line(command);
  ISTHMUS_RETURN_IF_ERROR(line.ReadArguments(arguments));
  if (line.help()) return line.Take();
  ISTHMUS_RETURN_IF_ERROR(line.ReadVariables(environment));
  ISTHMUS_RETURN_IF_ERROR(line.ReadFile());
  ISTHMUS_RETURN_IF_ERROR(line.Finish());
  return line.Take();
}

// --- help

namespace {

std::string FlagHelp(const Flag& flag) {
  std::string left = absl::StrCat("  --", flag.name);
  if (flag.kind != FlagKind::kSwitch) absl::StrAppend(&left, " ", flag.value);
  std::string right = flag.help;
  if (!flag.choices.empty()) absl::StrAppend(&right, ": ", absl::StrJoin(flag.choices, " | "));
  if (!flag.fallback.empty()) absl::StrAppend(&right, " (default ", flag.fallback, ")");
  if (flag.required) absl::StrAppend(&right, " (needed)");
  if (flag.repeated) absl::StrAppend(&right, " (may be repeated)");
  return absl::StrFormat("%-28s %s\n", left, right);
}

}  // namespace

std::string CommandHelp(const CliCommand& command) {
  std::string text = absl::StrCat("isthmus ", command.name);
  if (!command.arguments.empty()) absl::StrAppend(&text, " ", command.arguments);
  absl::StrAppend(&text, "  ", command.summary, "\n");
  if (!command.notes.empty()) absl::StrAppend(&text, "\n", command.notes, "\n");
  absl::StrAppend(&text, "\nFlags (--name VALUE or --name=VALUE; variables ISTHMUS_NAME):\n");
  for (const Flag* flag : AllFlags(command)) absl::StrAppend(&text, FlagHelp(*flag));
  return text;
}

std::string ProgramHelp(absl::Span<const CliCommand> commands) {
  std::string text =
      "isthmus: fine-tunes a model that is split between a client and server workers\n\n";
  for (const CliCommand& command : commands) {
    absl::StrAppendFormat(&text, "  isthmus %-24s %s\n",
                          absl::StrCat(command.name, " ", command.arguments), command.summary);
  }
  absl::StrAppend(&text, "\n`isthmus COMMAND --help` lists the flags of a command.\n");
  return text;
}

}  // namespace isthmus
