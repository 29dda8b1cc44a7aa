#include "tests/layering/rules.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace isthmus::layering {
namespace {

// Room -> what it may include besides itself: folders ("base") or single headers
// ("engine/stage.h").
const std::map<std::string, std::vector<std::string>>& AllowedRooms() {
  static const auto* const kAllowed = new std::map<std::string, std::vector<std::string>>{
      {"base", {}},
      {"metrics", {"base"}},
      {"compression", {"base"}},
      {"kernels", {"base"}},
      {"proto", {}},
      {"model", {"base"}},
      {"link", {"base", "metrics", "proto"}},
      {"engine", {"base", "model"}},
      {"engine/edge", {"base", "metrics", "kernels", "model", "engine"}},
      {"engine/torch", {"base", "metrics", "model", "engine"}},
      {"pipeline",
       {"base", "metrics", "compression", "model", "isthmus/v1/plan.pb.h", "isthmus/v1/packet.pb.h",
        "engine/stage.h", "link/link.h", "link/frame.h", "link/inbox.h"}},
      {"client",
       {"base", "metrics", "compression", "model", "proto", "engine/stage.h", "pipeline", "link"}},
      {"client/sdk",
       {"base", "client", "compression", "model", "engine/stage.h", "engine/edge", "link"}},
      {"worker",
       {"base", "metrics", "compression", "model", "proto", "engine/stage.h", "pipeline", "link"}},
      {"coordinator", {"base", "metrics", "model", "proto", "pipeline", "link"}},
  };
  return *kAllowed;
}

// Include prefix of a library -> the folders that may name it. Tests of a folder may what the
// folder may.
const std::map<std::string, std::vector<std::string>>& LibraryHomes() {
  static const auto* const kHomes = new std::map<std::string, std::vector<std::string>>{
      {"torch/", {"engine/torch"}},
      {"ATen/", {"engine/torch"}},
      {"c10/", {"engine/torch"}},
      {"prometheus/", {"metrics/exporter"}},
      {"civetweb", {"metrics/exporter"}},
      {"sqlite3.h", {"coordinator"}},
      {"hwy/", {"compression", "kernels"}},
      {"sentencepiece", {"model"}},
      {"unicode/", {"model"}},
      {"pcre2.h", {"model"}},
      {"grpcpp/", {"link", "coordinator", "worker", "client", "bench"}},
      {"grpc/", {"link", "coordinator", "worker", "client", "bench"}},
      {"absl/synchronization/", {}},
  };
  return *kHomes;
}

struct Include {
  int line;
  bool quoted;
  std::string target;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<Include> Includes(const SourceFile& file) {
  static const std::regex kInclude("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"]");
  std::vector<Include> includes;
  int number = 0;
  for (const std::string& line : Lines(file.text)) {
    ++number;
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) {
      includes.push_back({number, match[1] == "\"", match[2]});
    }
  }
  return includes;
}

bool Under(const std::string& path, const std::string& folder) {
  return path == folder || path.rfind(folder + "/", 0) == 0;
}

// The most specific room that a path belongs to; empty for tests, benches, cli and generated
// headers.
std::string RoomOf(const std::string& path) {
  std::string best;
  for (const auto& [room, allowed] : AllowedRooms()) {
    if (Under(path, room) && room.size() > best.size()) best = room;
  }
  return best;
}

// Generated protocol headers are the room proto, wherever the build puts them.
std::string TargetPath(const std::string& target) {
  return target.rfind("isthmus/v1/", 0) == 0 ? "proto/" + target : target;
}

std::string At(const SourceFile& file, int line, const std::string& what) {
  return file.path + ":" + std::to_string(line) + ": " + what;
}

// A heading as the anchor that links use: lower case, spaces to hyphens, punctuation dropped.
std::string Anchor(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    if (c == ' ' || c == '-') {
      anchor += '-';
    } else if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
      anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return anchor;
}

std::set<std::string> Anchors(const std::string& text) {
  std::set<std::string> anchors;
  for (const std::string& line : Lines(text)) {
    const size_t level = line.find_first_not_of('#');
    if (level == 0 || level == std::string::npos || line[level] != ' ') continue;
    anchors.insert(Anchor(line.substr(level + 1)));
  }
  return anchors;
}

}  // namespace

