#include "model/chat.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "base/status.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

enum class Family { kChatMl, kLlama3, kMistral };

struct ChatForm {
  Family family = Family::kChatMl;
  bool bos = false;            // in front of everything
  bool trim = false;           // white space around contents goes
  std::string default_system;  // said when the first message is not the system's
  std::string user_open, user_close, answer_open;  // mistral
};

// A mark (one token) or plain text.
struct Part {
  bool mark = false;
  std::string text;
  bool from_assistant = false;
};

bool HasAll(absl::string_view text, std::initializer_list<const char*> words) {
  return std::all_of(words.begin(), words.end(),
                     [&](const char* word) { return absl::StrContains(text, word); });
}

bool HasAny(absl::string_view text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return absl::StrContains(text, word); });
}

// The fixed text of '<|im_start|>system\nYou are …<|im_end|>'; a line break is written \n in the
// template's literals, or is one.
std::string DefaultSystem(absl::string_view form) {
  for (const absl::string_view open : {"<|im_start|>system\\n", "<|im_start|>system\n"}) {
    for (size_t at = form.find(open); at != absl::string_view::npos; at = form.find(open, at + 1)) {
      const absl::string_view rest = form.substr(at + open.size());
      const absl::string_view text = rest.substr(0, rest.find("<|im_end|>"));
      if (text.size() < rest.size() && !text.empty() && !HasAny(text, {"'", "\"", "{", "}"}))
        return std::string(text);
    }
  }
  return "";
}

absl::StatusOr<ChatForm> Recognise(absl::string_view form) {
  ChatForm chat;
  if (HasAll(form, {"<|im_start|>", "<|im_end|>"})) {
    chat.family = Family::kChatMl;
    chat.default_system = DefaultSystem(form);
  } else if (HasAll(form, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}) &&
             !HasAny(form, {"Cutting Knowledge Date"})) {
    chat.family = Family::kLlama3;
  } else if (HasAll(form, {"[INST]", "[/INST]"}) && !HasAny(form, {"<<SYS>>"})) {
    chat.family = Family::kMistral;
    chat.user_open = HasAny(form, {"' [INST]", "\" [INST]"}) ? " [INST] " : "[INST] ";
    chat.user_close = HasAny(form, {" [/INST]"}) ? " [/INST]" : "[/INST]";
    chat.answer_open = HasAny(form, {"' ' + message", "\" \" + message"}) ? " " : "";
  } else {
    return InvalidArgument(
        "chat template: expected chatml, llama3 or mistral, got ",
        form.empty() ? "none in tokenizer_config.json" : "another one in tokenizer_config.json");
  }
  chat.bos = HasAny(form, {"bos_token", "<|begin_of_text|>"});
  chat.trim = HasAny(form, {"| trim", "|trim", ".strip()"});
  return chat;
}

void ChatMl(const ChatMessage& message, std::vector<Part>* parts) {
  const bool assistant = message.role == "assistant";
  parts->push_back({true, "<|im_start|>"});
  parts->push_back({false, message.role + "\n"});
  parts->push_back({false, message.content, assistant});
  parts->push_back({true, "<|im_end|>", assistant});
  parts->push_back({false, "\n"});
}

void Llama3(const ChatMessage& message, std::vector<Part>* parts) {
  const bool assistant = message.role == "assistant";
  parts->push_back({true, "<|start_header_id|>"});
  parts->push_back({false, message.role});
  parts->push_back({true, "<|end_header_id|>"});
  parts->push_back({false, "\n\n"});
  parts->push_back({false, message.content, assistant});
  parts->push_back({true, "<|eot_id|>", assistant});
}

// [INST] is a token in newer files and plain text in older ones.
void Instruction(const Tokenizer& tokenizer, const std::string& text, std::vector<Part>* parts) {
  const size_t open = text.find('['), close = text.find(']') + 1;
  const std::string mark = text.substr(open, close - open);
  if (tokenizer.TokenId(mark) < 0) {
    parts->push_back({false, text});
    return;
  }
  parts->push_back({false, text.substr(0, open)});
  parts->push_back({true, mark});
  parts->push_back({false, text.substr(close)});
}

