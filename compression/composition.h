// A list of parts that fit together: what `part+part+…` parses to.
#ifndef ISTHMUS_COMPRESSION_COMPOSITION_H_
#define ISTHMUS_COMPRESSION_COMPOSITION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "compression/codec.h"
#include "compression/part.h"
#include "compression/part_table.h"
#include "compression/spec.h"

namespace isthmus {

struct ComposedPart {
  const PartRow* row = nullptr;
  std::shared_ptr<const PartSpec> spec;
};

struct Composition {
  // In pipeline order; the last is the format, or the entropy coder behind it.
  std::vector<ComposedPart> parts;

  std::string canonical() const;
  PartTraits traits() const;                        // of all parts together
  const ComposedPart* Find(PartStage stage) const;  // the first of that stage; null when none
  const PartSpec& format() const { return *Find(PartStage::kFormat)->spec; }
};

// kInvalidArgument with the reason for unknown names, a wrong order, a missing format and parts
// that contradict each other.
absl::StatusOr<Composition> MakeComposition(absl::string_view text,
                                            const std::vector<SpecPart>& parts);

// The codec of a composition; `text` is what the user wrote (a preset's name, say).
absl::StatusOr<std::shared_ptr<const Codec>> MakeComposedCodec(std::string text,
                                                               Composition composition);
// The same from the text of a composition: how presets are made.
absl::StatusOr<std::shared_ptr<const Codec>> ParseComposedCodec(std::string text,
                                                                absl::string_view composition);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_COMPOSITION_H_
