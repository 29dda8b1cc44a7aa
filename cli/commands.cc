#include "cli/commands.h"

namespace isthmus {

const std::vector<Command>& AllCommands() {
  static const auto* commands = new std::vector<Command>{
      DemoCommand(),  CoordinatorCommand(), WorkerCommand(),   TrainCommand(),
      EvalCommand(),  GenerateCommand(),    TokenizeCommand(), PlanCommand(),
      MergeCommand(), StatusCommand(),      JobsCommand(),     WorkersCommand(),
      StopCommand(),  CodecCommand(),       InspectCommand(),  VersionCommand()};
  return *commands;
}

}  // namespace isthmus
