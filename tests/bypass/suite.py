"""On the host of the test internet: makes the sandboxes, runs the table, judges. Started by `run`."""
import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import statistics
import sys
import threading
import time
import traceback

from harness import FOLDER, LOGS, Daemon, Failed, Log, Sandbox
import attempts as table
import hostile
import places
import stages


class Report:
    def __init__(self):
        self.passed = self.failed = 0
        self.times = collections.defaultdict(list)

    def line(self, good, name, detail=""):
        self.passed += good
        self.failed += not good
        detail = "".join(c if c.isprintable() else "." for c in detail)
        print(f"{'ok  ' if good else 'FAIL'} {name}{': ' + detail if detail else ''}", flush=True)


def substitute(value, certificate):
    """The certificate authority's text where the table has only its name."""
    if isinstance(value, dict):
        return {key: substitute(entry, certificate) for key, entry in value.items()}
    if isinstance(value, list):
        return [substitute(entry, certificate) for entry in value]
    return certificate if value == table.CA else value


def start_canaries():
    """What listens on the host, for guests not to reach: one TCP and one UDP server on the LAN addresses and loopback."""
    for address in (places.HOST_V4, places.HOST_V6, "127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.create_server((address, 9998), family=family, backlog=128)
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        datagrams.bind((address, 9998))
        threading.Thread(target=echo, args=(datagrams,), daemon=True).start()


def greet(listener):
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"canary\n")
        connection.close()


def echo(datagrams):
    while True:
        data, address = datagrams.recvfrom(65536)
        datagrams.sendto(data, address)


@contextlib.contextmanager
def odd_resolver():
    """The host's resolver is the odd server meanwhile."""
    path = FOLDER / "resolv.conf"
    before = path.read_text()
    path.write_text(f"nameserver {places.ODD_DNS[0]}\n")
    try:
        yield
    finally:
        path.write_text(before)


