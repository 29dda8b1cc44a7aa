// A link against a bare gRPC stream of the same messages in the same process and run, and a link's
// share of a shaped rate.
//
// Both senders hand over payloads that were made before the clock started, and both receivers drop
// what they get. The bare stream reads slices and looks at no byte. A second bare stream copies
// every message into one buffer, as anybody who uses it must: what the link costs beyond that one
// is checksums and acks. The link's surplus is what it promises: two checksums, one copy into the
// payload, acks. CPU seconds are the process's: both ends, and gRPC's threads. The shaped share is
// that of the user-space shaper; a kernel's (tc netem) is measured end to end by the network tests,
// not here.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "isthmus/v1/link.grpc.pb.h"
#include "link/grpc_environment.h"
#include "link/grpc_link.h"

namespace isthmus {
namespace {

constexpr int64_t kRoundBytes = int64_t{256} << 20;
constexpr int kRounds = 5;

std::vector<Bytes> Payloads(int64_t message_bytes, int64_t total_bytes) {
  std::vector<Bytes> payloads(
      static_cast<size_t>(std::max<int64_t>(1, total_bytes / message_bytes)));
  for (size_t i = 0; i < payloads.size(); ++i)
    payloads[i].assign(static_cast<size_t>(message_bytes), static_cast<uint8_t>(i));
  return payloads;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Cost {
  double wall_s = 0.0;
  double cpu_s = 0.0;
};

class StopWatch {
 public:
  Cost Stop() const {
    return {1e-6 * static_cast<double>(NowUs() - start_us_), CpuSeconds() - start_cpu_s_};
  }

 private:
  const int64_t start_us_ = NowUs();
  const double start_cpu_s_ = CpuSeconds();
};

// Bytes that arrived.
class Arrived {
 public:
  void Add(int64_t bytes) {
    MutexLock lock(&mutex_);
    bytes_ += bytes;
    if (bytes_ >= wanted_) changed_.SignalAll();
  }
  // Starts again from zero.
  void Expect(int64_t bytes) {
    MutexLock lock(&mutex_);
    bytes_ = 0;
    wanted_ = bytes;
  }
  void Wait() {
    MutexLock lock(&mutex_);
    while (bytes_ < wanted_) changed_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int64_t bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  int64_t wanted_ ISTHMUS_GUARDED_BY(mutex_) = 0;
};

// The receiving half of the bare stream.
class BareReader final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  BareReader(Arrived* arrived, bool copy) : arrived_(arrived), copy_(copy) { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    if (copy_) Copy();
    arrived_->Add(static_cast<int64_t>(message_.Length()));
    StartRead(&message_);
  }
  void OnDone() override { delete this; }

 private:
  void Copy() {
    std::vector<grpc::Slice> slices;
    ISTHMUS_CHECK(message_.Dump(&slices).ok());
    Bytes bytes;
    bytes.reserve(message_.Length());
    for (const grpc::Slice& slice : slices) bytes.insert(bytes.end(), slice.begin(), slice.end());
    copied_ = std::move(bytes);
  }

  Arrived* const arrived_;
  const bool copy_;
  grpc::ByteBuffer message_;
  Bytes copied_;  // the last message
};

class BareService final : public v1::DataLink::WithRawCallbackMethod_Open<v1::DataLink::Service> {
 public:
  BareService(Arrived* arrived, bool copy) : arrived_(arrived), copy_(copy) {}
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Open(
      grpc::CallbackServerContext*) override {
    return new BareReader(arrived_, copy_);
  }

 private:
  Arrived* const arrived_;
  const bool copy_;
};

// The sending half: writes what it was given, one after the other, from the reactions.
class BareWriter final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  BareWriter(grpc::GenericStub* stub) {
    stub->PrepareBidiStreamingCall(&context_, "/isthmus.v1.DataLink/Open", {}, this);
    AddHold();
    StartCall();
  }
  void Send(std::vector<Bytes> payloads) {
    payloads_ = std::move(payloads);
    next_ = 0;
    WriteNext();
  }
  void Finish() {
    StartWritesDone();
    RemoveHold();
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
  }
  void OnWriteDone(bool ok) override {
    if (ok && next_ < payloads_.size()) WriteNext();
  }
  void OnDone(const grpc::Status&) override {
    MutexLock lock(&mutex_);
    done_ = true;
    changed_.SignalAll();
  }

 private:
  void WriteNext() {
    auto* held = new Bytes(std::move(payloads_[next_++]));
    const grpc::Slice slice(
        held->data(), held->size(), [](void* bytes) { delete static_cast<Bytes*>(bytes); }, held);
    message_ = grpc::ByteBuffer(&slice, 1);
    StartWrite(&message_);
  }

  grpc::ClientContext context_;
  std::vector<Bytes> payloads_;
  size_t next_ = 0;
  grpc::ByteBuffer message_;
  Mutex mutex_;
  CondVar changed_;
  bool done_ ISTHMUS_GUARDED_BY(mutex_) = false;
};

class BareStream {
 public:
  explicit BareStream(bool copy) : service_(&arrived_, copy) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.SetMaxReceiveMessageSize(-1);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    grpc::ChannelArguments args;
    args.SetMaxReceiveMessageSize(-1);
    args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                         grpc::InsecureChannelCredentials(), args);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
    writer_ = std::make_unique<BareWriter>(stub_.get());
  }
  ~BareStream() { writer_->Finish(); }

  Cost Round(int64_t message_bytes, int64_t total_bytes) {
    std::vector<Bytes> payloads = Payloads(message_bytes, total_bytes);
    arrived_.Expect(message_bytes * static_cast<int64_t>(payloads.size()));
    const StopWatch watch;
    writer_->Send(std::move(payloads));
    arrived_.Wait();
    return watch.Stop();
  }

