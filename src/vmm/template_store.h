// TemplateStore: saved machines, in DIR/KEY/{memory,state,disk.img,manifest.json}.
//
// A template is made of nothing but an image, a kernel, the agent and a shape: no user's data, no
// policy and no secret is in the machine when it is saved. Its key is the digest of all that it is
// made of, so what changes makes another template, and an old one is never used by mistake. It
// appears whole or not at all. The folder belongs to one control plane; others may read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace cleanroom::vmm {

// Everything that a saved machine depends on.
struct TemplateInputs {
  std::string image_digest;
  // Which file the image is (ImageFileIdentity): an image that is pulled anew has the same files in
  // other blocks, and a saved machine knows where they were.
  std::string image_file;
  // The digest of the host's boot, kernel, initramfs, VMM and accelerator (MachineIdentity): a
  // template of one is never restored on another.
  std::string machine;
  int32_t vcpus = 0;
  int64_t memory_mib = 0;
  int64_t disk_mib = 0;
  bool operator==(const TemplateInputs&) const = default;
};
std::string TemplateKey(const TemplateInputs& inputs);

// `verdict_key` is MakeVerdictKey of the host's boot, the kernel and the VMM's binary; the
// initramfs is a file whose name contains the digest of its contents.
std::string MachineIdentity(const std::string& verdict_key, const std::string& initrd,
                            const std::string& accelerator);

// Of the file's place, size and time; empty when it cannot be looked at.
std::string ImageFileIdentity(const std::string& path);

struct Template {
  std::string key;
  std::string folder;
  std::string memory_file;  // memory_mib of RAM, sparse
  std::string state_file;   // the devices
  std::string disk_file;    // what each copy's disk starts as
};

class TemplateStore {
 public:
  explicit TemplateStore(std::string folder) : folder_(std::move(folder)) {}

  // The template of these inputs, if it is there and is what its manifest says: the digest of the
  // state, and that memory and disk are the very files that were written (inode, size, times, which
  // any later write changes). One that is not is removed and nothing returned. Under a millisecond.
  Result<std::optional<Template>> Find(const TemplateInputs& inputs) const;
  // Reads memory and disk and compares their digests: data_corrupt when a medium has changed them
  // behind the file system's back. Some 100 ms.
  Result<void> Verify(const Template& found) const;

  // Takes the files memory, state and disk.img out of `from`, a folder on the same file system.
  Result<Template> Add(const TemplateInputs& inputs, const std::string& from) const;

  struct Entry {
    std::string key;
    TemplateInputs inputs;
    uint64_t disk_bytes = 0;  // room that it takes
    int64_t made_at = 0;      // seconds since 1970
    int64_t used_at = 0;      // the same, by Touch
  };
  // Without those that have no readable manifest.
  Result<std::vector<Entry>> List() const;
  // Notes that it was used now.
  void Touch(const Template& used) const;
  // Machines that run from it keep its pages. Success when there is none.
  Result<void> Remove(const std::string& key) const;
  // Removes what was made for another machine, and what is no template. Returns how many.
  Result<size_t> RemoveStale(const std::string& machine) const;

 private:
  std::string folder_;
};

}  // namespace cleanroom::vmm
