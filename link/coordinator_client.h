// The two sides that speak to a coordinator: a worker's control stream and a client's job stream.
#ifndef ISTHMUS_LINK_COORDINATOR_CLIENT_H_
#define ISTHMUS_LINK_COORDINATOR_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "isthmus/v1/control.pb.h"
#include "link/tls.h"

namespace isthmus {

// A worker's stream. Joins, heartbeats, and joins again by itself when the coordinator comes back.
class WorkerControl {
 public:
  struct Callbacks {
    // On the control thread, one at a time; must not block for long.
    std::function<void(const v1::PrepareJob&)> prepare;
    std::function<void(const v1::StopWork&)> stop;
    std::function<v1::Heartbeat()> heartbeat;  // asked every heartbeat_us
  };
  // Callbacks may come before it returns.
  // Returns after the first welcome or refusal (kInvalidArgument); kUnavailable when none came
  // within `wait_us`.
  static absl::StatusOr<std::unique_ptr<WorkerControl>> Join(const std::string& coordinator,
                                                             const TlsFiles& tls,
                                                             const v1::WorkerInfo& hello,
                                                             Callbacks callbacks, int64_t wait_us);
  virtual ~WorkerControl() = default;
  virtual void Prepared(const std::string& job_id, uint32_t generation) = 0;
  virtual void Ended(const std::string& job_id, const absl::Status& status) = 0;
  virtual void Draining() = 0;  // takes no new job; running ones go on
  virtual bool connected() const = 0;
};

// A client's stream for one job.
class JobControl {
 public:
  struct Callbacks {
    std::function<void(const std::string&)> notice;  // one line for the user
    std::function<void(const v1::JobStopped&)>
        stopped;                      // from outside, or the stream broke (cause UNKNOWN)
    std::function<bool()> cancelled;  // may be empty; asked ten times a second while Submit waits
  };
  // Submits and waits until the plan is in force at every worker; notices may come meanwhile.
  // kUnavailable: no coordinator or not enough workers within wait_s; kInvalidArgument: the request
  // cannot be planned; kCancelled: stopped by `isthmus stop` or `cancelled`.
  static absl::StatusOr<std::unique_ptr<JobControl>> Submit(const std::string& coordinator,
                                                            const TlsFiles& tls,
                                                            const v1::PlanRequest& request,
                                                            Callbacks callbacks);
  virtual ~JobControl() = default;  // without Finished: the job counts as failed
  virtual const v1::Plan& plan() const = 0;
  virtual const std::string& token() const = 0;
  virtual void ReportProgress(const v1::Progress& progress) = 0;
  // Returns when the coordinator has taken note, 5 s later at the latest.
  virtual void Finished(const std::string& status, const std::string& message) = 0;
};

// One-shot questions of `isthmus status|jobs|workers|stop`. kUnavailable when nobody answers within
// 5 s.
absl::StatusOr<v1::ListWorkersResponse> ListWorkers(const std::string& coordinator,
                                                    const TlsFiles& tls);
absl::StatusOr<v1::ListJobsResponse> ListJobs(const std::string& coordinator, const TlsFiles& tls);
absl::StatusOr<std::string> StopJob(const std::string& coordinator, const TlsFiles& tls,
                                    const std::string& id);

}  // namespace isthmus

#endif  // ISTHMUS_LINK_COORDINATOR_CLIENT_H_
