#include "accounts/users.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace cleanroom::accounts {
namespace {

constexpr size_t kMaxNameBytes = 256;

std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

// (uid_t)-1 means "unchanged" to the kernel, so it is no id.
std::optional<uint32_t> ParseId(std::string_view text) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  if (id == UINT32_MAX) return {};
  return id;
}

bool IsNumber(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

struct PasswdEntry {
  std::string_view name;
  uint32_t uid;
  uint32_t gid;
  std::string_view home;
};

// name:password:uid:gid:comment:home:shell
std::optional<PasswdEntry> ParsePasswdLine(std::string_view line) {
  std::array<std::string_view, 6> field;
  for (std::string_view& part : field) part = TakeUntil(line, ':');
  const auto uid = ParseId(field[2]);
  const auto gid = ParseId(field[3]);
  if (field[0].empty() || !uid || !gid) return {};
  return PasswdEntry{field[0], *uid, *gid, field[5]};
}

struct GroupEntry {
  std::string_view name;
  uint32_t gid;
  std::string_view members;
};

// name:password:gid:member,member
std::optional<GroupEntry> ParseGroupLine(std::string_view line) {
  std::array<std::string_view, 3> field;
  for (std::string_view& part : field) part = TakeUntil(line, ':');
  const auto gid = ParseId(field[2]);
  if (field[0].empty() || !gid) return {};
  return GroupEntry{field[0], *gid, line};
}

bool HasMember(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    if (TakeUntil(members, ',') == name) return true;
  }
  return false;
}

// The entry of that name; for a number without such a name, the entry with that id.
template <typename Entry, typename Parse, typename Id>
std::optional<Entry> Find(std::string_view file, std::string_view wanted, Parse parse, Id id) {
  const auto number = IsNumber(wanted) ? ParseId(wanted) : std::nullopt;
  std::optional<Entry> by_id;
  while (!file.empty()) {
    const std::optional<Entry> entry = parse(TakeUntil(file, '\n'));
    if (!entry) continue;
    if (entry->name == wanted) return entry;
    if (!by_id && number && id(*entry) == *number) by_id = entry;
  }
  return by_id;
}

Result<void> AddSupplementary(std::string_view name, std::string_view group, User& user) {
  while (!group.empty()) {
    const auto entry = ParseGroupLine(TakeUntil(group, '\n'));
    if (!entry || !HasMember(entry->members, name)) continue;
    if (user.groups.size() == kMaxGroups) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("user {} has more than {} groups in /etc/group", name, kMaxGroups));
    }
    user.groups.push_back(entry->gid);
  }
  return {};
}

Result<gid_t> ResolveGroup(std::string_view wanted, std::string_view group) {
  const auto entry = Find<GroupEntry>(group, wanted, ParseGroupLine,
                                      [](const GroupEntry& found) { return found.gid; });
  if (entry) return entry->gid;
  const auto number = ParseId(wanted);
  if (number) return *number;
  return Err(ErrorCode::kNotFound, fmt::format("no group {} in the image's /etc/group", wanted));
}

}  // namespace

Result<User> ResolveUser(std::string_view spec, std::string_view passwd, std::string_view group) {
  const std::string_view whole = spec;
  const bool has_group = spec.find(':') != std::string_view::npos;
  const std::string_view user_part = TakeUntil(spec, ':');
  const std::string_view group_part = spec;
  if (whole.size() > kMaxNameBytes || whole.find('\n') != std::string_view::npos ||
      group_part.find(':') != std::string_view::npos || (has_group && group_part.empty())) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("user '{}' is not USER or USER:GROUP", whole.substr(0, kMaxNameBytes)));
  }
  const std::string_view wanted = user_part.empty() ? "0" : user_part;
  User user;
  const auto entry = Find<PasswdEntry>(passwd, wanted, ParsePasswdLine,
                                       [](const PasswdEntry& found) { return found.uid; });
  if (entry) {
    user.uid = entry->uid;
    user.gid = entry->gid;
    if (entry->home.starts_with('/')) user.home = entry->home;
  } else {
    const auto number = ParseId(wanted);
    if (!number) {
      return Err(ErrorCode::kNotFound,
                 fmt::format("no user {} in the image's /etc/passwd", wanted));
    }
    user.uid = *number;
  }
  if (has_group) {
    CR_TRY_ASSIGN(user.gid, ResolveGroup(group_part, group));
  } else if (entry) {
    CR_TRY(AddSupplementary(entry->name, group, user));
  }
  return user;
}

}  // namespace cleanroom::accounts
