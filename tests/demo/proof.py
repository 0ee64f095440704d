"""The demo's proof, with tools that are independent of directway."""

from __future__ import annotations

from ground import Lab, clients, judges
from ground.capture import Capture
from ground.wait import wait_until

from console import command, say, show, step


def what_it_got(lab: Lab, name: str, nodes: tuple[str, ...]) -> None:
    """Shows what each node got; the first of `nodes` is the director."""
    step(f"What {name} got")
    quiet = "sysctl net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_announce"
    show(lab[name], "ip -br addr", "ipvsadm -Sn" if name == nodes[0] else quiet)


def twelve_requests(lab: Lab, vip: str) -> None:
    step("Twelve requests, and who answered them")
    for _ in range(12):
        command(f"curl -s http://{vip}/", lab.host.sh(f"curl -s --max-time 3 http://{vip}/"))


def who_has(lab: Lab, segment: str, vip: str, nodes: tuple[str, ...], count: int = 10) -> None:
    step("Who answers ARP for the VIP?")
    director = judges.mac(lab[nodes[0]], "eth0")
    answers = judges.arping(lab.host, vip, segment, count)
    command(f"arping -b -I {segment} -c {count} {vip}", "\n".join(f"{replies} replies from {mac}" for mac, replies in answers.items()))
    expect(set(answers) == {director}, f"Only the director ({director}) does: the real servers hold the same address silently.")


def path_of_a_request(lab: Lab, segment: str, vip: str, nodes: tuple[str, ...]) -> None:
    step("The path of one request: MAC by MAC")
    names = {lab[name].nics[0].mac: name for name in nodes}
    names[judges.mac(lab.host, segment)] = "client"
    with Capture(lab.host, segment, f"host {vip} and tcp port 80 and host {lab.address(segment)}") as capture:
        lab.host.sh(f"curl -s --max-time 3 http://{vip}/")
        wait_until(lambda: any(f.flags & 1 and f.sport == 80 for f in capture.frames()), "the server's FIN in the capture")
        frames = capture.stop()
    # The bridge shows each frame once; the director forwards each request, so a request is there twice.
    for frame in frames:
        way = "request" if frame.dport == 80 else "reply"
        source, target = names.get(frame.src_mac, frame.src_mac), names.get(frame.dst_mac, frame.dst_mac)
        say(f"  {way:7}  {frame.src}:{frame.sport} → {frame.dst}:{frame.dport}   {source:>8} → {target:8}  {frame.payload:4} bytes")
    director = lab[nodes[0]].nics[0].mac
    through = sum(f.length for f in frames if f.sport == 80 and director in (f.src_mac, f.dst_mac))
    expect(through == 0, "Reply bytes that passed the director: 0.")


def spread(lab: Lab, vip: str, expected: dict[str, int], requests: int) -> None:
    outcome = None

    def as_expected() -> bool:
        nonlocal outcome
        outcome = clients.requests(lab.host, vip, n=requests)
        return dict(outcome.counts) == expected

    wait_until(as_expected, f"a spread of {expected}", 20)
    say(f"{requests} requests: " + ", ".join(f"{name} {outcome.counts[name]}" for name in sorted(expected)))


def application_stops(lab: Lab, vip: str, director: str, name: str, stop, start, platform) -> None:
    """Ends one real server's application while a client opens a connection every 5 ms."""
    service, address = f"{vip}:80", lab[name].ip
    weight = lambda: judges.weights(lab[director], service)[address]
    with clients.steady(lab.host, vip) as load:
        load.wait_answers(200)
        say(f"(the web server of {name} ends)")
        stop()
        wait_until(lambda: weight() == 0, f"{name} to be taken out", 20)
        show(lab[director], "ipvsadm -Ln")
        platform.explain()
        lost = len(load.so_far().errors)
        load.wait_answers(len(load.so_far().answers) + 200)
        say(f"(the web server of {name} starts again)")
        start()
        wait_until(lambda: weight() > 0, f"{name} to be put back", 20)
        load.wait_answers(len(load.so_far().answers) + 200)
    outcome = load.stop()
    after = len(outcome.errors) - lost
    say(f"{len(outcome.rows)} requests, one every 5 ms: {lost} lost until three checks in a row had failed, {after} after that.")


def failover(lab: Lab, vip: str, holder: str, standby: str, real_servers: int) -> None:
    """Cuts the holder's power while a client opens a connection every 5 ms, whether earlier ones were answered or not."""
    service = f"{vip}:80"
    wait_until(lambda: len(judges.weights(lab[standby], service)) == real_servers, f"{standby} to be ready", 20)
    show(lab[standby], "ipvsadm -Ln", "ip -br addr show lo")
    with clients.steady(lab.host, vip) as load:
        load.wait_answers(200)
        say(f"(the cable of {holder} is pulled)")
        lab[holder].cut()
        wait_until(lambda: "eth0" in judges.devices_with(lab[standby], vip), f"{standby} to hold the VIP", 10)
        load.wait_answers(len(load.so_far().answers) + 200)
        say("(and put back)")
        lab[holder].join()
        holds = lambda name: "eth0" in judges.devices_with(lab[name], vip)
        wait_until(lambda: holds(holder) != holds(standby), "one of the two to give the VIP up", 10)
        load.wait_answers(len(load.so_far().answers) + 200)
    outcome = load.stop()
    show(lab[standby], "ip -br addr show eth0")
    late = sum(row["end"] - row["start"] >= clients.PROMPT for row in outcome.rows if "who" in row)
    say(f"{len(outcome.rows)} requests, one every 5 ms: {len(outcome.errors)} lost, {late} answered a second later, when the client sent its SYN again.")
    say(f"Nobody was answered for {outcome.outage * 1e3:.0f} ms.")


def nothing_left(lab: Lab, before: dict[str, dict[str, str]]) -> None:
    def differences() -> dict[str, str]:
        return {name: judges.difference(before[name], judges.snapshot(lab[name])) for name in before}

    wait_until(lambda: not any(differences().values()), "every node to be as it was", 30)
    say("ip addr, ip route, ipvsadm -Sn and sysctl net.ipv4.conf, before and after:")
    for name, text in differences().items():
        say(f"  {name:10} {text or 'no difference'}")


def expect(holds: bool, text: str) -> None:
    if not holds:
        raise AssertionError(f"this should be so, and is not: {text}")
    say(text)
