#include "model/tokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include "client/sdk/call.h"

struct isthmus_tokenizer {
  std::unique_ptr<isthmus::Tokenizer> tokenizer;
  std::vector<int32_t> ids;  // of the last encode
  std::string text;          // of the last decode
};

isthmus_status isthmus_tokenizer_open(const char* model_folder, isthmus_tokenizer** tokenizer) {
  return isthmus::Call("isthmus_tokenizer_open", [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(isthmus::NotNull(model_folder, tokenizer));
    auto made = std::make_unique<isthmus_tokenizer>();
    ISTHMUS_ASSIGN_OR_RETURN(made->tokenizer, isthmus::Tokenizer::Open(model_folder));
    *tokenizer = made.release();
    return absl::OkStatus();
  });
}

void isthmus_tokenizer_free(isthmus_tokenizer* tokenizer) { delete tokenizer; }

isthmus_status isthmus_tokenizer_encode(isthmus_tokenizer* tokenizer, const char* text,
                                        int add_special, const int32_t** ids, size_t* count) {
  return isthmus::Call("isthmus_tokenizer_encode", [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(isthmus::NotNull(tokenizer, text, ids, count));
    ISTHMUS_ASSIGN_OR_RETURN(tokenizer->ids, tokenizer->tokenizer->Encode(text, add_special != 0));
    *ids = tokenizer->ids.data();
    *count = tokenizer->ids.size();
    return absl::OkStatus();
  });
}

isthmus_status isthmus_tokenizer_decode(isthmus_tokenizer* tokenizer, const int32_t* ids,
                                        size_t count, const char** text) {
  return isthmus::Call("isthmus_tokenizer_decode", [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(isthmus::NotNull(tokenizer, text));
    if (count > 0) ISTHMUS_RETURN_IF_ERROR(isthmus::NotNull(ids));
    for (size_t i = 0; i < count; ++i)
      if (ids[i] < 0 || ids[i] >= tokenizer->tokenizer->vocab_size())
        return isthmus::InvalidArgument("expected ids from 0 to ",
                                        tokenizer->tokenizer->vocab_size() - 1, ", got ", ids[i]);
    tokenizer->text = tokenizer->tokenizer->Decode({ids, count});
    *text = tokenizer->text.c_str();
    return absl::OkStatus();
  });
}

int32_t isthmus_tokenizer_eos(const isthmus_tokenizer* tokenizer) {
  return tokenizer == nullptr ? -1 : tokenizer->tokenizer->eos_id();
}
