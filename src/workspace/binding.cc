#include "workspace/binding.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/id.h"
#include "base/printable.h"
#include "document/bounded_json.h"
#include "os/file.h"
#include "workspace/tree_path.h"

namespace cleanroom::workspace {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr size_t kMaxFiles = 250'000;
constexpr int kFormat = 1;

Json ToJson(const Binding& binding) {
  Json files = Json::array();
  for (const ChangedFile& file : binding.baseline.manifest) {
    if (file.deleted) {
      files.push_back({{"path", file.path}, {"deleted", true}});
    } else {
      files.push_back(
          {{"path", file.path}, {"mode", file.mode}, {"id", file.id}, {"sha256", file.sha256}});
    }
  }
  return {{"format", kFormat},
          {"sandbox", binding.sandbox_id},
          {"local_root", binding.local_root},
          {"remote", binding.remote_identity},
          {"object_format", binding.object_format},
          {"sandbox_root", binding.sandbox_root},
          {"made", binding.made.time_since_epoch().count()},
          {"commit", binding.baseline.commit},
          {"files", std::move(files)}};
}

// A string of that name, or nothing.
std::string Text(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool IsHex(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::optional<ChangedFile> FileFrom(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  ChangedFile file{.path = Text(json, "path"),
                   .mode = Text(json, "mode"),
                   .id = Text(json, "id"),
                   .sha256 = Text(json, "sha256"),
                   .deleted = json.value("deleted", Json()) == Json(true)};
  if (WhyNotInTree(file.path)) return std::nullopt;
  if (!file.deleted && (!IsHex(file.id) || file.mode.size() != 6)) return std::nullopt;
  return file;
}

std::optional<Binding> BindingFrom(const Json& json) {
  if (!json.is_object() || json.value("format", Json()) != Json(kFormat)) return std::nullopt;
  const auto made = json.find("made"), files = json.find("files");
  if (made == json.end() || !made->is_number_integer()) return std::nullopt;
  if (files == json.end() || !files->is_array() || files->size() > kMaxFiles) return std::nullopt;
  Binding out{.sandbox_id = Text(json, "sandbox"),
              .local_root = Text(json, "local_root"),
              .remote_identity = Text(json, "remote"),
              .object_format = Text(json, "object_format"),
              .sandbox_root = Text(json, "sandbox_root"),
              .made = std::chrono::sys_seconds(std::chrono::seconds(made->get<int64_t>())),
              .baseline = {.commit = Text(json, "commit"), .manifest = {}}};
  if (!out.local_root.starts_with('/') || !IsHex(out.baseline.commit)) return std::nullopt;
  for (const Json& item : *files) {
    auto file = FileFrom(item);
    if (!file) return std::nullopt;
    out.baseline.manifest.push_back(*std::move(file));
  }
  return out;
}

Error NotHere(std::string message, const std::string& folder) {
  return Error(ErrorCode::kFailedPrecondition, std::move(message))
      .About(SubjectKind::kFile, folder)
      .Remedy(
          "Run it in a clone of the sandbox's repository, with the sandbox's commit checked out");
}

// What makes `repository` another one than the sandbox's; "" when nothing does.
std::string Difference(const Repository& repository, const SandboxOrigin& origin,
                       const std::string& remote_name) {
  const auto remote = FindRemote(repository, remote_name);
  if (!remote) return remote.error().message();
  if (remote->url.Identity() != origin.remote_identity) {
    return fmt::format("{} is a clone of {}, and the sandbox's repository is {}", repository.top,
                       EscapeUnprintable(remote->url.Identity()),
                       EscapeUnprintable(origin.remote_identity));
  }
  return "";
}

}  // namespace

Result<std::string> BindingStore::PathOf(const std::string& sandbox_id) const {
  CR_TRY(CheckId(sandbox_id, "sandbox id"));
  return fmt::format("{}/{}.json", folder_, sandbox_id);
}

Result<void> BindingStore::Save(const Binding& binding) const {
  CR_TRY_ASSIGN(const auto path, PathOf(binding.sandbox_id));
  // A path of the user's that is not UTF-8 would make the dump throw; it is found again by no one.
  const std::string text =
      ToJson(binding).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (text.size() > kMaxBytes || binding.baseline.manifest.size() > kMaxFiles) {
    return Err(Error(ErrorCode::kResourceExhausted,
                     fmt::format("what went into sandbox {} is too much to keep a record of",
                                 binding.sandbox_id))
                   .About(SubjectKind::kSandbox, binding.sandbox_id));
  }
  CR_TRY(os::MakeDirs(folder_));
  return os::WriteFileAtomic(path, text);
}

Result<std::optional<Binding>> BindingStore::Load(const std::string& sandbox_id) const {
  CR_TRY_ASSIGN(const auto path, PathOf(sandbox_id));
  auto text = os::ReadFile(path, kMaxBytes);
  if (!text && text.error().code() == ErrorCode::kNotFound) return std::nullopt;
  if (!text) return Err(std::move(text).error());
  auto binding = BindingFrom(document::ParseBoundedJson(*text, {.max_bytes = kMaxBytes}));
  if (binding && binding->sandbox_id == sandbox_id) return binding;
  return Err(Error(ErrorCode::kDataCorrupt, fmt::format("{} is damaged", path))
                 .About(SubjectKind::kFile, path)
                 .Remedy("Remove it; copy-out then goes by the folder that it is run in"));
}

Result<void> BindingStore::Remove(const std::string& sandbox_id) const {
  CR_TRY_ASSIGN(const auto path, PathOf(sandbox_id));
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return ErrErrno(os::CodeForErrno(errno), path);
}

void BindingStore::RemoveOld(std::chrono::sys_seconds now) const {
  std::error_code error;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    struct stat info = {};
    if (at->path().extension() != ".json" || lstat(at->path().c_str(), &info) != 0) continue;
    const std::chrono::sys_seconds written{std::chrono::seconds(info.st_mtim.tv_sec)};
    if (now - written > kKept) unlink(at->path().c_str());
  }
}

Result<CopyTarget> ChooseCopyTarget(const std::optional<Binding>& binding,
                                    const SandboxOrigin& origin, const std::string& remote_name,
                                    const std::string& folder) {
  if (binding && binding->baseline.commit != origin.commit) {
    return Err(
        NotHere(fmt::format("the record of sandbox {} is of commit {}, and the sandbox began "
                            "with {}",
                            binding->sandbox_id, binding->baseline.commit,
                            EscapeUnprintable(origin.commit)),
                folder));
  }
  if (binding) {
    auto bound = Discover(binding->local_root);
    if (bound && bound->top == binding->local_root) {
      const std::string difference = Difference(*bound, origin, remote_name);
      if (!difference.empty()) return Err(NotHere(difference, bound->top));
      return CopyTarget{*std::move(bound), binding->baseline};
    }
    // It was moved or removed; where the command runs may be where it is now.
  }
  auto here = Discover(folder);
  if (!here) return Err(std::move(here).error().Context("no work tree to copy out to"));
  const std::string difference = Difference(*here, origin, remote_name);
  if (!difference.empty()) return Err(NotHere(difference, here->top));
  if (here->commit != origin.commit) {
    return Err(NotHere(fmt::format("{} is at commit {}, and the sandbox began with {}", here->top,
                                   here->commit, EscapeUnprintable(origin.commit)),
                       here->top));
  }
  Baseline baseline =
      binding ? binding->baseline : Baseline{.commit = origin.commit, .manifest = {}};
  return CopyTarget{*std::move(here), std::move(baseline)};
}

}  // namespace cleanroom::workspace
