#include "workspace/git.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>

#include "base/printable.h"
#include "os/file.h"
#include "os/scratch.h"

namespace cleanroom::workspace {
namespace {

constexpr size_t kMaxWords = 2000;  // of what git says, in an error

// What of the user's environment git is told. Where a hook or an alias of git's has started us, the
// rest is about another repository.
bool IsKept(std::string_view variable) {
  if (!variable.starts_with("GIT_")) return !variable.starts_with("LC_ALL=");
  for (const std::string_view kept :
       {"GIT_CONFIG_GLOBAL=", "GIT_CONFIG_SYSTEM=", "GIT_CONFIG_NOSYSTEM=", "GIT_CONFIG_KEY_",
        "GIT_CONFIG_VALUE_",
        "GIT_EXEC_PATH=", "GIT_CEILING_DIRECTORIES=", "GIT_DISCOVERY_ACROSS_FILESYSTEM="}) {
    if (variable.starts_with(kept)) return true;
  }
  return false;
}

// How many keys the user's environment brings (GIT_CONFIG_COUNT); ours are counted on.
size_t ConfigCountOfEnvironment() {
  const char* text = getenv("GIT_CONFIG_COUNT");
  size_t count = 0;
  if (text != nullptr) std::from_chars(text, text + std::string_view(text).size(), count);
  return count > 10'000 ? 0 : count;
}

bool IsOfUser(std::string_view scope) {
  return scope == "system" || scope == "global" || scope == "command";
}

}  // namespace

std::vector<std::string> SplitNames(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\0'), text.size());
    names.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return names;
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out.append(name).push_back('\0');
  return out;
}

std::string QuotePath(std::string_view path) {
  std::string out = "\"";
  for (const char c : path) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

Result<Git> Git::Open(std::string folder) {
  Git git(std::move(folder));
  git.Silence();
  CR_TRY(git.LoadConfig());
  git.SilenceFilters(Filters::kOfUser);
  return git;
}

Result<Git> Git::OpenScratch(std::string folder, const Settings& settings) {
  Git git(std::move(folder));
  git.Silence();
  for (const auto& [key, value] : settings) git.Override(key, value);
  CR_TRY(git.LoadConfig());
  git.SilenceFilters(Filters::kNone);
  return git;
}

void Git::Override(std::string key, std::string value) {
  overrides_.emplace_back(std::move(key), std::move(value));
}

void Git::Silence() {
  Override("core.hooksPath", "/dev/null");
  Override("core.fsmonitor", "false");
  Override("core.splitIndex", "false");    // would write beside the index that is there
  Override("core.looseCompression", "0");  // what we write is thrown away soon
  Override("core.sshCommand", "false");
  Override("core.askPass", "false");
  Override("credential.helper", "");
  Override("protocol.allow", "never");
  Override("diff.suppressBlankEmpty", "false");
  Override("submodule.recurse", "false");
  Override("gc.auto", "0");
  Override("maintenance.auto", "false");
}

Result<void> Git::LoadConfig() {
  CR_TRY_ASSIGN(const auto words, ReadNames({"config", "--list", "--show-scope", "-z"}));
  for (size_t i = 0; i + 1 < words.size(); i += 2) {
    const std::string& item = words[i + 1];
    const size_t end = std::min(item.find('\n'), item.size());
    config_.push_back(
        {.scope = IsOfUser(words[i]) ? Entry::Scope::kUser : Entry::Scope::kRepository,
         .key = item.substr(0, end),
         .value = item.substr(std::min(end + 1, item.size()))});
  }
  // git lists the config outside a repository as well.
  return {};
}

// What the repository's config says of a filter driver gives way to what the user's says, or to
// nothing: git passes contents on unchanged where a command is empty and the driver not required.
// (An empty `process` also turns the user's `clean` off; git knows no way to say that there is none.)
void Git::SilenceFilters(Filters allowed) {
  std::set<std::string> of_repository;
  std::map<std::string, std::string> of_user;
  for (const Entry& entry : config_) {
    if (!entry.key.starts_with("filter.")) continue;
    if (entry.scope == Entry::Scope::kUser && allowed == Filters::kOfUser) {
      of_user[entry.key] = entry.value;
    } else {
      of_repository.insert(entry.key);
    }
  }
  for (const std::string& key : of_repository) {
    const auto own = of_user.find(key);
    const std::string_view none = key.ends_with(".required") ? "false" : "";
    Override(key, std::string(own == of_user.end() ? none : own->second));
  }
}

std::optional<std::string> Git::Config(std::string_view key) const {
  for (size_t i = config_.size(); i-- > 0;) {
    if (config_[i].key == key) return config_[i].value;
  }
  return std::nullopt;
}

std::vector<std::string> Git::Subsections(std::string_view section, std::string_view name) const {
  std::set<std::string> found;
  for (const Entry& entry : config_) {
    std::string_view key = entry.key;
    if (!key.starts_with(section) || !key.ends_with(name)) continue;
    if (key.size() < section.size() + name.size() + 3) continue;
    key.remove_prefix(section.size());
    key.remove_suffix(name.size());
    if (key.front() == '.' && key.back() == '.') found.emplace(key.substr(1, key.size() - 2));
  }
  return {found.begin(), found.end()};
}

std::vector<std::string> Git::Argv(const std::vector<std::string>& args) const {
  std::vector<std::string> argv = {"git", "--no-pager"};
  argv.insert(argv.end(), args.begin(), args.end());
  return argv;
}

std::vector<std::string> Git::Environment(const GitCall& call) const {
  std::vector<std::string> env;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (IsKept(*variable)) env.emplace_back(*variable);
  }
  env.insert(env.end(),
             {"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_PAGER=cat",
              "GIT_ASKPASS=false", "GIT_SSH_COMMAND=false", "GIT_ALLOW_PROTOCOL=none",
              "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1"});
  size_t count = ConfigCountOfEnvironment();
  for (const auto& [key, value] : overrides_) {
    env.push_back(fmt::format("GIT_CONFIG_KEY_{}={}", count, key));
    env.push_back(fmt::format("GIT_CONFIG_VALUE_{}={}", count, value));
    ++count;
  }
  env.push_back(fmt::format("GIT_CONFIG_COUNT={}", count));
  env.insert(env.end(), call.env.begin(), call.env.end());
  return env;
}

Error Git::Failure(const std::vector<std::string>& args, const os::ExitStatus& status,
                   std::string_view says) const {
  const std::string words = EscapeUnprintable(says.substr(0, kMaxWords), "\n");
  if (words.contains("dubious ownership")) {
    return Error(ErrorCode::kPermissionDenied,
                 fmt::format("git does not work on {}: it belongs to another user", folder_))
        .About(SubjectKind::kFile, folder_)
        .Remedy(fmt::format("If you trust it, run: git config --global --add safe.directory '{}'",
                            folder_));
  }
  if (words.contains("not a git repository")) {
    return Error(ErrorCode::kFailedPrecondition, fmt::format("{} is in no git repository", folder_))
        .About(SubjectKind::kFile, folder_);
  }
  if (words.contains("transport 'none'") || words.contains("' not allowed") ||
      words.contains("promisor remote")) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{} is a partial clone, and what is needed of it is not here: {}",
                             folder_, words.substr(0, words.find('\n'))))
        .Remedy("Fetch the rest first, with: git fetch --refetch --no-filter");
  }
  std::string line = words;
  while (line.ends_with('\n')) line.pop_back();
  std::ranges::replace(line, '\n', ' ');
  return Error(ErrorCode::kFailedPrecondition,
               fmt::format("git {} in {} {}{}{}", args.empty() ? "" : args[0], folder_,
                           status.ToString(), line.empty() ? "" : ": ", line));
}

