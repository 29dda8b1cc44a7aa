// Ids of real tokenizers against the numbers that came with them.
#include <filesystem>
#include <memory>

#include "gtest/gtest.h"
#include "model/json.h"
#include "model/tokenizer.h"

namespace isthmus {
namespace {

std::string ModelDirectory(const std::string& name) {
  return std::string(ISTHMUS_SOURCE_DIR) + "/../shared/models/" + name;
}

class ReferenceTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string directory = ModelDirectory(GetParam());
    if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no " << directory;
    auto tokenizer = Tokenizer::Open(directory);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    auto reference = ReadJsonFile(directory + "/reference.json");
    ASSERT_TRUE(reference.ok()) << reference.status();
    for (const char* list : {"vectors", "prompts", "texts"})
      if (const Json* entries = FindMember(*reference, list))
        for (const Json& entry : *entries)
          if (entry.contains("ids")) cases_.push_back({*GetString(entry, "text", ""), Ids(entry)});
    ASSERT_FALSE(cases_.empty());
  }

  static std::vector<int32_t> Ids(const Json& entry) {
    const auto ids = GetInts(entry, "ids", "");
    return {ids->begin(), ids->end()};
  }

  struct Case {
    std::string text;
    std::vector<int32_t> ids;
  };
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<Case> cases_;
};

TEST_P(ReferenceTest, EncodesExactly) {
  for (const Case& c : cases_) {
    const auto ids = tokenizer_->Encode(c.text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, c.ids) << c.text;
  }
}

TEST_P(ReferenceTest, StreamedTextIsTheDecodedText) {
  for (const Case& c : cases_) {
    StreamDecoder stream(tokenizer_.get());
    std::string streamed;
    for (const int32_t id : c.ids) streamed += stream.Push(id);
    streamed += stream.Flush();
    EXPECT_EQ(streamed, tokenizer_->Decode(c.ids));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceTest,
                         testing::Values("gpt2-tokenizer", "stories260K", "babyllama-105",
                                         "mixed-14m"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(ReferenceRoundTripTest, ByteLevelGivesEveryTextBack) {
  const std::string directory = ModelDirectory("gpt2-tokenizer");
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no " << directory;
  const auto tokenizer = Tokenizer::Open(directory);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 50257);
  EXPECT_EQ((*tokenizer)->TokenId("<|endoftext|>"), 50256);
  EXPECT_EQ((*tokenizer)->eos_id(), 50256);
  for (const char* text : {"", " ", "a\n\n\tb  c ", "naïve 中文 🙂\u200d", "<|endoftext|>"}) {
    const auto ids = (*tokenizer)->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ((*tokenizer)->Decode(*ids, false), text);
  }
  EXPECT_EQ((*tokenizer)->Decode({50256}, true), "");
  EXPECT_EQ((*tokenizer)->Decode({50256}, false), "<|endoftext|>");
}

TEST(ReferenceRoundTripTest, SentencePieceTextComesBack) {
  for (const char* name : {"mixed-14m", "stories260K"}) {
    const std::string directory = ModelDirectory(name);
    if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no " << directory;
    const auto tokenizer = Tokenizer::Open(directory);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->bos_id(), 1);
    EXPECT_EQ((*tokenizer)->eos_id(), 2);
    EXPECT_EQ((*tokenizer)->TokenId("</s>"), 2);
    EXPECT_EQ((*tokenizer)->TokenId("no such token"), -1);
    for (const char* text : {"Once upon", "  two", "a\nb", "naïve 中文 🙂", "</s> is text"}) {
      const auto ids = (*tokenizer)->Encode(text);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(ids->front(), 1);
      EXPECT_EQ(std::count(ids->begin(), ids->end(), 2), 0);  // special tokens in text are text
      EXPECT_EQ((*tokenizer)->Decode(*ids), text) << name;
    }
  }
}

}  // namespace
}  // namespace isthmus
