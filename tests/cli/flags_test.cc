#include "cli/flags.h"

#include <filesystem>

#include "base/file.h"
#include "cli/flag_value.h"
#include "cli/nearest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace isthmus {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CliCommand Sample() {
  return {
      .name = "fly",
      .arguments = "WHERE",
      .least_arguments = 1,
      .most_arguments = 1,
      .summary = "flies",
      .notes = "",
      .flags = {{.name = "model", .value = "DIR", .help = "a model", .required = true},
                {.name = "steps",
                 .kind = FlagKind::kInteger,
                 .value = "N",
                 .help = "how many",
                 .fallback = "7",
                 .least = 1,
                 .most = 100},
                {.name = "rate", .kind = FlagKind::kNumber, .value = "X", .help = "how fast"},
                {.name = "json", .kind = FlagKind::kSwitch, .help = "as JSON"},
                {.name = "cache-limit",
                 .kind = FlagKind::kBytes,
                 .value = "SIZE",
                 .help = "of the cache"},
                {.name = "wait", .kind = FlagKind::kSeconds, .value = "TIME", .help = "how long"},
                {.name = "set", .value = "KEY=VALUE", .help = "sets", .repeated = true},
                {.name = "form", .value = "FORM", .help = "which", .choices = {"a", "b"}}},
      .run = nullptr};
}

absl::StatusOr<Invocation> Parse(std::vector<std::string> words,
                                 std::map<std::string, std::string> variables = {}) {
  static std::map<std::string, std::string> environment;
  environment = std::move(variables);
  return ParseCommandLine(Sample(), words, [](const std::string& name) -> const char* {
    const auto it = environment.find(name);
    return it == environment.end() ? nullptr : it->second.c_str();
  });
}

std::string ErrorOf(std::vector<std::string> words,
                    std::map<std::string, std::string> variables = {}) {
  return std::string(Parse(std::move(words), std::move(variables)).status().message());
}

TEST(Flags, BothForms) {
  const auto in =
      Parse({"moon", "--model", "m", "--steps=9", "--json", "--set", "a=1", "--set=b=2"});
  ASSERT_TRUE(in.ok()) << in.status();
  EXPECT_EQ(in->Text("model"), "m");
  EXPECT_EQ(in->Integer("steps"), 9);
  EXPECT_TRUE(in->On("json"));
  EXPECT_THAT(in->Texts("set"), ElementsAre("a=1", "b=2"));
  EXPECT_THAT(in->arguments(), ElementsAre("moon"));
}

TEST(Flags, DefaultsAreThereButNotGiven) {
  const auto in = Parse({"moon", "--model=m"});
  EXPECT_EQ(in->Integer("steps"), 7);
  EXPECT_FALSE(in->Given("steps"));
  EXPECT_FALSE(in->Has("rate"));
  EXPECT_FALSE(in->On("json"));
}

TEST(Flags, SwitchTakesAWord) {
  EXPECT_FALSE(Parse({"moon", "--model=m", "--json=false"})->On("json"));
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "--json=maybe"}), HasSubstr("true or false"));
}

TEST(Flags, SizesAndTimes) {
  const auto in = Parse({"moon", "--model=m", "--cache-limit=2GiB", "--wait", "90s"});
  EXPECT_EQ(in->Integer("cache-limit"), int64_t{2} << 30);
  EXPECT_DOUBLE_EQ(in->Number("wait"), 90.0);
}

TEST(Flags, ArgumentsAfterTwoDashes) {
  EXPECT_THAT(Parse({"--model=m", "--", "--moon"})->arguments(), ElementsAre("--moon"));
}

TEST(Flags, NegativeNumbersAreValues) {
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "--rate", "-1"}), HasSubstr("got -1"));
}

