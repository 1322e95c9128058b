#include "vmm/kernel/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/sha256/sha256.h"
#include "os/file.h"
#include "vmm/kernel/decompress.h"

namespace cleanroom::vmm {
namespace {

constexpr size_t kMaxAgentBytes = size_t{64} << 20;
constexpr std::string_view kFormat = "cleanroom initramfs 1";

struct FreeWriter {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

class Cpio {
 public:
  Cpio() : archive_(archive_write_new()) { archive_write_set_format_cpio_newc(archive_.get()); }

  Result<void> Open(int fd) { return Checked(archive_write_open_fd(archive_.get(), fd)); }
  Result<void> Add(const std::string& name, mode_t mode, std::string_view data, dev_t device = 0) {
    const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_mode(entry.get(), mode);
    archive_entry_set_mtime(entry.get(), 0, 0);
    archive_entry_set_ino(entry.get(), ++inode_);
    archive_entry_set_nlink(entry.get(), 1);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(data.size()));
    if (device != 0) archive_entry_set_rdev(entry.get(), device);
    CR_TRY(Checked(archive_write_header(archive_.get(), entry.get())));
    while (!data.empty()) {
      const la_ssize_t n = archive_write_data(archive_.get(), data.data(), data.size());
      if (n <= 0) return Checked(ARCHIVE_FATAL);
      data.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  Result<void> Close() { return Checked(archive_write_close(archive_.get())); }

 private:
  Result<void> Checked(int code) {
    if (code == ARCHIVE_OK) return {};
    const char* why = archive_error_string(archive_.get());
    return Err(ErrorCode::kInternal,
               fmt::format("write the initramfs: {}", why != nullptr ? why : "unknown error"));
  }
  std::unique_ptr<archive, FreeWriter> archive_;
  la_int64_t inode_ = 0;
};

Result<void> WriteArchive(int fd, const std::string& agent,
                          const std::vector<ModuleFile>& modules) {
  Cpio cpio;
  CR_TRY(cpio.Open(fd));
  CR_TRY(cpio.Add("dev", S_IFDIR | 0755, ""));
  CR_TRY(cpio.Add("dev/console", S_IFCHR | 0600, "", makedev(5, 1)));
  CR_TRY(cpio.Add("init", S_IFREG | 0755, agent));
  CR_TRY(cpio.Add("modules", S_IFDIR | 0755, ""));
  std::string list;
  for (const ModuleFile& module : modules) {
    const std::string name = fmt::format("modules/{}.ko", module.name);
    CR_TRY(cpio.Add(name, S_IFREG | 0644, module.contents));
    list += "/" + name + "\n";
  }
  CR_TRY(cpio.Add("modules.list", S_IFREG | 0644, list));
  return cpio.Close();
}

}  // namespace

Result<void> WriteInitramfs(const std::string& path, const std::string& agent,
                            const std::vector<ModuleFile>& modules) {
  std::string temporary = path + ".XXXXXX";
  const os::UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return ErrErrno(os::CodeForErrno(errno), fmt::format("create {}", temporary));
  auto done = WriteArchive(fd.get(), agent, modules);
  if (done && (fchmod(fd.get(), 0644) != 0 || fsync(fd.get()) != 0 ||
               rename(temporary.c_str(), path.c_str()) != 0)) {
    done = ErrErrno(os::CodeForErrno(errno), fmt::format("write {}", path));
  }
  if (!done) unlink(temporary.c_str());
  return done;
}

Result<std::string> EnsureInitramfs(const std::string& directory, const Kernel& kernel,
                                    const std::string& agent_path) {
  CR_TRY_ASSIGN(const std::string agent, os::ReadFile(agent_path, kMaxAgentBytes));
  std::vector<ModuleFile> modules;
  std::vector<std::string_view> parts = {kFormat, agent};
  for (const std::string& path : kernel.modules) {
    const size_t slash = path.find_last_of('/') + 1;
    CR_TRY_ASSIGN(std::string contents, os::ReadFile(path, kMaxModuleBytes));
    modules.push_back({path.substr(slash, path.size() - slash - 3), std::move(contents)});
  }
  for (const ModuleFile& module : modules) {
    parts.push_back(module.name);
    parts.push_back(module.contents);
  }
  std::string path = fmt::format("{}/{}.cpio", directory, Sha256OfParts(parts));
  if (access(path.c_str(), R_OK) == 0) return path;
  CR_TRY(os::MakeDirs(directory));
  CR_TRY(WriteInitramfs(path, agent, modules));
  return path;
}

}  // namespace cleanroom::vmm
