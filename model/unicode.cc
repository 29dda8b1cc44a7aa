#include "model/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "base/check.h"
#include "base/status.h"

namespace isthmus {
namespace {

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// Length of the well-formed sequence at text[at], 0 when there is none. The lead byte narrows the
// range of the second one: that is what keeps overlong forms (E0, F0), surrogates (ED) and code
// points beyond U+10FFFF (F4) out.
size_t WellFormedLength(absl::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  if (lead < 0xE0) return IsContinuation(byte(1)) ? 2 : 0;
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (byte(1) < low || byte(1) > high || !IsContinuation(byte(2))) return 0;
  if (lead < 0xF0) return 3;
  return IsContinuation(byte(3)) ? 4 : 0;
}

const icu::Normalizer2& Instance(NormalForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* instance = nullptr;
  switch (form) {
    case NormalForm::kNfc:
      instance = icu::Normalizer2::getNFCInstance(error);
      break;
    case NormalForm::kNfd:
      instance = icu::Normalizer2::getNFDInstance(error);
      break;
    case NormalForm::kNfkc:
      instance = icu::Normalizer2::getNFKCInstance(error);
      break;
    case NormalForm::kNfkd:
      instance = icu::Normalizer2::getNFKDInstance(error);
      break;
  }
  ISTHMUS_CHECK(U_SUCCESS(error) && instance != nullptr);  // the tables are compiled into ICU
  return *instance;
}

}  // namespace

size_t FirstBadUtf8(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = WellFormedLength(text, at);
    if (length == 0) return at;
    at += length;
  }
  return text.size();
}

absl::Status CheckUtf8(absl::string_view text) {
  const size_t bad = FirstBadUtf8(text);
  if (bad == text.size()) return absl::OkStatus();
  return InvalidArgument("text: expected UTF-8, got a malformed byte at offset ", bad);
}

size_t Utf8Length(absl::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return 1;
  if (lead < 0xE0) return 2;
  return lead < 0xF0 ? 3 : 4;
}

char32_t CodePointAt(absl::string_view text, size_t at) {
  const size_t length = Utf8Length(text, at);
  const auto lead = static_cast<unsigned char>(text[at]);
  if (length == 1) return lead;
  char32_t code_point = lead & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i)
    code_point = code_point << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  return code_point;
}

char32_t CodePointBefore(absl::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && IsContinuation(static_cast<unsigned char>(text[at]))) --at;
  return CodePointAt(text, at);
}

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string ReplaceBadUtf8(absl::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = WellFormedLength(bytes, at);
    if (length == 0) {
      AppendUtf8(0xFFFD, &text);
      ++at;
    } else {
      text.append(bytes.data() + at, length);
      at += length;
    }
  }
  return text;
}

bool IsSpace(char32_t code_point) { return u_isUWhiteSpace(static_cast<UChar32>(code_point)); }

bool IsNumber(char32_t code_point) {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & U_GC_N_MASK) != 0;
}

bool IsMark(char32_t code_point) {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & U_GC_M_MASK) != 0;
}

bool IsWord(char32_t code_point) {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) &
          (U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK | U_GC_PC_MASK)) != 0;
}

std::string Normalize(NormalForm form, absl::string_view text) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out, static_cast<int32_t>(text.size()));
  UErrorCode error = U_ZERO_ERROR;
  Instance(form).normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())),
                               sink, nullptr, error);
  return U_SUCCESS(error) ? out : std::string(text);
}

std::string LowerCase(absl::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += Utf8Length(text, at)) {
    const char32_t code_point = CodePointAt(text, at);
    if (code_point < 0x80) {
      out.push_back(static_cast<char>(u_tolower(static_cast<UChar32>(code_point))));
    } else {
      icu::UnicodeString one(static_cast<UChar32>(code_point));
      one.toLower(icu::Locale::getRoot()).toUTF8String(out);
    }
  }
  return out;
}

std::string StripMarks(absl::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += Utf8Length(text, at))
    if (const char32_t code_point = CodePointAt(text, at); !IsMark(code_point))
      AppendUtf8(code_point, &out);
  return out;
}

absl::string_view StripSpace(absl::string_view text, bool left, bool right) {
  while (left && !text.empty() && IsSpace(CodePointAt(text, 0)))
    text.remove_prefix(Utf8Length(text, 0));
  while (right && !text.empty()) {
    const char32_t last = CodePointBefore(text, text.size());
    if (!IsSpace(last)) break;
    std::string bytes;
    AppendUtf8(last, &bytes);
    text.remove_suffix(bytes.size());
  }
  return text;
}

}  // namespace isthmus
