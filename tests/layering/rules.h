// The rules of the house that no compiler checks, as pure functions from a file's text to the lines
// that break them.
#ifndef ISTHMUS_TESTS_LAYERING_RULES_H_
#define ISTHMUS_TESTS_LAYERING_RULES_H_

#include <functional>
#include <string>
#include <vector>

namespace isthmus::layering {

// `path` is relative to the source root, with forward slashes.
struct SourceFile {
  std::string path;
  std::string text;
};

// One line per breach: "path:line: what is wrong".
using Breaches = std::vector<std::string>;

// A room includes the rooms that the architecture allows it, and no other.
Breaches RoomBreaches(const SourceFile& file);

// A library that belongs to one room is included by that room (and its tests) alone: LibTorch,
// prometheus-cpp, gRPC, ...
Breaches LibraryBreaches(const SourceFile& file);

// Words that must not stand in our sources: locks that ThreadSanitizer cannot see, C functions with
// hidden shared state.
Breaches WordBreaches(const SourceFile& file);

// A path that exists on one developer's machine only.
Breaches MachinePathBreaches(const SourceFile& file);

// Links of a Markdown page to files and headings. `read` returns the text of a path relative to the
// source root, and false when nothing is there; a folder exists with an empty text.
using ReadFile = std::function<bool(const std::string& path, std::string* text)>;
Breaches LinkBreaches(const SourceFile& page, const ReadFile& read);

}  // namespace isthmus::layering

#endif  // ISTHMUS_TESTS_LAYERING_RULES_H_
