#include "vmm/kernel/elf.h"

#include <elf.h>
#include <fmt/format.h>

#include <cstring>
#include <optional>

namespace cleanroom::vmm {
namespace {

constexpr uint32_t kXenPhys32Entry =
    18;  // XEN_ELFNOTE_PHYS32_ENTRY, the entry point of the PVH boot protocol

template <typename T>
std::optional<T> At(std::string_view image, uint64_t offset) {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, image.data() + offset, sizeof value);
  return value;
}

std::string_view Slice(std::string_view image, uint64_t offset, uint64_t size) {
  if (offset > image.size() || image.size() - offset < size) return {};
  return image.substr(offset, size);
}

Result<Elf64_Ehdr> Header(std::string_view image) {
  const auto header = At<Elf64_Ehdr>(image, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64) {
    return Err(ErrorCode::kDataCorrupt, "not a 64-bit x86 ELF file");
  }
  return *header;
}

bool HasPvhNote(std::string_view notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    const Elf64_Nhdr note = *At<Elf64_Nhdr>(notes, 0);
    const uint64_t name_size = (uint64_t{note.n_namesz} + 3) & ~uint64_t{3};
    const uint64_t size = sizeof note + name_size + ((uint64_t{note.n_descsz} + 3) & ~uint64_t{3});
    if (note.n_type == kXenPhys32Entry && note.n_namesz == 4 &&
        Slice(notes, sizeof note, 4) == std::string_view("Xen\0", 4)) {
      return true;
    }
    if (size > notes.size()) return false;
    notes.remove_prefix(size);
  }
  return false;
}

}  // namespace

Result<void> CheckPvhKernel(std::string_view image) {
  CR_TRY_ASSIGN(const Elf64_Ehdr header, Header(image));
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    const auto segment = At<Elf64_Phdr>(image, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment || segment->p_filesz > image.size() ||
        segment->p_offset > image.size() - segment->p_filesz) {
      return Err(ErrorCode::kDataCorrupt, "the kernel image is cut short");
    }
    if (segment->p_type == PT_NOTE &&
        HasPvhNote(Slice(image, segment->p_offset, segment->p_filesz))) {
      return {};
    }
  }
  return Err(ErrorCode::kFailedPrecondition,
             "the kernel has no PVH entry; use one built with CONFIG_PVH");
}

Result<std::string> ModuleInfo(std::string_view module, std::string_view tag) {
  CR_TRY_ASSIGN(const Elf64_Ehdr header, Header(module));
  const auto section = [&](uint64_t index) {
    return At<Elf64_Shdr>(module, header.e_shoff + index * sizeof(Elf64_Shdr));
  };
  const auto names = section(header.e_shstrndx);
  if (!names) return Err(ErrorCode::kDataCorrupt, "the module has no section names");
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto candidate = section(i);
    if (!candidate) return Err(ErrorCode::kDataCorrupt, "the module is cut short");
    if (Slice(module, names->sh_offset + candidate->sh_name, 9) !=
        std::string_view(".modinfo\0", 9)) {
      continue;
    }
    std::string_view info = Slice(module, candidate->sh_offset, candidate->sh_size);
    while (!info.empty()) {
      const std::string_view entry = info.substr(0, info.find('\0'));
      info.remove_prefix(std::min(entry.size() + 1, info.size()));
      if (entry.size() > tag.size() && entry.starts_with(tag) && entry[tag.size()] == '=') {
        return std::string(entry.substr(tag.size() + 1));
      }
    }
  }
  return std::string();
}

Result<std::string> KernelRelease(std::string_view vmlinux) {
  constexpr std::string_view kBanner = "Linux version ";
  for (size_t at = vmlinux.find(kBanner); at != std::string_view::npos;
       at = vmlinux.find(kBanner, at + 1)) {
    const std::string_view rest = vmlinux.substr(at + kBanner.size(), 128);
    const std::string_view release = rest.substr(0, rest.find(' '));
    if (!release.empty() && release.size() < 100 && release[0] >= '0' && release[0] <= '9' &&
        release.find('/') == std::string_view::npos) {
      return std::string(release);
    }
  }
  return Err(ErrorCode::kDataCorrupt, "the kernel image does not tell its version");
}

}  // namespace cleanroom::vmm
