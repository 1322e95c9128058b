// Git: runs git on a repository of the user's, reading only.
//
// Who is trusted: the user's own git config (system, global, environment) is; the repository's is
// not, for it may have come with an archive or been written by something that ran in it. So what a
// repository's config can have git execute is off: hooks, fsmonitor, external diffs, textconv,
// credential helpers, ssh commands and every transport (a partial clone fetches nothing). A filter
// driver counts only as the user's own config defines it: of one that the repository defines, git
// behaves as if it were not there.
//
// git takes no optional locks, asks nothing and pages nothing. Everything blocks; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/process.h"

namespace cleanroom::workspace {

struct GitCall {
  std::vector<std::string> env{};  // "KEY=value", above what every call gets
  std::string input{};             // for stdin
  std::chrono::milliseconds timeout{std::chrono::minutes(5)};
  size_t max_output = size_t{256} << 20;
};

class Git {
 public:
  // Runs git in `folder`, an absolute path. not_found where there is no git; failed_precondition
  // where `folder` is in no repository; permission_denied, with what git wants, where it refuses
  // somebody else's.
  static Result<Git> Open(std::string folder);

  // The same in a repository of our own making, in which lies what is hostile: no filter driver runs
  // at all, and `settings` count for more than any config file.
  using Settings = std::vector<std::pair<std::string, std::string>>;
  static Result<Git> OpenScratch(std::string folder, const Settings& settings);

  const std::string& folder() const { return folder_; }

  // What `git args...` prints. An exit code other than 0 is an error with git's own words;
  // resource_exhausted when it prints more than call.max_output.
  Result<std::string> Read(const std::vector<std::string>& args, const GitCall& call = {}) const;
  // The same without the newline at its end.
  Result<std::string> ReadLine(const std::vector<std::string>& args,
                               const GitCall& call = {}) const;
  // The same as a list of what ends with a NUL each.
  Result<std::vector<std::string>> ReadNames(const std::vector<std::string>& args,
                                             const GitCall& call = {}) const;
  // However it exits.
  Result<os::Output> Try(const std::vector<std::string>& args, const GitCall& call = {}) const;
  // Prints into the file, which is made; call.input and errors go through files beside it.
  // resource_exhausted, naming `what`, when it would print more than `max_bytes`.
  Result<void> ReadInto(const std::string& file, uint64_t max_bytes, std::string_view what,
                        const std::vector<std::string>& args, const GitCall& call = {}) const;

  // Prints to `on_data`, piece by piece; an error of `on_data` ends git and is returned.
  using DataFn = std::function<Result<void>(std::string_view data)>;
  Result<void> Stream(const std::vector<std::string>& args, const DataFn& on_data,
                      const GitCall& call = {}) const;

  // The last value of a key (section and name in lower case) in the config, wherever it stands.
  std::optional<std::string> Config(std::string_view key) const;
  // The names N for which the config has "section.N.name".
  std::vector<std::string> Subsections(std::string_view section, std::string_view name) const;

 private:
  struct Entry {
    enum class Scope { kUser, kRepository } scope;
    std::string key, value;
  };

  explicit Git(std::string folder) : folder_(std::move(folder)) {}
  Result<void> LoadConfig();
  void Silence();
  enum class Filters { kOfUser, kNone };
  void SilenceFilters(Filters allowed);
  void Override(std::string key, std::string value);
  std::vector<std::string> Argv(const std::vector<std::string>& args) const;
  std::vector<std::string> Environment(const GitCall& call) const;
  Error Failure(const std::vector<std::string>& args, const os::ExitStatus& status,
                std::string_view says) const;

  std::string folder_;
  std::vector<Entry> config_;
  std::vector<std::pair<std::string, std::string>> overrides_;
};

// `path` as git reads it in a list of its own, be it of alternates or of paths.
std::string QuotePath(std::string_view path);
// What ends with a NUL each.
std::vector<std::string> SplitNames(std::string_view text);
// The same as git's input.
std::string JoinNames(const std::vector<std::string>& names);

}  // namespace cleanroom::workspace