Result<os::Output> Git::Try(const std::vector<std::string>& args, const GitCall& call) const {
  os::RunOptions options;
  options.spawn.env = Environment(call);
  options.spawn.cwd = folder_;
  options.spawn.new_session = true;
  options.input = call.input;
  options.timeout = call.timeout;
  options.max_output = call.max_output + 1;
  auto output = os::Run(Argv(args), options);
  if (!output && output.error().code() == ErrorCode::kNotFound &&
      access(folder_.c_str(), F_OK) == 0) {
    return Err(Error(ErrorCode::kNotFound, "git is not installed").Remedy("Install git"));
  }
  return output;
}

Result<std::string> Git::Read(const std::vector<std::string>& args, const GitCall& call) const {
  CR_TRY_ASSIGN(auto output, Try(args, call));
  if (!output.status.ok()) return Err(Failure(args, output.status, output.err));
  if (output.out.size() > call.max_output) {
    return Err(ErrorCode::kResourceExhausted, fmt::format("git {} in {} prints more than {} bytes",
                                                          args[0], folder_, call.max_output));
  }
  return std::move(output.out);
}

Result<std::string> Git::ReadLine(const std::vector<std::string>& args, const GitCall& call) const {
  CR_TRY_ASSIGN(auto text, Read(args, call));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<std::vector<std::string>> Git::ReadNames(const std::vector<std::string>& args,
                                                const GitCall& call) const {
  CR_TRY_ASSIGN(const auto text, Read(args, call));
  return SplitNames(text);
}

Result<void> Git::ReadInto(const std::string& file, uint64_t max_bytes, std::string_view what,
                           const std::vector<std::string>& args, const GitCall& call) const {
  CR_TRY_ASSIGN(const os::UniqueFd out, os::Open(file, O_WRONLY | O_CREAT | O_TRUNC));
  CR_TRY_ASSIGN(const os::UniqueFd err, os::Open(file + ".err", O_RDWR | O_CREAT | O_TRUNC));
  os::SpawnOptions spawn;
  spawn.env = Environment(call);
  spawn.cwd = folder_;
  spawn.new_session = true;
  spawn.limits = {{RLIMIT_FSIZE, max_bytes}};
  spawn.fds = {{1, out.get()}, {2, err.get()}};
  os::UniqueFd in;
  if (!call.input.empty()) {
    CR_TRY(os::ReplaceFile(file + ".in", call.input));
    CR_TRY_ASSIGN(in, os::Open(file + ".in", O_RDONLY));
    spawn.fds.push_back({0, in.get()});
  }
  CR_TRY_ASSIGN(auto process, os::Process::Spawn(Argv(args), spawn));
  CR_TRY_ASSIGN(const auto status, process.WaitFor(call.timeout));
  if (!status) {
    return Err(ErrorCode::kDeadlineExceeded, fmt::format("git {} in {} did not end within {} ms",
                                                         args[0], folder_, call.timeout.count()));
  }
  if (status->ok()) return {};
  const off_t size = lseek(out.get(), 0, SEEK_END);
  if (status->kind == os::ExitStatus::Kind::kSignaled && status->value == SIGXFSZ) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("{} is larger than {} bytes", what, max_bytes));
  }
  if (size >= 0 && static_cast<uint64_t>(size) >= max_bytes) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("{} is larger than {} bytes", what, max_bytes));
  }
  CR_TRY_ASSIGN(const auto says, os::ReadFile(file + ".err", size_t{1} << 20));
  return Err(Failure(args, *status, says));
}

