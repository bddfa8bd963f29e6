//===- Folder.h - a temporary directory ---------------------------------------===//
#ifndef PG_TEST_EMULATOR_FOLDER_H
#define PG_TEST_EMULATOR_FOLDER_H

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace pg::emulator {

/// A new directory that goes away with the object.
struct Folder {
  std::string path;
  Folder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "pg-emulator-XXXXXX").string();
    if (mkdtemp(name.data()))
      path = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder &) = delete;
  Folder &operator=(const Folder &) = delete;
};

inline std::string contents(const std::string &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

} // namespace pg::emulator

#endif // PG_TEST_EMULATOR_FOLDER_H
