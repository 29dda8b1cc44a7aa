// Installs the codec library in an empty folder and uses it as somebody else would: CMake package,
// C and C++ examples, exported names, needed libraries, version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "base/file.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CodecPackageTest : public testing::Test {
 protected:
  // Once for all tests: what the others look at.
  static void SetUpTestSuite() {
    std::string pattern = (fs::temp_directory_path() / "codec-package-XXXXXX").string();
    folder_ = new std::string(::mkdtemp(pattern.data()));
    EXPECT_EQ(Run(std::string("'" ISTHMUS_CMAKE "' --install '" ISTHMUS_BUILD_DIR
                              "' --component codec --prefix '") +
                  Prefix() + "'"),
              0)
        << Output();
  }
  static void TearDownTestSuite() {
    fs::remove_all(*folder_);
    delete folder_;
  }

  // Exit status; what it printed is Output().
  static int Run(const std::string& command) {
    const int status = std::system((command + " >'" + *folder_ + "/output' 2>&1").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static std::string Output() { return ReadFile(*folder_ + "/output").value_or(""); }
  static std::string Prefix() { return *folder_ + "/prefix"; }
  static std::string Library() {
    for (const auto& entry : fs::recursive_directory_iterator(Prefix()))
      if (entry.path().filename() == "libisthmus_codec.so") return entry.path();
    return "";
  }
  static std::string Header() { return *ReadFile(Prefix() + "/include/isthmus_codec.h"); }

  static std::string* folder_;
};
std::string* CodecPackageTest::folder_ = nullptr;

std::set<std::string> Words(const std::string& text, const std::regex& pattern) {
  std::set<std::string> words;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
    words.insert((*it)[1]);
  return words;
}

TEST_F(CodecPackageTest, ExamplesBuildAndRunAgainstIt) {
  const std::string build = *folder_ + "/build";
  ASSERT_EQ(Run(std::string("'" ISTHMUS_CMAKE "' -S '" ISTHMUS_SOURCE_DIR "/examples/codec_only' "
                            "-DCMAKE_C_COMPILER='" ISTHMUS_C "' -DCMAKE_CXX_COMPILER='" ISTHMUS_CXX
                            "' -DCMAKE_C_FLAGS='-Wall -Wextra -Werror -std=c99 -pedantic' "
                            "-DCMAKE_CXX_FLAGS='-Wall -Wextra -Werror' -DCMAKE_PREFIX_PATH='") +
                Prefix() + "' -B '" + build + "'"),
            0)
      << Output();
  ASSERT_EQ(Run("'" ISTHMUS_CMAKE "' --build '" + build + "'"), 0) << Output();

  ASSERT_EQ(Run("'" + build + "/codec_only'"), 0) << Output();
  EXPECT_THAT(Output(), AllOf(HasSubstr("isthmus codec library"), HasSubstr("ecq(db=20)"),
                              HasSubstr("tah(bits=4)")));
  ASSERT_EQ(Run("'" + build + "/codec_only' none int8"), 0);
  EXPECT_THAT(Output(),
              AllOf(HasSubstr(" 32.000 bits/element"), HasSubstr("  8.125 bits/element")));
  EXPECT_EQ(Run("'" + build + "/codec_only' int99"), 1);
  EXPECT_THAT(Output(), HasSubstr("int99"));

  ASSERT_EQ(Run("'" + build + "/codec_epochs'"), 0) << Output();
  EXPECT_THAT(Output(), AllOf(HasSubstr("epoch 3"), HasSubstr("agree"), Not(HasSubstr("differ"))));
}

// Every function of the header, and nothing else, leaves the library.
TEST_F(CodecPackageTest, ExportsWhatItsHeaderDeclares) {
  ASSERT_NE(Library(), "");
  ASSERT_EQ(Run("'" ISTHMUS_NM "' -D --defined-only '" + Library() + "'"), 0) << Output();
  const std::set<std::string> exported = Words(Output(), std::regex("[0-9a-f]+ . (\\S+)\n"));
  const std::set<std::string> declared =
      Words(Header(), std::regex("ISTHMUS_CODEC_API [^(;]*?(isthmus_codec_[a-z_]+)\\("));
  EXPECT_GE(declared.size(), 29u);
  EXPECT_EQ(exported, declared);
}

TEST_F(CodecPackageTest, NeedsNeitherGrpcNorLibTorch) {
  ASSERT_EQ(Run("'" ISTHMUS_READELF "' -d '" + Library() + "'"), 0) << Output();
  EXPECT_THAT(Output(), HasSubstr("NEEDED"));
  for (const char* library : {"grpc", "protobuf", "torch", "c10", "crypto", "sentencepiece"})
    EXPECT_THAT(Output(), Not(HasSubstr(library)));
  for (const char* header : {"isthmus_codec.h", "isthmus_codec_handles.h"}) {
    const std::string text = *ReadFile(Prefix() + "/include/" + header);
    const std::set<std::string> included = Words(text, std::regex("#include [\"<]([^\">]+)"));
    for (const std::string& name : included)
      EXPECT_TRUE(std::set<std::string>({"isthmus_codec.h", "memory", "stddef.h", "stdint.h"})
                      .contains(name))
          << name;
  }
}

// Header, file name, soname, CMake package and pkg-config say the same.
TEST_F(CodecPackageTest, HasOneSemanticVersion) {
  std::smatch match;
  const std::string header = Header();
  std::string version;
  for (const char* part : {"MAJOR", "MINOR", "PATCH"}) {
    ASSERT_TRUE(std::regex_search(
        header, match,
        std::regex("#define ISTHMUS_CODEC_VERSION_" + std::string(part) + " ([0-9]+)\n")));
    version += (version.empty() ? "" : ".") + std::string(match[1]);
  }
  const fs::path library = Library();
  EXPECT_TRUE(fs::exists(library.string() + "." + version));
  const std::string minor = version.substr(0, version.rfind('.'));
  ASSERT_EQ(Run("'" ISTHMUS_READELF "' -d '" + library.string() + "'"), 0);
  EXPECT_THAT(Output(),
              HasSubstr("soname: [libisthmus_codec.so." +
                        (version[0] == '0' ? minor : version.substr(0, version.find('.'))) + "]"));
  const std::string folder = library.parent_path().string();
  EXPECT_THAT(*ReadFile(folder + "/cmake/IsthmusCodec/IsthmusCodecConfigVersion.cmake"),
              HasSubstr("set(PACKAGE_VERSION \"" + version + "\")"));
  EXPECT_THAT(*ReadFile(folder + "/pkgconfig/isthmus-codec.pc"), HasSubstr("Version: " + version));
}

}  // namespace
}  // namespace isthmus