 private:
  Arrived arrived_;
  BareService service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::unique_ptr<BareWriter> writer_;
};

class LinkPair : public LinkListener {
 public:
  explicit LinkPair(double rate_mbps) {
    GrpcOptions serve, dial;
    if (rate_mbps > 0.0) {
      serve.shaper = std::make_shared<Shaper>(rate_mbps, 0);
      dial.shaper = std::make_shared<Shaper>(rate_mbps, 0);
    }
    auto server = LinkServer::Listen(
        "127.0.0.1:0", serve, [](const LinkIdentity&) { return absl::OkStatus(); },
        [this](const LinkIdentity&, std::unique_ptr<Link> link) {
          accepted_ = std::move(link);
          accepted_->Start(this);
        });
    ISTHMUS_CHECK(server.ok());
    server_ = *std::move(server);
    auto dialed =
        DialLink(absl::StrCat("127.0.0.1:", server_->port()), {"bench", "", 1, 0, 1}, dial);
    ISTHMUS_CHECK(dialed.ok());
    dialed_ = *std::move(dialed);
    dialed_->Start(&ignored_);
  }
  ~LinkPair() override {
    dialed_.reset();
    accepted_.reset();
  }
  void OnFrame(Frame frame) override { arrived_.Add(static_cast<int64_t>(frame.payload.size())); }
  void OnClosed(absl::Status) override {}

  Cost Round(int64_t message_bytes, int64_t total_bytes) {
    std::vector<Bytes> payloads = Payloads(message_bytes, total_bytes);
    arrived_.Expect(message_bytes * static_cast<int64_t>(payloads.size()));
    const StopWatch watch;
    for (Bytes& payload : payloads) {
      Frame frame;
      frame.header.kind = FrameKind::kActivation;
      frame.payload = std::move(payload);
      ISTHMUS_CHECK(dialed_->Send(std::move(frame)).ok());
    }
    arrived_.Wait();
    return watch.Stop();
  }

 private:
  class Ignored : public LinkListener {
    void OnFrame(Frame) override {}
    void OnClosed(absl::Status) override {}
  };
  Arrived arrived_;
  Ignored ignored_;
  std::unique_ptr<LinkServer> server_;
  std::unique_ptr<Link> accepted_, dialed_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Series {
  std::vector<double> wall_s, cpu_s;
  void Add(const Cost& cost) {
    wall_s.push_back(cost.wall_s);
    cpu_s.push_back(cost.cpu_s);
  }
};

// Rounds take turns, so that all see the same machine; the first of each only warms up.
std::string CompareRow(int64_t message_bytes) {
  BareStream bare(false), copying(true);
  LinkPair link(0.0);
  Series bare_series, copying_series, link_series;
  for (int round = 0; round <= kRounds; ++round) {
    const Cost b = bare.Round(message_bytes, kRoundBytes);
    const Cost c = copying.Round(message_bytes, kRoundBytes);
    const Cost l = link.Round(message_bytes, kRoundBytes);
    if (round == 0) continue;
    bare_series.Add(b);
    copying_series.Add(c);
    link_series.Add(l);
  }
  const double gb = 1e-9 * static_cast<double>(kRoundBytes / message_bytes * message_bytes);
  const double wall_s = Median(link_series.wall_s);
  const double cpu_s = Median(link_series.cpu_s);
  const auto against = [&](const char* name, const Series& series) {
    return absl::StrCat("\"", name, "\":{\"gb_per_s\":", gb / Median(series.wall_s),
                        ",\"cpu_s_per_gb\":", Median(series.cpu_s) / gb,
                        ",\"link_share\":", Median(series.wall_s) / wall_s,
                        ",\"link_cpu_ratio\":", cpu_s / Median(series.cpu_s), "}");
  };
  return absl::StrCat("{\"message_bytes\":", message_bytes, ",\"link\":{\"gb_per_s\":", gb / wall_s,
                      ",\"cpu_s_per_gb\":", cpu_s / gb, "},", against("bare", bare_series), ",",
                      against("bare_copying", copying_series), "}");
}

// The share of the rate that payload and framing fill together.
std::string ShapedRow(double rate_mbps, int64_t message_bytes) {
  LinkPair link(rate_mbps);
  const int64_t total = static_cast<int64_t>(rate_mbps * 1e6 / 8.0 * 2.0);  // two seconds
  const Cost cost = link.Round(message_bytes, total);
  const int64_t count = std::max<int64_t>(1, total / message_bytes);
  const double bits =
      8.0 * static_cast<double>(count * (message_bytes + WireHeaderBytes(message_bytes, false)));
  return absl::StrCat("{\"rate_mbps\":", rate_mbps, ",\"message_bytes\":", message_bytes,
                      ",\"share\":", bits / (cost.wall_s * rate_mbps * 1e6), "}");
}

int Main() {
  // As a worker does at its start: large buffers are reused instead of going back to the kernel
  // after every frame.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  PrepareGrpc();
  std::vector<std::string> compared, shaped;
  for (int64_t bytes : {int64_t{16} << 10, int64_t{256} << 10, int64_t{1} << 20, int64_t{8} << 20})
    compared.push_back(CompareRow(bytes));
  for (int64_t bytes : {int64_t{4} << 10, int64_t{64} << 10, int64_t{1} << 20})
    shaped.push_back(ShapedRow(100.0, bytes));
  std::printf("{\"rows\":[%s],\"shaped\":[%s]}\n", absl::StrJoin(compared, ",").c_str(),
              absl::StrJoin(shaped, ",").c_str());
  return 0;
}

}  // namespace
}  // namespace isthmus

int main() { return isthmus::Main(); }
