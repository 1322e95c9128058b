// Kills at random moments: the daemon, wardens, machines, command lines, the host's git, several at
// once, while sandboxes are made, some with a commit that is new to the host. After each, what has died leaves nothing on the host, what has not goes on, and the records say so.
//
//   CLEANROOM_KILLS=400 CLEANROOM_KILL_SEED=7 ctest --preset release -R e2e/kill_test
//
// The seed of a run is printed; the same one draws the same kills, but not the same moments.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/result_matchers.h"
#include "client/client.h"
#include "os/file.h"
#include "support/daemon.h"
#include "support/git_server.h"
#include "support/host_view.h"

namespace cleanroom::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::IsEmpty;
using Ids = std::set<std::string>;

constexpr int kKills = 40;
constexpr size_t kMostSandboxes = 4;
// Sandboxes that have ended and are kept on record (COMPAT: retained per host).
constexpr size_t kRetained = 256;
// Of a command of these tests, which writes numbered lines in pieces and exits with it.
constexpr int kExitCode = 7;
constexpr int kSignaled = 128;  // and above: ended by a signal, with its sandbox
constexpr int kPieces = 8;
constexpr int kPieceLines = 500;
// For what a killed process leaves behind to go.
constexpr seconds kCleanLimit{20};
// For a command line to notice that nobody answers any more, and for commands to end.
constexpr seconds kEndLimit{60};

uint64_t Number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::string WholeOutput() {
  std::string out;
  for (int i = 1; i <= kPieces * kPieceLines; ++i) out += std::to_string(i) + "\n";
  return out;
}

bool IsFinal(v1::SandboxStatus status) {
  return status == v1::SANDBOX_STATUS_STOPPED || status == v1::SANDBOX_STATUS_FAILED;
}

bool IsFinal(v1::ExecutionStatus status) {
  return status != v1::EXECUTION_STATUS_QUEUED && status != v1::EXECUTION_STATUS_RUNNING;
}

// A command line that runs beside the test, with its output in files.
struct Cli {
  enum class Kind { kCreate, kExec, kRemove };
  Kind kind;
  std::string sandbox;  // of kExec and kRemove
  os::Process process;
  std::string out_file;
  bool killed = false;
};

