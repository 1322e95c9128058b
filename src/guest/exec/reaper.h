// Reaper: collects every child that ends, also the orphans that PID 1 inherits.
#pragma once

#include <sys/types.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <map>
#include <memory>
#include <optional>

#include "base/async.h"
#include "base/result.h"

namespace cleanroom::guest {

// One per process, which starts children in no other way. Belongs to one thread.
class Reaper {
 public:
  // Blocks SIGCHLD in the calling thread, which must be the process's only one by then.
  static Result<std::unique_ptr<Reaper>> Create(asio::any_io_executor executor);
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // A child whose status is kept for its owner. Must not outlive the reaper.
  class Child {
   public:
    Child(Reaper& reaper, pid_t pid, Notifier& notify);
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    pid_t pid() const { return pid_; }
    // The wait status (see waitpid(2)) once it has ended; the notifier is told when that happens.
    const std::optional<int>& status() const { return status_; }

   private:
    friend class Reaper;
    Reaper& reaper_;
    pid_t pid_;
    Notifier& notify_;
    std::optional<int> status_;
  };

  // Collects until the task is cancelled.
  Awaitable<void> Run();
  // Whether this process has any child: for PID 1, whether any other process is left.
  static bool HasChildren();
  // Notified after children were collected, whoever owned them.
  Notifier& collected() { return collected_; }

 private:
  Reaper(asio::any_io_executor executor, int signal_fd);
  void Collect();

  asio::posix::stream_descriptor signals_;
  Notifier collected_;
  std::map<pid_t, Child*> children_;
};

}  // namespace cleanroom::guest
