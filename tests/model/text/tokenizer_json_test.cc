#include "model/tokenizer_json.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "toy_tokenizer.h"

namespace isthmus {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Json kUnderscores = {
    {"type", "Sequence"},
    {"normalizers",
     {{{"type", "Prepend"}, {"prepend", "\u2581"}},
      {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}};

std::string ErrorOf(const Json& file) {
  const auto tokenizer = ParseTokenizerJson(DumpJson(file), {}, "toy.json");
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << tokenizer.status();
  return std::string(tokenizer.status().message());
}

TEST(TokenizerJsonTest, MergesInOrderOfRankThenFromTheLeft) {
  Json file = ToyFile(ToyVocab({"ab", "bc", "abc", "aa", "aaa"}),
                      {"b c", Json::array({"a", "b"}), "a bc", "a a", "aa a"});
  const auto tokenizer = OpenToy(file);
  EXPECT_EQ(Tokens(*tokenizer, file, "abc"), "abc");
  EXPECT_EQ(Tokens(*tokenizer, file, "abab"), "ab|ab");
  EXPECT_EQ(Tokens(*tokenizer, file, "aaaa"), "aa|aa");
  EXPECT_EQ(Tokens(*tokenizer, file, "aaaaa"), "aa|aaa");
  EXPECT_EQ(Tokens(*tokenizer, file, ""), "");
}

TEST(TokenizerJsonTest, LongWordsAreMergedWhole) {
  Json file = ToyFile(ToyVocab({"aa", "aaaa"}), {"a a", "aa aa"});
  const auto tokenizer = OpenToy(file);
  const auto ids = tokenizer->Encode(std::string(1 << 20, 'a'));
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->size(), size_t{1} << 18);
}

TEST(TokenizerJsonTest, UnknownCharacters) {
  Json file = ToyFile({{"a", 0}, {"<unk>", 1}});
  EXPECT_EQ(Tokens(*OpenToy(file), file, "axxa"), "a|a");
  file["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(Tokens(*OpenToy(file), file, "axxa"), "a|<unk>|<unk>|a");
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(Tokens(*OpenToy(file), file, "axxa"), "a|<unk>|a");
  file["model"]["unk_token"] = "<none>";
  EXPECT_THAT(ErrorOf(file), HasSubstr("unk_token"));
}

TEST(TokenizerJsonTest, ByteFallback) {
  Json file = ToyFile(ToyVocab({"<unk>"}));
  file["model"]["unk_token"] = "<unk>";
  file["model"]["byte_fallback"] = true;
  file["decoder"] = {{"type", "Sequence"},
                     {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  const auto tokenizer = OpenToy(file);
  EXPECT_EQ(Tokens(*tokenizer, file, "a\u00E9"), "a|<0xC3>|<0xA9>");
  EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode("a\u00E9\n")), "a\u00E9\n");
  EXPECT_EQ(tokenizer->Decode({tokenizer->TokenId("<0xC3>"), tokenizer->TokenId("a")}), "\uFFFDa");
}

TEST(TokenizerJsonTest, IgnoreMergesTakesWholeWords) {
  Json file = ToyFile(ToyVocab({"abc", "ab"}), {"a b"});
  EXPECT_EQ(Tokens(*OpenToy(file), file, "abc"), "ab|c");
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(Tokens(*OpenToy(file), file, "abc"), "abc");
}

TEST(TokenizerJsonTest, Normalizers) {
  const auto normal = [](const Json& step, const std::string& text) {
    std::vector<NormalizeStep> steps;
    EXPECT_TRUE(ReadNormalizer(&step, "toy", &steps).ok());
    std::string out = text;
    for (const NormalizeStep& one : steps) out = *one(out);
    return out;
  };
  EXPECT_EQ(normal({{"type", "NFC"}}, "e\u0301"), "\u00E9");
  EXPECT_EQ(normal({{"type", "NFD"}}, "\u00E9"), "e\u0301");
  EXPECT_EQ(normal({{"type", "NFKC"}}, "\uFB01\u00B2"), "fi2");
  EXPECT_EQ(normal({{"type", "NFKD"}}, "\uFB01\u00E9"), "fie\u0301");
  EXPECT_EQ(normal({{"type", "Lowercase"}}, "AÉÇ"), "aéç");
  EXPECT_EQ(normal({{"type", "Strip"}}, " \u00A0a b\n"), "a b");
  EXPECT_EQ(normal({{"type", "Strip"}, {"strip_left", false}}, " a "), " a");
  EXPECT_EQ(normal({{"type", "StripAccents"}}, "e\u0301a"), "ea");
  EXPECT_EQ(normal(kUnderscores, "a b"), "\u2581a\u2581b");
  EXPECT_EQ(normal(kUnderscores, ""), "");
  EXPECT_EQ(normal({{"type", "Replace"}, {"pattern", {{"Regex", "\\A +| +\\z"}}}, {"content", ""}},
                   "  a b "),
            "a b");
  EXPECT_EQ(normal({{"type", "Replace"}, {"pattern", {{"String", "."}}}, {"content", "!"}}, "a.b"),
            "a!b");
}

std::vector<std::string> Split(const Json& step, const std::string& text) {
  std::vector<SplitStep> steps;
  EXPECT_TRUE(ReadPreTokenizer(&step, "toy", &steps).ok());
  std::vector<Piece> pieces = {{text, true}};
  for (const SplitStep& one : steps) EXPECT_TRUE(one(&pieces).ok());
  std::vector<std::string> texts;
  for (const Piece& piece : pieces) texts.push_back(piece.text);
  return texts;
}

TEST(TokenizerJsonTest, SplitBehaviors) {
  const auto split = [](const char* behavior, bool invert = false) {
    return Split({{"type", "Split"},
                  {"pattern", {{"String", "-"}}},
                  {"behavior", behavior},
                  {"invert", invert}},
                 "the-final--countdown");
  };
  EXPECT_THAT(split("Removed"), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(split("Isolated"), ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(split("Contiguous"), ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(split("MergedWithPrevious"), ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(split("MergedWithNext"), ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(split("Removed", true), ElementsAre("-", "-", "-"));
}

TEST(TokenizerJsonTest, PreTokenizers) {
  EXPECT_THAT(Split({{"type", "Digits"}, {"individual_digits", true}}, "a12b"),
              ElementsAre("a", "1", "2", "b"));
  EXPECT_THAT(Split({{"type", "Digits"}}, "a12b"), ElementsAre("a", "12", "b"));
  EXPECT_THAT(Split({{"type", "Metaspace"}}, "a  b"), ElementsAre("\u2581a", "\u2581", "\u2581b"));
  EXPECT_THAT(Split({{"type", "Metaspace"}, {"prepend_scheme", "never"}}, "a b"),
              ElementsAre("a", "\u2581b"));
  EXPECT_THAT(Split({{"type", "Metaspace"}, {"split", false}}, "a b"),
              ElementsAre("\u2581a\u2581b"));
  EXPECT_THAT(Split({{"type", "ByteLevel"}, {"add_prefix_space", true}}, "a don't  x\n"),
              ElementsAre("Ġa", "Ġdon", "'t", "Ġ", "Ġx", "Ċ"));
}

// The pattern of Llama 3 and its family: case-insensitive contractions, digits by three, look-ahead
// at white space.
TEST(TokenizerJsonTest, PatternWithLookAhead) {
  const Json step = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern",
          {{"Regex",
            R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  EXPECT_THAT(Split(step, "I'M 12345!\n\n  ok"),
              ElementsAre("I", "'M", "Ġ", "123", "45", "!ĊĊ", "Ġ", "Ġok"));
  EXPECT_THAT(Split(step, "a\u0085\u00A0b"), ElementsAre("a", "Âħ", "Âłb"));
}

TEST(TokenizerJsonTest, SpecialTokensInTextAreText) {
  Json file = ToyFile(ToyVocab({"<s>"}));
  file["added_tokens"] = {{{"id", 351}, {"content", "<s>"}, {"special", true}},
                          {{"id", 900}, {"content", "[X]"}, {"special", false}}};
  file["model"]["vocab"]["<s>"] = 351;
  const auto tokenizer = OpenToy(file);
  EXPECT_EQ(Tokens(*tokenizer, file, "a<s>b"), "a|<|s|>|b");
  EXPECT_EQ(Tokens(*tokenizer, file, "a[X]b"), "a|[X]|b");
  EXPECT_EQ(tokenizer->vocab_size(), 901);
  EXPECT_EQ(tokenizer->TokenId("[X]"), 900);
  EXPECT_EQ(tokenizer->TokenId("<s>"), 351);
  EXPECT_EQ(tokenizer->TokenId("[Y]"), -1);
}

TEST(TokenizerJsonTest, AddedTokenFlags) {
  Json file = ToyFile(ToyVocab());
  const auto with = [&](const char* flag) {
    Json token = {{"id", 900}, {"content", "cat"}, {"special", false}};
    if (*flag) token[flag] = true;
    file["added_tokens"] = Json::array({token});
    return OpenToy(file);
  };
  EXPECT_EQ(Tokens(*with(""), file, "a cats"), "a| |cat|s");
  EXPECT_EQ(Tokens(*with("single_word"), file, "a cats"), "a| |c|a|t|s");
  EXPECT_EQ(Tokens(*with("single_word"), file, "a cat."), "a| |cat|.");
  EXPECT_EQ(Tokens(*with("lstrip"), file, "a  cat b"), "a|cat| |b");
  EXPECT_EQ(Tokens(*with("rstrip"), file, "a cat  b"), "a| |cat|b");
}

TEST(TokenizerJsonTest, LongestAddedTokenWins) {
  Json file = ToyFile(ToyVocab());
  file["added_tokens"] = {{{"id", 900}, {"content", "<x"}}, {{"id", 901}, {"content", "<xy>"}}};
  EXPECT_EQ(Tokens(*OpenToy(file), file, "<xy><xy"), "<xy>|<x|y");
}

Json WithTemplate() {
  Json file = ToyFile(ToyVocab({"<s>", "</s>"}));
  for (const char* name : {"<s>", "</s>"})
    file["added_tokens"].push_back(
        {{"id", file["model"]["vocab"][name]}, {"content", name}, {"special", true}});
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"special_tokens",
       {{"<s>", {{"id", "<s>"}, {"ids", {file["model"]["vocab"]["<s>"]}}, {"tokens", {"<s>"}}}}}}};
  return file;
}

TEST(TokenizerJsonTest, SpecialTokensAreAddedAsTheFilesSay) {
  const Json file = WithTemplate();
  EXPECT_EQ(Tokens(*OpenToy(file), file, "a", true), "<s>|a");
  EXPECT_EQ(Tokens(*OpenToy(file), file, "a", false), "a");
  EXPECT_EQ(Tokens(*OpenToy(file), file, "", true), "<s>");
  TokenizerConfig config;
  config.bos_token = "<s>";
  config.eos_token = "</s>";
  config.add_bos = false;
  config.add_eos = true;
  EXPECT_EQ(Tokens(*OpenToy(file, config), file, "a", true), "a|</s>");
  config.add_bos = true;
  EXPECT_EQ(Tokens(*OpenToy(file, config), file, "a", true), "<s>|a|</s>");
  config.eos_token = "<none>";
  EXPECT_FALSE(ParseTokenizerJson(DumpJson(file), config, "toy").ok());
}

TEST(TokenizerJsonTest, DecodersUndoTheirPart) {
  Json file = ToyFile(ByteVocab());
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  const auto tokenizer = OpenToy(file);
  const std::string text = "naïve 中文 🙂\n\t";
  EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode(text)), text);
  EXPECT_EQ(tokenizer->Decode({0xE4, 0xB8}), "\uFFFD\uFFFD");

  Json meta = ToyFile(ToyVocab());
  meta["pre_tokenizer"] = {{"type", "Metaspace"}};
  meta["decoder"] = {{"type", "Metaspace"}};
  const auto spaced = OpenToy(meta);
  EXPECT_EQ(spaced->Decode(*spaced->Encode("a b")), "a b");

  Json none = ToyFile(ToyVocab());
  const auto joined = OpenToy(none);
  EXPECT_EQ(joined->Decode(*joined->Encode("ab")), "a b");
  EXPECT_EQ(joined->Decode({-1, 1 << 30}), "");
}

TEST(TokenizerJsonTest, StreamGivesWholeCharacters) {
  Json file = ToyFile(ByteVocab());
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  const auto tokenizer = OpenToy(file);
  StreamDecoder stream(tokenizer.get());
  EXPECT_EQ(stream.Push('a'), "a");
  EXPECT_EQ(stream.Push(0xE4), "");
  EXPECT_EQ(stream.Push(0xB8), "");
  EXPECT_EQ(stream.Push(0xAD), "中");
  EXPECT_EQ(stream.Push(0xF0), "");
  EXPECT_EQ(stream.Flush(), "\uFFFD");
  EXPECT_EQ(stream.Flush(), "");
}

TEST(TokenizerJsonTest, RefusesByName) {
  Json file = ToyFile(ToyVocab());
  file["model"]["type"] = "Unigram";
  EXPECT_THAT(ErrorOf(file), AllOf(HasSubstr("Unigram"), HasSubstr("toy.json")));
  file = ToyFile(ToyVocab());
  file["normalizer"] = {{"type", "Precompiled"}};
  EXPECT_THAT(ErrorOf(file), HasSubstr("Precompiled"));
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  EXPECT_THAT(ErrorOf(file), HasSubstr("BertPreTokenizer"));
  file["pre_tokenizer"] = nullptr;
  file["post_processor"] = {{"type", "BertProcessing"}};
  EXPECT_THAT(ErrorOf(file), HasSubstr("BertProcessing"));
  file["post_processor"] = nullptr;
  file["decoder"] = {{"type", "WordPiece"}};
  EXPECT_THAT(ErrorOf(file), HasSubstr("WordPiece"));
}

TEST(TokenizerJsonTest, RefusesDamage) {
  EXPECT_THAT(ErrorOf(Json::array()), HasSubstr("object"));
  EXPECT_THAT(ErrorOf(Json::object()), HasSubstr("model"));
  EXPECT_THAT(ErrorOf(ToyFile({{"a", -1}})), HasSubstr("vocab"));
  EXPECT_THAT(ErrorOf(ToyFile({{"a", "b"}})), HasSubstr("vocab"));
  EXPECT_THAT(ErrorOf(ToyFile({{"a", 0}}, {"a b"})), HasSubstr("merges[0]"));
  EXPECT_THAT(ErrorOf(ToyFile({{"a", 0}}, {"a"})), HasSubstr("merges[0]"));
  Json file = ToyFile(ToyVocab());
  file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "(("}}}, {"content", ""}};
  EXPECT_THAT(ErrorOf(file), HasSubstr("regular expression"));
  file = WithTemplate();
  file["post_processor"]["special_tokens"] = Json::object();
  EXPECT_THAT(ErrorOf(file), HasSubstr("special_tokens"));
  EXPECT_FALSE(ParseTokenizerJson("{", {}, "toy").ok());
  EXPECT_FALSE(OpenToy(ToyFile(ToyVocab()))->Encode("a\xFF").ok());
}

}  // namespace
}  // namespace isthmus