class KillTest : public ::testing::Test {
 protected:
  KillTest()
      : seed_(Number("CLEANROOM_KILL_SEED", std::random_device()())),
        random_(seed_),
        daemon_("pool: { size: 1 }\ngateway: { git: { http_hosts: [localhost] } }\n"),
        image_(BaseImage(daemon_)),
        host_(daemon_.folder(), daemon_.state_dir()),
        client_(client::Client::Create({.url = "unix://" + daemon_.socket()}).value()) {
    std::printf("CLEANROOM_KILL_SEED=%llu\n", static_cast<unsigned long long>(seed_));
    git_.Script("git init -q --bare -b main r.git; git clone -q r.git w 2>/dev/null");
  }
  // A commit that nobody has fetched, of some hundred files.
  std::string NewCommit() {
    return git_.Script(
        "cd w; mkdir -p d; for i in $(seq 200); do echo $i $(date +%N) >d/$i; done; "
        "git add .; git commit -q -m more; git push -q origin HEAD:main; "
        "git rev-parse HEAD");
  }
  std::vector<std::string> Create() {
    if (Chance(50)) return {"sandbox", "create", "--image", image_};
    return {
        "create",        "--image",  image_, "--repo-url", "http://" + git_.named_host() + "/r.git",
        "--repo-commit", NewCommit()};
  }
  // Whether the sandbox, where it has a repository, has all of it.
  void CheckRepository(const std::string& id) {
    const Outcome said =
        daemon_.Cli({"exec", "--in", id, "-n", "-w", "/", "--", "sh", "-c",
                     "[ -z \"$CLEANROOM_COMMIT\" ] || { cd /workspace && [ $(git rev-parse HEAD) = "
                     "$CLEANROOM_COMMIT ] && [ -z \"$(git status --porcelain)\" ] && git fsck "
                     "2>/dev/null; }"});
    EXPECT_EQ(said.code, 0) << id << ": " << said.out << said.err;
  }
  uint64_t Draw(uint64_t below) {
    return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_);
  }
  bool Chance(uint64_t percent) { return Draw(100) < percent; }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Draw(from.size())];
  }
  template <typename Condition>
  static bool Eventually(Condition condition, seconds limit = kCleanLimit) {
    const auto deadline = steady_clock::now() + limit;
    while (!condition()) {
      if (steady_clock::now() > deadline) return false;
      usleep(10'000);
    }
    return true;
  }

  std::map<std::string, v1::Sandbox> Records() {
    std::map<std::string, v1::Sandbox> records;
    v1::ListSandboxesRequest request;
    request.set_all(true);
    const auto list = client_.ListSandboxes(request);
    EXPECT_THAT(list, IsOk());
    if (!list) return records;
    for (const v1::Sandbox& sandbox : list->sandboxes()) records[sandbox.sandbox_id()] = sandbox;
    return records;
  }
  Ids Ready() {
    Ids ids;
    for (const auto& [id, sandbox] : Records()) {
      if (sandbox.status() == v1::SANDBOX_STATUS_READY) ids.insert(id);
    }
    return ids;
  }
  std::vector<v1::Execution> Executions() {
    v1::ListExecutionsRequest request;
    request.set_all(true);
    const auto list = client_.ListExecutions(request);
    EXPECT_THAT(list, IsOk());
    if (!list) return {};
    return {list->executions().begin(), list->executions().end()};
  }
  // All that the command wrote, as it can be streamed now.
  std::string Output(const std::string& execution) {
    v1::StreamExecutionRequest request;
    request.set_execution_id(execution);
    std::string out;
    const auto streamed =
        client_.StreamExecution(request, [&](const v1::ExecutionStreamEvent& event) {
          out += event.stdout();
          return true;
        });
    EXPECT_THAT(streamed, IsOk());
    return out;
  }

  void StartCli(Cli::Kind kind, std::vector<std::string> args, const std::string& sandbox) {
    const std::string file = daemon_.folder() + "/cli." + std::to_string(started_++);
    const os::UniqueFd out = os::Open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    const os::UniqueFd err = os::Open(file + ".err", O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    clis_.push_back({kind, sandbox, daemon_.StartCli(std::move(args), out.get(), err.get()), file});
  }
  void StartWork();
  // Kills something, and says what. Whose warden or machine it was goes to `hit`.
  void Kill(Ids& hit);
  void CollectClis(bool all);
  void CheckHost(const std::vector<HostProcess>& before, const Ids& folders_before, const Ids& lost,
                 bool restarted);
  void CheckRecords(const Ids& survivors, const Ids& hit);
  void CheckCommand(const v1::Execution& execution, bool must_be_whole);
  void Round();

  const uint64_t seed_;
  std::mt19937_64 random_;
  cleanroom::testing::GitServer git_;
  Daemon daemon_;
  std::string image_;
  HostView host_;
  client::Client client_;
  std::vector<Cli> clis_;
  int started_ = 0;
  int kills_ = 0;
  bool serving_ = true;
  Ids acknowledged_;  // sandboxes whose ids a command line has printed
  Ids removed_;       // sandboxes whose removal a command line has confirmed
  Ids hit_;           // sandboxes that lost their warden or machine to us
  Ids asked_;         // sandboxes whose removal was asked for
  Ids checked_;       // executions whose output was compared
  Ids must_be_whole_;
  const std::string whole_ = WholeOutput();
};

void KillTest::StartWork() {
  const Ids ready = Ready();
  const std::vector<std::string> sandboxes(ready.begin(), ready.end());
  if (sandboxes.size() < kMostSandboxes) {
    for (uint64_t i = 0; i < 1 + Draw(2); ++i) StartCli(Cli::Kind::kCreate, Create(), "");
  }
  if (sandboxes.empty()) return;
  const std::string script = "i=0; while [ $i -lt " + std::to_string(kPieces) + " ]; do seq $((i*" +
                             std::to_string(kPieceLines) + "+1)) $((i*" +
                             std::to_string(kPieceLines) + "+" + std::to_string(kPieceLines) +
                             ")); i=$((i+1)); sleep 0.05; done; exit " + std::to_string(kExitCode);
  for (uint64_t i = 0; i < Draw(3); ++i) {
    const std::string& id = Pick(sandboxes);
    StartCli(Cli::Kind::kExec, {"exec", "--in", id, "-n", "--", "sh", "-c", script}, id);
  }
  if (sandboxes.size() > 1 && Chance(25)) {
    const std::string& id = Pick(sandboxes);
    asked_.insert(id);
    StartCli(Cli::Kind::kRemove, {"sandbox", "rm", id}, id);
  }
}

void KillTest::Kill(Ids& hit) {
  const std::vector<HostProcess> processes = host_.Processes();
  std::vector<HostProcess> wardens;
  std::vector<HostProcess> machines;
  for (const HostProcess& process : processes)
    (process.IsWarden() ? wardens : machines).push_back(process);
  const bool several = Chance(25);
  std::string said;
  const auto kill_one = [&](const std::vector<HostProcess>& from) {
    if (from.empty()) return;
    const HostProcess& one = Pick(from);
    kill(one.pid, SIGKILL);
    hit.insert(one.sandbox_id);
    said += " " + one.program + " of " + one.sandbox_id;
  };
  const uint64_t what = Draw(100);
  if (several ? Chance(50) : what < 45) {
    daemon_.Crash();
    serving_ = false;
    said += " serve";
  }
  if (several ? Chance(60) : what >= 45 && what < 65) kill_one(wardens);
  if (several ? Chance(60) : what >= 65 && what < 80) kill_one(machines);
  if (several ? Chance(30) : what >= 80 && what < 88) {
    for (const pid_t pid : host_.GitProcesses()) kill(pid, SIGKILL);
    said += " git";
  }
  if (!clis_.empty() && (several ? Chance(60) : what >= 88)) {
    Cli& cli = clis_[Draw(clis_.size())];
    EXPECT_TRUE(cli.process.Kill(SIGKILL));
    cli.killed = true;
    said += " a command line";
  }
  std::printf("kill %d:%s\n", kills_, said.c_str());
  std::fflush(stdout);
}

// Takes what the command lines that have ended have said; with `all`, waits for the others.
void KillTest::CollectClis(bool all) {
  for (auto it = clis_.begin(); it != clis_.end();) {
    auto ended = it->process.WaitFor(all ? milliseconds(kEndLimit) : milliseconds(0));
    ASSERT_THAT(ended, IsOk());
    if (!*ended) {
      ASSERT_FALSE(all) << "a command line does not end: " << it->out_file;
      ++it;
      continue;
    }
    const std::string out = os::ReadFile(it->out_file, 1 << 20).value_or("");
    const std::string err = os::ReadFile(it->out_file + ".err", 1 << 20).value_or("");
    if (it->kind == Cli::Kind::kCreate && out.size() == 27) acknowledged_.insert(out.substr(0, 26));
    if (it->kind == Cli::Kind::kRemove && (*ended)->ok()) removed_.insert(it->sandbox);
    // A command line that fails says why, but for the codes of the command itself.
    if (!it->killed && !(*ended)->ok() && (*ended)->value != kExitCode &&
        (*ended)->value <= kSignaled) {
      EXPECT_THAT(err, ::testing::HasSubstr("cleanroom: ")) << it->out_file;
    }
    it = clis_.erase(it);
  }
}

// `before`: what ran when the daemon had not started yet, or had not been killed.
// `lost`: what was READY and cannot be any more.
void KillTest::CheckHost(const std::vector<HostProcess>& before, const Ids& folders_before,
                         const Ids& lost, bool restarted) {
  Ids live;
  EXPECT_TRUE(Eventually(
      [&] {
        live.clear();
        bool moving = false;
        for (const auto& [id, sandbox] : Records()) {
          if (!IsFinal(sandbox.status())) live.insert(id);
          moving = moving || (!IsFinal(sandbox.status()) &&
                              (sandbox.status() != v1::SANDBOX_STATUS_READY || lost.contains(id)));
        }
        return !moving;
      },
      kEndLimit))
      << "a sandbox is neither made nor ended";
  const std::map<std::string, v1::Sandbox> records = Records();
  // Nothing of a sandbox that has ended; and nothing, after a start, of what is on no record.
  const auto dead = [&](const std::string& id, bool was_before) {
    return records.contains(id) ? !live.contains(id) : restarted && was_before;
  };
  // Whoever wanted something of git is served, or gone.
  EXPECT_TRUE(Eventually([&] { return host_.GitProcesses().empty(); }, kEndLimit));
  std::string left;
  EXPECT_TRUE(Eventually([&] {
    left.clear();
    for (const HostProcess& process : host_.Processes()) {
      const bool was = std::ranges::any_of(
          before, [&](const HostProcess& one) { return one.pid == process.pid; });
      if (dead(process.sandbox_id, was))
        left += process.program + " of " + process.sandbox_id + "\n";
    }
    for (const std::string& id : host_.Folders()) {
      if (dead(id, folders_before.contains(id))) left += "folder " + id + "\n";
    }
    for (const std::string& path : host_.Sockets()) {
      for (const auto& [id, sandbox] : records) {
        if (!live.contains(id) && path.find(id) != std::string::npos) left += "socket " + path;
      }
    }
    return left.empty();
  })) << left;
  EXPECT_THAT(host_.Mounts(), IsEmpty());
  // What is on record as live is; one that is removed or dies just now is not on record so for
  // long.
  EXPECT_TRUE(Eventually([&] {
    left.clear();
    const std::vector<HostProcess> processes = host_.Processes();
    for (const std::string& id : Ready()) {
      if (std::ranges::count(processes, id, &HostProcess::sandbox_id) < 2)
        left += id + " has no warden or no machine\n";
    }
    return left.empty();
  })) << left;
}

void KillTest::CheckRecords(const Ids& survivors, const Ids& hit) {
  const std::map<std::string, v1::Sandbox> records = Records();
  for (const std::string& id : survivors) {
    ASSERT_TRUE(records.contains(id)) << id;
    EXPECT_EQ(records.at(id).status(), v1::SANDBOX_STATUS_READY)
        << id << ": " << records.at(id).reason();
  }
  for (const std::string& id : hit) {
    if (!records.contains(id)) continue;  // nobody had claimed it
    const v1::Sandbox& sandbox = records.at(id);
    // One that was on its way may have been made in another way.
    if (!IsFinal(sandbox.status())) continue;
    EXPECT_FALSE(sandbox.reason().empty()) << id;
  }
  if (records.size() >= kRetained) {
    const auto pruned = [&](const std::string& id) { return !records.contains(id); };
    std::erase_if(acknowledged_, pruned);
    std::erase_if(removed_, pruned);
  }
  for (const std::string& id : acknowledged_)
    EXPECT_TRUE(records.contains(id)) << id << " was told and is on no record";
  for (const std::string& id : removed_) {
    ASSERT_TRUE(records.contains(id)) << id;
    EXPECT_TRUE(IsFinal(records.at(id).status())) << id;
  }
}

void KillTest::CheckCommand(const v1::Execution& execution, bool must_be_whole) {
  const std::string out = Output(execution.execution_id());
  EXPECT_TRUE(whole_.starts_with(out)) << execution.execution_id() << ": out of order";
  const bool ran = execution.exit_code() == kExitCode;
  if (ran) {
    EXPECT_EQ(execution.status(), v1::EXECUTION_STATUS_FAILED);
    EXPECT_EQ(out.size(), whole_.size()) << execution.execution_id();
  } else {
    EXPECT_FALSE(must_be_whole) << execution.execution_id() << ": " << execution.reason();
    EXPECT_TRUE(!execution.reason().empty() || execution.exit_code() > kSignaled)
        << execution.execution_id();
  }
}

void KillTest::Round() {
  StartWork();
  usleep(static_cast<useconds_t>(Draw(700'000)));
  const Ids ready = Ready();
  Ids running;
  for (const v1::Execution& execution : Executions()) {
    if (execution.status() == v1::EXECUTION_STATUS_RUNNING)
      must_be_whole_.insert(execution.execution_id());
  }
  const std::vector<HostProcess> before = host_.Processes();
  std::map<std::string, Ids> spaces;
  Ids all_spaces;
  for (const HostProcess& process : before) {
    const Ids names = HostView::Namespaces(process.pid);
    spaces[process.sandbox_id].insert(names.begin(), names.end());
    all_spaces.insert(names.begin(), names.end());
  }
  const HostView::Holders holders = HostView::HoldersOf(all_spaces);
  Ids hit;
  Kill(hit);
  ++kills_;
  hit_.insert(hit.begin(), hit.end());
  const bool restarted = !serving_;
  Ids folders;
  if (restarted) {
    if (Chance(50)) usleep(static_cast<useconds_t>(Draw(300'000)));
    CollectClis(false);
    folders = host_.Folders();
    const auto begin = steady_clock::now();
    daemon_.StartAgain();
    EXPECT_LT(steady_clock::now() - begin, seconds(15)) << "a slow start";
    serving_ = true;
  }
  CollectClis(false);
  Ids lost;
  std::ranges::set_intersection(ready, hit, std::inserter(lost, lost.end()));
  CheckHost(before, folders, lost, restarted);
  CollectClis(false);
  Ids survivors;
  for (const std::string& id : ready) {
    if (!hit.contains(id) && !asked_.contains(id)) survivors.insert(id);
  }
  CheckRecords(survivors, hit);

  const std::map<std::string, v1::Sandbox> records = Records();
  Ids dead_spaces;
  for (const auto& [id, names] : spaces) {
    if (records.contains(id) && IsFinal(records.at(id).status()))
      dead_spaces.insert(names.begin(), names.end());
  }
  std::string still;
  EXPECT_TRUE(Eventually([&] {
    still = HostView::StillHeld(dead_spaces, holders);
    return still.empty();
  })) << still;
  for (const v1::Execution& execution : Executions()) {
    const std::string& id = execution.execution_id();
    if (!IsFinal(execution.status()) || !checked_.insert(id).second) continue;
    const std::string& sandbox = execution.sandbox_id();
    CheckCommand(execution, must_be_whole_.contains(id) && !hit_.contains(sandbox) &&
                                !asked_.contains(sandbox));
  }
}

TEST_F(KillTest, WhatDiesLeavesNothingAndWhatLivesGoesOn) {
  const auto begin = steady_clock::now();
  const auto kills = static_cast<int>(Number("CLEANROOM_KILLS", kKills));
  while (kills_ < kills && !HasFailure()) Round();
  CollectClis(true);
  // What still runs ends whole.
  EXPECT_TRUE(Eventually(
      [&] {
        return std::ranges::all_of(Executions(),
                                   [](const auto& one) { return IsFinal(one.status()); });
      },
      kEndLimit));
  Ids executions;
  for (const v1::Execution& execution : Executions()) {
    executions.insert(execution.execution_id());
    const std::string& sandbox = execution.sandbox_id();
    if (checked_.insert(execution.execution_id()).second)
      CheckCommand(execution, !hit_.contains(sandbox) && !asked_.contains(sandbox));
  }
  const size_t ended = checked_.size();
  for (const std::string& id : Ready()) {
    CheckRepository(id);
    EXPECT_EQ(daemon_.Cli({"sandbox", "rm", id}).code, 0);
  }
  for (const v1::Execution& execution : Executions()) executions.insert(execution.execution_id());
  EXPECT_EQ(daemon_.Stop(), 0);
  EXPECT_TRUE(Eventually([&] { return host_.Processes().empty(); }));
  EXPECT_THAT(host_.Folders(), IsEmpty());
  EXPECT_THAT(host_.Sockets(), IsEmpty());
  EXPECT_THAT(host_.Mounts(), IsEmpty());
  EXPECT_THAT(host_.StrayFiles(executions), IsEmpty());
  for (const std::string& id : hit_) EXPECT_THAT(host_.Cgroups(id), IsEmpty());
  std::printf("%d kills, %zu sandboxes hit, %zu commands compared, %.0f s\n", kills_, hit_.size(),
              ended, std::chrono::duration<double>(steady_clock::now() - begin).count());
}

}  // namespace
}  // namespace cleanroom::test
