// The other half of ClientSession: trained, optimizer and codec state of all parties.
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/done_reading.h"
#include "base/status.h"
#include "client/model_order.h"
#include "client/session.h"
#include "client/state_pull.h"
#include "pipeline/state_transfer.h"

namespace isthmus {

// In a listing a chunk is a name and a shape; afterwards it is what was asked for.
absl::Status ClientSession::OnTensorChunk(uint32_t party, const v1::TensorChunk& chunk) {
  if (pull_ != nullptr) return Annotate(pull_->Add(party, chunk), WorkerName(party));
  ISTHMUS_ASSIGN_OR_RETURN(TensorHeader header, HeaderOf(chunk));
  StateName state = StateName::Parse(header.name);
  header.name = std::move(state.name);
  listed_[party].push_back({std::move(header), state.optimizer, party});
  return absl::OkStatus();
}

// What every party holds, workers first.
absl::StatusOr<std::vector<StateEntry>> ClientSession::ListState(bool optimizer) {
  pull_ = nullptr;
  listed_.clear();
  v1::Packet gather;
  gather.mutable_gather_state()->set_optimizer(optimizer);
  ISTHMUS_RETURN_IF_ERROR(SendAll(gather));
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  for (const auto& [party, answer] : std::exchange(answers_, {}))
    if (!answer.has_state_end())
      return InvalidArgument(WorkerName(party), ": expected its state, got another message");
  std::vector<StateEntry> all;
  for (auto& [party, entries] : std::exchange(listed_, {}))
    std::move(entries.begin(), entries.end(), std::back_inserter(all));
  for (TensorHeader& header : group_->TrainedHeaders())
    all.push_back({std::move(header), false, kClientParty});
  if (optimizer)
    for (TensorHeader& header : group_->OptimizerHeaders())
      all.push_back({std::move(header), true, kClientParty});
  return all;
}

absl::StatusOr<ClientSession::State> ClientSession::OpenState(bool optimizer) {
  ISTHMUS_ASSIGN_OR_RETURN(std::vector<StateEntry> all, ListState(optimizer));
  SortInModelOrder(config_, &all,
                   [](const StateEntry& e) -> const std::string& { return e.header.name; });
  std::stable_partition(all.begin(), all.end(), [](const StateEntry& e) { return !e.optimizer; });
  // A tensor that two parties hold ("step", tied embeddings) is the same at both.
  std::set<std::string> seen;
  all.erase(
      std::remove_if(all.begin(), all.end(),
                     [&seen](const StateEntry& e) { return !seen.insert(e.header.name).second; }),
      all.end());
  State state;
  for (const StateEntry& entry : all)
    (entry.optimizer ? state.optimizer : state.trained).headers.push_back(entry.header);
  const size_t trained = state.trained.headers.size();
  state.trained.load = [this](size_t i) { return LoadState(i); };
  state.optimizer.load = [this, trained](size_t i) { return LoadState(trained + i); };
  pull_ = std::make_unique<StatePull>(std::move(all),
                                      [this](uint32_t party, const std::string& wire_name) {
                                        v1::Packet packet;
                                        packet.mutable_tensor_request()->set_name(wire_name);
                                        return links_.SendPacket(party, packet);
                                      });
  return state;
}

absl::StatusOr<Tensor> ClientSession::LoadState(size_t i) {
  const StateEntry& entry = pull_->entry(i);
  ISTHMUS_RETURN_IF_ERROR(pull_->AskFrom(i));
  if (entry.party == kClientParty) return group_->ReadState(entry.header.name);
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this, i] { return pull_->Has(i); }));
  return pull_->Take(i);
}

absl::Status ClientSession::SetState(absl::Span<const NamedTensor> trained,
                                     absl::Span<const NamedTensor> optimizer_state) {
  ISTHMUS_RETURN_IF_ERROR(group_->SetTrained(trained));
  if (!optimizer_state.empty()) ISTHMUS_RETURN_IF_ERROR(group_->SetOptimizerState(optimizer_state));
  for (const uint32_t party : workers_) {
    ISTHMUS_RETURN_IF_ERROR(SendState(party, false, trained));
    ISTHMUS_RETURN_IF_ERROR(SendState(party, true, optimizer_state));
  }
  v1::Packet set;
  set.mutable_state_set();
  ISTHMUS_RETURN_IF_ERROR(SendAll(set));
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  for (const auto& [party, answer] : std::exchange(answers_, {}))
    if (!answer.state_set().error().empty())
      return DataLoss(WorkerName(party), ": ", answer.state_set().error());
  return absl::OkStatus();
}

