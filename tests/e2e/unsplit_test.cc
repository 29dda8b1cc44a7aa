// Training through processes against the same model whole, in this process: no cut, no link.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "engine/torch/engine.h"
#include "model/weights.h"
#include "tests/e2e/child.h"
#include "tests/e2e/program_fixture.h"
#include "tests/engine/chain.h"

namespace isthmus::e2e {
namespace {

constexpr int kSteps = 6, kStepDocuments = 4;
const std::string kModel = ISTHMUS_SOURCE_DIR "/examples/stories260K";

using Documents = std::vector<std::vector<int32_t>>;

class UnsplitTest : public IsthmusTest {
 protected:
  // The embedding is at the client, the head at the last worker, and they are one trained tensor:
  // its gradient is summed across them, and its norm counts once where a step is clipped.
  std::string WriteJob(const Documents& documents) {
    std::ofstream data(folder_ + "/train.jsonl");
    for (const std::vector<int32_t>& ids : documents) {
      data << "{\"input_ids\": [" << ids[0];
      for (size_t i = 1; i < ids.size(); ++i) data << "," << ids[i];
      data << "]}\n";
    }
    const std::string path = folder_ + "/job.yaml";
    std::ofstream(path) << "model: " << kModel
                        << "\ndata: {train: train.jsonl, sequence_length: 32, shuffle: false, "
                           "append_eos: false}\n"
                        << "split: {labels: server, head_layers: 1}\npipeline: {stages: 2}\n"
                        << "train:\n  method: full\n  steps: " << kSteps
                        << "\n  micro_batch_size: 2\n  micro_batches: 2\n"
                        << "  optimizer: {name: sgd, lr: 0.1, clip_norm: 1}\n"
                        << "codec: none\noutput: run\n";
    return path;
  }

  static std::vector<double> UnsplitLosses(const Documents& documents) {
    const auto directory = Take(ModelDirectory::Open(kModel));
    const auto engine = Take(MakeTorchEngine("cpu", 1));
    TrainSpec train;
    train.full = true;
    train.optimizer.name = "sgd";
    train.optimizer.clip_norm = 1.0;
    const ModelConfig config = directory->config();
    Chain whole(engine.get(), config, train, Whole(config), directory.get());
    std::vector<double> losses;
    for (int step = 0; step < kSteps; ++step) {
      const auto first = documents.begin() + step * kStepDocuments;
      losses.push_back(
          whole.TrainStep(Divide(PredictNext({first, first + kStepDocuments}), 2), 0.1));
    }
    return losses;
  }
};

TEST_F(UnsplitTest, VanillaFullWithTiedEmbeddings) {
  std::vector<int> lengths;
  for (int i = 0; i < kSteps * kStepDocuments; ++i) lengths.push_back(12 + i % 5 * 5);
  const Documents documents = RandomDocuments(512, lengths, 3);
  auto train = Start({"train", WriteJob(documents), "--quiet", "--threads", "1"});
  const std::vector<double> unsplit = UnsplitLosses(documents);
  ASSERT_EQ(train->Wait(), 0) << train->Error();
  const Words losses = Losses();
  ASSERT_EQ(losses.size(), unsplit.size());
  for (size_t step = 0; step < unsplit.size(); ++step)
    EXPECT_NEAR(std::stod(losses[step]), unsplit[step], 1e-4) << "step " << step + 1;
  // Something was learnt, so that gradients matter.
  EXPECT_LT(unsplit.back(), unsplit.front() - 0.1);
}

}  // namespace
}  // namespace isthmus::e2e
