// A program with a data source of its own, here arithmetic that it makes up as it goes: no file of
// it exists anywhere. C++17.
//
//   own_loader HOST:PORT MODEL_FOLDER OUTPUT_FOLDER
#include <cstdio>
#include <random>
#include <string>

#include "isthmus.hpp"

namespace {

using isthmus::sdk::Batch;
using isthmus::sdk::Run;
using isthmus::sdk::Tokenizer;

// "7 + 5 = 12": only the answer is to be learned.
void AddSum(Tokenizer* tokenizer, std::mt19937* random, Batch* batch) {
  const int a = static_cast<int>((*random)() % 50), b = static_cast<int>((*random)() % 50);
  const std::string question = std::to_string(a) + " + " + std::to_string(b) + " =";
  const std::vector<int32_t> asked = tokenizer->Encode(question);
  std::vector<int32_t> ids = tokenizer->Encode(question + " " + std::to_string(a + b));
  std::vector<int32_t> targets(ids.begin() + 1, ids.end());
  ids.pop_back();
  for (size_t i = 0; i + 1 < asked.size() && i < targets.size(); ++i) targets[i] = -100;
  batch->Add(ids, targets, static_cast<uint64_t>(a * 50 + b));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fprintf(stderr, "usage: own_loader HOST:PORT MODEL_FOLDER OUTPUT_FOLDER\n");
    return 2;
  }
  const std::string job = std::string("model: '") + argv[2] + "'\noutput: '" + argv[3] +
                          "'\ndata: {sequence_length: 32}\n"
                          "train: {steps: 10, micro_batch_size: 8, micro_batches: 2}\n";
  Tokenizer tokenizer(argv[2]);
  std::mt19937 random(1);
  isthmus::sdk::RunOptions options;
  options.coordinator = argv[1];
  options.num_samples = 2500;
  Run run(job, options);
  run.OnBatch([&](int64_t, Batch& batch) {
    for (int i = 0; i < 16; ++i) AddSum(&tokenizer, &random, &batch);
  });
  run.OnProgress([](const isthmus_progress& step) {
    std::printf("step %lld: loss %.3f\n", static_cast<long long>(step.step), step.loss);
  });
  const std::string report = run.Train();
  std::printf("report.json has %zu bytes\n", report.size());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
