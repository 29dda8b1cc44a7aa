// ecq(basis=N): rows in a learned orthonormal basis around an ecq edge. Channels of a model are
// correlated, in gradients more than in activations; in the eigenvectors of what is left after
// prediction an entropy coder spends 0.1 to 0.7 bit less at the same error (docs/ecq.md).
//
// A frame: u8 0: rows as they are | 1: turned | 2: turned by the table that follows, then the frame
// of ecq. The sender watches the first training frames, fits the basis once at a step boundary, and
// sends it with the next training frame, with which ecq starts as new: its memories are of other
// values. A frame that starts anew brings the table again.
#ifndef ISTHMUS_COMPRESSION_ECQ_BASIS_H_
#define ISTHMUS_COMPRESSION_ECQ_BASIS_H_

#include <cstdint>
#include <memory>

#include "compression/codec.h"
#include "compression/ecq_options.h"

namespace isthmus {

std::unique_ptr<Encoder> MakeEcqBasisEncoder(const EcqOptions& options, const EdgeShape& shape,
                                             std::unique_ptr<Encoder> inner);
std::unique_ptr<Decoder> MakeEcqBasisDecoder(const EcqOptions& options, const EdgeShape& shape,
                                             std::unique_ptr<Decoder> inner);
// Beside the inner end's: of the sender, which has the most while it learns.
int64_t EcqBasisStateBytes(const EcqOptions& options, const EdgeShape& shape);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_BASIS_H_
