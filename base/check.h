// CHECK is for our own bugs. Bytes from a socket, a file or a flag never reach one.
#ifndef ISTHMUS_BASE_CHECK_H_
#define ISTHMUS_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

#define ISTHMUS_CHECK(condition)                                                             \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "isthmus: bug: %s does not hold (%s:%d)\n", #condition, __FILE__, \
                   __LINE__);                                                                \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

#endif  // ISTHMUS_BASE_CHECK_H_
