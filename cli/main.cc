// The `isthmus` and `isthmus-edge` programs: finds the command, reads its flags, runs it, turns its
// status into an exit status.
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/log.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/exit_status.h"
#include "cli/nearest.h"
#include "cli/output.h"
#include "client/interrupt.h"
#include "link/grpc_environment.h"

namespace isthmus {
namespace {

absl::StatusOr<const CliCommand*> FindCommand(const std::string& name) {
  std::vector<std::string> names;
  for (const CliCommand& command : AllCommands()) {
    if (command.name == name) return &command;
    names.push_back(command.name);
  }
  return InvalidArgument(name, ": expected a command, got an unknown one (the nearest is ",
                         Nearest(name, names), "; `isthmus --help` lists them)");
}

void SetUpLog(const Invocation& invocation) {
  static constexpr const char* kLevels[] = {"debug", "info", "warning", "error", "off"};
  for (int i = 0; i < 5; ++i) {
    if (invocation.Text("log-level") == kLevels[i]) SetLogLevel(static_cast<LogLevel>(i));
  }
  SetLogJson(invocation.Text("log-format") == "json");
}

absl::Status SetUpProxy(const Invocation& invocation) {
  if (!invocation.Given("proxy")) return absl::OkStatus();
  const std::string proxy = invocation.Text("proxy");
  int port = 0;
  const size_t colon = proxy.rfind(':');
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(proxy.substr(colon + 1), &port) || port < 1 || port > 65535)
    return InvalidArgument("--proxy: expected HOST:PORT, got ", proxy);
  UseHttpProxy(proxy);
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& words) {
  if (words.empty()) {
    return InvalidArgument("command: expected one of those that `isthmus --help` lists, got none");
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    Print(ProgramHelp(AllCommands()));
    return absl::OkStatus();
  }
  const std::string name = words[0] == "--version" ? "version" : words[0];
  ISTHMUS_ASSIGN_OR_RETURN(const CliCommand* command, FindCommand(name));
  const auto environment = [](const std::string& variable) -> const char* {
    return std::getenv(variable.c_str());
  };
  ISTHMUS_ASSIGN_OR_RETURN(
      const Invocation invocation,
      ParseCommandLine(*command, absl::MakeSpan(words).subspan(1), environment));
  if (invocation.On("help")) {
    Print(CommandHelp(*command));
    return absl::OkStatus();
  }
  SetUpLog(invocation);
  ISTHMUS_RETURN_IF_ERROR(SetUpProxy(invocation));
  if (command->ends_orderly) Interrupt::Install();
  return command->run(invocation);
}

}  // namespace
}  // namespace isthmus

int main(int argc, char** argv) {
  isthmus::PrepareProcess(argv);
  const absl::Status status = isthmus::Run(std::vector<std::string>(argv + 1, argv + argc));
  if (!status.ok()) {
    const std::string line = isthmus::ErrorLine(status);
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
  }
  return isthmus::ExitStatus(status, isthmus::Interrupt::Signal());
}
