#include "compression/ecq_basis.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "base/status.h"
#include "compression/block_basis.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/pipeline.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

enum Kind : uint8_t { kPlain = 0, kTurned = 1, kBrings = 2 };

// Moments of so many rows a channel of a block: eigenvectors of fewer fit the rows and not the
// rest.
constexpr uint64_t kRowsPerChannel = 16;
// What a decoded row is bounded to before it is turned back, 2^110 as fp32 bits and as a value:
// sums over 512 channels stay finite. Only bytes of no sender reach it.
constexpr uint32_t kMostTurned = 0x76800000u;
constexpr float kMostTurnedValue = 0x1p110f;

size_t BlockOf(const EcqOptions& options, const EdgeShape& shape) {
  return static_cast<size_t>(std::min(options.basis, shape.width));
}

// The basis that was loaded last, and rows in it.
class Rotation {
 public:
  Rotation(const EcqOptions& options, const EdgeShape& shape)
      : width_(static_cast<size_t>(shape.width)), basis_(width_, BlockOf(options, shape)) {}

  BlockBasis& basis() { return basis_; }
  size_t entries() const { return basis_.entries(); }
  // False for a table that is none.
  bool Use(absl::Span<const uint8_t> table) {
    if (table == absl::MakeConstSpan(loaded_)) return true;
    loaded_.clear();
    if (!basis_.Load(table)) return false;
    loaded_.assign(table.begin(), table.end());
    return true;
  }
  absl::Span<const float> Forward(absl::Span<const float> rows, std::vector<float>* turned) const {
    float* to = Room(turned, rows.size());
    for (size_t i = 0; i < rows.size(); i += width_) basis_.Forward(rows.data() + i, to + i);
    return {to, rows.size()};
  }
  void Inverse(absl::Span<float> turned, float* rows) const {
    if (ScanExtent(turned.data(), turned.size()).magnitude > kMostTurned) {
      for (float& v : turned) v = std::clamp(v, -kMostTurnedValue, kMostTurnedValue);
    }
    for (size_t i = 0; i < turned.size(); i += width_) basis_.Inverse(&turned[i], rows + i);
  }

 private:
  size_t width_;
  BlockBasis basis_;
  Bytes loaded_;
};

void WriteSnapshot(const Bytes& own, const Bytes& inner, Bytes* out) {
  Bytes body;
  ByteWriter writer(&body);
  writer.PutVarint(own.size());
  writer.PutBytes(own);
  writer.PutBytes(inner);
  ByteWriter(out).Put(Hash64(body));
  out->insert(out->end(), body.begin(), body.end());
}

struct SnapshotParts {
  absl::Span<const uint8_t> own, inner;
};
absl::StatusOr<SnapshotParts> ReadSnapshot(absl::Span<const uint8_t> snapshot) {
  ByteReader reader(snapshot);
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t hash, reader.Get<uint64_t>());
  if (hash != Hash64(snapshot.subspan(8)))
    return DataLoss("codec ecq: snapshot: expected its own checksum, got another");
  SnapshotParts parts;
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t size, reader.GetVarint());
  ISTHMUS_ASSIGN_OR_RETURN(parts.own, reader.GetBytes(size));
  ISTHMUS_ASSIGN_OR_RETURN(parts.inner, reader.GetBytes(reader.remaining()));
  return parts;
}

absl::Status NoBasis() {
  return InvalidArgument("codec ecq: snapshot: expected a basis of this edge, got something else");
}

