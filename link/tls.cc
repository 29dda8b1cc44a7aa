#include "link/tls.h"

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr int64_t kMaxPemBytes = 1 << 20;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio Memory(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
}

// gRPC takes any bytes and fails at the first handshake without a word; a wrong file is found here.
absl::StatusOr<std::string> ReadCertificate(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(std::string pem, ReadFile(path, kMaxPemBytes));
  const Bio bio = Memory(pem);
  const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  ERR_clear_error();
  if (certificate == nullptr)
    return InvalidArgument("tls: expected a PEM certificate, got something else (", path, ")");
  return pem;
}

absl::StatusOr<std::string> ReadKey(const std::string& path, const std::string& certificate_pem) {
  ISTHMUS_ASSIGN_OR_RETURN(std::string pem, ReadFile(path, kMaxPemBytes));
  const Bio key_bio = Memory(pem);
  // An empty password: an encrypted key must not ask on the terminal.
  const Key key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, const_cast<char*>("")),
                EVP_PKEY_free);
  ERR_clear_error();
  if (key == nullptr)
    return InvalidArgument(
        "tls: expected a PEM private key without a password, got something else (", path, ")");
  const Bio certificate_bio = Memory(certificate_pem);
  const Certificate certificate(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr),
                                X509_free);
  const bool fits =
      certificate != nullptr && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits)
    return InvalidArgument("tls: expected the private key of the certificate, got another (", path,
                           ")");
  return pem;
}

struct Pair {
  std::string cert, key;
};

absl::StatusOr<Pair> ReadPair(const TlsFiles& files) {
  if (files.cert.empty() || files.key.empty()) {
    return InvalidArgument("tls: expected both a certificate and its key, got only a ",
                           files.key.empty() ? "certificate" : "key");
  }
  Pair pair;
  ISTHMUS_ASSIGN_OR_RETURN(pair.cert, ReadCertificate(files.cert));
  ISTHMUS_ASSIGN_OR_RETURN(pair.key, ReadKey(files.key, pair.cert));
  return pair;
}

// The host of "HOST:PORT", "[V6]:PORT" or a bare host.
absl::string_view Host(absl::string_view address) {
  for (absl::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&address, scheme)) break;
  }
  if (absl::ConsumePrefix(&address, "[")) return address.substr(0, address.find(']'));
  const size_t colon = address.rfind(':');
  // More than one colon without brackets: an IPv6 address without a port.
  if (colon == absl::string_view::npos || address.find(':') != colon) return address;
  return address.substr(0, colon);
}

bool FirstTime(absl::string_view address) {
  static Mutex* const mutex = new Mutex;
  static auto* const seen = new std::set<std::string>;
  MutexLock lock(mutex);
  return seen->insert(std::string(address)).second;
}

}  // namespace

// Digits and dots only behind "127.": 127.evil.example is a name.
bool IsLoopback(absl::string_view address) {
  if (absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:"))
    return true;
  const absl::string_view host = Host(address);
  if (host == "localhost" || host == "::1") return true;
  return absl::StartsWith(host, "127.") &&
         host.find_first_not_of("0123456789.") == absl::string_view::npos;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    const TlsFiles& files) {
  if (!files.enabled()) return grpc::InsecureChannelCredentials();
  if (files.ca.empty())
    return InvalidArgument("tls: expected a CA certificate to check the server with, got none");
  grpc::SslCredentialsOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.pem_root_certs, ReadCertificate(files.ca));
  if (!files.cert.empty() || !files.key.empty()) {
    ISTHMUS_ASSIGN_OR_RETURN(Pair pair, ReadPair(files));
    options.pem_cert_chain = std::move(pair.cert);
    options.pem_private_key = std::move(pair.key);
  }
  return grpc::SslCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const TlsFiles& files) {
  if (!files.enabled()) return grpc::InsecureServerCredentials();
  if (files.cert.empty() && files.key.empty())
    return InvalidArgument("tls: expected a server's certificate and key, got none");
  ISTHMUS_ASSIGN_OR_RETURN(Pair pair, ReadPair(files));
  grpc::SslServerCredentialsOptions options(
      files.ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                       : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  if (!files.ca.empty()) {
    ISTHMUS_ASSIGN_OR_RETURN(options.pem_root_certs, ReadCertificate(files.ca));
  }
  options.pem_key_cert_pairs.push_back({std::move(pair.key), std::move(pair.cert)});
  return grpc::SslServerCredentials(options);
}

absl::Status CheckAddressSecurity(absl::string_view address, const TlsFiles& tls, bool insecure,
                                  absl::string_view flag) {
  // The resolver would take port 99999 for 34463.
  int64_t port = 0;
  if (absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port) && port > 65535) {
    return InvalidArgument(flag, ": expected a port up to 65535, got ", address);
  }
  if (tls.enabled() || IsLoopback(address)) return absl::OkStatus();
  if (!insecure) {
    return InvalidArgument(
        flag,
        ": expected a loopback address, or --tls-ca --tls-cert --tls-key, or --insecure; got ",
        address, " in plain text");
  }
  if (FirstTime(address))
    LogWarning("link", flag, " ", address,
               ": plain text beyond this machine: anyone on the way can read and change it");
  return absl::OkStatus();
}

}  // namespace isthmus
