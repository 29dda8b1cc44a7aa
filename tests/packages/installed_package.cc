#include "tests/packages/installed_package.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <regex>

#include "base/file.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

}  // namespace

InstalledPackage::InstalledPackage(const std::string& component, const std::string& library)
    : library_(library) {
  std::string pattern = (fs::temp_directory_path() / (component + "-package-XXXXXX")).string();
  folder_ = ::mkdtemp(pattern.data());
  EXPECT_EQ(Run("'" ISTHMUS_CMAKE "' --install '" ISTHMUS_BUILD_DIR "' --component " + component +
                " --prefix '" + Prefix() + "'"),
            0)
      << Output();
}

InstalledPackage::~InstalledPackage() { fs::remove_all(folder_); }

int InstalledPackage::Run(const std::string& command) const {
  const int status = std::system(("(" + command + ") >'" + folder_ + "/output' 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string InstalledPackage::Output() const { return ReadFile(folder_ + "/output").value_or(""); }

std::string InstalledPackage::Library() const {
  for (const auto& entry : fs::recursive_directory_iterator(Prefix()))
    if (entry.path().filename() == library_) return entry.path();
  return "";
}

std::string InstalledPackage::Header(const std::string& name) const {
  return *ReadFile(Prefix() + "/include/" + name);
}

int InstalledPackage::Build(const std::string& source) const {
  const std::string build = folder_ + "/build";
  return Run("'" ISTHMUS_CMAKE "' -S '" ISTHMUS_SOURCE_DIR "/" + source +
             "' -DCMAKE_C_COMPILER='" ISTHMUS_C "' -DCMAKE_CXX_COMPILER='" ISTHMUS_CXX
             "' -DCMAKE_C_FLAGS='-Wall -Wextra -Werror -std=c99 -pedantic' "
             "-DCMAKE_CXX_FLAGS='-Wall -Wextra -Werror' -DCMAKE_PREFIX_PATH='" +
             Prefix() + "' -B '" + build + "' && '" ISTHMUS_CMAKE "' --build '" + build + "'");
}

std::set<std::string> InstalledPackage::ExportedNames() const {
  EXPECT_EQ(Run("'" ISTHMUS_NM "' -D --defined-only '" + Library() + "'"), 0) << Output();
  return Matches(Output(), "[0-9a-f]+ . (\\S+)\n");
}

std::string InstalledPackage::Dynamic() const {
  EXPECT_EQ(Run("'" ISTHMUS_READELF "' -d '" + Library() + "'"), 0) << Output();
  return Output();
}

std::set<std::string> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::set<std::string> words;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it)
    words.insert((*it)[1]);
  return words;
}

std::string HeaderVersion(const std::string& header, const std::string& prefix) {
  std::string version;
  for (const char* part : {"MAJOR", "MINOR", "PATCH"}) {
    const std::set<std::string> found =
        Matches(header, "#define " + prefix + "_VERSION_" + part + " ([0-9]+)\n");
    EXPECT_EQ(found.size(), 1u) << part;
    version += (version.empty() ? "" : ".") + (found.empty() ? "" : *found.begin());
  }
  return version;
}

void ExpectOneVersion(const InstalledPackage& package, const std::string& version,
                      const std::string& cmake_package, const std::string& pkg_config) {
  const fs::path library = package.Library();
  EXPECT_TRUE(fs::exists(library.string() + "." + version));
  const size_t parts = version[0] == '0' ? version.rfind('.') : version.find('.');
  EXPECT_THAT(package.Dynamic(), HasSubstr("soname: [" + library.filename().string() + "." +
                                           version.substr(0, parts) + "]"));
  const std::string folder = library.parent_path().string();
  EXPECT_THAT(
      *ReadFile(folder + "/cmake/" + cmake_package + "/" + cmake_package + "ConfigVersion.cmake"),
      HasSubstr("set(PACKAGE_VERSION \"" + version + "\")"));
  EXPECT_THAT(*ReadFile(folder + "/pkgconfig/" + pkg_config + ".pc"),
              HasSubstr("Version: " + version));
}

}  // namespace isthmus
