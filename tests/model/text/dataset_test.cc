#include "model/dataset.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "toy_tokenizer.h"

namespace isthmus {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kNo = -100;

// A letter is a token; BOS in front; EOS known.
std::unique_ptr<Tokenizer> Letters(const std::string& chat_template = "") {
  Json vocab = {{"<s>", 1}, {"</s>", 2}, {"<|im_start|>", 3}, {"<|im_end|>", 4}};
  for (const char* mark : {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"})
    vocab[mark] = 5 + static_cast<int>(vocab.size()) - 4;
  for (char c = 32; c < 127; ++c) vocab[std::string(1, c)] = 100 + c;
  vocab["\n"] = 110;
  Json file = ToyFile(vocab);
  file["model"]["unk_token"] = nullptr;
  for (const auto& [token, id] : vocab.items())
    if (token.size() > 1)
      file["added_tokens"].push_back({{"id", id}, {"content", token}, {"special", true}});
  TokenizerConfig config;
  config.bos_token = "<s>";
  config.eos_token = "</s>";
  config.add_bos = true;
  config.chat_template = chat_template;
  return OpenToy(file, config);
}

class DatasetTest : public testing::Test {
 protected:
  ~DatasetTest() override { std::filesystem::remove(path_); }

  absl::StatusOr<std::vector<Document>> Read(const std::string& text,
                                             const Tokenizer* tokenizer = nullptr,
                                             const std::string& ending = ".jsonl") {
    std::filesystem::remove(path_);
    path_ = testing::TempDir() + "dataset_test_" + std::to_string(getpid()) + ending;
    std::ofstream(path_) << text;
    options_.vocab_size = 1000;
    return ReadDocuments(path_, tokenizer, options_);
  }

  std::string ErrorOf(const absl::StatusOr<std::vector<Document>>& documents) {
    EXPECT_EQ(documents.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(documents.status().message());
  }

  std::string path_;
  DatasetOptions options_;
};

TEST_F(DatasetTest, IdsArePredictedFromThoseBeforeThem) {
  const auto documents = Read("{\"input_ids\": [5, 6, 7]}\n\n{\"input_ids\": [8]}");
  ASSERT_TRUE(documents.ok()) << documents.status();
  ASSERT_EQ(documents->size(), 2);
  EXPECT_THAT((*documents)[0].ids, ElementsAre(5, 6, 7));
  EXPECT_THAT((*documents)[0].labels, ElementsAre(6, 7, kNo));
  EXPECT_THAT((*documents)[1].labels, ElementsAre(kNo));
}

TEST_F(DatasetTest, LabelsStandBesideTheirIdsInAFile) {
  const auto documents = Read(R"({"input_ids": [5, 6, 7, 8], "labels": [9, -100, 7, 3]})");
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_THAT((*documents)[0].labels, ElementsAre(kNo, 7, 3, kNo));
}

TEST_F(DatasetTest, TextAndBlocks) {
  const auto tokenizer = Letters();
  auto documents = Read("{\"text\": \"ab\"}\r\n{\"text\": \"\"}\n", tokenizer.get());
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_THAT((*documents)[0].ids, ElementsAre(1, 197, 198));
  EXPECT_THAT((*documents)[0].labels, ElementsAre(197, 198, kNo));
  EXPECT_THAT((*documents)[1].ids, ElementsAre(1));
  documents = Read("\n\nab\r\nc\n \nd\n\n\n", tokenizer.get(), ".txt");
  ASSERT_TRUE(documents.ok()) << documents.status();
  ASSERT_EQ(documents->size(), 2);
  EXPECT_THAT((*documents)[0].ids, ElementsAre(1, 197, 198, 110, 199));
  EXPECT_THAT((*documents)[1].ids, ElementsAre(1, 200));
}

TEST_F(DatasetTest, OnlyTheCompletionIsPredicted) {
  const auto tokenizer = Letters();
  const std::string line = R"({"prompt": "ab", "completion": "cd"})";
  auto documents = Read(line, tokenizer.get());
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_THAT((*documents)[0].ids, ElementsAre(1, 197, 198, 199, 200, 2));
  EXPECT_THAT((*documents)[0].labels, ElementsAre(kNo, kNo, 199, 200, 2, kNo));
  options_.append_eos = false;
  documents = Read(line, tokenizer.get());
  EXPECT_THAT((*documents)[0].labels, ElementsAre(kNo, kNo, 199, 200, kNo));
}

TEST_F(DatasetTest, OnlyTheAssistantIsPredicted) {
  const auto tokenizer = Letters("<|im_start|>{{role}}<|im_end|>");
  const auto documents = Read(
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})",
      tokenizer.get());
  ASSERT_TRUE(documents.ok()) << documents.status();
  const Document& d = (*documents)[0];
  EXPECT_EQ(tokenizer->Decode(d.ids, false),
            "<|im_start|> u s e r \n a <|im_end|> \n <|im_start|> a s s i s t a n t \n b "
            "<|im_end|> \n");
  std::vector<int32_t> predicted;
  std::copy_if(d.labels.begin(), d.labels.end(), std::back_inserter(predicted),
               [](int32_t label) { return label != kNo; });
  EXPECT_THAT(predicted, ElementsAre(198, 4));
}

TEST_F(DatasetTest, ErrorsNameFileAndLine) {
  const auto tokenizer = Letters();
  for (const char* line :
       {"{", "[]", "3", "{\"words\": 3}", "{\"input_ids\": [1, -5]}", "{\"input_ids\": [1000]}",
        "{\"input_ids\": [\"a\"]}", "{\"input_ids\": 3}", "{\"input_ids\": [1.5]}",
        "{\"input_ids\": [1, 2], \"labels\": [1]}", "{\"input_ids\": [1], \"labels\": [-1]}",
        "{\"input_ids\": [1], \"labels\": [1000]}", "{\"text\": 3}", "{\"prompt\": \"a\"}",
        "{\"completion\": \"a\"}", "{\"messages\": []}", "{\"messages\": [{\"role\": \"user\"}]}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", "{\"text\": \"\xFF\"}"}) {
    const std::string error =
        ErrorOf(Read(std::string("{\"input_ids\": [1, 2]}\n") + line + "\n", tokenizer.get()));
    EXPECT_THAT(error, HasSubstr(path_ + ":2")) << line;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
  EXPECT_THAT(ErrorOf(Read("{\"text\": \"a\"}")), HasSubstr("tokenizer"));
  EXPECT_THAT(ErrorOf(Read("")), HasSubstr(path_));
  EXPECT_THAT(ErrorOf(Read("\n \n")), HasSubstr(path_));
  EXPECT_THAT(ErrorOf(Read("a\n\nb\xFF\n", tokenizer.get(), ".txt")), HasSubstr(".txt:3"));
  EXPECT_EQ(ReadDocuments("/nowhere.jsonl", nullptr, {}).status().code(),
            absl::StatusCode::kNotFound);
}

Document Plain(int32_t first, int32_t count) {
  Document document;
  for (int32_t i = 0; i < count; ++i) {
    document.ids.push_back(first + i);
    document.labels.push_back(i + 1 < count ? first + i + 1 : kNo);
  }
  document.first_label = first;
  return document;
}

TEST(CutWindowsTest, EveryIdButTheFirstIsPredictedOnce) {
  DatasetOptions options;
  options.sequence_length = 3;
  for (int32_t n = 2; n < 12; ++n) {
    const auto windows = CutWindows({Plain(50, n)}, options);
    ASSERT_TRUE(windows.ok()) << windows.status();
    std::vector<int32_t> predicted;
    for (const Window& window : *windows) {
      EXPECT_LE(window.inputs.size(), 3);
      EXPECT_EQ(window.inputs.size(), window.targets.size());
      for (size_t i = 0; i < window.inputs.size(); ++i)
        EXPECT_EQ(window.targets[i], window.inputs[i] + 1);
      predicted.insert(predicted.end(), window.targets.begin(), window.targets.end());
    }
    EXPECT_EQ(predicted.size(), n - 1);
    EXPECT_EQ(std::set<int32_t>(predicted.begin(), predicted.end()).size(), n - 1);
  }
}

TEST(CutWindowsTest, WindowsWithoutAPredictionAreDroppedAndKeepTheirNumber) {
  Document document = Plain(10, 7);
  document.labels = {kNo, kNo, kNo, kNo, 15, kNo, kNo};
  DatasetOptions options;
  options.sequence_length = 2;
  const auto windows = CutWindows({Plain(0, 1), document}, options);
  ASSERT_TRUE(windows.ok()) << windows.status();
  ASSERT_EQ(windows->size(), 1);
  EXPECT_EQ((*windows)[0].sample, (uint64_t{1} << 32) | 2);
  EXPECT_EQ((*windows)[0].document, 1);
  EXPECT_EQ((*windows)[0].num_predicted, 1);
  EXPECT_THAT((*windows)[0].inputs, ElementsAre(14, 15));
}

TEST(CutWindowsTest, PackedWindowsAreFull) {
  DatasetOptions options;
  options.sequence_length = 4;
  options.pack = true;
  Document masked = Plain(30, 3);
  masked.first_label = kNo;
  const auto windows =
      CutWindows({Plain(10, 3), Document(), Plain(20, 2), masked, Plain(40, 4)}, options);
  ASSERT_TRUE(windows.ok()) << windows.status();
  ASSERT_EQ(windows->size(), 2);  // 12 ids, 11 positions
  EXPECT_THAT((*windows)[0].inputs, ElementsAre(10, 11, 12, 20));
  EXPECT_THAT((*windows)[0].targets, ElementsAre(11, 12, 20, 21));
  EXPECT_THAT((*windows)[1].inputs, ElementsAre(21, 30, 31, 32));
  EXPECT_THAT((*windows)[1].targets, ElementsAre(kNo, 31, 32, 40));
  options.sequence_length = 12;
  EXPECT_FALSE(CutWindows({Plain(10, 3)}, options).ok());
}

TEST(CutWindowsTest, NothingToPredictIsRefused) {
  DatasetOptions options;
  options.sequence_length = 4;
  EXPECT_FALSE(CutWindows({Plain(10, 1)}, options).ok());
  EXPECT_FALSE(CutWindows({}, options).ok());
  options.sequence_length = 0;
  EXPECT_FALSE(CutWindows({Plain(10, 3)}, options).ok());
}

TEST(EpochOrderTest, IsAPermutationBySeedAndEpoch) {
  EXPECT_THAT(EpochOrder(4, false, 7, 3), ElementsAre(0, 1, 2, 3));
  const auto order = EpochOrder(1000, true, 7, 3);
  EXPECT_EQ(order, EpochOrder(1000, true, 7, 3));
  EXPECT_NE(order, EpochOrder(1000, true, 7, 4));
  EXPECT_NE(order, EpochOrder(1000, true, 8, 3));
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 1000);
  EXPECT_EQ(*std::max_element(order.begin(), order.end()), 999);
  int64_t fixed = 0;  // about one of a random permutation
  for (int64_t i = 0; i < 1000; ++i) fixed += order[i] == i;
  EXPECT_LT(fixed, 8);
  EXPECT_TRUE(EpochOrder(0, true, 7, 3).empty());
}

}  // namespace
}  // namespace isthmus
