// /init of the machine tests: loads the modules, opens the agent port and answers one-letter
// commands, each a line. "READY" comes first.
//   e TEXT     -> "TEXT"
//   b          -> per disk, by serial: "cr-image:ro:FIRST16 cr-disk:rw:FIRST16"
//   w          -> writes "written by guest" to the start of cr-disk, "done"
//   s NUMBER   -> of that slot, like b
//   n ADDRESS  -> connects to ADDRESS port 80 over eth0: "ERRNO MILLISECONDS"
//   f          -> floods the console with 512 KiB, "done"
//   c          -> the clock source, e.g. "tsc"
//   o          -> brings the other processors online: "COUNT online MILLISECONDS"
//   p          -> panics
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "guest_link/devices.h"

namespace {

const std::string kImage(cleanroom::guest_link::kImageSerial);
const std::string kDisk(cleanroom::guest_link::kDiskSerial);

std::string FirstLine(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

void LoadModules() {
  std::ifstream list("/modules.list");
  for (std::string path; std::getline(list, path);) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (syscall(SYS_finit_module, fd, "", 0) != 0) {
      printf("module %s: %s\n", path.c_str(), strerror(errno));
    }
    close(fd);
  }
}

int OpenPort() {
  for (int tries = 0; tries < 5000; ++tries) {
    DIR* ports = opendir("/sys/class/virtio-ports");
    while (const dirent* entry = ports == nullptr ? nullptr : readdir(ports)) {
      const std::string name = entry->d_name;
      if (FirstLine("/sys/class/virtio-ports/" + name + "/name") !=
          cleanroom::guest_link::kAgentPort)
        continue;
      const int fd = open(("/dev/" + name).c_str(), O_RDWR | O_CLOEXEC);
      if (fd >= 0) return fd;
    }
    if (ports != nullptr) closedir(ports);
    usleep(1000);
  }
  return -1;
}

std::string DeviceWithSerial(const std::string& serial) {
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    const std::string name = std::string("vd") + letter;
    if (FirstLine("/sys/block/" + name + "/serial") == serial) return "/dev/" + name;
  }
  return "";
}

std::string DescribeDisk(const std::string& serial) {
  const std::string path = DeviceWithSerial(serial);
  if (path.empty()) return serial + ":missing";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  int read_only = -1;
  ioctl(fd, BLKROGET, &read_only);
  char first[16] = {};
  const ssize_t n = read(fd, first, sizeof first);
  close(fd);
  return serial + (read_only == 1 ? ":ro:" : ":rw:") +
         std::string(first, strnlen(first, n > 0 ? n : 0));
}

std::string WriteDisk() {
  const int fd = open(DeviceWithSerial(kDisk).c_str(), O_WRONLY | O_CLOEXEC);
  const bool ok = write(fd, "written by guest", 16) == 16 && fsync(fd) == 0;
  close(fd);
  return ok ? "done" : strerror(errno);
}

void SetUpNetwork() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request = {};
  strcpy(request.ifr_name, "eth0");
  auto* address = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  address->sin_family = AF_INET;
  inet_pton(AF_INET, "10.0.2.2", &address->sin_addr);
  ioctl(fd, SIOCSIFADDR, &request);
  inet_pton(AF_INET, "255.255.255.0", &address->sin_addr);
  ioctl(fd, SIOCSIFNETMASK, &request);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ioctl(fd, SIOCSIFFLAGS, &request);
  rtentry route = {};
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  auto fill = [](sockaddr* where, const char* text) {
    auto* in = reinterpret_cast<sockaddr_in*>(where);
    in->sin_family = AF_INET;
    inet_pton(AF_INET, text, &in->sin_addr);
  };
  fill(&route.rt_dst, "0.0.0.0");
  fill(&route.rt_genmask, "0.0.0.0");
  fill(&route.rt_gateway, "10.0.2.1");
  ioctl(fd, SIOCADDRT, &route);
  close(fd);
}

long NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

std::string BringProcessorsOnline() {
  const long begin = NowMs();
  for (int cpu = 1; cpu < 64; ++cpu) {
    std::ofstream("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/online") << "1";
  }
  return std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " online " +
         std::to_string(NowMs() - begin);
}

std::string Connect(const std::string& to) {
  static bool ready = false;
  if (!ready) SetUpNetwork();
  ready = true;
  const long begin = NowMs();
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(80);
  inet_pton(AF_INET, to.c_str(), &address.sin_addr);
  const int error =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  const long ms = NowMs() - begin;
  close(fd);
  return std::string(error == 0 ? "connected" : strerrorname_np(error)) + " " + std::to_string(ms);
}

std::string Flood() {
  const std::string line(1023, 'f');
  for (int i = 0; i < 512; ++i) puts(line.c_str());
  return "done";
}

std::string Answer(const std::string& line) {
  std::string argument = line.size() > 2 ? line.substr(2) : "";
  switch (line.empty() ? ' ' : line[0]) {
    case 'e':
      return argument;
    case 'b':
      return DescribeDisk(kImage) + " " + DescribeDisk(kDisk);
    case 'w':
      return WriteDisk();
    case 'c':
      return FirstLine("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    case 'o':
      return BringProcessorsOnline();
    case 's':
      return DescribeDisk(cleanroom::guest_link::SlotSerial(std::stoi(argument)));
    case 'n':
      return Connect(argument);
    case 'f':
      return Flood();
    case 'p':
      puts("about to panic");
      fflush(stdout);
      tcdrain(STDOUT_FILENO);  // the kernel's last words do not wait for it
      exit(7);                 // the end of init is a panic
    default:
      return "what?";
  }
}

}  // namespace

int main() {
  if (getpid() != 1) {
    fputs("this program is the init of a test guest\n", stderr);
    return 2;
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mount("proc", "/proc", "proc", 0, nullptr);
  mount("sys", "/sys", "sysfs", 0, nullptr);
  mount("dev", "/dev", "devtmpfs", 0, nullptr);
  LoadModules();
  const int port = OpenPort();
  FILE* out = fdopen(dup(port), "w");
  FILE* in = fdopen(port, "r");
  fputs("READY\n", out);
  fflush(out);
  char* line = nullptr;
  size_t size = 0;
  for (;;) {
    const ssize_t n = getline(&line, &size, in);
    if (n <= 0) {
      clearerr(in);
      usleep(1000);
      continue;
    }
    fputs((Answer(std::string(line, n - 1)) + "\n").c_str(), out);
    fflush(out);
  }
}
