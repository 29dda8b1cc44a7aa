// Installs the client SDK in an empty folder and uses it as somebody else would: the C and C++
// examples train against a cluster of processes; exported names, needed libraries, version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/e2e/program_fixture.h"
#include "tests/packages/installed_package.h"

namespace isthmus {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kExamples[] = ISTHMUS_SOURCE_DIR "/examples";

class SdkPackageTest : public e2e::ClusterTest {
 protected:
  static void SetUpTestSuite() { package_ = new InstalledPackage("sdk", "libisthmus.so"); }
  static void TearDownTestSuite() { delete package_; }
  static InstalledPackage* package_;
};
InstalledPackage* SdkPackageTest::package_ = nullptr;

TEST_F(SdkPackageTest, ExamplesInCAndCppTrain) {
  ASSERT_EQ(package_->Build("examples/sdk"), 0) << package_->Output();
  const std::string build = package_->Folder() + "/build";
  StartCoordinator("127.0.0.1", {});
  const auto worker = StartWorker("w0", {"--model-root", kExamples});
  const std::string model = std::string(kExamples) + "/stories260K";

  const std::string text = std::string(kExamples) + "/shakespeare/eval.txt";
  ASSERT_EQ(package_->Run(build + "/train_text " + Coordinator() + " " + model + " " + text + " " +
                          folder_ + "/c"),
            0)
      << package_->Output();
  EXPECT_THAT(package_->Output(), HasSubstr("step 20 of 20: loss "));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/c/adapter/adapter_config.json"));

  ASSERT_EQ(
      package_->Run(build + "/own_loader " + Coordinator() + " " + model + " " + folder_ + "/cpp"),
      0)
      << package_->Output();
  EXPECT_THAT(package_->Output(), AllOf(HasSubstr("step 10: loss "), HasSubstr("report.json has")));

  // Wrong input, one line each.
  EXPECT_EQ(package_->Run(build + "/train_text " + Coordinator() + " /nowhere " + text + " o"), 2);
  EXPECT_THAT(package_->Output(), HasSubstr("/nowhere"));
  EXPECT_EQ(
      package_->Run(build + "/own_loader " + Coordinator() + " " + model + " " + folder_ + "/cpp"),
      1);
  EXPECT_THAT(package_->Output(), HasSubstr("overwrite"));
}

TEST_F(SdkPackageTest, ExportsWhatItsHeaderDeclares) {
  const auto declared =
      Matches(package_->Header("isthmus.h"), "ISTHMUS_API [^(;]*?(isthmus_[a-z_]+)\\(");
  EXPECT_GE(declared.size(), 14u);
  EXPECT_EQ(package_->ExportedNames(), declared);
}

TEST_F(SdkPackageTest, NeedsNoLibTorch) {
  const std::string dynamic = package_->Dynamic();
  EXPECT_THAT(dynamic, HasSubstr("NEEDED"));
  for (const char* library : {"libtorch", "libc10", "libdnnl", "blas.so", "libgomp"})
    EXPECT_THAT(dynamic, Not(HasSubstr(library)));
}

TEST_F(SdkPackageTest, HasOneSemanticVersion) {
  ExpectOneVersion(*package_, HeaderVersion(package_->Header("isthmus.h"), "ISTHMUS"), "Isthmus",
                   "isthmus");
}

}  // namespace
}  // namespace isthmus