// Those of `tensors` that the party may hold.
absl::Status ClientSession::SendState(uint32_t party, bool optimizer,
                                      absl::Span<const NamedTensor> tensors) {
  const std::vector<LayerRange> ranges = RangesOfParty(plan_, party);
  for (const NamedTensor& named : tensors) {
    if (!BelongsTo(config_, named.name, ranges)) continue;
    ISTHMUS_RETURN_IF_ERROR(
        SendTensor(&links_, party, {StateName{optimizer, named.name}.Wire(), named.tensor}));
    DoneReading(named.tensor.bytes());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<uint32_t, std::string>> ClientSession::SaveCodecs(
    uint64_t step, const DirectoryOf& directory) {
  std::map<uint32_t, std::string> hashes;
  for (const uint32_t party : workers_) {
    v1::Packet save;
    save.mutable_save_codecs()->set_step(step);
    ISTHMUS_ASSIGN_OR_RETURN(*save.mutable_save_codecs()->mutable_directory(), directory(party));
    ISTHMUS_RETURN_IF_ERROR(links_.SendPacket(party, save));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::string own, directory(kClientParty));
  ISTHMUS_ASSIGN_OR_RETURN(hashes[kClientParty], runner_->SaveCodecs(own));
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  for (const auto& [party, answer] : std::exchange(answers_, {})) {
    if (!answer.codecs_saved().error().empty())
      return absl::FailedPreconditionError(
          absl::StrCat(WorkerName(party), ": ", answer.codecs_saved().error()));
    hashes[party] = answer.codecs_saved().hash();
  }
  return hashes;
}

absl::StatusOr<bool> ClientSession::RestoreCodecs(uint64_t step,
                                                  const std::map<uint32_t, std::string>& hashes,
                                                  const DirectoryOf& directory,
                                                  std::string* reason) {
  bool whole = hashes.size() == workers_.size() + 1;
  if (!whole) *reason = "the checkpoint is of another number of workers";
  for (const auto& [party, hash] : hashes) {
    if (!whole || !hash.empty()) continue;
    whole = false;
    *reason = absl::StrCat(WorkerName(party), " kept none: it had no --state");
  }
  if (whole) {
    for (const uint32_t party : workers_) {
      v1::Packet restore;
      restore.mutable_restore_codecs()->set_step(step);
      restore.mutable_restore_codecs()->set_hash(hashes.at(party));
      ISTHMUS_ASSIGN_OR_RETURN(*restore.mutable_restore_codecs()->mutable_directory(),
                               directory(party));
      ISTHMUS_RETURN_IF_ERROR(links_.SendPacket(party, restore));
    }
    ISTHMUS_ASSIGN_OR_RETURN(const std::string own, directory(kClientParty));
    if (const absl::Status status = runner_->RestoreCodecs(own, hashes.at(kClientParty));
        !status.ok()) {
      whole = false;
      *reason = std::string(status.message());
    }
    ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
    for (const auto& [party, answer] : std::exchange(answers_, {})) {
      if (answer.codecs_restored().ok()) continue;
      whole = false;
      *reason = absl::StrCat(WorkerName(party), ": ", answer.codecs_restored().reason());
    }
  }
  if (whole) return true;
  // One end with its store and the other without is the worst case: everybody starts from key
  // frames.
  v1::Packet reset;
  reset.mutable_restore_codecs()->set_step(step);
  ISTHMUS_RETURN_IF_ERROR(SendAll(reset));
  runner_->RequestKeyFrames();
  ISTHMUS_RETURN_IF_ERROR(AwaitControl([this] { return answers_.size() == workers_.size(); }));
  answers_.clear();
  return false;
}

}  // namespace isthmus
