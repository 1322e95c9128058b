#include "support/host_view.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/id.h"
#include "os/file.h"

namespace cleanroom::test {
namespace {

namespace fs = std::filesystem;

constexpr size_t kIdLength = 26;
constexpr std::array<const char*, 5> kNamespaces = {"net", "mnt", "user", "ipc", "pid"};

// Empty for a process that has ended meanwhile.
std::string ReadText(const fs::path& path) {
  return os::ReadFile(path, size_t{1} << 20).value_or("");
}

std::vector<pid_t> AllPids() {
  std::vector<pid_t> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos) pids.push_back(std::stoi(name));
  }
  return pids;
}

fs::path ProcOf(pid_t pid) { return fs::path("/proc") / std::to_string(pid); }

struct Stat {
  char state = 'X';  // X: there is no such process
  pid_t parent = 0;
};

// What stands behind the name in parentheses (proc(5)).
Stat StatOf(pid_t pid) {
  const std::string text = ReadText(ProcOf(pid) / "stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(text.substr(name_end + 1));
  Stat stat;
  rest >> stat.state >> stat.parent;
  return stat;
}

// The id behind the first of these words.
std::string IdBehind(const std::string& words, const std::string& text) {
  const size_t at = text.find(words);
  if (at == std::string::npos) return "";
  std::string id = text.substr(at + words.size(), kIdLength);
  return IsId(id) ? id : "";
}

// Whose a command line is. A VMM names its sandbox, and maybe paths of another one's, for a fork
// has the command line of the held machine but for the name.
std::string IdIn(const std::string& line, const std::string& sandboxes) {
  if (line.find(sandboxes + "/") == std::string::npos) return "";
  const std::string named = IdBehind("guest=cleanroom-", line);
  return named.empty() ? IdBehind(sandboxes + "/", line) : named;
}

std::string LinkOf(const fs::path& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  return error ? "" : target.string();
}

}  // namespace

std::vector<HostProcess> HostView::Processes() const {
  const std::string sandboxes = state_dir_ + "/sandboxes";
  std::map<pid_t, HostProcess> all;
  for (const pid_t pid : AllPids()) {
    const std::string line = ReadText(ProcOf(pid) / "cmdline");
    const Stat stat = StatOf(pid);
    if (line.empty() || stat.state == 'Z' || stat.state == 'X') continue;
    HostProcess process{.pid = pid, .parent = stat.parent, .program = {}, .sandbox_id = {}};
    process.program = fs::path(line.substr(0, line.find('\0'))).filename();
    process.sandbox_id = IdIn(line, sandboxes);
    all[pid] = process;
  }
  std::vector<HostProcess> ours;
  for (auto& [pid, process] : all) {
    if (!process.IsWarden() && !process.IsMachine()) continue;
    const auto parent = all.find(process.parent);
    if (process.sandbox_id.empty() && parent != all.end())
      process.sandbox_id = IdIn(ReadText(ProcOf(process.parent) / "cmdline"), sandboxes);
    if (!process.sandbox_id.empty()) ours.push_back(process);
  }
  return ours;
}

std::vector<pid_t> HostView::GitProcesses() const {
  std::vector<pid_t> pids;
  for (const pid_t pid : AllPids()) {
    const std::string line = ReadText(ProcOf(pid) / "cmdline");
    const char state = StatOf(pid).state;
    if (state == 'Z' || state == 'X') continue;
    if (!fs::path(line.substr(0, line.find('\0'))).filename().string().starts_with("git")) continue;
    std::error_code error;
    const std::string cwd = fs::read_symlink(ProcOf(pid) / "cwd", error);
    if (cwd.starts_with(state_dir_) || line.find(state_dir_) != std::string::npos)
      pids.push_back(pid);
  }
  return pids;
}

std::set<std::string> HostView::Folders() const {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(state_dir_ + "/sandboxes", error), end; !error && it != end;
       it.increment(error)) {
    names.insert(it->path().filename());
  }
  return names;
}

std::set<std::string> HostView::Sockets() const {
  std::set<std::string> paths;
  std::error_code error;
  const auto skip = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(folder_, skip, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_socket(ignored)) paths.insert(it->path());
  }
  return paths;
}

std::vector<std::string> HostView::Mounts() const {
  std::vector<std::string> mounts;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.find(folder_) != std::string::npos) mounts.push_back(line);
  }
  return mounts;
}

std::vector<std::string> HostView::Cgroups(const std::string& id) const {
  std::vector<std::string> found;
  std::error_code error;
  const auto skip = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it("/sys/fs/cgroup", skip, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().find(id) != std::string::npos) found.push_back(it->path());
  }
  return found;
}

std::set<std::string> HostView::Namespaces(pid_t pid) {
  std::set<std::string> names;
  for (const char* kind : kNamespaces) {
    const std::string name = LinkOf(ProcOf(pid) / "ns" / kind);
    if (!name.empty() && name != LinkOf(fs::path("/proc/self/ns") / kind)) names.insert(name);
  }
  return names;
}

HostView::Holders HostView::HoldersOf(const std::set<std::string>& namespaces) {
  Holders holders;
  for (const pid_t pid : AllPids()) {
    if (StatOf(pid).state == 'Z') continue;
    const auto note = [&](const std::string& name) {
      if (namespaces.contains(name)) holders[name].insert(pid);
    };
    for (const char* kind : kNamespaces) note(LinkOf(ProcOf(pid) / "ns" / kind));
    std::error_code error;
    for (fs::directory_iterator it(ProcOf(pid) / "fd", error), end; !error && it != end;
         it.increment(error)) {
      note(LinkOf(it->path()));
    }
  }
  const std::string mounts = ReadText("/proc/self/mountinfo");
  for (const std::string& name : namespaces) {
    if (mounts.find(name) != std::string::npos) holders[name].insert(kMounted);
  }
  return holders;
}

std::string HostView::StillHeld(const std::set<std::string>& namespaces, const Holders& before) {
  std::string lines;
  for (const auto& [name, pids] : HoldersOf(namespaces)) {
    const auto had = before.find(name);
    if (had == before.end()) continue;
    for (const pid_t pid : pids)
      if (had->second.contains(pid))
        lines += name + " is held by process " + std::to_string(pid) + "\n";
  }
  return lines;
}

std::vector<std::string> HostView::StrayFiles(const std::set<std::string>& executions) const {
  static const std::set<std::string> kParts = {
      "lock",      "records.db", "records.db-wal", "sandboxes", "executions", "records.db-shm",
      "templates", "audit",      "accelerator",    "mirrors",   "bundles"};
  std::vector<std::string> strays;
  std::error_code error;
  for (fs::directory_iterator it(state_dir_, error), end; !error && it != end; it.increment(error))
    if (!kParts.contains(it->path().filename())) strays.push_back(it->path());
  for (fs::directory_iterator it(state_dir_ + "/executions", error), end; !error && it != end;
       it.increment(error)) {
    if (!executions.contains(it->path().stem())) {
      strays.push_back(it->path());
      continue;
    }
    if (!it->is_directory(error)) continue;
    for (const auto& part : fs::directory_iterator(it->path(), error)) {
      if (part.path().filename() != "execution-observability.json") strays.push_back(part.path());
    }
  }
  constexpr size_t kKeyLength = 64;
  for (fs::directory_iterator it(state_dir_ + "/templates", error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().size() != kKeyLength) strays.push_back(it->path());
  }
  for (fs::directory_iterator it(state_dir_ + "/mirrors/tmp", error), end; !error && it != end;
       it.increment(error)) {
    strays.push_back(it->path());
  }
  return strays;
}

}  // namespace cleanroom::test
