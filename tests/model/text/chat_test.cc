#include "model/chat.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "toy_tokenizer.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kMarks = {"<|im_start|>",
                                         "<|im_end|>",
                                         "<|begin_of_text|>",
                                         "<|start_header_id|>",
                                         "<|eot_id|>",
                                         "<|end_header_id|>",
                                         "[INST]",
                                         "[/INST]",
                                         "</s>"};

std::unique_ptr<Tokenizer> WithTemplate(const std::string& text, bool instruction_marks = true) {
  Json file = ToyFile(ByteVocab(kMarks));
  for (const std::string& mark : kMarks) {
    const bool instruction = mark.find("INST") != std::string::npos;
    if (instruction && !instruction_marks) {
      file["model"]["vocab"].erase(mark);
      continue;
    }
    file["added_tokens"].push_back(
        {{"id", file["model"]["vocab"][mark]}, {"content", mark}, {"special", true}});
  }
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  TokenizerConfig config;
  config.bos_token = "<|begin_of_text|>";
  config.eos_token = "</s>";
  config.chat_template = text;
  return OpenToy(file, config);
}

// The whole text, with what is predicted between « and ».
std::string Rendered(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages) {
  const auto chat = EncodeChat(tokenizer, messages);
  if (!chat.ok()) return std::string(chat.status().message());
  EXPECT_EQ(chat->ids.size(), chat->from_assistant.size());
  std::string text;
  bool inside = false;
  for (size_t i = 0; i < chat->ids.size(); ++i) {
    if (chat->from_assistant[i] != inside) text += inside ? "»" : "«";
    inside = chat->from_assistant[i];
    text += tokenizer.Decode({chat->ids[i]}, false);
  }
  return text + (inside ? "»" : "");
}

const std::vector<ChatMessage> kTalk = {
    {"user", "hi"}, {"assistant", "yo "}, {"user", "ok"}, {"assistant", "bye"}};

TEST(ChatTest, ChatMl) {
  const auto tokenizer = WithTemplate(
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}");
  EXPECT_EQ(Rendered(*tokenizer, kTalk),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n«yo <|im_end|>»\n"
            "<|im_start|>user\nok<|im_end|>\n<|im_start|>assistant\n«bye<|im_end|>»\n");
}

TEST(ChatTest, ChatMlWithADefaultSystemMessage) {
  const auto tokenizer = WithTemplate(
      "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}"
      "{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
      "'<|im_end|>'}}");
  EXPECT_EQ(Rendered(*tokenizer, {{"user", "a"}}),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\na<|im_end|>\n");
  EXPECT_EQ(Rendered(*tokenizer, {{"system", "b"}, {"user", "a"}}),
            "<|im_start|>system\nb<|im_end|>\n<|im_start|>user\na<|im_end|>\n");
}

TEST(ChatTest, Llama3) {
  const auto tokenizer = WithTemplate(
      "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ "
      "message['content'] | trim + '<|eot_id|>' %}{% set content = bos_token + content %}");
  EXPECT_EQ(Rendered(*tokenizer, {{"user", "hi "}, {"assistant", " yo "}}),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n«yo<|eot_id|>»");
}

TEST(ChatTest, MistralInItsThreeSpellings) {
  const auto first = WithTemplate(
      "{{ bos_token }}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
      "{{ message['content'] + eos_token}}",
      false);
  EXPECT_EQ(Rendered(*first, {{"user", "hi"}, {"assistant", "yo"}, {"user", "ok"}}),
            "<|begin_of_text|>[INST] hi [/INST]«yo</s>»[INST] ok [/INST]");
  const auto second = WithTemplate(
      "{{ bos_token }}{{ ' [INST] ' + message['content'] + ' [/INST]' }}"
      "{{ ' ' + message['content'] + eos_token}}",
      false);
  EXPECT_EQ(Rendered(*second, {{"user", "hi"}, {"assistant", "yo"}}),
            "<|begin_of_text|> [INST] hi [/INST]« yo</s>»");
  const auto third = WithTemplate(
      "{{- bos_token }}{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}"
      "{{- \" \" + message[\"content\"] + eos_token}}");
  EXPECT_EQ(Rendered(*third, {{"user", "hi"}, {"assistant", "yo"}}),
            "<|begin_of_text|>[INST] hi[/INST]« yo</s>»");
  EXPECT_EQ((*EncodeChat(*third, {{"user", "hi"}})).ids[1], third->TokenId("[INST]"));
  EXPECT_THAT(Rendered(*third, {{"system", "x"}}), HasSubstr("messages[0].role"));
  EXPECT_THAT(Rendered(*third, {{"user", "x"}, {"user", "y"}}), HasSubstr("messages[1].role"));
}

TEST(ChatTest, OtherTemplatesAreRefused) {
  EXPECT_THAT(Rendered(*WithTemplate(""), kTalk), HasSubstr("none in tokenizer_config.json"));
  EXPECT_THAT(Rendered(*WithTemplate("{{ messages }}"), kTalk), HasSubstr("chatml"));
  EXPECT_THAT(Rendered(*WithTemplate("[INST] <<SYS>> [/INST]"), kTalk), HasSubstr("mistral"));
  EXPECT_THAT(Rendered(*WithTemplate("<|im_start|><|im_end|>"), {}), HasSubstr("at least one"));
  Json file = ToyFile(ByteVocab());
  TokenizerConfig config;
  config.chat_template = "<|im_start|><|im_end|>";
  EXPECT_THAT(Rendered(*OpenToy(file, config), kTalk), HasSubstr("<|im_start|>"));
}

}  // namespace
}  // namespace isthmus
