#include "client/split_generate.h"

#include <filesystem>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "client/plan_request.h"
#include "client/report.h"
#include "client/session.h"
#include "client/stop_reason.h"
#include "compression/store_folder.h"
#include "link/coordinator_client.h"
#include "link/frame.h"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

// With an adapter the frozen base carries it as LoRA that nobody trains.
TrainSpec FrozenSpec(const Adapter* adapter) {
  TrainSpec train;
  train.frozen = adapter == nullptr;
  if (adapter != nullptr) train.lora = adapter->lora;
  train.lora.dropout = 0.0;
  return train;
}

absl::StatusOr<v1::PlanRequest> RequestOf(Engine* engine, ModelDirectory* model,
                                          const SplitGenerateOptions& options) {
  const ModelConfig& config = model->config();
  const TrainSpec train = FrozenSpec(options.adapter);
  v1::PlanRequest request;
  request.set_job_name("generate");
  request.mutable_model()->set_name(std::filesystem::path(model->path()).filename().string());
  request.mutable_model()->set_config_json(config.text);
  ISTHMUS_ASSIGN_OR_RETURN(*request.mutable_model()->mutable_content_id(), model->ContentId());
  *request.mutable_train() = TrainSpecToProto(train);
  const int64_t ends = config.num_layers >= 3 ? 1 : 0;
  request.set_head_layers(ends);
  request.set_tail_layers(ends);
  request.set_codec_forward(options.codec);
  request.set_codec_backward("none");
  request.set_schedule("sequential");
  request.set_micro_batch_size(1);
  request.set_micro_batches(1);
  request.set_sequence_length(config.max_positions);
  request.set_num_samples(1);
  request.set_max_sample_tokens(config.max_positions);
  request.set_client_flops(
      MeasureClient(engine, config, train, std::min<int64_t>(config.max_positions, 64))
          .forward_flops);
  request.set_wire_version(kWireVersion);
  request.set_version(std::string(IsthmusVersion()));
  request.set_wait_s(options.wait_s);
  return request;
}

class CoordinatedLogits : public SplitLogits {
 public:
  ~CoordinatedLogits() override {
    MutexLock lock(&mutex_);
    aborted_ = nullptr;
  }

  absl::Status Start(Engine* engine, ModelDirectory* model, const SplitGenerateOptions& options) {
    ISTHMUS_ASSIGN_OR_RETURN(const v1::PlanRequest request, RequestOf(engine, model, options));
    JobControl::Callbacks callbacks;
    callbacks.notice = [](const std::string&) {};
    callbacks.stopped = [this](const v1::JobStopped& stopped) {
      MutexLock lock(&mutex_);
      const std::string& message = stopped.message();
      why_ = stopped.cause() == v1::JobStopped::STOPPED_BY_USER ? absl::CancelledError(message)
                                                                : Unavailable(message);
      if (aborted_ != nullptr) aborted_->Abort(why_);
    };
    ISTHMUS_ASSIGN_OR_RETURN(control_, JobControl::Submit(options.coordinator, options.tls, request,
                                                          std::move(callbacks)));
    ClientSessionOptions session;
    session.engine = engine;
    session.threads = options.threads;
    session.device = options.device;
    session.state_dir = StoreFolder("");
    session.grpc.tls = options.tls;
    ISTHMUS_ASSIGN_OR_RETURN(session_,
                             ClientSession::Make(control_->plan(), model->config(), model));
    {
      MutexLock lock(&mutex_);
      ISTHMUS_RETURN_IF_ERROR(why_);
      aborted_ = session_.get();
    }
    ISTHMUS_RETURN_IF_ERROR(session_->Start(control_->token(), session));
    return options.adapter == nullptr ? absl::OkStatus()
                                      : session_->SetState(options.adapter->tensors, {});
  }

  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids) override {
    absl::StatusOr<Tensor> logits = session_->Extend(ids, std::exchange(fresh_, false));
    if (logits.ok()) return logits;
    return StopReason(logits.status(), [this] {
      MutexLock lock(&mutex_);
      return why_;
    });
  }

  absl::Status Close() override {
    const absl::Status status = session_->Close();
    control_->Finished("completed", "");
    return status;
  }

 private:
  Mutex mutex_;
  absl::Status why_ ISTHMUS_GUARDED_BY(mutex_);
  ClientSession* aborted_ ISTHMUS_GUARDED_BY(mutex_) = nullptr;  // who hears of an end from outside
  std::unique_ptr<JobControl> control_;
  std::unique_ptr<ClientSession> session_;
  bool fresh_ = true;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SplitLogits>> SplitLogits::Open(
    Engine* engine, ModelDirectory* model, const SplitGenerateOptions& options) {
  auto source = std::make_unique<CoordinatedLogits>();
  ISTHMUS_RETURN_IF_ERROR(source->Start(engine, model, options));
  return source;
}

}  // namespace isthmus
