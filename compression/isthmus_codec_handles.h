// Owning handles for C++ over isthmus_codec.h, which has the contract. Header only; C++11.
#ifndef ISTHMUS_CODEC_HANDLES_H_
#define ISTHMUS_CODEC_HANDLES_H_

#include <memory>

#include "isthmus_codec.h"

namespace isthmus_codec_handles {

struct Closer {
  void operator()(isthmus_codec* codec) const { isthmus_codec_close(codec); }
  void operator()(isthmus_codec_encoder* encoder) const { isthmus_codec_encoder_free(encoder); }
  void operator()(isthmus_codec_decoder* decoder) const { isthmus_codec_decoder_free(decoder); }
};

using CodecHandle = std::unique_ptr<isthmus_codec, Closer>;
using EncoderHandle = std::unique_ptr<isthmus_codec_encoder, Closer>;
using DecoderHandle = std::unique_ptr<isthmus_codec_decoder, Closer>;

// Null after an error, whose words isthmus_codec_last_error() has.
inline CodecHandle Open(const char* spec) {
  isthmus_codec* codec = nullptr;
  isthmus_codec_open(spec, &codec);
  return CodecHandle(codec);
}

inline EncoderHandle MakeEncoder(const CodecHandle& codec, const isthmus_codec_edge& edge) {
  isthmus_codec_encoder* encoder = nullptr;
  isthmus_codec_encoder_new(codec.get(), &edge, &encoder);
  return EncoderHandle(encoder);
}

inline DecoderHandle MakeDecoder(const CodecHandle& codec, const isthmus_codec_edge& edge) {
  isthmus_codec_decoder* decoder = nullptr;
  isthmus_codec_decoder_new(codec.get(), &edge, &decoder);
  return DecoderHandle(decoder);
}

}  // namespace isthmus_codec_handles

#endif  // ISTHMUS_CODEC_HANDLES_H_
