// A folder of files served over http on a free loopback port: a registry of whatever lies in
// v2/REPOSITORY/manifests/TAG and v2/REPOSITORY/blobs/DIGEST, also of what no real one takes.
#pragma once

#include <string>

#include "tests/support/command.h"

namespace cleanroom::testing {

class FileServer {
 public:
  explicit FileServer(const std::string& folder)
      : program_({"python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                  folder, "0"},
                 "(http://") {}
  // "127.0.0.1:PORT"
  std::string host() const { return program_.found().substr(0, program_.found().find('/')); }

 private:
  Background program_;
};

}  // namespace cleanroom::testing
