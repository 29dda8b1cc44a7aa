#include "cli/commands.h"

namespace isthmus {

const std::vector<CliCommand>& AllCommands() {
  static const auto* commands = new std::vector<CliCommand>{
      DemoCommand(),     CoordinatorCommand(), WorkerCommand(),  TrainCommand(), EvalCommand(),
      GenerateCommand(), TokenizeCommand(),    PlanCommand(),    MergeCommand(), QuantizeCommand(),
      StatusCommand(),   JobsCommand(),        WorkersCommand(), StopCommand(),  CodecCommand(),
      KernelCommand(),   InspectCommand(),     VersionCommand()};
  return *commands;
}

}  // namespace isthmus
