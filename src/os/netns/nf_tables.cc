#include "os/netns/nf_tables.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "os/unique_fd.h"

namespace cleanroom::os {
namespace {

// A comment among a rule's user data, as nft keeps it (NFTNL_UDATA_RULE_COMMENT).
constexpr char kCommentTag = 0;

template <typename T>
std::string_view AsBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

void Pad(std::string& bytes) { bytes.resize(NLMSG_ALIGN(bytes.size())); }

NetlinkAttributes Value(std::string_view value) {
  NetlinkAttributes data;
  data.Add(NFTA_DATA_VALUE, value);
  return data;
}

// What the kernel answered to a batch: nothing wrong, and the acknowledgement of its last message.
// It answers before sendmsg returns.
Result<void> ReadVerdict(int fd, uint32_t last_sequence) {
  bool acknowledged = false;
  alignas(nlmsghdr) std::array<char, 16384> reply;
  while (true) {
    const ssize_t n = recv(fd, reply.data(), reply.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return ErrErrno(ErrorCode::kInternal, "load the network rules");
    auto left = static_cast<size_t>(n);
    for (auto* header = reinterpret_cast<const nlmsghdr*>(reply.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
      if (error->error != 0) {
        const Error reason =
            Error::FromErrno(ErrorCode::kFailedPrecondition, -error->error,
                             fmt::format("load the network rules (message {})", header->nlmsg_seq));
        return Err(reason.code(),
                   fmt::format("{}; the kernel (5.10 or later) needs nf_tables with netdev, inet, "
                               "reject and tproxy support",
                               reason.message()));
      }
      acknowledged = acknowledged || header->nlmsg_seq == last_sequence;
    }
  }
  if (!acknowledged) return Err(ErrorCode::kInternal, "load the network rules: no answer");
  return {};
}

}  // namespace

void NetlinkAttributes::Add(uint16_t type, std::string_view value) {
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + value.size()), type};
  bytes_.append(AsBytes(header)).append(value);
  Pad(bytes_);
}

void NetlinkAttributes::AddText(uint16_t type, std::string_view text) {
  Add(type, std::string(text) + '\0');
}

void NetlinkAttributes::AddNumber(uint16_t type, uint32_t host_order) {
  Add(type, AsBytes(htonl(host_order)));
}

void NetlinkAttributes::AddNested(uint16_t type, const NetlinkAttributes& inner) {
  Add(type | NLA_F_NESTED, inner.bytes_);
}

void NfRule::Expression(std::string_view name, const NetlinkAttributes& data) {
  NetlinkAttributes expression;
  expression.AddText(NFTA_EXPR_NAME, name);
  expression.AddNested(NFTA_EXPR_DATA, data);
  expressions_.AddNested(NFTA_LIST_ELEM, expression);
}

NfRule& NfRule::Meta(uint32_t key) {
  NetlinkAttributes data;
  data.AddNumber(NFTA_META_KEY, key);
  data.AddNumber(NFTA_META_DREG, NFT_REG_1);
  Expression("meta", data);
  return *this;
}

NfRule& NfRule::Payload(uint32_t header, uint32_t offset, uint32_t size) {
  NetlinkAttributes data;
  data.AddNumber(NFTA_PAYLOAD_DREG, NFT_REG_1);
  data.AddNumber(NFTA_PAYLOAD_BASE, header);
  data.AddNumber(NFTA_PAYLOAD_OFFSET, offset);
  data.AddNumber(NFTA_PAYLOAD_LEN, size);
  Expression("payload", data);
  return *this;
}

NfRule& NfRule::And(std::string_view mask) {
  NetlinkAttributes data;
  data.AddNumber(NFTA_BITWISE_SREG, NFT_REG_1);
  data.AddNumber(NFTA_BITWISE_DREG, NFT_REG_1);
  data.AddNumber(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
  data.AddNested(NFTA_BITWISE_MASK, Value(mask));
  data.AddNested(NFTA_BITWISE_XOR, Value(std::string(mask.size(), '\0')));
  Expression("bitwise", data);
  return *this;
}

void NfRule::Compare(uint32_t operation, std::string_view value) {
  NetlinkAttributes data;
  data.AddNumber(NFTA_CMP_SREG, NFT_REG_1);
  data.AddNumber(NFTA_CMP_OP, operation);
  data.AddNested(NFTA_CMP_DATA, Value(value));
  Expression("cmp", data);
}

NfRule& NfRule::Is(std::string_view value) {
  Compare(NFT_CMP_EQ, value);
  return *this;
}

NfRule& NfRule::IsNot(std::string_view value) {
  Compare(NFT_CMP_NEQ, value);
  return *this;
}

NfRule& NfRule::IsIn(NfSet set) {
  NetlinkAttributes data;
  data.AddText(NFTA_LOOKUP_SET, "__set%d");
  data.AddNumber(NFTA_LOOKUP_SREG, NFT_REG_1);
  data.AddNumber(NFTA_LOOKUP_SET_ID, set.id);
  Expression("lookup", data);
  return *this;
}

void NfRule::Immediate(uint32_t to_register, std::string_view value) {
  NetlinkAttributes data;
  data.AddNumber(NFTA_IMMEDIATE_DREG, to_register);
  data.AddNested(NFTA_IMMEDIATE_DATA, Value(value));
  Expression("immediate", data);
}

NfRule& NfRule::SetMark(uint32_t host_order) {
  Immediate(NFT_REG_1, AsBytes(host_order));
  NetlinkAttributes data;
  data.AddNumber(NFTA_META_KEY, NFT_META_MARK);
  data.AddNumber(NFTA_META_SREG, NFT_REG_1);
  Expression("meta", data);
  return *this;
}

NfRule& NfRule::Tproxy(std::string_view address, uint16_t port_host_order) {
  Immediate(NFT_REG_1, address);
  Immediate(NFT_REG_2, AsBytes(htons(port_host_order)));
  NetlinkAttributes data;
  data.AddNumber(NFTA_TPROXY_FAMILY, address.size() == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
  data.AddNumber(NFTA_TPROXY_REG_ADDR, NFT_REG_1);
  data.AddNumber(NFTA_TPROXY_REG_PORT, NFT_REG_2);
  Expression("tproxy", data);
  return *this;
}

NfRule& NfRule::Count() {
  Expression("counter", {});
  return *this;
}

void NfRule::Verdict(uint32_t code, std::string_view chain) {
  NetlinkAttributes verdict;
  verdict.AddNumber(NFTA_VERDICT_CODE, code);
  if (!chain.empty()) verdict.AddText(NFTA_VERDICT_CHAIN, chain);
  NetlinkAttributes value;
  value.AddNested(NFTA_DATA_VERDICT, verdict);
  NetlinkAttributes data;
  data.AddNumber(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  data.AddNested(NFTA_IMMEDIATE_DATA, value);
  Expression("immediate", data);
}

NfRule& NfRule::Accept() {
  Verdict(NF_ACCEPT);
  return *this;
}

NfRule& NfRule::Drop() {
  Verdict(NF_DROP);
  return *this;
}

NfRule& NfRule::Jump(std::string_view chain) {
  Verdict(static_cast<uint32_t>(NFT_JUMP), chain);
  return *this;
}

void NfRule::Reject(uint32_t type, uint8_t code) {
  NetlinkAttributes data;
  data.AddNumber(NFTA_REJECT_TYPE, type);
  data.Add(NFTA_REJECT_ICMP_CODE, AsBytes(code));
  Expression("reject", data);
}

NfRule& NfRule::RejectWithReset() {
  Reject(NFT_REJECT_TCP_RST, 0);
  return *this;
}

NfRule& NfRule::RejectAsProhibited() {
  Reject(NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
  return *this;
}

NfRule& NfRule::Comment(std::string_view text) {
  comment_ = text;
  return *this;
}

NfTables::NfTables() { Append(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, {}); }

void NfTables::Append(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource,
                      const NetlinkAttributes& body) {
  last_ = messages_.size();
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(sizeof(nfgenmsg)) + body.bytes().size());
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_seq = ++sequence_;
  const nfgenmsg generic{family, NFNETLINK_V0, htons(resource)};
  messages_.append(AsBytes(header)).append(AsBytes(generic)).append(body.bytes());
}

void NfTables::AppendChange(uint16_t type, uint16_t flags, const NetlinkAttributes& body) {
  Append(static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), NLM_F_CREATE | flags, family_, 0,
         body);
}

void NfTables::AddTable(uint8_t family, std::string_view name) {
  family_ = family;
  table_ = name;
  NetlinkAttributes body;
  body.AddText(NFTA_TABLE_NAME, table_);
  AppendChange(NFT_MSG_NEWTABLE, 0, body);
}

void NfTables::AddChain(std::string_view name) {
  NetlinkAttributes body;
  body.AddText(NFTA_CHAIN_TABLE, table_);
  body.AddText(NFTA_CHAIN_NAME, name);
  AppendChange(NFT_MSG_NEWCHAIN, 0, body);
}

void NfTables::AddBaseChain(std::string_view name, const NfHook& hook) {
  NetlinkAttributes place;
  place.AddNumber(NFTA_HOOK_HOOKNUM, hook.number);
  place.AddNumber(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(hook.priority));
  if (!hook.device.empty()) place.AddText(NFTA_HOOK_DEV, hook.device);
  NetlinkAttributes body;
  body.AddText(NFTA_CHAIN_TABLE, table_);
  body.AddText(NFTA_CHAIN_NAME, name);
  body.AddNested(NFTA_CHAIN_HOOK, place);
  body.AddNumber(NFTA_CHAIN_POLICY, NF_DROP);
  body.AddText(NFTA_CHAIN_TYPE, "filter");
  AppendChange(NFT_MSG_NEWCHAIN, 0, body);
}

NfSet NfTables::AddSet(uint32_t type, std::initializer_list<std::string_view> elements) {
  const NfSet set{++sets_};
  NetlinkAttributes body;
  body.AddText(NFTA_SET_TABLE, table_);
  body.AddText(NFTA_SET_NAME, "__set%d");
  body.AddNumber(NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
  body.AddNumber(NFTA_SET_KEY_TYPE, type);
  body.AddNumber(NFTA_SET_KEY_LEN, static_cast<uint32_t>(elements.begin()->size()));
  body.AddNumber(NFTA_SET_ID, set.id);
  AppendChange(NFT_MSG_NEWSET, 0, body);

  NetlinkAttributes list;
  for (const std::string_view element : elements) {
    NetlinkAttributes key;
    key.AddNested(NFTA_SET_ELEM_KEY, Value(element));
    list.AddNested(NFTA_LIST_ELEM, key);
  }
  NetlinkAttributes members;
  members.AddText(NFTA_SET_ELEM_LIST_TABLE, table_);
  members.AddText(NFTA_SET_ELEM_LIST_SET, "__set%d");
  members.AddNumber(NFTA_SET_ELEM_LIST_SET_ID, set.id);
  members.AddNested(NFTA_SET_ELEM_LIST_ELEMENTS, list);
  AppendChange(NFT_MSG_NEWSETELEM, 0, members);
  return set;
}

void NfTables::AddRule(std::string_view chain, const NfRule& rule) {
  NetlinkAttributes body;
  body.AddText(NFTA_RULE_TABLE, table_);
  body.AddText(NFTA_RULE_CHAIN, chain);
  body.AddNested(NFTA_RULE_EXPRESSIONS, rule.expressions_);
  if (!rule.comment_.empty()) {
    std::string comment{kCommentTag, static_cast<char>(rule.comment_.size() + 1)};
    comment.append(rule.comment_).push_back('\0');
    body.Add(NFTA_RULE_USERDATA, comment);
  }
  AppendChange(NFT_MSG_NEWRULE, NLM_F_APPEND, body);
}

Result<void> NfTables::Commit() {
  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return ErrErrno(ErrorCode::kFailedPrecondition, "open a netlink socket for nf_tables");
  nlmsghdr last;
  std::memcpy(&last, &messages_[last_], sizeof last);
  last.nlmsg_flags |= NLM_F_ACK;
  std::memcpy(&messages_[last_], &last, sizeof last);
  Append(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, {});
  if (send(fd.get(), messages_.data(), messages_.size(), 0) !=
      static_cast<ssize_t>(messages_.size())) {
    return ErrErrno(ErrorCode::kInternal, "load the network rules");
  }
  return ReadVerdict(fd.get(), last.nlmsg_seq);
}

}  // namespace cleanroom::os
