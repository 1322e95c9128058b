#include "git/run.h"

#include <fmt/format.h>

#include <csignal>
#include <utility>

#include "git/running.h"

namespace cleanroom::git {
namespace {

std::string_view Verb(const Command& command) {
  return command.args.empty() ? std::string_view("git") : std::string_view(command.args.front());
}

std::unexpected<Error> Failed(const Command& command, const os::ExitStatus& status,
                              const std::string& complaint) {
  const bool memory = complaint.find("out of memory") != std::string::npos ||
                      complaint.find("Out of memory") != std::string::npos;
  const bool full = complaint.find("No space left on device") != std::string::npos ||
                    complaint.find("File too large") != std::string::npos ||
                    status == os::ExitStatus{os::ExitStatus::Kind::kSignaled, SIGXFSZ};
  return Err(memory || full ? ErrorCode::kResourceExhausted : ErrorCode::kDataCorrupt,
             fmt::format("git {} {}{}{}", Verb(command), status.ToString(),
                         complaint.empty() ? "" : ": ", complaint));
}

Result<Git::Answer> RunToEnd(const GitConfig& config, Kind kind, const Command& command,
                             const Control& control) {
  CR_TRY_ASSIGN(const std::unique_ptr<Running> git, Running::Start(config, kind, command, control));
  Git::Answer answer;
  std::vector<uint8_t> buffer(64 << 10);
  while (true) {
    CR_TRY_ASSIGN(const size_t n, git->Read(buffer));
    if (n == 0) break;
    if (n > command.max_output - answer.out.size()) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("git {} said more than {} bytes", Verb(command), command.max_output));
    }
    answer.out.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  CR_TRY_ASSIGN(answer.status, git->Finish());
  answer.stderr_text = git->Complaint();
  return answer;
}

// Turns a failure into an error where the end of the stream would be.
class Stream : public archive::ByteSource {
 public:
  Stream(std::unique_ptr<Running> git, Command command)
      : git_(std::move(git)), command_(std::move(command)) {}

  Result<size_t> Read(std::span<uint8_t> buffer) override {
    CR_TRY_ASSIGN(const size_t n, git_->Read(buffer));
    if (n > 0 || buffer.empty()) return n;
    CR_TRY_ASSIGN(const os::ExitStatus status, git_->Finish());
    if (!status.ok()) return Failed(command_, status, git_->Complaint());
    return 0;
  }

 private:
  std::unique_ptr<Running> git_;
  Command command_;
};

}  // namespace

bool Git::IsConfined() { return LocalRunsAreConfined(); }

Result<Git::Answer> Git::LocalAnswer(const Command& command, const Control& control) const {
  return RunToEnd(config_, Kind::kLocal, command, control);
}

Result<std::string> Git::Local(const Command& command, const Control& control) const {
  CR_TRY_ASSIGN(Answer answer, LocalAnswer(command, control));
  if (!answer.status.ok()) return Failed(command, answer.status, answer.stderr_text);
  return std::move(answer.out);
}

Result<Git::Answer> Git::Upstream(const Command& command, const Control& control) const {
  return RunToEnd(config_, Kind::kUpstream, command, control);
}

Result<std::unique_ptr<archive::ByteSource>> Git::LocalStream(const Command& command,
                                                              const Control& control) const {
  CR_TRY_ASSIGN(std::unique_ptr<Running> git,
                Running::Start(config_, Kind::kLocal, command, control));
  return std::make_unique<Stream>(std::move(git), command);
}

}  // namespace cleanroom::git
