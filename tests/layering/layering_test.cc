// The rules of the house over the whole source tree, and over small files that break each of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/layering/rules.h"

namespace isthmus::layering {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool IsSource(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cc" || path.extension() == ".proto";
}

bool IsText(const fs::path& path) {
  static const std::vector<std::string> kExtensions = {
      ".h", ".cc", ".proto", ".cmake", ".md", ".in", ".yml", ".sh", ".yaml", ".supp", ".def"};
  const std::string name = path.filename().string();
  return name == "CMakeLists.txt" || name == "Dockerfile" || name == "dev" ||
         std::find(kExtensions.begin(), kExtensions.end(), path.extension()) != kExtensions.end();
}

// Every file of ours: build and run folders, hidden folders and the examples' data are not.
std::vector<SourceFile> Tree(bool (*wanted)(const fs::path&)) {
  const fs::path root(ISTHMUS_SOURCE_DIR);
  std::vector<SourceFile> files;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator();
       ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && (name[0] == '.' || name == "build" || name == "runs")) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && wanted(it->path())) {
      files.push_back({fs::relative(it->path(), root).generic_string(), Read(it->path())});
    }
  }
  return files;
}

Breaches Over(const std::vector<SourceFile>& files, Breaches (*rule)(const SourceFile&)) {
  Breaches all;
  for (const SourceFile& file : files) {
    const Breaches some = rule(file);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

TEST(LayeringTest, TheTreeIsSeen) {
  const std::vector<SourceFile> files = Tree(IsSource);
  EXPECT_TRUE(std::any_of(files.begin(), files.end(),
                          [](const SourceFile& file) { return file.path == "base/tensor.h"; }));
  EXPECT_GT(files.size(), 50u);
}

TEST(LayeringTest, RoomsIncludeOnlyWhatTheArchitectureAllows) {
  EXPECT_THAT(Over(Tree(IsSource), RoomBreaches), IsEmpty());
}

TEST(LayeringTest, LibrariesStayInTheirRooms) {
  EXPECT_THAT(Over(Tree(IsSource), LibraryBreaches), IsEmpty());
}

TEST(LayeringTest, NoLockOrFunctionThatThreadSanitizerCannotTrust) {
  EXPECT_THAT(Over(Tree(IsSource), WordBreaches), IsEmpty());
}

TEST(LayeringTest, NoFileNamesAFolderOfOneMachine) {
  EXPECT_THAT(Over(Tree(IsText), MachinePathBreaches), IsEmpty());
}

TEST(LayeringTest, LinksOfMarkdownPagesResolve) {
  const fs::path root(ISTHMUS_SOURCE_DIR);
  const ReadFile read = [&](const std::string& path, std::string* text) {
    if (fs::is_directory(root / path)) return true;
    if (!fs::is_regular_file(root / path)) return false;
    *text = Read(root / path);
    return true;
  };
  Breaches all;
  for (const SourceFile& page :
       Tree([](const fs::path& path) { return path.extension() == ".md"; })) {
    const Breaches some = LinkBreaches(page, read);
    all.insert(all.end(), some.begin(), some.end());
  }
  EXPECT_THAT(all, IsEmpty());
}

TEST(LayeringRulesTest, ARoomMayNotIncludeARoomAboveIt) {
  EXPECT_THAT(RoomBreaches({"base/x.cc", "#include \"base/y.h\"\n#include \"model/z.h\"\n"}),
              ElementsAre("base/x.cc:2: base includes model/z.h"));
  EXPECT_THAT(RoomBreaches({"coordinator/x.cc", "#include \"engine/stage.h\"\n"}), SizeIs(1));
  EXPECT_THAT(RoomBreaches({"model/x.cc", "#include \"isthmus/v1/plan.pb.h\"\n"}), SizeIs(1));
  EXPECT_THAT(RoomBreaches({"engine/torch/x.cc", "#include \"link/link.h\"\n"}), SizeIs(1));
}

TEST(LayeringRulesTest, ASingleHeaderOfARoomMayBeAllowed) {
  EXPECT_THAT(RoomBreaches({"pipeline/x.cc", "#include \"link/frame.h\"\n"}), IsEmpty());
  EXPECT_THAT(RoomBreaches({"pipeline/x.cc", "#include \"link/grpc_link.h\"\n"}), SizeIs(1));
  EXPECT_THAT(RoomBreaches({"pipeline/x.cc", "#include \"isthmus/v1/plan.pb.h\"\n"}), IsEmpty());
  EXPECT_THAT(RoomBreaches({"pipeline/x.cc", "#include \"isthmus/v1/control.pb.h\"\n"}), SizeIs(1));
  EXPECT_THAT(RoomBreaches({"client/x.cc", "#include \"engine/torch/torch_stage.h\"\n"}),
              SizeIs(1));
}

TEST(LayeringRulesTest, ALibraryHasAHome) {
  EXPECT_THAT(LibraryBreaches({"engine/torch/x.cc", "#include <torch/torch.h>\n"}), IsEmpty());
  EXPECT_THAT(LibraryBreaches({"tests/engine/torch/x.cc", "#include <torch/torch.h>\n"}),
              IsEmpty());
  EXPECT_THAT(LibraryBreaches({"client/x.cc", "#include <torch/torch.h>\n"}), SizeIs(1));
  EXPECT_THAT(LibraryBreaches({"metrics/x.cc", "#include <prometheus/counter.h>\n"}), SizeIs(1));
  EXPECT_THAT(LibraryBreaches({"base/x.cc", "#include \"absl/synchronization/mutex.h\"\n"}),
              SizeIs(1));
}

TEST(LayeringRulesTest, UnsafeWordsAreFoundOutsideCommentsOnly) {
  // The words are split here: this file is scanned too.
  EXPECT_THAT(WordBreaches({"x.cc",
                            "absl::Mu"
                            "tex mu;\n"}),
              SizeIs(1));
  EXPECT_THAT(WordBreaches({"x.cc",
                            "int r = ra"
                            "nd();\n"}),
              SizeIs(1));
  EXPECT_THAT(WordBreaches({"x.cc", "// not absl::Mutex\nint q = operand(1); torch::rand(2);\n"}),
              IsEmpty());
}

TEST(LayeringRulesTest, MachinePathsAreFound) {
  const std::string home = std::string("/ho") + "me/someone/x";
  EXPECT_THAT(MachinePathBreaches({"x.md", "see " + home + "\n"}),
              ElementsAre(HasSubstr("x.md:1")));
  EXPECT_THAT(MachinePathBreaches({"x.md", "see docs" + home + " and a/workshop\n"}), IsEmpty());
}

TEST(LayeringRulesTest, DeadLinksAndHeadingsAreFound) {
  const ReadFile read = [](const std::string& path, std::string* text) {
    if (path != "docs/a.md") return false;
    *text = "# Top\n## Two words, `here`\n";
    return true;
  };
  EXPECT_THAT(LinkBreaches({"README.md", "[a](docs/a.md) [b](docs/a.md#two-words-here)"}, read),
              IsEmpty());
  EXPECT_THAT(LinkBreaches({"docs/b.md", "[a](a.md) [up](../docs/a.md) [web](http://x)"}, read),
              IsEmpty());
  EXPECT_THAT(LinkBreaches({"README.md", "[a](docs/c.md)\n[b](docs/a.md#gone)"}, read),
              ElementsAre(HasSubstr("README.md:1"), HasSubstr("README.md:2")));
}

}  // namespace
}  // namespace isthmus::layering
