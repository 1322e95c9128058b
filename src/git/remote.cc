#include "git/remote.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "git/ref_name.h"
#include "git/relative_url.h"
#include "git/transfer_error.h"
#include "os/file.h"

namespace cleanroom::git {
namespace {

constexpr int kMaxRedirects = 3;
constexpr uint64_t kMaxTraceBytes = 1u << 20;
// What git asks for below a repository's URL, and a redirect must lead to as well.
constexpr std::string_view kRefsSuffix = "/info/refs?service=git-upload-pack";

// The last header of that name which git's trace shows; empty when there is none.
std::string_view LocationIn(std::string_view trace) {
  std::string_view found;
  while (!trace.empty()) {
    const size_t end = std::min(trace.find('\n'), trace.size());
    std::string_view line = trace.substr(0, end);
    trace.remove_prefix(std::min(end + 1, trace.size()));
    constexpr std::string_view kHeader = "Recv header: ", kName = "location:";
    const size_t header = line.find(kHeader);
    if (header == std::string_view::npos) continue;
    line.remove_prefix(header + kHeader.size());
    const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
    if (line.size() < kName.size() || !std::equal(kName.begin(), kName.end(), line.begin(),
                                                  [same](char b, char a) { return same(a, b); }))
      continue;
    line.remove_prefix(kName.size());
    while (line.starts_with(' ')) line.remove_prefix(1);
    while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
    found = line;
  }
  return found;
}

// "ref: refs/heads/main\tHEAD", and "<id>\t<name>".
RemoteRefs ParseList(std::string_view text) {
  RemoteRefs out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos) continue;
    const std::string_view left = line.substr(0, tab);
    std::string_view name = line.substr(tab + 1);
    if (name == "HEAD" && left.starts_with("ref: refs/heads/")) {
      if (IsBranchName(left.substr(16))) out.default_branch = left.substr(16);
    } else if (!IsFullId(left)) {
      continue;
    } else if (name == "HEAD") {
      out.head = left;
    } else if (name.ends_with("^{}")) {
      name.remove_suffix(3);
      for (Ref& ref : out.refs) {
        if (ref.name == name) ref.peeled = left;
      }
    } else if (IsRefName(name)) {
      out.refs.push_back({std::string(name), std::string(left), {}});
    }
  }
  if (out.head.empty()) out.default_branch.clear();
  return out;
}

}  // namespace

uint64_t Remote::Room(uint64_t bytes_now) const {
  return limits_.max_mirror_bytes - std::min(limits_.max_mirror_bytes - 1, bytes_now);
}

Result<std::string> Remote::Ask(Command command, const Control& control) const {
  const auto url = std::ranges::find(command.args, url_.fetch_url());
  bool cut = false;
  for (int redirects = 0;;) {
    CR_TRY_ASSIGN(Git::Answer answer, git_.Upstream(command, control));
    if (answer.status.ok()) return std::move(answer.out);
    const TransferTrouble trouble = ClassifyTransfer(answer.stderr_text);
    if (trouble == TransferTrouble::kCut && !std::exchange(cut, true)) continue;
    if (trouble == TransferTrouble::kRedirect && url != command.args.end() &&
        ++redirects <= kMaxRedirects) {
      CR_TRY_ASSIGN(*url, Follow(*url, control));
      continue;
    }
    return Err(TransferError(trouble, url_, answer.stderr_text));
  }
}

// git says that there is a redirect, and not where to; a trace of its headers does.
Result<std::string> Remote::Follow(const std::string& url, const Control& control) const {
  CR_TRY_ASSIGN(const auto folder, os::TempDir::Create());
  const std::string trace = folder.path() + "/trace";
  CR_TRY(git_.Upstream({.args = {"ls-remote", "--quiet", "--end-of-options", url, "HEAD"},
                        .environment = {"GIT_TRACE_CURL=" + trace, "GIT_TRACE_CURL_NO_DATA=1"},
                        .timeout = limits_.list_timeout,
                        .max_file_bytes = kMaxTraceBytes},
                       control));
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(trace, kMaxTraceBytes));
  std::string target(LocationIn(text));
  const size_t end = target.find(kRefsSuffix);
  if (end == std::string::npos || end + kRefsSuffix.size() != target.size())
    return Err(TransferError(TransferTrouble::kNotAllowed, url_, "to what is no repository"));
  target.resize(end);
  const std::string authority = url.substr(0, url.find('/', url.find("://") + 3));
  if (target.starts_with('/') && !target.starts_with("//")) target.insert(0, authority);
  const auto parsed = RemoteUrl::Parse(target, git_.config().rules);
  if (!parsed)
    return Err(TransferError(TransferTrouble::kNotAllowed, url_, parsed.error().message()));
  if (!IsSameHost(*parsed, url_))
    return Err(TransferError(TransferTrouble::kNotAllowed, url_, "to " + parsed->origin()));
  return parsed->fetch_url();
}

Result<RemoteRefs> Remote::List(const std::vector<std::string>& names,
                                const Control& control) const {
  Command command{
      .args = {"ls-remote", "--symref", "--quiet", "--end-of-options", url_.fetch_url(), "HEAD"},
      .timeout = limits_.list_timeout};
  for (const std::string& name : names) {
    if (!IsRefName(name))
      return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is no name of a ref", name));
    command.args.push_back(name);
    command.args.push_back(name + "^{}");
  }
  CR_TRY_ASSIGN(const std::string text, Ask(command, control));
  RemoteRefs out = ParseList(text);
  // git takes a name for the end of one: "refs/heads/x" also finds "refs/y/refs/heads/x".
  std::erase_if(out.refs,
                [&](const Ref& ref) { return std::ranges::find(names, ref.name) == names.end(); });
  return out;
}

Result<void> Remote::Clone(const std::filesystem::path& folder, const Control& control) const {
  // --bare takes branches and tags, not whatever else a forge keeps (refs/pull/...), and makes the
  // mirror in the remote's object format.
  CR_TRY(Ask({.args = {"clone", "--bare", "--progress", "--no-local",
                       "--template=", "--end-of-options", url_.fetch_url(), folder.string()},
              .timeout = limits_.fetch_timeout,
              .max_file_bytes = Room(0)},
             control));
  return {};
}

Result<void> Remote::FetchAll(const Mirror& mirror, uint64_t bytes_now,
                              const Control& control) const {
  CR_TRY(Ask({.args = {"fetch", "--progress", "--prune", "--force", "--no-tags",
                       "--no-write-fetch-head", "--end-of-options", url_.fetch_url(),
                       "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"},
              .git_dir = mirror.path(),
              .timeout = limits_.fetch_timeout,
              .max_file_bytes = Room(bytes_now)},
             control));
  return {};
}

Result<void> Remote::FetchCommit(const Mirror& mirror, const std::string& id, uint64_t bytes_now,
                                 const Control& control) const {
  if (!IsFullId(id)) return Err(ErrorCode::kInvalidArgument, "not a full id of a commit");
  const auto fetched =
      Ask({.args = {"fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--end-of-options",
                    url_.fetch_url(), fmt::format("+{}:refs/cleanroom/{}", id, id)},
           .git_dir = mirror.path(),
           .timeout = limits_.fetch_timeout,
           .max_file_bytes = Room(bytes_now)},
          control);
  if (!fetched) return Err(std::move(fetched).error());
  return {};
}

}  // namespace cleanroom::git
