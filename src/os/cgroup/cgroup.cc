#include "os/cgroup/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <optional>
#include <set>
#include <thread>

#include "os/file.h"

namespace cleanroom::os {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxText = size_t{1} << 20;
constexpr std::chrono::seconds kRemoveLimit{1};
constexpr std::chrono::milliseconds kRemovePause{2};
constexpr const char* kOurControllers[] = {"memory", "pids"};
// Where the daemon itself goes: a group of version 2 has limits for its children only when no
// process is in it.
constexpr const char* kOwnGroup = "cleanroom-serve";

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool Contains(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

// One write(2), as these files want it.
Result<void> Put(const std::string& file, std::string_view text) {
  CR_TRY_ASSIGN(const UniqueFd fd, Open(file, O_WRONLY));
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrErrno(ErrorCode::kFailedPrecondition, "write to " + file);
  }
  return {};
}

std::vector<pid_t> PidsIn(const std::string& file) {
  std::vector<pid_t> pids;
  const auto text = ReadFile(file, kMaxText);
  if (!text) return pids;
  std::string flat = *text;
  std::ranges::replace(flat, '\n', ' ');
  for (const std::string& word : Split(flat, ' ')) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), pid);
    if (error == std::errc() && pid > 0) pids.push_back(pid);
  }
  return pids;
}

struct Mount {
  std::string root;
  std::string at;
  std::string type;
  std::vector<std::string> options;  // of the file system
};

// proc(5): ID PARENT MAJOR:MINOR ROOT AT OPTIONS [FIELD...] - TYPE SOURCE SUPER-OPTIONS
std::vector<Mount> CgroupMounts(std::string_view mountinfo) {
  std::vector<Mount> mounts;
  for (const std::string& line : Split(mountinfo, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto before = Split(std::string_view(line).substr(0, dash), ' ');
    const auto after = Split(std::string_view(line).substr(dash + 3), ' ');
    if (before.size() < 6 || after.size() < 3) continue;
    if (after[0] != "cgroup" && after[0] != "cgroup2") continue;
    mounts.push_back({before[3], before[4], after[0], Split(after[2], ',')});
  }
  return mounts;
}

// The folder of the group that we are in, by the controller; "" for version 2. cgroups(7):
// HIERARCHY:CONTROLLERS:PATH
std::optional<std::string> OwnFolder(const Mount& mount, std::string_view own_groups,
                                     std::string_view controller) {
  for (const std::string& line : Split(own_groups, '\n')) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? !names.empty() : !Contains(Split(names, ','), controller)) continue;
    std::string path = line.substr(second + 1);
    if (mount.root != "/" && path.starts_with(mount.root)) path = path.substr(mount.root.size());
    while (path.ends_with('/')) path.pop_back();
    return mount.at + path;
  }
  return std::nullopt;
}

Result<void> MakeFolder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return ErrErrno(ErrorCode::kFailedPrecondition, "make the control group " + folder);
}

Result<CgroupTree> UseVersion1(const std::string& own, const std::string& controller,
                               const std::string& name) {
  CgroupTree tree{.folder = own + "/" + name, .controllers = {controller}, .unified = false};
  CR_TRY(MakeFolder(tree.folder));
  return tree;
}

// Has the children of this group limited, for which its own processes (us) move to a child first.
Result<void> Delegate(const std::string& group, const std::string& wanted) {
  const std::string file = group + "/cgroup.subtree_control";
  if (Put(file, wanted)) return {};
  CR_TRY(MakeFolder(group + "/" + kOwnGroup));
  CR_TRY(Put(group + "/" + kOwnGroup + "/cgroup.procs", std::to_string(getpid())));
  return Put(file, wanted);
}

Result<CgroupTree> UseVersion2(std::string own, const std::string& name) {
  // After an exec of ours.
  if (fs::path(own).filename() == kOwnGroup) own = fs::path(own).parent_path();
  CgroupTree tree{.folder = own + "/" + name, .controllers = {}, .unified = true};
  CR_TRY_ASSIGN(std::string offered, ReadFile(own + "/cgroup.controllers", kMaxText));
  std::ranges::replace(offered, '\n', ' ');
  std::string wanted;
  for (const char* controller : kOurControllers) {
    if (!Contains(Split(offered, ' '), controller)) continue;
    tree.controllers.emplace_back(controller);
    wanted += fmt::format("{}+{}", wanted.empty() ? "" : " ", controller);
  }
  if (tree.controllers.empty()) {
    return Err(ErrorCode::kFailedPrecondition, own + " offers neither memory nor pids");
  }
  CR_TRY(Delegate(own, wanted));
  CR_TRY(MakeFolder(tree.folder));
  CR_TRY(Put(tree.folder + "/cgroup.subtree_control", wanted));
  return tree;
}

Result<void> SetLimits(const CgroupTree& tree, const std::string& group,
                       const CgroupLimits& limits) {
  if (Contains(tree.controllers, "pids")) {
    CR_TRY(Put(group + "/pids.max", std::to_string(limits.processes)));
  }
  if (Contains(tree.controllers, "memory")) {
    const char* file = tree.unified ? "/memory.max" : "/memory.limit_in_bytes";
    CR_TRY(Put(group + file, std::to_string(limits.memory_bytes)));
  }
  return {};
}

