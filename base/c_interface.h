// What every function of our C interfaces goes through: pointers are checked, a Status becomes a
// number and a line, no exception leaves. Each shared library has its own numbers and last errors.
#ifndef ISTHMUS_BASE_C_INTERFACE_H_
#define ISTHMUS_BASE_C_INTERFACE_H_

#include <new>
#include <string>

#include "base/status.h"

namespace isthmus {

// Of this thread.
inline std::string* LastError() {
  thread_local std::string error;
  return &error;
}

// `number_of` turns a Status into the interface's number. Exceptions count as kResourceExhausted
// (memory) and kInternal.
template <typename Number, typename Work>
Number CallFromC(const char* function, Number (*number_of)(const absl::Status&),
                 const Work& work) noexcept {
  try {
    const absl::Status status = work();
    if (!status.ok()) *LastError() = absl::StrCat(function, ": ", status.message());
    return number_of(status);
  } catch (const std::bad_alloc&) {
    LastError()->assign("out of memory");  // short enough to need none
    return number_of(absl::Status(absl::StatusCode::kResourceExhausted, ""));
  } catch (...) {
    LastError()->assign("internal");
    return number_of(absl::Status(absl::StatusCode::kInternal, ""));
  }
}

template <typename... Pointers>
absl::Status NotNull(const Pointers*... pointers) {
  if ((... && (pointers != nullptr))) return absl::OkStatus();
  return InvalidArgument("expected no NULL, got one");
}

// A caller of another version has other members.
template <typename Struct>
absl::StatusOr<Struct> Known(const Struct* given) {
  ISTHMUS_RETURN_IF_ERROR(NotNull(given));
  if (given->struct_size != sizeof(Struct))
    return InvalidArgument("expected a struct_size of ", sizeof(Struct),
                           " (use the _INIT macro), got ", given->struct_size);
  return *given;
}

}  // namespace isthmus

#endif  // ISTHMUS_BASE_C_INTERFACE_H_