TEST(Flags, ErrorsNameTheFlag) {
  EXPECT_THAT(ErrorOf({"moon", "--modl=m"}), HasSubstr("--model"));
  EXPECT_THAT(ErrorOf({"moon"}), HasSubstr("--model"));
  EXPECT_THAT(ErrorOf({"moon", "--model"}), HasSubstr("no value"));
  EXPECT_THAT(ErrorOf({"moon", "--model", "--json"}), HasSubstr("no value"));
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "--steps=0"}), HasSubstr("from 1 to 100"));
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "--steps=1.5"}), HasSubstr("whole number"));
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "--rate=nan"}), HasSubstr("a number"));
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "--form=c"}), HasSubstr("one of a, b"));
  EXPECT_THAT(ErrorOf({"moon", "--model=m", "-x"}), HasSubstr("-x"));
  EXPECT_THAT(ErrorOf({"--model=m"}), HasSubstr("WHERE"));
  EXPECT_THAT(ErrorOf({"moon", "sun", "--model=m"}), HasSubstr("sun"));
}

TEST(Flags, HelpNeedsNothingElse) {
  EXPECT_TRUE(Parse({"--help"})->On("help"));
  EXPECT_TRUE(Parse({"-h"})->On("help"));
}

TEST(Flags, VariableFillsWhatNoFlagGave) {
  EXPECT_EQ(Parse({"moon"}, {{"ISTHMUS_MODEL", "v"}})->Text("model"), "v");
  EXPECT_EQ(Parse({"moon", "--model=f"}, {{"ISTHMUS_MODEL", "v"}})->Text("model"), "f");
  EXPECT_EQ(Parse({"moon", "--model=f"}, {{"ISTHMUS_CACHE_LIMIT", "1KiB"}})->Integer("cache-limit"),
            1024);
  EXPECT_THAT(ErrorOf({"moon", "--model=f"}, {{"ISTHMUS_STEPS", "x"}}), HasSubstr("ISTHMUS_STEPS"));
}

TEST(Flags, FileFillsWhatIsLeft) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "isthmus-flags-test.yaml").string();
  ASSERT_TRUE(WriteFileAtomic(path, "model: file\nsteps: 3\nset: [a=1, b=2]\n").ok());
  const auto in = Parse({"moon", "--config", path, "--steps=4"}, {{"ISTHMUS_MODEL", "v"}});
  ASSERT_TRUE(in.ok()) << in.status();
  EXPECT_EQ(in->Text("model"), "v");
  EXPECT_EQ(in->Integer("steps"), 4);
  EXPECT_THAT(in->Texts("set"), ElementsAre("a=1", "b=2"));
  for (const char* bad :
       {"modell: x\n", "model: [a, b]\n", "model: {a: b}\n", "- model\n", "model: [\n"}) {
    ASSERT_TRUE(WriteFileAtomic(path, bad).ok());
    EXPECT_EQ(Parse({"moon", "--config", path}).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
  std::filesystem::remove(path);
  EXPECT_FALSE(Parse({"moon", "--config", path}).ok());
}

TEST(Flags, HelpListsEveryFlag) {
  const std::string help = CommandHelp(Sample());
  for (const char* word : {"--model DIR", "(needed)", "default 7", "--json", "a | b",
                           "--config FILE", "--log-format"}) {
    EXPECT_THAT(help, HasSubstr(word));
  }
}

TEST(FlagValue, Bytes) {
  EXPECT_EQ(ParseBytes("0"), 0);
  EXPECT_EQ(ParseBytes("48MiB"), int64_t{48} << 20);
  EXPECT_EQ(ParseBytes("1.5KB"), 1500);
  for (const char* bad :
       {"", "MiB", "-1", "1 MiB", "1mib", "1e5", "99999999999TiB", "1..5", "nan"}) {
    EXPECT_FALSE(ParseBytes(bad).has_value()) << bad;
  }
}

TEST(FlagValue, Seconds) {
  EXPECT_EQ(ParseSeconds("500ms"), 0.5);
  EXPECT_EQ(ParseSeconds("5m"), 300.0);
  EXPECT_EQ(ParseSeconds("2"), 2.0);
  for (const char* bad : {"", "s", "-1s", "1d", "inf"})
    EXPECT_FALSE(ParseSeconds(bad).has_value()) << bad;
}

TEST(NearestName, HasTheFewestEdits) {
  EXPECT_EQ(Nearest("trian", {"eval", "train", "plan"}), "train");
  EXPECT_EQ(Nearest("", {"eval", "run"}), "run");
  EXPECT_EQ(Nearest("x", {}), "");
  EXPECT_EQ(Nearest(std::string(100000, 'a'), {"aa"}), "aa");
}

}  // namespace
}  // namespace isthmus
