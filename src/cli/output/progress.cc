#include "cli/output/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "cli/output/text.h"
#include "cli/terminal/terminal.h"

namespace cleanroom::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Shorter waits show nothing.
constexpr milliseconds kQuietStart{300};
constexpr milliseconds kFrame{100};
constexpr std::array<std::string_view, 4> kFrames = {"|", "/", "-", "\\"};

void Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

std::string DescribeProgress(const v1::Progress& progress) {
  std::string text = progress.phase();
  if (!progress.message().empty()) {
    if (!text.empty()) text += ": ";
    text += progress.message();
  }
  if (progress.total() > 0) {
    text += fmt::format(" ({} of {})", HumanBytes(progress.done()), HumanBytes(progress.total()));
  } else if (progress.done() > 0) {
    text += fmt::format(" ({})", HumanBytes(progress.done()));
  }
  return Printable(text);
}

Progress::Progress(asio::any_io_executor executor, ProgressStyle style)
    : style_(style), scope_(std::move(executor)) {}

void Progress::Start() {
  started_ = steady_clock::now();
  if (style_ == ProgressStyle::kSpinner) scope_.Spawn(Spin());
}

void Progress::Update(const v1::Progress& progress) {
  if (style_ == ProgressStyle::kNone) return;
  text_ = DescribeProgress(progress);
  if (style_ != ProgressStyle::kLines) return;
  // A line a phase, not one for every few bytes.
  const std::string line = fmt::format("{}: {}", progress.phase(), progress.message());
  if (line == last_line_) return;
  last_line_ = line;
  Print("cleanroom: " + text_ + "\n");
}

Awaitable<void> Progress::Finish() {
  scope_.Cancel();
  co_await scope_.Join();
  if (drawn_) Print("\r\x1b[K");
  drawn_ = false;
}

Awaitable<void> Progress::Spin() {
  auto slept = co_await SleepFor(kQuietStart);
  while (slept) {
    Draw();
    slept = co_await SleepFor(kFrame);
  }
}

void Progress::Draw() {
  // From the background the line would land in what another program shows.
  if (!IsForeground(STDERR_FILENO)) return;
  const auto elapsed = std::chrono::duration_cast<milliseconds>(steady_clock::now() - started_);
  std::string line =
      fmt::format("{} {} {}", kFrames[frame_++ % kFrames.size()], HumanDuration(elapsed), text_);
  const size_t columns =
      static_cast<size_t>(GetTerminalSize(STDERR_FILENO).value_or(TerminalSize{}).columns);
  if (line.size() >= columns) line.resize(columns - 1);
  Print("\r\x1b[K" + line);
  drawn_ = true;
}

}  // namespace cleanroom::cli
