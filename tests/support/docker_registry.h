// A real registry for tests: Debian's docker-registry on a free loopback port, with its blobs in a
// folder of its own. It ends with this object, and with the test program should that die.
#pragma once

#include <memory>
#include <string>

#include "tests/support/command.h"

namespace cleanroom::testing {

// Configuration for a registry that user:s3cret alone may use. The file of passwords lies in
// `folder`.
std::string RequirePassword(const TestFolder& folder);

class DockerRegistry {
 public:
  // Returns when it listens; aborts the test program with its output when it does not start.
  // `extra_config` is appended to the YAML configuration.
  explicit DockerRegistry(const std::string& extra_config = {});

  // "127.0.0.1:PORT"
  const std::string& host() const { return program_->found(); }
  // Where a blob lies, so that tests can damage it. `digest` is "sha256:…".
  std::string BlobFile(const std::string& digest) const;
  // Makes an image of one layer (a file `hello` of 20,000 random bytes) and copies it in as Push
  // does.
  std::string PushSmall(const std::string& target, const std::string& flags = {});
  // Copies an image into it with skopeo; `source` as skopeo names it ("oci:/folder:tag"), `target`
  // "repo:tag". Answers the digest of the manifest there; aborts with skopeo's output when that
  // fails.
  std::string Push(const std::string& source, const std::string& target,
                   const std::string& flags = {});

 private:
  TestFolder folder_;
  std::unique_ptr<Background> program_;
};

}  // namespace cleanroom::testing