absl::Status Mistral(const Tokenizer& tokenizer, const ChatForm& chat, size_t turn,
                     const ChatMessage& message, std::vector<Part>* parts) {
  const char* expected = turn % 2 == 0 ? "user" : "assistant";
  if (message.role != expected)
    return InvalidArgument("messages[", turn, "].role: expected ", expected,
                           " (mistral takes user and assistant in turn), got ", message.role);
  if (turn % 2 == 0) {
    Instruction(tokenizer, chat.user_open, parts);
    parts->push_back({false, message.content});
    Instruction(tokenizer, chat.user_close, parts);
  } else {
    parts->push_back({false, chat.answer_open + message.content, true});
    parts->push_back({true, "", true});  // EOS, whatever its name
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Part>> Render(const Tokenizer& tokenizer, const ChatForm& chat,
                                         absl::Span<const ChatMessage> messages) {
  std::vector<Part> parts;
  if (!chat.default_system.empty() && messages[0].role != "system")
    ChatMl({"system", chat.default_system}, &parts);
  for (size_t turn = 0; turn < messages.size(); ++turn) {
    ChatMessage message = messages[turn];
    if (chat.trim) message.content = std::string(StripSpace(message.content, true, true));
    if (chat.family == Family::kChatMl) ChatMl(message, &parts);
    if (chat.family == Family::kLlama3) Llama3(message, &parts);
    if (chat.family == Family::kMistral)
      ISTHMUS_RETURN_IF_ERROR(Mistral(tokenizer, chat, turn, message, &parts));
  }
  return parts;
}

// Text parts in a row are encoded as one text, as a template's output is; whose a token is shows in
// the tokens that it shares with the encoding of what came before.
absl::Status AppendTexts(const Tokenizer& tokenizer, absl::Span<const Part> run, ChatTokens* out) {
  std::string text;
  std::vector<int32_t> before;
  std::vector<bool> owners;
  for (const Part& part : run) {
    text += part.text;
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, false));
    const size_t same = static_cast<size_t>(
        std::mismatch(before.begin(), before.end(), ids.begin(), ids.end()).first - before.begin());
    owners.resize(same);
    owners.resize(ids.size(), part.from_assistant);
    before = std::move(ids);
  }
  out->ids.insert(out->ids.end(), before.begin(), before.end());
  out->from_assistant.insert(out->from_assistant.end(), owners.begin(), owners.end());
  return absl::OkStatus();
}

absl::Status AppendMark(const Tokenizer& tokenizer, const Part& part, ChatTokens* out) {
  const int32_t id = part.text.empty() ? tokenizer.eos_id() : tokenizer.TokenId(part.text);
  if (id < 0)
    return InvalidArgument("chat template: expected ", part.text.empty() ? "EOS" : part.text,
                           " among the tokens, got none");
  out->ids.push_back(id);
  out->from_assistant.push_back(part.from_assistant);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChatTokens> EncodeChat(const Tokenizer& tokenizer,
                                      absl::Span<const ChatMessage> messages) {
  if (messages.empty()) return InvalidArgument("messages: expected at least one, got none");
  ISTHMUS_ASSIGN_OR_RETURN(const ChatForm chat, Recognise(tokenizer.chat_template()));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Part> parts, Render(tokenizer, chat, messages));
  ChatTokens out;
  if (chat.bos && tokenizer.bos_id() >= 0) {
    out.ids.push_back(tokenizer.bos_id());
    out.from_assistant.push_back(false);
  }
  for (size_t at = 0; at < parts.size();) {
    if (parts[at].mark) {
      ISTHMUS_RETURN_IF_ERROR(AppendMark(tokenizer, parts[at++], &out));
      continue;
    }
    const size_t begin = at;
    while (at < parts.size() && !parts[at].mark) ++at;
    ISTHMUS_RETURN_IF_ERROR(
        AppendTexts(tokenizer, absl::MakeSpan(parts).subspan(begin, at - begin), &out));
  }
  return out;
}

}  // namespace isthmus
