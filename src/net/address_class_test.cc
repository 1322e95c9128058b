#include "net/address_class.h"

#include <gtest/gtest.h>

namespace cleanroom::net {
namespace {

AddressClass Of(std::string_view text) { return Classify(*net::IpAddress::Parse(text)); }

TEST(AddressClassTest, TellsTheInternetFromTheRest) {
  for (const char* text : {"1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "11.0.0.1",
                           "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1"}) {
    EXPECT_EQ(Of(text), AddressClass::kPublic) << text;
  }
  for (const char* text : {"10.0.0.1",        "172.16.0.1",         "172.31.255.255",
                           "192.168.1.1",     "169.254.169.254",    "100.64.0.1",
                           "100.100.100.200", "198.18.0.1",         "240.0.0.1",
                           "192.0.2.1",       "fd00:ec2::254",      "fe80::1",
                           "fec0::1",         "2001:db8::1",        "2001::1",
                           "64:ff9b::a00:1",  "64:ff9b::a9fe:a9fe", "2002:a00:1::1",
                           "4000::1",         "64:ff9b:1::1"}) {
    EXPECT_EQ(Of(text), AddressClass::kPrivate) << text;
  }
  for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1",
                           "64:ff9b::7f00:1", "2002:7f00:1::"}) {
    EXPECT_EQ(Of(text), AddressClass::kLoopback) << text;
  }
  for (const char* text : {"0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255",
                           "::", "ff02::1", "::1.2.3.4"}) {
    EXPECT_EQ(Of(text), AddressClass::kNever) << text;
  }
}

}  // namespace
}  // namespace cleanroom::net
