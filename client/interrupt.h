// SIGINT and SIGTERM as something to ask for and to wait for. The first asks for an orderly end; a
// second SIGINT ends at once.
#ifndef ISTHMUS_CLIENT_INTERRUPT_H_
#define ISTHMUS_CLIENT_INTERRUPT_H_

#include <atomic>
#include <cstdint>

namespace isthmus {

// Process-wide. Install once, from main, before threads start.
class Interrupt {
 public:
  // Catches SIGTERM, and SIGINT unless the parent ignores it for us; ignores SIGPIPE.
  static void Install();
  // Number of the first signal that came; 0: none.
  static int Signal();
  // A second one came: the user does not want to wait.
  static bool Again();
  // The first one, for code that takes it as an argument.
  static const std::atomic<int>* flag();
  // Returns when a signal came.
  static void Wait();
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_INTERRUPT_H_
