#include "model/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/rng.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

std::string File(const std::string& header, size_t buffer_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes += header;
  for (size_t i = 0; i < buffer_bytes; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

// Parses a copy on the heap, so that a read past the end is seen by AddressSanitizer.
absl::StatusOr<std::shared_ptr<const Safetensors>> Parse(const std::string& bytes) {
  auto copy = std::make_shared<std::vector<uint8_t>>(bytes.begin(), bytes.end());
  return Safetensors::Parse(*copy, copy, "test");
}

void ExpectRefused(const std::string& bytes, const std::string& needle) {
  const absl::Status status = Parse(bytes).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), needle)) << status << " lacks " << needle;
  EXPECT_FALSE(absl::StrContains(status.message(), "\n")) << status;
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

TEST(Safetensors, ReadsWhatItWrites) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x.safetensors";
  std::vector<NamedTensor> tensors = {
      {"b", Tensor::FromFloats({2, 3}, {1, 2, 3, 4, 5, 6})},
      {"a.\xC3\xA9", Tensor::Zeros(DType::kBF16, {5})},
      {"empty", Tensor::Zeros(DType::kF32, {0, 4})},
      {"scalar", Tensor::Zeros(DType::kI64, {})},
      {"bytes", Tensor::Zeros(DType::kU8, {3})},
  };
  // No tensor of more than one byte an element behind an odd size: order is the writer's business.
  ASSERT_TRUE(WriteSafetensors(path, tensors, {{"format", "pt"}}).ok());
  const auto file = Safetensors::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const NamedTensor& t : tensors) {
    const Tensor& got = (*file)->tensors().at(t.name);
    EXPECT_EQ(got.dtype(), t.tensor.dtype());
    EXPECT_EQ(got.shape(), t.tensor.shape());
    EXPECT_EQ(got.bytes(), t.tensor.bytes());
  }
  const std::string bytes = ReadFile(path).value();
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ((8 + length) % 64, 0u);
  EXPECT_EQ(bytes[8], '{');
}

TEST(Safetensors, NothingIsLeftOfAFailedWrite) {
  TemporaryFolder folder;
  const std::vector<TensorHeader> headers = {{"a", DType::kF32, {4}}};
  const auto fails = [](size_t) -> absl::StatusOr<Tensor> { return absl::CancelledError("no"); };
  EXPECT_TRUE(
      absl::IsCancelled(WriteSafetensors(folder.path() + "/x.safetensors", headers, fails)));
  const auto other = [](size_t) -> absl::StatusOr<Tensor> {
    return Tensor::Zeros(DType::kF32, {5});
  };
  EXPECT_TRUE(absl::IsInternal(WriteSafetensors(folder.path() + "/x.safetensors", headers, other)));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_FALSE(WriteSafetensors(folder.path() + "/no/x", std::vector<NamedTensor>()).ok());
}

TEST(Safetensors, MisalignedTensorsAreCopied) {
  // A header of odd length puts the floats at an odd address.
  std::string header = absl::StrCat("{", Entry("a", "F32", "[2]", "[0,8]"), "}");
  while (header.size() % 4 != 1) header += " ";
  const auto file = Parse(File(header, 8));
  ASSERT_TRUE(file.ok()) << file.status();
  const Tensor& a = (*file)->tensors().at("a");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 4, 0u);
  EXPECT_EQ(a.bytes()[7], 7);
}

TEST(Safetensors, BoolReadsAsBytes) {
  const auto file = Parse(File(absl::StrCat("{", Entry("m", "BOOL", "[3]", "[0,3]"), "}"), 3));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->tensors().at("m").dtype(), DType::kU8);
}

TEST(Safetensors, NoTensorsAtAll) {
  const auto file = Parse(File("{}", 0));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->tensors().empty());
  ExpectRefused(File("{}", 4), "tensor bytes");
}

