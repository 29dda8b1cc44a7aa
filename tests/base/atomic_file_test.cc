#include "base/atomic_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

const uint8_t kBytes[] = {'n', 'e', 'w'};

class AtomicFileTest : public ::testing::Test {
 protected:
  AtomicFileTest() : folder_(::testing::TempDir() + "/atomic_file") {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  int Files() const {
    int files = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_)) ++files;
    return files;
  }
  const std::string folder_;
};

TEST_F(AtomicFileTest, IsThereAtOnceAndReplacesWhatWasThere) {
  const std::string path = folder_ + "/name";
  ASSERT_TRUE(WriteFileAtomic(path, "old").ok());
  auto file = AtomicFile::Create(folder_);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append(kBytes).ok());
  EXPECT_EQ(*ReadFile(path), "old");
  ASSERT_TRUE((*file)->Append(kBytes).ok());
  ASSERT_TRUE((*file)->Commit(path).ok());
  EXPECT_EQ(*ReadFile(path), "newnew");
  EXPECT_EQ(Files(), 1);
}

TEST_F(AtomicFileTest, WithoutCommitNothingIsLeft) {
  {
    auto file = AtomicFile::Create(folder_);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Append(kBytes).ok());
    EXPECT_EQ(Files(), 1);
  }
  EXPECT_EQ(Files(), 0);
}

TEST_F(AtomicFileTest, AFolderThatIsNotThereIsSaid) {
  EXPECT_TRUE(absl::IsNotFound(AtomicFile::Create(folder_ + "/none").status()));
}

}  // namespace
}  // namespace isthmus
