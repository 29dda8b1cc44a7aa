#include "model/tokenizer_sibling.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace isthmus {
namespace {

namespace fs = std::filesystem;

class SiblingTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / "sibling";
    fs::remove_all(root_);
    Write("toy/config.json", R"({"vocab_size": 8, "torch_dtype": "float32"})");
    Write("toy/tokenizer.json", "{}");
  }
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  std::optional<std::string> Find(const std::string& name) {
    return SiblingWithTokenizer((root_ / name).string());
  }

  fs::path root_;
};

TEST_F(SiblingTest, SameModelInAnotherFormatIsFound) {
  Write("toy-bf16/config.json", R"({"torch_dtype": "bfloat16", "vocab_size": 8})");
  Write("toy-chat-int8/config.json", R"({"vocab_size": 8})");
  EXPECT_EQ(Find("toy-bf16"), fs::canonical(root_ / "toy").string());
  EXPECT_EQ(Find("toy-chat-int8"), fs::canonical(root_ / "toy").string());
}

TEST_F(SiblingTest, AnotherModelIsNot) {
  Write("toy-big/config.json", R"({"vocab_size": 9})");
  Write("other-bf16/config.json", R"({"vocab_size": 8})");
  Write("toy-bare/readme", "");
  EXPECT_FALSE(Find("toy-big").has_value());
  EXPECT_FALSE(Find("other-bf16").has_value());
  EXPECT_FALSE(Find("toy-bare").has_value());
  EXPECT_FALSE(Find("missing").has_value());
}

}  // namespace
}  // namespace isthmus
