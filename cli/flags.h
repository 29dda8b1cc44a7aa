// Command lines: a table of commands and flags, and the one parser that reads arguments, ISTHMUS_*
// variables and a --config file against it (flag > variable > file). Help is generated from the
// same table.
#ifndef ISTHMUS_CLI_FLAGS_H_
#define ISTHMUS_CLI_FLAGS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

enum class FlagKind : uint8_t {
  kSwitch,  // --json; also --json=false
  kText,
  kInteger,  // within [least, most]
  kNumber,   // within [least, most]
  kBytes,    // 48MiB, 20GiB, 1000
  kSeconds,  // 60s, 5m, 500ms, 2
};

struct Flag {
  std::string name;  // without the dashes
  FlagKind kind = FlagKind::kText;
  std::string value = {};     // how help calls it: "DIR"
  std::string help = {};      // a line
  std::string fallback = {};  // as if given; "": none
  bool required = false;
  bool repeated = false;
  double least = 0.0, most = 1e18;
  std::vector<std::string> choices = {};
};

class Invocation;

struct CliCommand {
  std::string name;
  std::string arguments = {};  // "JOB.yaml", "[ID]", ""
  int least_arguments = 0, most_arguments = 0;
  std::string summary;     // one line
  std::string notes = {};  // further lines of its help; may be empty
  std::vector<Flag> flags = {};
  bool ends_orderly = false;  // looks at Interrupt: a signal does not kill it at once
  std::function<absl::Status(const Invocation&)> run = {};
};

// One command line, checked: every value is of its kind and within its range.
class Invocation {
 public:
  bool Has(absl::string_view flag) const;          // given, or has a default
  bool Given(absl::string_view flag) const;        // given by argument, variable or file
  bool On(absl::string_view flag) const;           // a switch
  std::string Text(absl::string_view flag) const;  // "" when absent
  std::vector<std::string> Texts(absl::string_view flag) const;
  int64_t Integer(absl::string_view flag) const;  // also kBytes
  double Number(absl::string_view flag) const;    // also kSeconds
  const std::vector<std::string>& arguments() const { return arguments_; }

 private:
  friend class CommandLine;
  struct Value {
    std::vector<std::string> texts;
    double number = 0.0;
    int64_t integer = 0;
    bool on = false;
    bool given = false;
  };
  const Value& Find(absl::string_view flag) const;
  std::map<std::string, Value, std::less<>> values_;
  std::vector<std::string> arguments_;
};

// nullptr when a variable is not set.
using Environment = std::function<const char*(const std::string&)>;

// Flags that every command has: help, config, log-level, log-format.
const std::vector<Flag>& CommonFlags();

// `arguments` follow the command's name. kInvalidArgument names the flag and, for an unknown one,
// the nearest known.
absl::StatusOr<Invocation> ParseCommandLine(const CliCommand& command,
                                            absl::Span<const std::string> arguments,
                                            const Environment& environment);

std::string CommandHelp(const CliCommand& command);
std::string ProgramHelp(absl::Span<const CliCommand> commands);

// "model-root" -> "ISTHMUS_MODEL_ROOT".
std::string VariableName(absl::string_view flag);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_FLAGS_H_