Result<void> Git::Stream(const std::vector<std::string>& args, const DataFn& on_data,
                         const GitCall& call) const {
  CR_TRY_ASSIGN(const auto scratch, os::TempDir::Create());
  const std::string in_path = scratch.path() + "/in", err_path = scratch.path() + "/err";
  CR_TRY(os::ReplaceFile(in_path, call.input));
  CR_TRY_ASSIGN(const os::UniqueFd in, os::Open(in_path, O_RDONLY));
  CR_TRY_ASSIGN(const os::UniqueFd err, os::Open(err_path, O_WRONLY | O_CREAT));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return ErrErrno(ErrorCode::kResourceExhausted, "pipe");
  const os::UniqueFd out(ends[0]);
  os::UniqueFd write_end(ends[1]);
  os::SpawnOptions spawn;
  spawn.env = Environment(call);
  spawn.cwd = folder_;
  spawn.new_session = true;
  spawn.fds = {{0, in.get()}, {1, write_end.get()}, {2, err.get()}};
  CR_TRY_ASSIGN(auto process, os::Process::Spawn(Argv(args), spawn));
  write_end.reset();
  std::vector<uint8_t> buffer(size_t{256} << 10);
  while (true) {
    CR_TRY_ASSIGN(const size_t size, os::ReadSome(out.get(), buffer));
    if (size == 0) break;
    CR_TRY(on_data({reinterpret_cast<const char*>(buffer.data()), size}));
  }
  CR_TRY_ASSIGN(const auto status, process.Wait());
  if (status.ok()) return {};
  CR_TRY_ASSIGN(const auto says, os::ReadFile(err_path, size_t{1} << 20));
  return Err(Failure(args, status, says));
}

}  // namespace cleanroom::workspace
