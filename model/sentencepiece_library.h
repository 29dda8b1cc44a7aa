// The sentencepiece library, loaded when the first tokenizer.model is opened.
//
// Debian's libsentencepiece.so exports the symbols of a protobuf 3.14 of its own. Linked into a
// program that has gRPC's libprotobuf 3.21 as well, one of the two is called with the other's
// objects: a crash before main, or protobuf's version check. So it is not linked: it is opened with
// its own symbols before everybody else's (RTLD_DEEPBIND) and visible to nobody (RTLD_LOCAL). Every
// method in use but the constructor is virtual and needs no symbol.
#ifndef ISTHMUS_MODEL_SENTENCEPIECE_LIBRARY_H_
#define ISTHMUS_MODEL_SENTENCEPIECE_LIBRARY_H_

#include <memory>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace isthmus {

class SentencePieceLibrary {
 public:
  // Null when the library is not on this machine. Never unloaded. Thread-safe.
  static const SentencePieceLibrary* Get();

  std::unique_ptr<sentencepiece::SentencePieceProcessor> MakeProcessor() const;
  // Was the status OK that `call` (a member call on a processor) returned?
  template <typename Call>
  bool Ok(const Call& call) const {
    using Status = decltype(call());
    union Holder {  // its destructor is in the library and is called by address
      Holder() {}
      ~Holder() {}
      Status status;
    } holder;
    ::new (static_cast<void*>(&holder.status)) Status(call());
    const bool ok = holder.status.ok();
    destroy_status_(&holder.status);
    return ok;
  }

 private:
  using Member = void (*)(void*);
  SentencePieceLibrary(Member construct_processor, Member destroy_status)
      : construct_processor_(construct_processor), destroy_status_(destroy_status) {}

  Member construct_processor_;
  Member destroy_status_;
};

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_SENTENCEPIECE_LIBRARY_H_
