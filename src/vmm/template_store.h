// TemplateStore: saved machines, in DIR/KEY/{memory,state,manifest.json}.
//
// A template is made of nothing but an image, a kernel, the agent and a shape: no user's data, no
// policy and no secret is in the machine when it is saved. Its key is the digest of all that it is
// made of, so what changes makes another template, and an old one is never used by mistake. It
// appears whole or not at all. The folder belongs to one control plane; others may read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/file.h"
#include "os/unique_fd.h"

namespace cleanroom::vmm {

// Everything that a saved machine depends on.
struct TemplateInputs {
  std::string image_digest;
  std::string kernel_digest;
  std::string initrd;       // its path, which names the digest of the agent and the modules
  std::string vmm;          // path, size and time of the binary (MakeVerdictKey)
  std::string accelerator;  // "kvm" or "tcg": never restored on the other
  int vcpus = 0;
  int64_t memory_mib = 0;
  int64_t disk_mib = 0;
  // Of the host: processor features and clock rate are those the machine booted with.
  std::string boot_id;
};
std::string TemplateKey(const TemplateInputs& inputs);

struct Template {
  std::string key;
  std::string memory_file;  // memory_mib of RAM, sparse
  std::string state_file;   // the devices
};

class TemplateStore {
 public:
  explicit TemplateStore(std::string folder) : folder_(std::move(folder)) {}

  // The template of this key, if it is there and what its manifest says: sizes, the digest of the
  // state, and that the memory is the very file that was written (inode, times). One that is not is
  // removed and nothing returned.
  Result<std::optional<Template>> Find(const std::string& key) const;

  // A template in the making: files to write to, which vanish with it unless committed.
  struct Draft {
    Template made;
    os::TempDir folder;
  };
  Result<Draft> Begin(const std::string& key) const;
  // Writes the manifest, syncs, and moves the draft into place.
  Result<Template> Commit(Draft draft) const;

  struct Entry {
    std::string key;
    uint64_t disk_bytes = 0;  // room that it takes
    int64_t made_at = 0;      // seconds since 1970
  };
  Result<std::vector<Entry>> List() const;
  // Machines that run from it keep its pages. Success when there is none.
  Result<void> Remove(const std::string& key) const;

 private:
  std::string folder_;
};

}  // namespace cleanroom::vmm
