// One component of this build, installed in an empty folder, as another project sees it.
#ifndef ISTHMUS_TESTS_PACKAGES_INSTALLED_PACKAGE_H_
#define ISTHMUS_TESTS_PACKAGES_INSTALLED_PACKAGE_H_

#include <set>
#include <string>

namespace isthmus {

class InstalledPackage {
 public:
  // `library`: "libisthmus_codec.so"
  InstalledPackage(const std::string& component, const std::string& library);
  ~InstalledPackage();
  InstalledPackage(const InstalledPackage&) = delete;
  InstalledPackage& operator=(const InstalledPackage&) = delete;

  // Exit status of a shell's command; what it printed is Output().
  int Run(const std::string& command) const;
  std::string Output() const;

  std::string Folder() const { return folder_; }
  std::string Prefix() const { return folder_ + "/prefix"; }
  std::string Library() const;  // its path; "" when it is not there
  std::string Header(const std::string& name) const;
  // Configures and builds a project of ours against it in Folder()/build, all warnings on.
  int Build(const std::string& source) const;
  // Names that leave the library.
  std::set<std::string> ExportedNames() const;
  // What the dynamic loader is told: soname and needed libraries.
  std::string Dynamic() const;

 private:
  std::string folder_, library_;
};

// The first group of every match.
std::set<std::string> Matches(const std::string& text, const std::string& pattern);

// "0.1.0" of the header's PREFIX_VERSION_MAJOR and so on.
std::string HeaderVersion(const std::string& header, const std::string& prefix);

// Header, file name, soname, CMake package and pkg-config say the same version.
void ExpectOneVersion(const InstalledPackage& package, const std::string& version,
                      const std::string& cmake_package, const std::string& pkg_config);

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_PACKAGES_INSTALLED_PACKAGE_H_
