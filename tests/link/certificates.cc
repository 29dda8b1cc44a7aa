#include "tests/link/certificates.h"

#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "base/file.h"

namespace isthmus {

TestAuthority::TestAuthority() {
  char path[] = "/tmp/isthmus-certificates-XXXXXX";
  ISTHMUS_CHECK(mkdtemp(path) != nullptr);
  directory_ = path;
  ca_ = directory_ + "/ca.pem";
  Run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca "
      "-keyout ca.key -out ca.pem");
}

TestAuthority::~TestAuthority() { std::filesystem::remove_all(directory_); }

TlsFiles TestAuthority::Issue(const std::string& name) {
  ISTHMUS_CHECK(WriteFileAtomic(directory_ + "/" + name + ".ext",
                                "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
                    .ok());
  Run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " +
      name + ".key -out " + name + ".csr");
  Run("x509 -req -in " + name + ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile " +
      name + ".ext -out " + name + ".pem");
  return {"", directory_ + "/" + name + ".pem", directory_ + "/" + name + ".key"};
}

void TestAuthority::Run(const std::string& arguments) const {
  const std::string command = "cd " + directory_ + " && openssl " + arguments + " 2>/dev/null";
  ISTHMUS_CHECK(std::system(command.c_str()) == 0);
}

}  // namespace isthmus
