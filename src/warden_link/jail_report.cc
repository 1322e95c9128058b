#include "warden_link/jail_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cleanroom::warden_link {

using capability::Check;

std::string FormatJailReport(const std::vector<Check>& checks) {
  std::string out;
  for (const Check& check : checks) {
    std::string line = fmt::format("{}\t{}\t{}\t{}", check.name, ToString(check.status),
                                   check.message, check.remedy);
    std::ranges::replace(line, '\n', ' ');
    out += line + "\n";
  }
  return out;
}

std::vector<Check> ParseJailReport(std::string_view report) {
  std::vector<Check> checks;
  while (!report.empty()) {
    const size_t end = std::min(report.find('\n'), report.size());
    std::string_view line = report.substr(0, end);
    report.remove_prefix(std::min(end + 1, report.size()));
    std::vector<std::string> fields;
    for (;;) {
      const size_t tab = std::min(line.find('\t'), line.size());
      fields.emplace_back(line.substr(0, tab));
      if (tab == line.size()) break;
      line.remove_prefix(tab + 1);
    }
    if (fields.size() != 4) continue;
    Check check{fields[0], Check::Status::kFail, fields[2], fields[3]};
    if (fields[1] == ToString(Check::Status::kOk)) check.status = Check::Status::kOk;
    if (fields[1] == ToString(Check::Status::kWarn)) check.status = Check::Status::kWarn;
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace cleanroom::warden_link
