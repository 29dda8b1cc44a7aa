#include "model/tokenizer_pieces.h"

#include <sentencepiece_processor.h>

#include <utility>

#include "model/sentencepiece_library.h"

namespace isthmus {

using sentencepiece::SentencePieceProcessor;

PieceModel::PieceModel(std::unique_ptr<SentencePieceProcessor> processor)
    : processor_(std::move(processor)) {}

PieceModel::~PieceModel() = default;

std::unique_ptr<PieceModel> PieceModel::Parse(const std::string& bytes) {
  const SentencePieceLibrary* library = SentencePieceLibrary::Get();
  if (library == nullptr) return nullptr;
  auto processor = library->MakeProcessor();
  if (!library->Ok([&] { return processor->LoadFromSerializedProto(bytes); })) return nullptr;
  return std::unique_ptr<PieceModel>(new PieceModel(std::move(processor)));
}

bool PieceModel::Encode(const std::string& text, std::vector<int32_t>* ids) const {
  std::vector<int> part;
  const auto encode = [&] { return processor_->Encode(text, &part); };
  if (!SentencePieceLibrary::Get()->Ok(encode)) return false;
  ids->insert(ids->end(), part.begin(), part.end());
  return true;
}

std::string PieceModel::Decode(const std::vector<int32_t>& ids) const {
  std::string text;
  const std::vector<int> numbers(ids.begin(), ids.end());
  const auto decode = [&] { return processor_->Decode(numbers, &text); };
  return SentencePieceLibrary::Get()->Ok(decode) ? text : "";
}

int32_t PieceModel::size() const { return processor_->GetPieceSize(); }
int32_t PieceModel::bos_id() const { return processor_->bos_id(); }
int32_t PieceModel::eos_id() const { return processor_->eos_id(); }
std::string PieceModel::Text(int32_t id) const { return processor_->IdToPiece(id); }

// The library answers with the unknown piece for what it does not have.
int32_t PieceModel::Find(const std::string& piece) const {
  const int id = processor_->PieceToId(piece);
  return id >= 0 && id < size() && Text(id) == piece ? id : -1;
}

bool PieceModel::IsSpecial(int32_t id) const {
  return processor_->IsControl(id) || processor_->IsUnknown(id);
}

}  // namespace isthmus
