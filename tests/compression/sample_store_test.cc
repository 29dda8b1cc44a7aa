#include "compression/sample_store.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace isthmus {
namespace {

Bytes RowOf(uint8_t fill) { return Bytes(16, fill); }  // one token of width 4 in fp32

void Put(SampleStore* store, uint64_t sample, uint32_t version, uint8_t fill) {
  const Bytes bytes = RowOf(fill);
  store->Put(sample, {1, version, bytes});
}

bool Holds(const SampleStore& store, uint64_t sample, uint8_t fill) {
  SampleStore::Row row;
  return store.Find(sample, &row) && Bytes(row.bytes.begin(), row.bytes.end()) == RowOf(fill);
}

TEST(SampleStore, EvictsTheLeastRecentlyPutRow) {
  SampleStore store(MakeRamSlots(), 2);
  Put(&store, 1, 1, 10);
  Put(&store, 2, 1, 20);
  Put(&store, 1, 2, 11);
  Put(&store, 3, 1, 30);
  EXPECT_TRUE(Holds(store, 1, 11));
  EXPECT_TRUE(Holds(store, 3, 30));
  EXPECT_EQ(store.size(), 2u);
  SampleStore::Row row;
  EXPECT_FALSE(store.Find(2, &row));
}

TEST(SampleStore, RollbackBringsBackRowsOrderAndEvictions) {
  auto mapped = MakeMappedSlots(testing::TempDir(), 3, 16);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  SampleStore store(*std::move(mapped), 3), twin(MakeRamSlots(), 3);
  CounterRng rng(1);
  for (int step = 0; step < 50; ++step) {
    for (int i = 0; i < 3; ++i) {
      const uint64_t sample = rng.NextBelow(6);
      Put(&store, sample, 1, static_cast<uint8_t>(step));
      Put(&twin, sample, 1, static_cast<uint8_t>(step));
    }
    store.Commit();
    twin.Commit();
    const uint64_t hash = store.Hash();
    for (int i = 0; i < 5; ++i) Put(&store, rng.NextBelow(6), 9, 99);
    store.Rollback();
    ASSERT_EQ(store.Hash(), hash);
    ASSERT_EQ(store.Hash(), twin.Hash());
  }
}

TEST(SampleStore, UndoesAFrameAndKeepsTheStep) {
  SampleStore store(MakeRamSlots(), 0);
  Put(&store, 1, 1, 10);
  const uint64_t hash = store.Hash();
  const size_t mark = store.JournalMark();
  Put(&store, 1, 2, 12);
  Put(&store, 2, 1, 20);
  store.UndoTo(mark);
  EXPECT_EQ(store.Hash(), hash);
  store.Rollback();
  EXPECT_EQ(store.size(), 0u);
  EXPECT_EQ(store.StateBytes(), 0);
}

TEST(SampleStore, RefusesSnapshotsThatDoNotFit) {
  SampleStore store(MakeRamSlots(), 0), small(MakeRamSlots(), 1);
  Put(&store, 1, 1, 10);
  Put(&store, 2, 4, 20);
  store.Commit();
  Bytes bytes;
  store.Snapshot(&bytes);
  const StoreRowFormat format(StoreType::kFp32, 4);
  ByteReader too_many(bytes), too_long(bytes), good(bytes);
  EXPECT_FALSE(small.Restore(&too_many, format, 1).ok());
  EXPECT_FALSE(store.Restore(&too_long, format, 0).ok());
  SampleStore restored(MakeRamSlots(), 0);
  ASSERT_TRUE(restored.Restore(&good, format, 1).ok());
  EXPECT_EQ(restored.Hash(), store.Hash());
}

TEST(MappedSlots, SayWhenTheFolderIsNone) {
  const auto slots = MakeMappedSlots("/proc/none", 2, 16);
  EXPECT_FALSE(slots.ok());
}

}  // namespace
}  // namespace isthmus
