// The table of commands: one file each, cli/command_NAME.cc.
#ifndef ISTHMUS_CLI_COMMANDS_H_
#define ISTHMUS_CLI_COMMANDS_H_

#include <vector>

#include "cli/flags.h"

namespace isthmus {

CliCommand CodecCommand();
CliCommand CoordinatorCommand();
CliCommand DemoCommand();
CliCommand EvalCommand();
CliCommand GenerateCommand();
CliCommand InspectCommand();
CliCommand JobsCommand();
CliCommand KernelCommand();
CliCommand MergeCommand();
CliCommand PlanCommand();
CliCommand QuantizeCommand();
CliCommand StatusCommand();
CliCommand StopCommand();
CliCommand TokenizeCommand();
CliCommand TrainCommand();
CliCommand VersionCommand();
CliCommand WorkerCommand();
CliCommand WorkersCommand();

// In the order of the help.
const std::vector<CliCommand>& AllCommands();

}  // namespace isthmus

#endif  // ISTHMUS_CLI_COMMANDS_H_