class BasisEncoder final : public Encoder {
 public:
  BasisEncoder(const EcqOptions& options, const EdgeShape& shape, std::unique_ptr<Encoder> inner)
      : shape_(shape),
        forward_(shape.direction == Direction::kForward),
        enough_rows_(kRowsPerChannel * BlockOf(options, shape)),
        inner_(std::move(inner)),
        rotation_(options, shape) {
    now_.moments.assign(rotation_.basis().entries(), 0.0);
    boundary_ = now_;
  }

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, x_TD.size()).status());
    if (ScanExtent(x_TD.data(), x_TD.size()).magnitude > Pipeline::kLargestInput)
      return NonFiniteError(shape_, context, x_TD, Pipeline::kLargestInput);
    const size_t start = out->size();
    const bool turned = !now_.table.empty(), brings = turned && !now_.told;
    out->push_back(brings ? kBrings : (turned ? kTurned : kPlain));
    if (brings) out->insert(out->end(), now_.table.begin(), now_.table.end());
    const auto head = static_cast<int64_t>(out->size() - start);
    FrameContext inside = context;
    absl::Span<const float> rows = x_TD;
    if (turned) {
      ISTHMUS_CHECK(rotation_.Use(now_.table));
      rows = rotation_.Forward(x_TD, &turned_);
      inside.earlier_TD = rotation_.Forward(context.earlier_TD, &turned_earlier_);
    }
    absl::StatusOr<EncodedSize> size = inner_->Encode(rows, inside, out);
    if (!size.ok()) {
      out->resize(start);
      return size;
    }
    size->side_bytes += head;
    if (!context.training) return size;
    now_.told = turned;
    if (!turned) Watch(x_TD, context);
    return size;
  }

  absl::Span<const uint32_t> RowIds() const override { return inner_->RowIds(); }
  void SetQualityOffset(double db) override { inner_->SetQualityOffset(db); }

  absl::Status CommitStep(uint64_t step) override {
    ISTHMUS_RETURN_IF_ERROR(inner_->CommitStep(step));
    if (now_.table.empty() && now_.rows >= enough_rows_) {
      rotation_.basis().Fit(now_.moments.data(), &now_.table);
      now_.moments = std::vector<double>();
      inner_->RequestKeyFrames();  // what it remembers is of other values
    }
    if (boundary_.rows != now_.rows || boundary_.told != now_.told ||
        boundary_.table.size() != now_.table.size()) {
      boundary_ = now_;
    }
    return absl::OkStatus();
  }
  absl::Status RollbackStep() override {
    now_ = boundary_;
    return inner_->RollbackStep();
  }
  void RequestKeyFrames() override {
    inner_->RequestKeyFrames();
    now_.told = boundary_.told = false;
  }
  absl::Status Snapshot(Bytes* out) const override {
    Bytes own, inner;
    ISTHMUS_RETURN_IF_ERROR(inner_->Snapshot(&inner));
    ByteWriter writer(&own);
    writer.Put(static_cast<uint8_t>(now_.told));
    writer.Put(now_.rows);
    writer.PutVarint(now_.table.size());
    writer.PutBytes(now_.table);
    for (const double v : now_.moments) writer.Put(v);
    WriteSnapshot(own, inner, out);
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    ISTHMUS_ASSIGN_OR_RETURN(const SnapshotParts parts, ReadSnapshot(snapshot));
    Memory read;
    if (!ReadMemory(parts.own, &read)) return NoBasis();
    ISTHMUS_RETURN_IF_ERROR(inner_->Restore(parts.inner));
    now_ = boundary_ = std::move(read);
    return absl::OkStatus();
  }
  uint64_t StateHash() const override {
    return now_.told ? Mix64(inner_->StateHash() ^ Hash64(now_.table)) : inner_->StateHash();
  }
  int64_t StateBytes() const override {
    const auto own = 2 * (now_.table.size() + now_.moments.size() * sizeof(double)) +
                     2 * sizeof(float) * rotation_.entries();
    return inner_->StateBytes() + static_cast<int64_t>(own);
  }

 private:
  struct Memory {
    Bytes table;                  // empty: not fitted yet
    bool told = false;            // the other end has it
    uint64_t rows = 0;            // that were watched
    std::vector<double> moments;  // until it is fitted
  };

  // Of what prediction leaves: rows of one id against the row of that id before it in the frame.
  void Watch(absl::Span<const float> x_TD, const FrameContext& context) {
    const auto width = static_cast<size_t>(shape_.width);
    const bool ids = forward_ && !context.row_ids.empty();
    last_.clear();
    std::vector<float> difference(width);
    for (size_t row = 0; row < x_TD.size() / width && now_.rows < enough_rows_; ++row) {
      const float* x = x_TD.data() + row * width;
      const float* before = nullptr;
      if (ids) {
        const auto [at, fresh] = last_.try_emplace(context.row_ids[row], row);
        if (fresh) continue;
        before = x_TD.data() + at->second * width;
        at->second = row;
      } else if (forward_) {
        if (row == 0) continue;
        before = x - width;
      }
      for (size_t c = 0; c < width; ++c)
        difference[c] = before != nullptr ? x[c] - before[c] : x[c];
      rotation_.basis().AddMoments(difference.data(), now_.moments.data());
      ++now_.rows;
    }
  }

  bool ReadMemory(absl::Span<const uint8_t> bytes, Memory* memory) {
    ByteReader reader(bytes);
    const auto told = reader.Get<uint8_t>();
    const auto rows = reader.Get<uint64_t>();
    const auto size = reader.GetVarint();
    if (!told.ok() || !rows.ok() || !size.ok()) return false;
    const auto table = reader.GetBytes(*size);
    if (!table.ok() || (*size > 0 && !rotation_.Use(*table))) return false;
    memory->told = *told != 0;
    memory->rows = *rows;
    memory->table.assign(table->begin(), table->end());
    if (*size == 0) memory->moments.resize(rotation_.basis().entries());
    for (double& v : memory->moments) {
      const auto value = reader.Get<double>();
      if (!value.ok()) return false;
      v = *value;
    }
    return reader.remaining() == 0;
  }

  const EdgeShape shape_;
  const bool forward_;
  const uint64_t enough_rows_;
  std::unique_ptr<Encoder> inner_;
  Rotation rotation_;
  Memory now_, boundary_;
  std::vector<float> turned_, turned_earlier_;
  std::unordered_map<uint32_t, size_t> last_;  // row of an id in the frame
};

