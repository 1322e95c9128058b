// image pull, import, ls, rm, resolve, bump-ref.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/image_ref.h"
#include "cli/commands/policy_source.h"
#include "cli/commands/ref_rewrite.h"
#include "cli/commands/warm_up.h"
#include "cli/output/json.h"
#include "cli/output/progress.h"
#include "cli/output/proto_time.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"
#include "cli/terminal/stdio.h"
#include "client/compiled_policy.h"
#include "document/document.h"
#include "os/file.h"
#include "policy/compiled.h"

namespace cleanroom::cli {
namespace {

// Of an archive in one message.
constexpr size_t kImportChunk = 256U << 10;

constexpr CommandHelp kPull = {
    "pull", "Fetch an image from its registry, and print its digest-pinned reference",
    "cleanroom image pull docker.io/library/alpine:latest\n"
    "cleanroom image pull --warm registry.example/team/base@sha256:..."};
constexpr CommandHelp kImport = {
    "import",
    "Make an image from an archive, and print its digest-pinned reference\n\n"
    "The archive is what `docker save` or `skopeo copy` write (docker-archive, OCI layout) or a "
    "tar of a root\n"
    "filesystem, compressed or not. NAME is NAME[:TAG] or NAME@sha256:DIGEST.",
    "cleanroom image import local/base:1 base.tar\n"
    "docker save app | cleanroom image import local/app:1 -"};
constexpr CommandHelp kLs = {"ls", "List the images on the daemon's host", "cleanroom image ls"};
constexpr CommandHelp kRm = {
    "rm", "Remove images by reference or digest",
    "cleanroom image rm sha256:...\ncleanroom image rm registry.example/team/base@sha256:..."};
constexpr CommandHelp kResolve = {
    "resolve", "Ask the registry for the digest of a tag; print the digest-pinned reference",
    "cleanroom image resolve docker.io/library/alpine:3.20"};
constexpr CommandHelp kBumpRef = {
    "bump-ref",
    "Resolve a tag and write the digest into cleanroom.yaml, touching nothing else in it (also: "
    "set-ref)\n\n"
    "Without REF: what the tag that the file names (latest when it names none) means now. The tag "
    "stays.",
    "cleanroom image bump-ref\ncleanroom image bump-ref docker.io/library/alpine:3.20"};

struct Flags {
  std::string ref;
  std::vector<std::string> refs;
  std::string file;
  bool json = false;
  bool quiet = false;
  bool plain_http = false;
  bool warm = false;
};

ProgressStyle StyleOf(const Invocation& invocation, const Flags& flags) {
  return ChooseProgress(invocation, flags.quiet ? Quiet::kYes : Quiet::kNo);
}

// Reads events to their end; the image that the last one carried.
template <typename Stream>
Awaitable<Result<v1::Image>> AwaitImage(Stream& stream, Progress& progress) {
  std::optional<v1::Image> image;
  for (;;) {
    auto event = co_await stream.Next();
    if (!event) co_return Err(std::move(event).error());
    if (!event->has_value()) break;
    if ((*event)->has_progress()) progress.Update((*event)->progress());
    if ((*event)->has_image()) image = (*event)->image();
  }
  if (!image) co_return Err(ErrorCode::kUnavailable, "the daemon ended before it had the image");
  co_return std::move(*image);
}

int PrintImage(const v1::Image& image, const Flags& flags) {
  return PrintAnswer(flags.json ? ToJson(image) : image.ref() + "\n");
}

// For a sandbox with nothing but the image, as `sandbox create` makes it.
Awaitable<Result<void>> WarmUpImage(client::Api& api, std::string ref, Progress& progress) {
  CR_CO_TRY_ASSIGN(const auto policy, policy::PolicyForImage(ref));
  v1::WarmUpRequest request;
  *request.mutable_policy() = client::ToProto(policy);
  auto ready = co_await WarmUp(api, std::move(request), progress);
  if (!ready) co_return Err(std::move(ready).error().Context("the image is there, but not warm"));
  co_return Result<void>();
}

Awaitable<Result<int>> Pull(client::Api& api, Flags flags, ProgressStyle style) {
  v1::PullImageRequest request;
  request.set_ref(flags.ref);
  request.set_plain_http(flags.plain_http);
  auto stream = co_await api.images.PullImage(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  const auto executor = co_await asio::this_coro::executor;
  Progress progress(executor, style);
  progress.Start();
  auto image = co_await AwaitImage(*stream, progress);
  Result<void> warmed;
  if (image && flags.warm) warmed = co_await WarmUpImage(api, image->ref(), progress);
  co_await progress.Finish();
  if (!image) co_return Err(std::move(image).error());
  const int printed = PrintImage(*image, flags);
  if (!warmed) co_return Err(std::move(warmed).error());
  co_return printed;
}

using ImportStream = rpc::ClientStream<v1::ImportImageRequest, v1::ImageEvent>;

// Sends the archive. A failed write means that the daemon has ended the call; its reason comes by
// the events.
Awaitable<Result<void>> SendArchive(ImportStream& stream, std::string ref, int fd) {
  const auto executor = co_await asio::this_coro::executor;
  Input input(executor, fd);
  v1::ImportImageRequest first;
  first.set_ref(std::move(ref));
  auto sent = co_await stream.Write(first);
  std::string buffer;
  while (sent) {
    buffer.resize(kImportChunk);
    auto n = co_await input.Read(buffer);
    if (!n) co_return Err(std::move(n).error());
    if (*n == 0) break;
    buffer.resize(*n);
    v1::ImportImageRequest chunk;
    chunk.set_data(std::move(buffer));
    sent = co_await stream.Write(chunk);
    buffer.clear();
  }
  auto closed = co_await stream.CloseWrite();
  (void)closed;
  co_return Result<void>();
}

// An archive that cannot be read must not be taken for a short one: the call is cancelled.
Awaitable<void> Upload(ImportStream* stream, std::string ref, int fd,
                       std::optional<Error>* failure) {
  auto sent = co_await SendArchive(*stream, std::move(ref), fd);
  const bool cancelled = co_await Cancelled();
  if (sent || cancelled) co_return;
  *failure = std::move(sent).error();
  stream->Cancel();
}

Awaitable<Result<int>> Import(client::Api& api, Flags flags, int fd, ProgressStyle style) {
  auto stream = co_await api.images.ImportImage();
  if (!stream) co_return Err(std::move(stream).error());
  const auto executor = co_await asio::this_coro::executor;
  Progress progress(executor, style);
  progress.Start();
  std::optional<Error> failure;
  TaskScope upload(executor);
  upload.Spawn(Upload(&*stream, flags.ref, fd, &failure));
  auto image = co_await AwaitImage(*stream, progress);
  upload.Cancel();
  co_await upload.Join();
  co_await progress.Finish();
  if (failure) co_return Err(std::move(*failure));
  if (!image) {
    if (image.error().code() != ErrorCode::kDataCorrupt) co_return Err(std::move(image).error());
    const bool file = !flags.file.empty() && flags.file != "-";
    co_return Err(
        std::move(image)
            .error()
            .Context("the archive " + (file ? flags.file : std::string("on standard input")))
            .About(SubjectKind::kArchive, file ? flags.file : ""));
  }
  co_return PrintImage(*image, flags);
}

int RunImport(const Invocation& invocation, const Flags& flags) {
  const std::string& source = flags.file;
  os::UniqueFd opened;
  int fd = STDIN_FILENO;
  if (!source.empty() && source != "-") {
    auto file = os::Open(source, O_RDONLY);
    if (!file) return Fail(invocation, file.error());
    opened = std::move(*file);
    fd = opened.get();
    struct stat status{};
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
      return Fail(UsageError(fmt::format("{} is a folder; give an archive, as from: tar c -C {} . "
                                         "| cleanroom image import {} -",
                                         source, source, flags.ref),
                             "cleanroom image import"));
    }
  } else if (isatty(STDIN_FILENO) == 1) {
    return Fail(UsageError("no archive: give a file, or pipe one in", "cleanroom image import"));
  }
  return RunConnected(invocation, [&](client::Api& api) {
    return Import(api, flags, fd, StyleOf(invocation, flags));
  });
}

Awaitable<Result<int>> List(client::Api& api, Flags flags) {
  auto list = co_await api.images.ListImages({});
  if (!list) co_return Err(std::move(list).error());
  if (flags.json) co_return PrintAnswer(ToJson(*list));
  Table table({"IMAGE", "SIZE", "ARCH", "CREATED", "USED"});
  const auto now = std::chrono::system_clock::now();
  const auto ago = [now](bool present, const google::protobuf::Timestamp& time) {
    return present ? Ago(FromProto(time), now) : std::string();
  };
  for (const v1::Image& image : list->images()) {
    table.AddRow({image.ref(), HumanBytes(image.size_bytes()), image.architecture(),
                  ago(image.has_created_at(), image.created_at()),
                  ago(image.has_last_used_at(), image.last_used_at())});
  }
  co_return PrintAnswer(table.Render());
}

Awaitable<Result<int>> Remove(client::Api& api, Flags flags) {
  int code = 0;
  for (const std::string& ref : flags.refs) {
    v1::RemoveImageRequest request;
    request.set_ref(ref);
    auto removed = co_await api.images.RemoveImage(std::move(request));
    if (removed) {
      const int printed = PrintAnswer(fmt::format("{} ({} freed)\n", Printable(removed->digest()),
                                                  HumanBytes(removed->freed_bytes())));
      if (printed != 0) code = printed;
    } else {
      // What is about an image names it.
      Error error = std::move(removed).error();
      const bool named = error.subject().kind == SubjectKind::kImage;
      code = Fail(named ? std::move(error) : std::move(error).Context("image " + ref));
    }
  }
  co_return code;
}

Awaitable<Result<std::string>> ResolveRef(client::Api& api, Flags flags) {
  v1::ResolveImageRequest request;
  request.set_ref(flags.ref);
  request.set_plain_http(flags.plain_http);
  auto resolved = co_await api.images.ResolveImage(std::move(request));
  if (!resolved) co_return Err(std::move(resolved).error());
  co_return resolved->ref();
}

Awaitable<Result<int>> Resolve(client::Api& api, Flags flags) {
  auto ref = co_await ResolveRef(api, flags);
  if (!ref) co_return Err(std::move(ref).error());
  co_return PrintAnswer(*ref + "\n");
}

// In place of the file that the path leads to, with its permissions.
Result<void> WritePolicy(const std::string& path, const std::string& text) {
  std::error_code error;
  const auto target = std::filesystem::canonical(path, error);
  struct stat status{};
  if (error || stat(target.c_str(), &status) != 0)
    return Err(ErrorCode::kNotFound, fmt::format("{} is gone", path));
  return os::WriteFileAtomic(target, text, status.st_mode & 07777);
}

Awaitable<Result<int>> BumpRef(client::Api& api, Flags flags) {
  auto resolved = co_await ResolveRef(api, flags);
  if (!resolved) co_return Err(std::move(resolved).error());
  CR_CO_TRY_ASSIGN(const std::string pinned, PinnedWithTag(flags.ref, *resolved));
  // As it is now: asking the registry took its time.
  auto text = os::ReadFile(flags.file, document::kMaxDocumentBytes + 1);
  if (!text) co_return Err(std::move(text).error());
  auto rewritten = RewriteImageRef(*text, flags.file, pinned);
  if (!rewritten) co_return Err(std::move(rewritten).error());
  if (*rewritten != *text) {
    auto written = WritePolicy(flags.file, *rewritten);
    if (!written) co_return Err(std::move(written).error());
  }
  co_return PrintAnswer(pinned + "\n");
}

int RunBumpRef(const Invocation& invocation, Flags flags) {
  if (flags.file.empty()) {
    auto found = FindPolicyFile(".");
    if (!found) return Fail(invocation, found.error());
    flags.file = std::move(found->path);
  }
  auto text = os::ReadFile(flags.file, document::kMaxDocumentBytes + 1);
  if (!text) return Fail(invocation, text.error());
  const auto current = FindImageRef(*text, flags.file);
  if (!current) return Fail(invocation, current.error());
  if (flags.ref.empty()) {
    auto image = ImageRef::Parse(current->text);
    if (!image) return Fail(invocation, image.error());
    image->digest.clear();
    flags.ref = image->ToString();
  }
  return RunConnected(invocation, [&](client::Api& api) { return BumpRef(api, flags); });
}

}  // namespace

void AddImageCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "image", "Fetch, import, list and remove images");
  const auto registry_flags = [](CLI::App* command, const std::shared_ptr<Flags>& flags) {
    command->add_flag("--plain-http", flags->plain_http,
                      "Speak plain HTTP to the registry, which must be on the daemon's host");
  };
  const auto progress_flags = [](CLI::App* command, const std::shared_ptr<Flags>& flags) {
    command->add_flag("--json", flags->json, "Print JSON");
    command->add_flag("-q,--quiet", flags->quiet, "Show no progress");
  };
  {
    CLI::App* command = AddCommand(*group, kPull);
    const auto flags = std::make_shared<Flags>();
    command->add_option("ref", flags->ref, "[HOST/]REPO[:TAG][@sha256:DIGEST]")
        ->option_text("REF")
        ->required();
    command->add_flag("--warm", flags->warm,
                      "Also make the template that sandboxes of it start from");
    registry_flags(command, flags);
    progress_flags(command, flags);
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        const ProgressStyle style = StyleOf(invocation, *flags);
        return RunConnected(invocation,
                            [flags, style](client::Api& api) { return Pull(api, *flags, style); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kImport);
    const auto flags = std::make_shared<Flags>();
    command->add_option("name", flags->ref, "What to call it")->option_text("NAME")->required();
    command->add_option("tar", flags->file, "The archive; '-' or nothing: standard input")
        ->option_text("TAR");
    progress_flags(command, flags);
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] { return RunImport(invocation, *flags); };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kLs);
    command->alias("list");
    const auto flags = std::make_shared<Flags>();
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        return RunConnected(invocation, [flags](client::Api& api) { return List(api, *flags); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kRm);
    const auto flags = std::make_shared<Flags>();
    command->add_option("ref", flags->refs, "References or digests")
        ->option_text("REF...")
        ->required();
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        return RunConnected(invocation, [flags](client::Api& api) { return Remove(api, *flags); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kResolve);
    const auto flags = std::make_shared<Flags>();
    command->add_option("ref", flags->ref, "[HOST/]REPO[:TAG]")->option_text("REF")->required();
    registry_flags(command, flags);
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        return RunConnected(invocation, [flags](client::Api& api) { return Resolve(api, *flags); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kBumpRef);
    command->alias("set-ref");
    const auto flags = std::make_shared<Flags>();
    command->add_option("ref", flags->ref, "The tag to resolve")->option_text("REF");
    command->add_option("-c,--policy", flags->file, "The policy file")->option_text("FILE");
    registry_flags(command, flags);
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] { return RunBumpRef(invocation, *flags); };
    });
  }
}

}  // namespace cleanroom::cli
