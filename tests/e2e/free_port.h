// Ports for programs under test that must know a port before they listen at it.
#ifndef ISTHMUS_TESTS_E2E_FREE_PORT_H_
#define ISTHMUS_TESTS_E2E_FREE_PORT_H_

namespace isthmus::e2e {

// A TCP port of the loopback interface at which nobody listens, below the range from which the
// kernel takes the local ports of outgoing connections: between this call and the listening, which
// may be seconds, no connection of another test can take it. Never the same one twice; another
// process gets the same one with a chance of 1 in thousands. 0 where none is free.
int FreePort();

}  // namespace isthmus::e2e

#endif  // ISTHMUS_TESTS_E2E_FREE_PORT_H_