class BasisDecoder final : public Decoder {
 public:
  BasisDecoder(const EcqOptions& options, const EdgeShape& shape, std::unique_ptr<Decoder> inner)
      : shape_(shape), inner_(std::move(inner)), rotation_(options, shape) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, out_TD.size()).status());
    ByteReader reader(bytes);
    ISTHMUS_ASSIGN_OR_RETURN(const uint8_t kind, reader.Get<uint8_t>());
    if (kind == kPlain && now_.empty()) return inner_->Decode(bytes.subspan(1), context, out_TD);
    if (kind == kPlain || kind > kBrings)
      return CorruptFrame(shape_, context, "rows in the basis", absl::StrCat("kind ", kind));
    absl::Span<const uint8_t> table = now_;
    if (kind == kBrings) {
      ISTHMUS_ASSIGN_OR_RETURN(table, reader.GetBytes(rotation_.basis().table_bytes()));
    }
    if (table.empty())
      return DataLoss("ecq basis: expected a frame that brings it, got none ",
                      Where(shape_, context));
    if (!rotation_.Use(table))
      return CorruptFrame(shape_, context, "an orthonormal basis", "values beyond 1");
    FrameContext inside = context;
    inside.earlier_TD = rotation_.Forward(context.earlier_TD, &turned_earlier_);
    const absl::Span<float> turned(Room(&turned_, out_TD.size()), out_TD.size());
    ISTHMUS_ASSIGN_OR_RETURN(const auto rest, reader.GetBytes(reader.remaining()));
    ISTHMUS_RETURN_IF_ERROR(inner_->Decode(rest, inside, turned));
    rotation_.Inverse(turned, out_TD.data());
    if (kind == kBrings && context.training) now_.assign(table.begin(), table.end());
    return absl::OkStatus();
  }

  absl::Span<const uint32_t> RowIds() const override { return inner_->RowIds(); }
  absl::Status CommitStep(uint64_t step) override {
    if (boundary_ != now_) boundary_ = now_;
    return inner_->CommitStep(step);
  }
  absl::Status RollbackStep() override {
    now_ = boundary_;
    return inner_->RollbackStep();
  }
  void RequestKeyFrames() override {
    now_.clear();
    boundary_.clear();
    inner_->RequestKeyFrames();
  }
  absl::Status Snapshot(Bytes* out) const override {
    Bytes inner;
    ISTHMUS_RETURN_IF_ERROR(inner_->Snapshot(&inner));
    WriteSnapshot(now_, inner, out);
    return absl::OkStatus();
  }
  absl::Status Restore(absl::Span<const uint8_t> snapshot) override {
    ISTHMUS_ASSIGN_OR_RETURN(const SnapshotParts parts, ReadSnapshot(snapshot));
    if (!parts.own.empty() && !rotation_.Use(parts.own)) return NoBasis();
    ISTHMUS_RETURN_IF_ERROR(inner_->Restore(parts.inner));
    now_.assign(parts.own.begin(), parts.own.end());
    boundary_ = now_;
    return absl::OkStatus();
  }
  uint64_t StateHash() const override {
    return now_.empty() ? inner_->StateHash() : Mix64(inner_->StateHash() ^ Hash64(now_));
  }
  int64_t StateBytes() const override {
    const auto own = 2 * now_.size() + 2 * sizeof(float) * rotation_.entries();
    return inner_->StateBytes() + static_cast<int64_t>(own);
  }

 private:
  const EdgeShape shape_;
  std::unique_ptr<Decoder> inner_;
  Rotation rotation_;
  Bytes now_, boundary_;  // tables
  std::vector<float> turned_, turned_earlier_;
};

}  // namespace

std::unique_ptr<Encoder> MakeEcqBasisEncoder(const EcqOptions& options, const EdgeShape& shape,
                                             std::unique_ptr<Encoder> inner) {
  return std::make_unique<BasisEncoder>(options, shape, std::move(inner));
}

std::unique_ptr<Decoder> MakeEcqBasisDecoder(const EcqOptions& options, const EdgeShape& shape,
                                             std::unique_ptr<Decoder> inner) {
  return std::make_unique<BasisDecoder>(options, shape, std::move(inner));
}

int64_t EcqBasisStateBytes(const EcqOptions& options, const EdgeShape& shape) {
  const size_t entries =
      BlockBasis::Entries(static_cast<size_t>(shape.width), BlockOf(options, shape));
  return static_cast<int64_t>(entries * (2 * sizeof(double) + 2 * sizeof(float)));
}

}  // namespace isthmus
