// The table of commands: one file each, cli/command_NAME.cc.
#ifndef ISTHMUS_CLI_COMMANDS_H_
#define ISTHMUS_CLI_COMMANDS_H_

#include <vector>

#include "cli/flags.h"

namespace isthmus {

Command CodecCommand();
Command CoordinatorCommand();
Command DemoCommand();
Command EvalCommand();
Command GenerateCommand();
Command InspectCommand();
Command JobsCommand();
Command MergeCommand();
Command PlanCommand();
Command StatusCommand();
Command StopCommand();
Command TokenizeCommand();
Command TrainCommand();
Command VersionCommand();
Command WorkerCommand();
Command WorkersCommand();

// In the order of the help.
const std::vector<Command>& AllCommands();

}  // namespace isthmus

#endif  // ISTHMUS_CLI_COMMANDS_H_
