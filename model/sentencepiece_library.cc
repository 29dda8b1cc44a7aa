#include "model/sentencepiece_library.h"

#include <dlfcn.h>
#include <sentencepiece_processor.h>

#include <new>

#include "absl/base/config.h"

namespace isthmus {
namespace {

// AddressSanitizer refuses RTLD_DEEPBIND: the library's malloc would pass by the sanitizer's and
// meet its free. Without it the library works where no other protobuf is loaded, as in the tests of
// this room, which are the only programs that open a tokenizer.model under the sanitizer.
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
constexpr int kMode = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kMode = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

constexpr char kLibrary[] = "libsentencepiece.so.0";
constexpr char kConstructor[] = "_ZN13sentencepiece22SentencePieceProcessorC1Ev";
constexpr char kStatusDestructor[] = "_ZN13sentencepiece4util6StatusD1Ev";

}  // namespace

const SentencePieceLibrary* SentencePieceLibrary::Get() {
#ifdef ISTHMUS_WITHOUT_SENTENCEPIECE
  return nullptr;
#endif
  static const SentencePieceLibrary* const library = []() -> const SentencePieceLibrary* {
    void* handle = ::dlopen(kLibrary, kMode);
    if (handle == nullptr) return nullptr;
    const auto construct = reinterpret_cast<Member>(::dlsym(handle, kConstructor));
    const auto destroy = reinterpret_cast<Member>(::dlsym(handle, kStatusDestructor));
    if (construct == nullptr || destroy == nullptr) return nullptr;
    return new SentencePieceLibrary(construct, destroy);
  }();
  return library;
}

std::unique_ptr<sentencepiece::SentencePieceProcessor> SentencePieceLibrary::MakeProcessor() const {
  using Processor = sentencepiece::SentencePieceProcessor;
  void* memory = ::operator new(sizeof(Processor));
  construct_processor_(memory);
  return std::unique_ptr<Processor>(static_cast<Processor*>(memory));
}

}  // namespace isthmus