Breaches RoomBreaches(const SourceFile& file) {
  const std::string room = RoomOf(file.path);
  if (room.empty()) return {};
  const std::vector<std::string>& allowed = AllowedRooms().at(room);
  Breaches breaches;
  for (const Include& include : Includes(file)) {
    const std::string target = TargetPath(include.target);
    const std::string target_room = RoomOf(target);
    if (!include.quoted || target_room.empty() || target_room == room) continue;
    const bool ok = std::any_of(allowed.begin(), allowed.end(), [&](const std::string& entry) {
      return include.target == entry || target_room == entry;
    });
    if (!ok) breaches.push_back(At(file, include.line, room + " includes " + include.target));
  }
  return breaches;
}

Breaches LibraryBreaches(const SourceFile& file) {
  Breaches breaches;
  for (const Include& include : Includes(file)) {
    for (const auto& [prefix, homes] : LibraryHomes()) {
      if (include.target.rfind(prefix, 0) != 0) continue;
      const bool ok = std::any_of(homes.begin(), homes.end(), [&](const std::string& home) {
        return Under(file.path, home) || Under(file.path, "tests/" + home);
      });
      if (!ok) breaches.push_back(At(file, include.line, "only its own room includes " + prefix));
    }
  }
  return breaches;
}

Breaches WordBreaches(const SourceFile& file) {
  // absl::Mutex: Debian's Abseil is not instrumented. The C functions keep a static buffer or a
  // global state.
  static const std::regex kForbidden(
      "absl::(Mutex|CondVar|Notification|BlockingCounter)\\b"
      "|(^|[^A-Za-z0-9_:.>])(std::)?(strtok|localtime|gmtime|asctime|ctime|rand|srand|tmpnam)\\(");
  Breaches breaches;
  int number = 0;
  for (const std::string& line : Lines(file.text)) {
    ++number;
    const std::string code = line.substr(0, line.find("//"));
    std::smatch match;
    if (std::regex_search(code, match, kForbidden)) {
      breaches.push_back(At(file, number, "expected a thread-safe one, got " + match.str()));
    }
  }
  return breaches;
}

Breaches MachinePathBreaches(const SourceFile& file) {
  // Joined here so that this file does not break its own rule.
  static const std::regex kMachinePath(std::string("(^|[\\s\"'`=(:])/(wo") +
                                       "rk|home|Users|root|var/tmp|private/tmp)(/|\\b)");
  Breaches breaches;
  int number = 0;
  for (const std::string& line : Lines(file.text)) {
    ++number;
    std::smatch match;
    if (std::regex_search(line, match, kMachinePath)) {
      breaches.push_back(At(file, number, "names a folder of one machine: " + match.str()));
    }
  }
  return breaches;
}

Breaches LinkBreaches(const SourceFile& page, const ReadFile& read) {
  static const std::regex kLink("\\]\\(([^)\\s]+)\\)");
  Breaches breaches;
  int number = 0;
  bool fenced = false;
  for (const std::string& line : Lines(page.text)) {
    ++number;
    if (line.rfind("```", 0) == 0) fenced = !fenced;
    if (fenced) continue;
    for (std::sregex_iterator it(line.begin(), line.end(), kLink), end; it != end; ++it) {
      const std::string link = (*it)[1];
      if (link.find("://") != std::string::npos || link.rfind("mailto:", 0) == 0) continue;
      const size_t hash = link.find('#');
      const std::string to = link.substr(0, hash);
      const std::filesystem::path folder = std::filesystem::path(page.path).parent_path();
      std::string path = to.empty() ? page.path : (folder / to).lexically_normal().generic_string();
      if (!path.empty() && path.back() == '/') path.pop_back();
      std::string text;
      if (!read(path, &text)) {
        breaches.push_back(At(page, number, "links to " + link + ", which is not there"));
      } else if (hash != std::string::npos && !Anchors(text).contains(link.substr(hash + 1))) {
        breaches.push_back(At(page, number, "links to " + link + ", a heading that is not there"));
      }
    }
  }
  return breaches;
}

}  // namespace isthmus::layering
