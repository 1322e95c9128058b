#include "doors/dns/resolver.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <map>
#include <utility>

#include "doors/dns/answer_cache.h"
#include "doors/dns/dns_exchange.h"

namespace cleanroom::doors {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using wire::DnsAnswer;

constexpr size_t kMaxServers = 8;
constexpr size_t kMaxAddresses = 64;
// A silent server is asked this often before the question fails.
constexpr int kRounds = 3;
// How long a server that was silent stands behind the others.
constexpr std::chrono::seconds kPenalty{30};

AnswerCache::Limits CacheLimits(const ResolverConfig& config) {
  return {.max_answers = config.max_cached,
          .max_bytes = config.max_cached_bytes,
          .max_ttl = config.max_ttl,
          .negative_ttl = config.negative_ttl};
}

std::string RcodeName(wire::Rcode rcode) {
  switch (rcode) {
    case wire::Rcode::kFormErr:
      return "FORMERR";
    case wire::Rcode::kServFail:
      return "SERVFAIL";
    case wire::Rcode::kNotImp:
      return "NOTIMP";
    case wire::Rcode::kRefused:
      return "REFUSED";
    default:
      return fmt::format("RCODE {}", static_cast<int>(rcode));
  }
}

void Gather(const DnsAnswer& answer, Resolver::Addresses& into) {
  std::chrono::seconds ttl = std::chrono::seconds::max();
  const size_t before = into.list.size();
  for (const wire::DnsRecord& record : answer.answers) {
    ttl = std::min(ttl, std::chrono::seconds(record.ttl));
    if (!record.address || into.list.size() == kMaxAddresses) continue;
    const auto known = std::find(into.list.begin(), into.list.end(), *record.address);
    if (known == into.list.end()) into.list.push_back(*record.address);
  }
  if (into.list.size() > before) into.ttl = std::min(into.ttl, ttl);
}

}  // namespace

struct Resolver::State {
  // A question under way. Who asks it first takes it to the servers; who asks it meanwhile waits.
  // When the first is cancelled, one of the others takes over.
  struct Question {
    explicit Question(const asio::any_io_executor& executor) : changed(executor) {}
    bool taken = false;
    size_t askers = 0;
    std::optional<Result<DnsAnswer>> result;
    Notifier changed;
  };
  using Key = std::pair<std::string, uint16_t>;

  State(asio::any_io_executor executor_in, ResolverConfig config_in)
      : executor(std::move(executor_in)),
        config(std::move(config_in)),
        cache(CacheLimits(config)),
        penalty(config.servers.size()) {}

  // Preferred first, those that were silent lately last.
  std::vector<size_t> Order() const;
  Awaitable<Result<DnsAnswer>> AskServers(std::string name, uint16_t type);
  Awaitable<Result<DnsAnswer>> Share(std::shared_ptr<Question> question, Key key);

  asio::any_io_executor executor;
  ResolverConfig config;
  AnswerCache cache;
  std::vector<steady_clock::time_point> penalty;  // until when; by server
  std::map<Key, std::shared_ptr<Question>> questions;
};

