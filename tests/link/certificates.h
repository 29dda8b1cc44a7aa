// Certificates made on the spot, for tests.
#ifndef ISTHMUS_TESTS_LINK_CERTIFICATES_H_
#define ISTHMUS_TESTS_LINK_CERTIFICATES_H_

#include <string>

#include "link/tls.h"

namespace isthmus {

// A CA of its own in a temporary directory, and certificates for 127.0.0.1 and localhost that it
// signs.
class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();
  const std::string& ca() const { return ca_; }
  // The paths of a new certificate and key.
  TlsFiles Issue(const std::string& name);
  std::string directory() const { return directory_; }

 private:
  void Run(const std::string& arguments) const;

  std::string directory_;
  std::string ca_;
};

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_LINK_CERTIFICATES_H_