Result<void> RemoveGroup(const std::string& group) {
  const auto deadline = std::chrono::steady_clock::now() + kRemoveLimit;
  while (rmdir(group.c_str()) != 0) {
    if (errno == ENOENT) return {};
    if (errno != EBUSY || std::chrono::steady_clock::now() >= deadline) {
      return ErrErrno(ErrorCode::kInternal, "remove the control group " + group);
    }
    for (const pid_t pid : PidsIn(group + "/cgroup.procs")) kill(pid, SIGKILL);
    std::this_thread::sleep_for(kRemovePause);
  }
  return {};
}

}  // namespace

Result<Cgroups> Cgroups::Find(const std::string& name) {
  CR_TRY_ASSIGN(const std::string mountinfo, ReadFile("/proc/self/mountinfo", kMaxText));
  CR_TRY_ASSIGN(const std::string own, ReadFile("/proc/self/cgroup", kMaxText));
  return Find(name, mountinfo, own);
}

Result<Cgroups> Cgroups::Find(const std::string& name, std::string_view mountinfo,
                              std::string_view own_groups) {
  std::vector<CgroupTree> trees;
  std::string trouble;
  const auto use = [&](Result<CgroupTree> tree) {
    if (tree) {
      trees.push_back(*std::move(tree));
    } else {
      trouble += (trouble.empty() ? "" : "; ") + tree.error().message();
    }
  };
  for (const Mount& mount : CgroupMounts(mountinfo)) {
    if (mount.type == "cgroup2") {
      if (auto own = OwnFolder(mount, own_groups, "")) use(UseVersion2(*own, name));
      continue;
    }
    for (const char* controller : kOurControllers) {
      if (!Contains(mount.options, controller)) continue;
      if (auto own = OwnFolder(mount, own_groups, controller)) {
        use(UseVersion1(*own, controller, name));
      }
    }
  }
  if (!trees.empty()) return Cgroups(std::move(trees));
  return Err(ErrorCode::kFailedPrecondition,
             trouble.empty() ? std::string("no control groups are mounted") : trouble);
}

bool Cgroups::Limits(std::string_view controller) const {
  return std::ranges::any_of(
      trees_, [&](const CgroupTree& tree) { return Contains(tree.controllers, controller); });
}

Result<std::vector<std::string>> Cgroups::Make(const std::string& id,
                                               const CgroupLimits& limits) const {
  std::vector<std::string> groups;
  for (const CgroupTree& tree : trees_) {
    const std::string group = tree.folder + "/" + id;
    CR_TRY(MakeFolder(group));
    CR_TRY(SetLimits(tree, group, limits));
    groups.push_back(group);
  }
  return groups;
}

std::vector<std::string> Cgroups::List() const {
  std::set<std::string> ids;
  for (const CgroupTree& tree : trees_) {
    std::error_code error;
    for (fs::directory_iterator it(tree.folder, error), end; !error && it != end;
         it.increment(error)) {
      if (it->is_directory(error)) ids.insert(it->path().filename());
    }
  }
  return {ids.begin(), ids.end()};
}

Result<void> Cgroups::Remove(const std::string& id) const {
  Result<void> outcome;
  for (const CgroupTree& tree : trees_) {
    auto removed = RemoveGroup(tree.folder + "/" + id);
    if (!removed) outcome = std::move(removed);
  }
  return outcome;
}

void Cgroups::RemoveTrees() const {
  for (const CgroupTree& tree : trees_) rmdir(tree.folder.c_str());
}

Result<void> MoveInto(const std::vector<std::string>& folders, pid_t pid) {
  for (const std::string& folder : folders) {
    CR_TRY(Put(folder + "/cgroup.procs", std::to_string(pid)));
  }
  // Those that it started before; later ones are born in its groups.
  for (const pid_t child : PidsIn(fmt::format("/proc/{0}/task/{0}/children", pid))) {
    for (const std::string& folder : folders) {
      const auto moved = Put(folder + "/cgroup.procs", std::to_string(child));
      if (!moved && moved.error().errno_value() != ESRCH) return moved;  // it has ended
    }
  }
  return {};
}

bool HaveMembers(const std::vector<std::string>& folders) {
  return std::ranges::any_of(
      folders, [](const std::string& folder) { return !PidsIn(folder + "/cgroup.procs").empty(); });
}

Result<void> MoveFrom(const std::vector<std::string>& from, const std::vector<std::string>& to,
                      pid_t pid) {
  for (const std::string& folder : from) {
    const auto members = PidsIn(folder + "/cgroup.procs");
    if (std::ranges::find(members, pid) == members.end()) {
      return Err(ErrorCode::kPermissionDenied, fmt::format("process {} is not in {}", pid, folder));
    }
  }
  return MoveInto(to, pid);
}

}  // namespace cleanroom::os
