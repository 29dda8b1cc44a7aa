// Installs the codec library in an empty folder and uses it as somebody else would: CMake package,
// C and C++ examples, exported names, needed libraries, version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/packages/installed_package.h"

namespace isthmus {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CodecPackageTest : public testing::Test {
 protected:
  // Once for all tests: what the others look at.
  static void SetUpTestSuite() { package_ = new InstalledPackage("codec", "libisthmus_codec.so"); }
  static void TearDownTestSuite() { delete package_; }
  static InstalledPackage* package_;
};
InstalledPackage* CodecPackageTest::package_ = nullptr;

TEST_F(CodecPackageTest, ExamplesBuildAndRunAgainstIt) {
  ASSERT_EQ(package_->Build("examples/codec_only"), 0) << package_->Output();
  const std::string build = package_->Folder() + "/build";

  ASSERT_EQ(package_->Run("'" + build + "/codec_only'"), 0) << package_->Output();
  EXPECT_THAT(package_->Output(), AllOf(HasSubstr("isthmus codec library"), HasSubstr("ecq(db=20)"),
                                        HasSubstr("tah(bits=4)")));
  ASSERT_EQ(package_->Run("'" + build + "/codec_only' none int8"), 0);
  EXPECT_THAT(package_->Output(),
              AllOf(HasSubstr(" 32.000 bits/element"), HasSubstr("  8.125 bits/element")));
  EXPECT_EQ(package_->Run("'" + build + "/codec_only' int99"), 1);
  EXPECT_THAT(package_->Output(), HasSubstr("int99"));

  ASSERT_EQ(package_->Run("'" + build + "/codec_epochs'"), 0) << package_->Output();
  EXPECT_THAT(package_->Output(),
              AllOf(HasSubstr("epoch 3"), HasSubstr("agree"), Not(HasSubstr("differ"))));
}

// Every function of the header, and nothing else, leaves the library.
TEST_F(CodecPackageTest, ExportsWhatItsHeaderDeclares) {
  const auto declared = Matches(package_->Header("isthmus_codec.h"),
                                "ISTHMUS_CODEC_API [^(;]*?(isthmus_codec_[a-z_]+)\\(");
  EXPECT_GE(declared.size(), 29u);
  EXPECT_EQ(package_->ExportedNames(), declared);
}

TEST_F(CodecPackageTest, NeedsNeitherGrpcNorLibTorch) {
  const std::string dynamic = package_->Dynamic();
  EXPECT_THAT(dynamic, HasSubstr("NEEDED"));
  for (const char* library : {"grpc", "protobuf", "torch", "c10", "crypto", "sentencepiece"})
    EXPECT_THAT(dynamic, Not(HasSubstr(library)));
  const std::set<std::string> allowed = {"isthmus_codec.h", "memory", "stddef.h", "stdint.h"};
  for (const char* header : {"isthmus_codec.h", "isthmus_codec_handles.h"})
    for (const std::string& name : Matches(package_->Header(header), "#include [\"<]([^\">]+)"))
      EXPECT_TRUE(allowed.contains(name)) << name;
}

TEST_F(CodecPackageTest, HasOneSemanticVersion) {
  ExpectOneVersion(*package_, HeaderVersion(package_->Header("isthmus_codec.h"), "ISTHMUS_CODEC"),
                   "IsthmusCodec", "isthmus-codec");
}

}  // namespace
}  // namespace isthmus