class Suite:
    def __init__(self, options):
        self.options, self.report = options, Report()
        self.certificate = (FOLDER / "ca.pem").read_text()
        self.attempts = [a for a in table.attempts() if options.only in a.name]
        self.wire, self.web = Log(LOGS / "wire.log"), Log(LOGS / "web.log")
        self.sink, self.dns = Log(LOGS / "sink.log"), Log(LOGS / "dns.log")

    def run(self):
        begin = time.monotonic()
        start_canaries()
        self.daemon = Daemon()
        try:
            image = self.daemon.import_image(os.environ["CLEANROOM_TEST_IMAGE"])
            backend = self.options.backend
            policies = {"bare": table.POLICIES["closed"], "rules": table.POLICIES[self.options.policy]}
            with concurrent.futures.ThreadPoolExecutor() as pool:
                made = {n: pool.submit(Sandbox, self.daemon, image, n, p, backend) for n, p in policies.items()}
            self.bare, self.rules = made["bare"].result(), made["rules"].result()
            self.bare.tear_off_doors()
            self.bare.listen_beside_guest()
            self.rules.listen_beside_guest()
            self.phase("sandboxes", begin)
            controls = self.controls()
            self.phase("controls", begin)
            self.policy(controls)
            self.phase("attempts", begin)
            self.allowed()
            self.phase("allowed", begin)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                others = pool.submit(self.other_sandboxes, image)
                cases = [*hostile.malformed_dns(), *hostile.malformed_streams(), *hostile.upstreams(), *hostile.burdens()]
                self.hostile(self.rules, cases)
                for sandbox in (self.rules, *others.result()):
                    used = sandbox.warden_rss_mib()
                    self.report.line(used < hostile.MOST_MIB, f"memory of the warden of {sandbox.name}", f"{used:.1f} MiB")
            self.phase("bad input", begin)
            self.stages(image, backend)
            self.phase("stages", begin)
            good, detail = hostile.killed_warden(self.rules, self.daemon)
            self.report.line(good, "warden killed in a download", detail)
        finally:
            self.daemon.stop()
        self.report.line(not self.daemon.leftovers(), "nothing is left of the sandboxes")
        self.phase("all", begin)

    def phase(self, name, begin):
        print(f"     -- {name}: {time.monotonic() - begin:.1f} s", flush=True)

    # --- controls ------------------------------------------------------------------------------------------------

    def controls(self):
        """Runs each attempt's probe where it must reach: name -> what was wrong with that, or None."""
        self.tap = self.bare.watch_tap()
        self.wire.mark()
        bare = [a for a in self.attempts if a.control != "none"]
        answers, replies = self.probe_all(self.bare, bare, "c")
        wrong = {}
        for attempt, answer in zip(bare, answers):
            mark = self.mark(attempt, "c")
            if attempt.control == "mark":
                good, why = self.wire.wait_for(mark), "its packet did not arrive at the internet"
            elif attempt.control == "nic":
                good, why = self.tap.wait_for(mark), "its packet did not leave the guest"
            else:
                good, why = answer["reached"] or mark in replies, f"{answer['outcome']} {answer['detail'][:200]}"
            if answer["outcome"] == "broken":
                good, why = False, answer["detail"]
            wrong[attempt.name] = None if good else why
        self.bare.disconnect()
        slowest = sorted(zip(answers, bare), key=lambda pair: -pair[0]["ms"])[: self.options.slowest]
        for answer, attempt in slowest:
            print(f"     -- control of {attempt.name}: {answer['ms']} ms")
        return wrong

    def probe_all(self, sandbox, listed, run):
        """The answers to the attempts' probes, and the marks of their packets that came back."""
        requests = [(a.probe, self.arguments(a, run)) for a in listed] + [("raw_answers", {})]
        *answers, replies = sandbox.probe(requests)
        return answers, replies["detail"]

    def mark(self, attempt, run):
        return f"MARK{run}{self.attempts.index(attempt):07x}"

    def arguments(self, attempt, run):
        plain = run == "c" and isinstance(attempt.control, table.Plain)
        args = substitute(attempt.control.args if plain else attempt.args, self.certificate)
        return {**args, "mark": self.mark(attempt, run)} if attempt.probe == "raw" else args

    # --- under the policy ----------------------------------------------------------------------------------------

    def policy(self, controls):
        tap = self.rules.watch_tap()
        for log in (self.wire, self.web, self.sink, self.dns):
            log.mark()
        answers, replies = self.probe_all(self.rules, self.attempts, "d")
        try:
            decisions = self.rules.decisions()
        except Failed as error:
            decisions = []
            self.report.line(False, "the record of decisions", str(error)[:200])
        if self.options.decisions:
            pathlib.Path(self.options.decisions).write_text("\n".join(json.dumps(decision) for decision in decisions))
        for attempt, answer in zip(self.attempts, answers):
            problems = [f"its control did not reach: {controls[attempt.name]}"] if controls.get(attempt.name) else []
            problems += self.judge(attempt, answer, replies, tap, decisions)
            self.report.line(not problems, attempt.name, "; ".join(problems) or f"{answer['outcome']} {answer['ms']} ms")
            if not problems and attempt.probe != "raw":
                self.report.times[attempt.name.split(":")[0]].append(answer["ms"])
        self.far_end()
        for family, times in self.report.times.items():
            print(f"     -- refused in {statistics.median(times):.1f} ms (median), {max(times):.1f} ms at most: {family}")

    def judge(self, attempt, answer, replies, tap, decisions):
        if answer["reached"] or self.mark(attempt, "d") in replies:
            return [f"REACHED: {answer['detail'][:200]}"]
        problems = []
        if answer["outcome"] not in attempt.ends:
            problems.append(f"ended with {answer['outcome']} ({answer['detail'][:120]}), not with {' or '.join(attempt.ends)}")
        if answer["outcome"] == "403" and answer["detail"] not in attempt.code:
            problems.append(f"the response has the code {answer['detail']}, not {' or '.join(attempt.code)}")
        if attempt.probe == "dns" and answer["outcome"] == "REFUSED" and attempt.args.get("edns", True) and not answer["detail"]:
            problems.append("without an extended error that says why")
        if attempt.probe != "raw" and answer["ms"] > attempt.seconds * 1000:
            problems.append(f"took {answer['ms']} ms")
        if attempt.probe == "raw":
            if not tap.wait_for(self.mark(attempt, "d")):
                problems.append("its packet did not leave the guest")
            if self.mark(attempt, "d") in self.wire.text():
                problems.append("its packet ARRIVED at the internet")
        if attempt.code and not any(d.get("reason_code") in attempt.code for d in self.about(attempt, decisions)):
            there = sorted({d.get("reason_code") for d in self.about(attempt, decisions)})
            problems.append(f"no decision with {' or '.join(attempt.code)} on {attempt.destination or 'anything'} is on record, only {there}")
        return problems

    def about(self, attempt, decisions):
        """The decisions on the attempt's destination."""
        wanted = set(attempt.destination)
        return [d for d in decisions if not wanted or wanted & {d.get("destination"), d.get("address")}]

    def far_end(self):
        """What the whole policy run may have done at the internet, and no more."""
        open_tcp = {80, 443, 8080, 8082, 8083, 8443, 22, 6379}
        web = {*places.WEB, *places.ODD, *places.SSH, *places.REDIS, *places.ECHO, *places.WEB2}
        strange = []
        for packet in self.wire.lines():
            to, port, protocol = packet.get("dst"), packet.get("port"), packet.get("protocol")
            if to in places.DNS and port == 53 or packet["ethertype"] not in ("0x800", "0x86dd"):
                continue
            if protocol == 58 and (to.startswith("ff02:") or to in (places.HOST_GATEWAY_V6,) or to.startswith("fe80")):
                continue
            if protocol == 0 and to.startswith("ff02:"):
                continue
            if protocol == 6 and to in web and port in open_tcp | set(places.ODD_PORTS):
                continue
            if protocol == 17 and to in places.ECHO and port == 7:
                continue
            strange.append(f"{protocol}/{to}:{port}")
        self.report.line(not strange, "far end: no packet went where no rule leads", ", ".join(sorted(set(strange))[:10]))
        allowed = {"a.cdn.test", "odd.test", "one.wild.test", "moved.test", "default.test"}
        seen = {line["vhost"] for line in self.web.lines()} | {line["sni"] for line in self.web.lines() if line["sni"]}
        self.report.line(not seen - allowed, "far end: no web server was asked in a denied name", ", ".join(sorted(seen - allowed)))
        self.report.line(not self.sink.text().count("evil.cdn.test"), "far end: no denied request was smuggled")
        sunk = [line for line in self.sink.lines() if line["port"] != places.ODD_LENIENT]
        self.report.line(not sunk, "far end: the sink got nothing", str(sunk[:2]))
        asked = [name for name in ("evil.cdn.test", "5a5a5a5a", "evil.wild.test", "deep.er.wild.test") if name in self.dns.text().lower()]
        self.report.line(not asked, "far end: no denied name was asked for", ", ".join(asked))

    def hostile(self, sandbox, cases):
        cases = [case for case in cases if self.options.only in case.name]
        if not cases:
            return
        cases.sort(key=lambda case: case.waits)
        quick = [(case.probe, case.args) for case in cases if not case.waits]
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            waiting = [pool.submit(sandbox.probe, [(case.probe, case.args)]) for case in cases if case.waits]
            answers = sandbox.probe(quick) + [future.result()[0] for future in waiting]
        decisions = sandbox.decisions()
        for case, answer in zip(cases, answers):
            problems = []
            if answer["outcome"] not in case.ends:
                problems.append(f"ended with {answer['outcome']}, not with {' or '.join(case.ends)}")
            if answer["ms"] > case.seconds * 1000:
                problems.append(f"took {answer['ms']} ms")
            if case.code and not any(decision.get("reason_code") in case.code for decision in decisions):
                problems.append(f"no decision with {' or '.join(case.code)} is on record")
            said = f"{answer['outcome']} {answer['detail'][:60]!r} {answer['ms']} ms"
            self.report.line(not problems, case.name, "; ".join([*problems, said]))

    def other_sandboxes(self, image):
        """One whose host has a bad resolver, and one that may do everything."""
        with odd_resolver():
            odd = Sandbox(self.daemon, image, "odd", table.POLICIES["odd"], self.options.backend)
        self.hostile(odd, [*hostile.resolvers()])
        free = Sandbox(self.daemon, image, "free", table.POLICIES["open"], self.options.backend)
        listed = list(table.everything())
        answers = free.probe([(a.probe, substitute(a.args, self.certificate)) for a in listed])
        for attempt, answer in zip(listed, answers):
            self.report.line(answer["reached"], f"everything allowed: {attempt.name}", f"{answer['outcome']} {answer['ms']} ms")
        codes = {decision.get("reason_code") for decision in free.decisions()}
        self.report.line(codes == {"allowed_all"}, "everything allowed: and on record as such", ", ".join(sorted(codes)))
        return odd, free

    def stages(self, image, backend):
        if self.options.only in "stages":
            for line in stages.check(self.daemon, image, backend):
                self.report.line(*line)

    def allowed(self):
        self.web.mark()
        listed = [a for a in table.allowed() if self.options.only in a.name]
        answers = self.rules.probe([(a.probe, substitute(a.args, self.certificate)) for a in listed])
        for attempt, answer in zip(listed, answers):
            self.report.line(answer["reached"], f"allowed: {attempt.name}", f"{answer['outcome']} {answer['detail'][:100]!r} {answer['ms']} ms")
        moved = {line["address"] for line in self.web.lines() if line["vhost"] == "moved.test"}
        if any("moved" in attempt.name for attempt in listed):
            self.report.line(moved <= set(places.WEB), "far end: a name that moved is met where it is now", ", ".join(moved))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="qemu")
    parser.add_argument("--only", default="", help="attempts whose name has this in it")
    parser.add_argument("--policy", default="rules", choices=table.POLICIES, help="what the attempts run under")
    parser.add_argument("--slowest", type=int, default=0, help="print so many of the controls' times")
    parser.add_argument("--decisions", help="file for the record of the attempts")
    suite = Suite(parser.parse_args())
    try:
        suite.run()
    except Exception:
        traceback.print_exc()
        print(suite.daemon.said() if hasattr(suite, "daemon") else "")
        suite.report.line(False, "the suite itself")
    report = suite.report
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