TEST(Safetensors, DamagedHeader) {
  ExpectRefused("", "header length");
  ExpectRefused("1234567", "header length");
  ExpectRefused(File("", 4), "header");
  ExpectRefused(File("x{}", 0), "header");
  ExpectRefused(File(" {}", 0), "header");
  ExpectRefused(File("{\"a\":", 0), "does not parse");
  ExpectRefused(File("[]", 0), "header");
  ExpectRefused(File(std::string(1 << 20, '{'), 0), "header");
  for (uint64_t length : {uint64_t{3}, uint64_t{1} << 62, ~uint64_t{0}, uint64_t{100'000'001}}) {
    std::string bytes = File("{}", 0);
    std::memcpy(bytes.data(), &length, 8);
    ExpectRefused(bytes, "header length");
  }
  ExpectRefused(File(R"({"__metadata__": 3})", 0), "__metadata__");
  ExpectRefused(File(R"({"__metadata__": {"a": 3}})", 0), "__metadata__");
}

TEST(Safetensors, DamagedEntries) {
  const auto file = [](const std::string& entry) { return File(absl::StrCat("{", entry, "}"), 8); };
  ExpectRefused(file(R"("a": 3)"), "expected dtype");
  ExpectRefused(file(R"("a": {"dtype": "F32", "shape": [2]})"), "data_offsets");
  ExpectRefused(file(R"("a": {"dtype": 5, "shape": [2], "data_offsets": [0, 8]})"), "dtype");
  ExpectRefused(file(Entry("a", "F8_E4M3", "[8]", "[0,8]")), "F8_E4M3");
  for (const char* shape : {"2", "[-2]", "[2.0]", "[\"2\"]", "[[2]]", "null",
                            "[18446744073709551615]", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]"}) {
    ExpectRefused(file(Entry("a", "F32", shape, "[0,8]")), "shape");
  }
  for (const char* offsets : {"0", "[0]", "[0,8,8]", "[-1,8]", "[8,0]", "[0,9]", "[0,8.0]",
                              "[0,18446744073709551615]", "[18446744073709551608,8]"}) {
    ExpectRefused(file(Entry("a", "F32", "[2]", offsets)), "data_offsets");
  }
  ExpectRefused(file(Entry("a", "F32", "[3]", "[0,8]")), "12 bytes");
  ExpectRefused(file(Entry("a", "F32", "[1099511627776,1099511627776]", "[0,8]")), "too many");
  ExpectRefused(file(Entry("a", "F32", "[4611686018427387904]", "[0,8]")), "too many");
}

TEST(Safetensors, OverlapAndGap) {
  const auto two = [](const std::string& a, const std::string& b) {
    return File(
        absl::StrCat("{", Entry("a", "F32", "[1]", a), ",", Entry("b", "F32", "[1]", b), "}"), 8);
  };
  EXPECT_TRUE(Parse(two("[0,4]", "[4,8]")).ok());
  EXPECT_TRUE(Parse(two("[4,8]", "[0,4]")).ok());
  ExpectRefused(two("[0,4]", "[0,4]"), "overlap");
  ExpectRefused(two("[0,4]", "[2,6]"), "overlap");
  ExpectRefused(two("[4,8]", "[4,8]"), "gap");
  ExpectRefused(File(absl::StrCat("{", Entry("a", "F32", "[1]", "[0,4]"), ",",
                                  Entry("b", "F32", "[1]", "[8,12]"), "}"),
                     12),
                "gap");
  ExpectRefused(File(absl::StrCat("{", Entry("a", "F32", "[1]", "[0,4]"), "}"), 8), "tensor bytes");
}

TEST(Safetensors, ControlCharactersInNamesStayOnOneLine) {
  ExpectRefused(File(R"({"a\nb\u0007": 3})", 0), "a\\nb");
}

// Every truncation and many single-byte changes: a Status or a file, never a crash (run under the
// sanitizers).
TEST(Safetensors, TruncationsAndBitFlips) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x.safetensors";
  ASSERT_TRUE(
      WriteSafetensors(
          path, {{"a", Tensor::FromFloats({2}, {1, 2})}, {"b", Tensor::Zeros(DType::kF16, {3, 1})}},
          {{"format", "pt"}})
          .ok());
  const std::string good = ReadFile(path).value();
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(good.substr(0, n)).status())) << n;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Parse(good + "x").status()));
  for (size_t i = 0; i < good.size(); ++i) {
    for (uint64_t k = 0; k < 8; ++k) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << k));
      const absl::Status status = Parse(bytes).status();
      EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    }
  }
}

}  // namespace
}  // namespace isthmus
