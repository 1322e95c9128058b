#include "server/images/image_job.h"

#include <fmt/format.h>

#include <utility>

#include "server/progress_mailbox.h"

namespace cleanroom::server {
namespace {

ProgressUpdate ToUpdate(const image::Progress& progress) {
  ProgressUpdate update;
  update.phase = "image";
  update.message = image::ToString(progress.phase);
  if (!progress.layer_digest.empty())
    update.message += fmt::format(" {}", progress.layer_digest.substr(0, 19));
  update.done = static_cast<int64_t>(progress.done_bytes);
  update.total = static_cast<int64_t>(progress.total_bytes);
  return update;
}

}  // namespace

Awaitable<void> ImageJob::Run(BlockingPool& pool, Work work) {
  auto self = shared_from_this();
  image::Control control;
  control.stop = stop_.get_token();
  const auto mailbox = std::make_shared<ProgressMailbox>(executor_, [self](ProgressUpdate update) {
    self->progress_ = std::move(update);
    self->changed_.NotifyAll();
  });
  control.progress = [mailbox](const image::Progress& progress) {
    mailbox->Put(ToUpdate(progress));
  };
  auto bound = [work = std::move(work), control] { return work(control); };
  auto outcome = co_await pool.Run(bound);
  outcome_ = std::move(outcome);
  changed_.NotifyAll();
}

Awaitable<Result<ImageOutcome>> ImageJob::Watch(ProgressFn progress) {
  auto self = shared_from_this();
  // Who joins late hears at once how far it is.
  if (progress && !progress_.phase.empty()) progress(progress_);
  while (!outcome_) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled && !outcome_)
      co_return Err(ErrorCode::kCanceled, "cancelled while the image was being prepared");
    if (progress && !progress_.phase.empty()) progress(progress_);
  }
  co_return *outcome_;
}

}  // namespace cleanroom::server