std::vector<size_t> Resolver::State::Order() const {
  std::vector<size_t> order(config.servers.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto now = steady_clock::now();
  std::stable_partition(order.begin(), order.end(), [&](size_t i) { return penalty[i] <= now; });
  return order;
}

Awaitable<Result<DnsAnswer>> Resolver::State::AskServers(std::string name, uint16_t type) {
  if (config.servers.empty()) {
    co_return Err(ErrorCode::kUnavailable,
                  "this host has no DNS server; name one in /etc/resolv.conf");
  }
  const auto deadline = steady_clock::now() + config.total_limit;
  const std::vector<size_t> order = Order();
  std::vector<std::string> problems(config.servers.size());
  std::vector<bool> broken(config.servers.size());
  for (int round = 0; round < kRounds; ++round) {
    for (const size_t index : order) {
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
      if (broken[index] || left <= milliseconds(0)) continue;
      const milliseconds limit = std::min(left, config.attempt_limit);
      auto answer = co_await AskServer(config.servers[index], name, type, limit);
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled while asking the DNS servers");
      if (!answer) {
        problems[index] = answer.error().message();
        const bool silent = answer.error().code() == ErrorCode::kDeadlineExceeded;
        if (silent) penalty[index] = steady_clock::now() + kPenalty;
        broken[index] = !silent;
        continue;
      }
      penalty[index] = {};
      if (answer->rcode == wire::Rcode::kNoError || answer->rcode == wire::Rcode::kNxDomain) {
        co_return answer;
      }
      problems[index] = "it answered " + RcodeName(answer->rcode);
      broken[index] = true;
    }
  }
  std::string message = fmt::format("no DNS server told of {} {}:", name, wire::DnsTypeName(type));
  bool any_broken = false;
  for (const size_t index : order) {
    message += fmt::format(" {} ({})", ToString(config.servers[index]), problems[index]);
    any_broken = any_broken || broken[index];
  }
  co_return Err(any_broken ? ErrorCode::kUnavailable : ErrorCode::kDeadlineExceeded, message);
}

Awaitable<Result<DnsAnswer>> Resolver::State::Share(std::shared_ptr<Question> question, Key key) {
  while (!question->result && question->taken) {
    co_await question->changed.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled while asking the DNS servers");
  }
  if (question->result) co_return *question->result;
  question->taken = true;
  auto answer = co_await AskServers(key.first, key.second);
  question->taken = false;
  question->changed.NotifyAll();
  if (!answer && answer.error().code() == ErrorCode::kCanceled) co_return answer;
  if (answer) cache.Put(key.first, key.second, *answer, config.now());
  question->result = answer;
  questions.erase(key);
  co_return answer;
}

Resolver::Resolver(asio::any_io_executor executor, ResolverConfig config) {
  if (config.servers.size() > kMaxServers) {
    config.servers.erase(config.servers.begin() + kMaxServers, config.servers.end());
  }
  state_ = std::make_unique<State>(std::move(executor), std::move(config));
}

Resolver::~Resolver() = default;

std::optional<DnsAnswer> Resolver::Remembered(std::string_view name, uint16_t type) {
  return state_->cache.Get(name, type, state_->config.now());
}

Awaitable<Result<DnsAnswer>> Resolver::Resolve(std::string name, uint16_t type) {
  if (auto known = Remembered(name, type)) co_return *std::move(known);
  State::Key key(std::move(name), type);
  const auto found = state_->questions.find(key);
  std::shared_ptr<State::Question> question;
  if (found != state_->questions.end()) {
    question = found->second;
  } else if (state_->questions.size() >= state_->config.max_in_flight) {
    co_return Err(ErrorCode::kResourceExhausted,
                  fmt::format("{} DNS questions are under way; wait for some to be answered",
                              state_->questions.size()));
  } else {
    question = std::make_shared<State::Question>(state_->executor);
    state_->questions.emplace(key, question);
  }
  ++question->askers;
  auto answer = co_await state_->Share(question, key);
  --question->askers;
  // Every asker was cancelled: nobody is left to take the question over.
  if (question->askers == 0 && !question->result) state_->questions.erase(key);
  co_return answer;
}

Awaitable<Result<Resolver::Addresses>> Resolver::ResolveAddresses(std::string name) {
  using boost::asio::experimental::awaitable_operators::operator&&;
  auto v4 = Resolve(name, wire::dns_type::kA);
  auto v6 = Resolve(name, wire::dns_type::kAaaa);
  auto both = internal::Quiet(std::move(v4)) && internal::Quiet(std::move(v6));
  const auto answers = co_await std::move(both);
  const Result<DnsAnswer>& a = std::get<0>(answers);
  const Result<DnsAnswer>& aaaa = std::get<1>(answers);
  Addresses found{.list = {}, .ttl = std::chrono::seconds::max()};
  if (a) Gather(*a, found);
  if (aaaa) Gather(*aaaa, found);
  if (!found.list.empty()) co_return found;
  if (!a) co_return Err(a.error());
  if (!aaaa) co_return Err(aaaa.error());
  co_return Err(ErrorCode::kNotFound, fmt::format("{} has no address in the DNS", name));
}

}  // namespace cleanroom::doors
