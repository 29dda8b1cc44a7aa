// One checkpoint on disk, and the folder that holds the last few.
//
//   checkpoints/step-000020/manifest.json          format, step, size and CRC-32C of every other
//   file, codec hashes, `extra`
//                           trained.safetensors    adapter tensors or weights, fp32
//                           optimizer.safetensors
//                           codecs/party-1/…       written by the parties of an embedded cluster
//   checkpoints/best/                              the same form; never read by Newest
//
// A checkpoint is made in a folder whose name begins with a dot, synced, and renamed: what has a
// final name is whole unless the disk damaged it, and then a checksum says so.
#ifndef ISTHMUS_CLIENT_RUN_OUTPUT_CHECKPOINT_H_
#define ISTHMUS_CLIENT_RUN_OUTPUT_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "model/safetensors.h"

namespace isthmus {

struct Checkpoint {
  int64_t step = 0;                              // updates done
  std::vector<NamedTensor> trained;              // of all parties; views of the file
  std::vector<NamedTensor> optimizer;            // of all parties; "step" once
  std::map<uint32_t, std::string> codec_hashes;  // by party; empty where nothing is kept
  std::string extra_json = "{}";  // one JSON object of the caller's: loss so far, byte counts …

  // Set by Newest and ReadCheckpoint.
  std::string directory;
};

// A checkpoint being made. Without Commit the destructor removes what was written.
class CheckpointWriter {
 public:
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Where `party` writes its codec state before Commit; absolute. The folder exists.
  absl::StatusOr<std::string> CodecDirectory(uint32_t party);
  // Writes the tensors as they come, one in memory at a time, then the manifest; syncs, renames.
  // `facts.step` is the one of Begin; tensors of `facts` are not looked at.
  absl::Status Commit(const Checkpoint& facts, const TensorStream& trained,
                      const TensorStream& optimizer);

 private:
  friend class CheckpointFolder;
  CheckpointWriter(std::string final_path, std::string making_path)
      : final_path_(std::move(final_path)), making_path_(std::move(making_path)) {}
  std::string final_path_, making_path_;
  bool committed_ = false;
};

// Where `party`'s codec state lies in a checkpoint that was read.
std::string CodecDirectory(const Checkpoint& checkpoint, uint32_t party);

// Reads and checks one checkpoint: kDataLoss naming the damaged file, kNotFound when there is none.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& directory);

class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<std::unique_ptr<CheckpointWriter>> Begin(int64_t step);
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> BeginBest();

  // The newest readable checkpoint; nullopt when there is none at all; kDataLoss when there are
  // some and none is readable. Each damaged one that was passed over adds a line to *warnings.
  absl::StatusOr<std::optional<Checkpoint>> Newest(std::vector<std::string>* warnings) const;

  // Removes all but the newest `keep` (at least 1), and what a killed run left half made.
  absl::Status Prune(int64_t keep);
  // Removes those after `step`: a run that goes on from an earlier one makes them again.
  absl::Status DropAfter(int64_t step);

  std::vector<int64_t> Steps() const;  // ascending

 private:
  std::string StepPath(int64_t step) const;
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> BeginNamed(const std::string& name);

  std::string path_;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_RUN_OUTPUT_CHECKPOINT_H_
