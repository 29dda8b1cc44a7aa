// {"messages"} as token ids, by the known chat templates.
//
// A template is a program (Jinja) and is not run: it is recognised by its marks, and what varies
// between models of a family (BOS, trimming, a default system message, spaces around [INST]) is
// read off its text.
#ifndef ISTHMUS_MODEL_CHAT_H_
#define ISTHMUS_MODEL_CHAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/tokenizer.h"

namespace isthmus {

struct ChatMessage {
  std::string role;  // system, user, assistant …
  std::string content;
};

struct ChatTokens {
  std::vector<int32_t> ids;
  std::vector<bool> from_assistant;  // same length: content and end mark of an assistant's turn
};

// kInvalidArgument when the template is none of chatml, llama3 and mistral, or lacks a mark among
// the tokens, or does not take the order of roles.
absl::StatusOr<ChatTokens> EncodeChat(const Tokenizer& tokenizer,
                                      absl::Span<const ChatMessage> messages);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_CHAT_H_
