#include "model/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "base/file.h"

namespace isthmus {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file of version 1 whose header is padded to `align`.
std::string File(const std::string& dictionary, size_t value_bytes, size_t align = 64) {
  std::string header = dictionary;
  while ((10 + header.size() + 1) % align != 0) header += ' ';
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() % 256);
  bytes += static_cast<char>(header.size() / 256);
  return bytes + header + std::string(value_bytes, '\0');
}

std::string Dictionary(const std::string& type, const std::string& shape,
                       const std::string& fortran = "False") {
  return "{'descr': " + type + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

absl::StatusOr<Tensor> Parse(const std::string& bytes) {
  const auto owner = std::make_shared<std::string>(bytes);
  return ParseNpy({reinterpret_cast<const uint8_t*>(owner->data()), owner->size()}, owner, "x.npy");
}

std::string TestPath(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  std::filesystem::remove(path);
  return path;
}

TEST(NpyTest, WhatIsWrittenIsRead) {
  const std::string path = TestPath("written.npy");
  const Tensor x = Tensor::FromFloats({2, 3}, {1.0f, -2.0f, 3.5f, 0.0f, 1e-30f, 7.0f});
  ASSERT_TRUE(WriteNpy(path, x).ok());
  EXPECT_EQ(std::filesystem::file_size(path) % 64, 24u);  // six values behind whole lines
  const auto read = ReadNpy(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->shape(), ElementsAre(2, 3));
  EXPECT_EQ(read->floats(), x.floats());
  EXPECT_EQ(WriteNpy(path, x).code(), absl::StatusCode::kAlreadyExists);

  const int32_t ids[] = {3, -1, 4};
  const std::string ids_path = TestPath("ids.npy");
  ASSERT_TRUE(WriteNpy(ids_path, Tensor::View(DType::kI32, {3}, ids, nullptr)).ok());
  EXPECT_THAT(ReadNpy(ids_path)->ints(), ElementsAre(3, -1, 4));
}

TEST(NpyTest, ValuesAtAnOddPlaceAreCopied) {
  for (size_t align = 1; align <= 7; ++align) {
    const auto x = Parse(File(Dictionary("'<f4'", "(1, 2)"), 8, align));
    ASSERT_TRUE(x.ok()) << x.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x->data()) % alignof(float), 0u);
    EXPECT_THAT(x->floats(), ElementsAre(0.0f, 0.0f));
  }
}

TEST(NpyTest, RefusesWhatItDoesNotRead) {
  const std::string good = File(Dictionary("'<f4'", "(2, 3)"), 24);
  ASSERT_TRUE(Parse(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    const auto cut = Parse(good.substr(0, size));
    ASSERT_EQ(cut.status().code(), absl::StatusCode::kInvalidArgument) << size;
    ASSERT_THAT(std::string(cut.status().message()), HasSubstr("x.npy: expected"));
  }
  const std::string wrong[] = {good + "x",
                               "GIF89a" + good,
                               File(Dictionary("'<f8'", "(2, 3)"), 48),
                               File(Dictionary("[('<f4', '<i8')]", "(2, 3)"), 24),
                               File(Dictionary("'<f4'", "(2, 3)", "True"), 24),
                               File(Dictionary("'<f4'", "()"), 4),
                               File(Dictionary("'<f4'", "(0, 3)"), 0),
                               File(Dictionary("'<f4'", "(-2, -3)"), 24),
                               File(Dictionary("'<f4'", "(4294967296, 4294967296)"), 24),
                               File(Dictionary("'<f4'", "(99999999999999999999,)"), 24),
                               File(Dictionary("'<f4'", "6"), 24),
                               File("{}", 24),
                               File("", 0)};
  for (const std::string& bytes : wrong)
    EXPECT_EQ(Parse(bytes).status().code(), absl::StatusCode::kInvalidArgument) << bytes;
  EXPECT_FALSE(ReadNpy(testing::TempDir()).ok());
  EXPECT_FALSE(ReadNpy(testing::TempDir() + "/nothing.npy").ok());
}

// The kernel's limit on a file's size stands for a disk that is full.
TEST(NpyTest, AFullDiskLeavesNoPartOfAFile) {
  const std::string path = TestPath("large.npy");
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = WriteNpy(path, Tensor::Zeros(DType::kF32, {64, 64}));
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace isthmus
