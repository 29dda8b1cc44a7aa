// The one-shot questions; worker_control.cc and job_control.cc have the streams.
#include "link/coordinator_client.h"

#include <chrono>

#include "base/status.h"
#include "link/coordinator_channel.h"

namespace isthmus {
namespace {

constexpr std::chrono::seconds kPatience(5);

template <typename Method, typename Request, typename Response>
absl::Status Ask(Method method, const std::string& coordinator, const TlsFiles& tls,
                 const Request& request, Response* response) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                           ControlChannel(coordinator, tls));
  const std::unique_ptr<v1::Control::Stub> stub = v1::Control::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  return FromCoordinator((stub.get()->*method)(&context, request, response), coordinator);
}

}  // namespace

absl::StatusOr<v1::ListWorkersResponse> ListWorkers(const std::string& coordinator,
                                                    const TlsFiles& tls) {
  v1::ListWorkersResponse response;
  ISTHMUS_RETURN_IF_ERROR(
      Ask(&v1::Control::Stub::ListWorkers, coordinator, tls, v1::ListWorkersRequest(), &response));
  return response;
}

absl::StatusOr<v1::ListJobsResponse> ListJobs(const std::string& coordinator, const TlsFiles& tls) {
  v1::ListJobsResponse response;
  ISTHMUS_RETURN_IF_ERROR(
      Ask(&v1::Control::Stub::ListJobs, coordinator, tls, v1::ListJobsRequest(), &response));
  return response;
}

absl::StatusOr<std::string> StopJob(const std::string& coordinator, const TlsFiles& tls,
                                    const std::string& id) {
  v1::StopJobRequest request;
  request.set_id(id);
  v1::StopJobResponse response;
  ISTHMUS_RETURN_IF_ERROR(Ask(&v1::Control::Stub::StopJob, coordinator, tls, request, &response));
  return response.id();
}

}  // namespace isthmus
