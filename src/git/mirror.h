// One bare mirror, looked at: nothing here changes it or reaches for the network.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "git/run.h"

namespace cleanroom::git {

struct Ref {
  std::string name;    // "refs/heads/main"
  std::string id;      // of what it names
  std::string peeled;  // of what an annotated tag is of in the end; empty for others
};

class Mirror {
 public:
  // Both outlive this.
  Mirror(const Git& git, std::filesystem::path path) : git_(git), path_(std::move(path)) {}
  const std::filesystem::path& path() const { return path_; }
  const Git& git() const { return git_; }
  bool Exists() const;

  // The commit that a full id names (of a tag, what it is of); nothing when it is not here.
  Result<std::optional<std::string>> FindCommit(const std::string& id,
                                                const Control& control) const;
  // The same for the beginning of an id. invalid_argument when several commits have it.
  Result<std::optional<std::string>> FindAbbreviated(const std::string& id,
                                                     const Control& control) const;
  // The commit of a ref by its whole name.
  Result<std::optional<std::string>> FindRef(const std::string& name, const Control& control) const;

  // Branches and tags, sorted by name as git sorts them.
  Result<std::vector<Ref>> Refs(const Control& control) const;
  // "main"; empty when the remote's HEAD is no branch.
  std::string DefaultBranch() const;
  // "sha1" or "sha256".
  Result<std::string> ObjectFormat(const Control& control) const;

  // A regular file of a commit; nothing when there is none. A symbolic link is followed once, inside
  // the repository; failed_precondition otherwise. resource_exhausted beyond max_bytes.
  Result<std::optional<std::string>> ReadFile(const std::string& commit, const std::string& path,
                                              size_t max_bytes, const Control& control) const;

 private:
  struct Entry {
    std::string mode, id;
  };
  Result<std::optional<Entry>> FindEntry(const std::string& commit, const std::string& path,
                                         const Control& control) const;

  const Git& git_;
  std::filesystem::path path_;
};

}  // namespace cleanroom::git
