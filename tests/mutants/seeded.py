"""Safety rules, each with one way to break it. `old` must be in `file` once; the tests named must notice `new` in its place."""

from __future__ import annotations

from dataclasses import dataclass

LIB = ("--lib",)
ELECTION = ("--test", "election")
SIM = ("--test", "sim")


@dataclass(frozen=True)
class Mutant:
    """What is broken, where, how, and the arguments of `cargo test` for the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = LIB


MUTANTS = (
    # The order of a plan, and what depends on what.
    Mutant(
        "a VIP is bound before the node is quiet", "src/plan/phase.rs",
        "    /// ARP settings are changed so that the node is quiet.\n    Quiet,\n    /// Dummy devices are created.\n    AddDevice,\n    /// VIPs are bound to their quiet device.\n    Bind,\n",
        "    /// Dummy devices are created.\n    AddDevice,\n    /// VIPs are bound to their quiet device.\n    Bind,\n    /// ARP settings are changed so that the node is quiet.\n    Quiet,\n",
    ),
    Mutant(
        "a VIP is unbound before its services are deleted", "src/plan/phase.rs",
        "    /// IPVS services are deleted.\n    DelService,\n    /// VIPs leave their quiet device.\n    Unbind,\n",
        "    /// VIPs leave their quiet device.\n    Unbind,\n    /// IPVS services are deleted.\n    DelService,\n",
    ),
    Mutant(
        "a destination with a weight is deleted at once", "src/plan/diff.rs",
        "            if found.weight != 0 {\n                self.ops.push(Op::QuiesceDestination(*key, *address));",
        "            if found.weight == 0 {\n                self.ops.push(Op::QuiesceDestination(*key, *address));",
    ),
    Mutant(
        "a foreign service is edited", "src/plan/diff.rs",
        "Some(present) if self.old.services.contains(key) => {", "Some(present) if self.old.services.contains(key) || !wanted.same_settings(present) => {",
    ),
    Mutant(
        "foreign services are deleted", "src/plan/diff.rs",
        "            if !self.desired.services.contains_key(key) && self.old.services.contains(key) {\n                self.ops.push(Op::DelService(*key));",
        "            if !self.desired.services.contains_key(key) {\n                self.ops.push(Op::DelService(*key));",
    ),
    Mutant(
        "foreign addresses are deleted", "src/plan/diff.rs",
        "            if !self.desired.addresses.contains_key(key)\n                && self.old.owns_address(key, self.observed)\n            {",
        "            if !self.desired.addresses.contains_key(key) {",
    ),
    Mutant(
        "a device with somebody's addresses is deleted", "src/plan/diff.rs",
        "            if self.has_foreign_address(dev) {\n                continue;\n            }\n", "",
    ),
    Mutant(
        "the value before the first change of a setting is forgotten", "src/plan/diff.rs",
        "                        .filter(|change| change.set == now)\n                        .map_or(now, |change| change.before);",
        "                        .filter(|change| change.set == now)\n                        .map_or(now, |_| now);",
    ),
    Mutant(
        "a setting that is quiet already leaves the ledger", "src/plan/diff.rs",
        "                    self.ledger.arp.insert(id, change);\n                    if wanted.is_none()", "                    if wanted.is_none()",
    ),
    Mutant(
        "a claim is not in the ledger before it is made", "src/plan/diff.rs",
        "            if !there || self.old.owns_address(key, self.observed) {", "            if there && self.old.owns_address(key, self.observed) {",
    ),
    Mutant(
        "a setting that the kernel refuses does not keep VIPs from being bound", "src/kernel/execute.rs",
        "            Op::Quiet(_) => self.quiet |= !is_without_ipv4(result),", "            Op::Quiet(_) => self.quiet |= false && !is_without_ipv4(result),",
    ),
    Mutant(
        "a service that cannot be added stops all others", "src/kernel/execute.rs",
        "            | Op::QuiesceDestination(key, _) => self.services.contains(key),",
        "            | Op::QuiesceDestination(key, _) => self.services.iter().any(|it| it.vip == key.vip),",
    ),
    Mutant(
        "settings are restored although a VIP is still bound", "src/kernel/execute.rs",
        "            Op::Restore(_) => !self.bound.is_empty(),", "            Op::Restore(_) => false,",
    ),
    # What a node should have.
    Mutant(
        "a real server gets weight before its report", "src/desired/director.rs",
        "            if peers.get(name).is_some_and(|peer| peer.bound.contains(vip)) {",
        "            if peers.get(name).is_none_or(|peer| peer.bound.contains(vip)) {",
    ),
    Mutant(
        "a report that vanished takes the weight", "src/desired/director.rs",
        "                    && !(inputs.complete && has_report(real_server, inputs)) =>", "                    && !inputs.complete =>",
    ),
    Mutant(
        "a leaving destination with connections is deleted at once", "src/desired/director.rs",
        "        let dry = destination.weight == 0 && open == 0;", "        let dry = destination.weight == 0 || open == 0;",
    ),
    Mutant(
        "a UDP real server that is dead keeps its place", "src/desired/director.rs",
        "        Protocol::Udp => refusal.is_some_and(|refusal| refusal.reason == Reason::Draining),", "        Protocol::Udp => refusal.is_some(),",
    ),
    Mutant(
        "a VIP is unbound while a director sends packets for it", "src/desired/bind.rs",
        "        let director = self.peers.iter().find(|(_, peer)| sends(peer));", "        let director = self.peers.iter().find(|(_, peer)| sends(peer) && self.own.is_empty());",
    ),
    Mutant(
        "a stranger's VIP is bound", "src/desired/rivals.rs",
        "        Some(stranger) => Err(Unbound::Stranger(*stranger)),", "        Some(_) => Ok(()),",
    ),
    Mutant(
        "a VIP is bound before it was probed", "src/desired/rivals.rs",
        "            true => Err(Unbound::NotProbed),", "            true => Ok(()),",
    ),
    Mutant(
        "an address that is reserved on this node is bound", "src/desired/bind.rs",
        "    check_reserved(vip, inputs)?;\n", "    let _ = check_reserved(vip, inputs);\n",
    ),
    Mutant(
        "a served VIP is withdrawn because a node takes it for its own", "src/desired/admission.rs",
        "    reserved.retain(|vip, _| !has(*vip) && !snapshot.is_held(*vip));", "    reserved.retain(|vip, _| !has(*vip) || !snapshot.is_held(*vip));",
    ),
    Mutant(
        "a source that cannot be read removes what it asked for", "src/desired/node.rs",
        "    if !inputs.complete {\n        let net = Arc::make_mut(&mut desired.net);", "    if inputs.complete && inputs.snapshot.nodes.is_empty() {\n        let net = Arc::make_mut(&mut desired.net);",
    ),
    Mutant(
        "services go before the VIP has left the NIC", "src/desired/keep.rs",
        "                net.services.entry(*key).or_insert_with(|| service.clone());", "                let _ = service;",
    ),
    Mutant(
        "everybody's word of held VIPs counts", "src/desired/recent_directors.rs",
        "        reports.filter(|(name, _)| self.contains(name))", "        reports.filter(|(name, _)| self.contains(name) || !name.0.is_empty())",
    ),
    Mutant(
        "one lost frame and a real server is given up", "src/agent/neighbours.rs",
        "const GIVE_UP: u32 = 3;", "const GIVE_UP: u32 = 1;",
    ),
    Mutant(
        "queries to neighbours are not paced", "src/agent/neighbours/query_queue.rs",
        "        if self.first.is_empty() || now < self.free {", "        if self.first.is_empty() {",
    ),
    # Whole nodes, killed after any effect.
    Mutant(
        "the ledger is written after the ops", "src/agent/pass.rs",
        "        self.run_dir.save(&state.ledger)?;\n        if ops.is_empty() {\n            return Ok(());\n        }\n",
        "        if ops.is_empty() {\n            self.run_dir.save(&state.ledger)?;\n            return Ok(());\n        }\n",
        (*SIM, "crashes"),
    ),
    # The election of directors.
    Mutant("a claim after the first probe", "src/election/probing.rs", "if self.rounds < cx.timing.probes || self", "if self.rounds < 1 || self", ELECTION),
    Mutant(
        "an answer to a probe is ignored", "src/election/probing.rs",
        "            FrameKind::Confirmed => Some(Standby::behind(director, cx)),\n            FrameKind::Announced if cx.believes(director) => Some(Standby::behind(director, cx)),\n            FrameKind::Announced | FrameKind::Answered => {\n                self.suspect(mac, cx);",
        "            FrameKind::Confirmed => None,\n            FrameKind::Announced if cx.believes(director) => Some(Standby::behind(director, cx)),\n            FrameKind::Announced | FrameKind::Answered => {\n                self.suspect(mac, cx);",
        ELECTION,
    ),
    Mutant("a stranger's VIP is claimed", "src/election/probing.rs", "            return Some(Standby::blocked(cx));", "            let _ = Standby::blocked(cx);", ELECTION),
    Mutant(
        "directors are asked by broadcast only", "src/election/probing.rs",
        "            suspect.asked += 1;\n            cx.confirm(*mac);\n        }\n    }\n\n    pub fn due", "            suspect.asked += 1;\n        }\n    }\n\n    pub fn due", ELECTION,
    ),
    Mutant("a VIP found on the NIC is announced without a check", "src/election/holding.rs", "        State::Holding(Self::new(false, cx))", "        State::Holding(Self::new(true, cx))", ELECTION),
    Mutant(
        "an unsure holder announces", "src/election/holding.rs",
        "        if self.is_sure() && cx.now >= self.announcing.next {", "        if cx.now >= self.announcing.next {", ELECTION,
    ),
    Mutant("two holders ask each other for ever", "src/election/contest.rs", "        if cx.now >= self.since + patience {", "        if cx.now >= self.since + patience * 20 {", ELECTION),
    Mutant(
        "a holder agrees with two successors", "src/election/holding.rs",
        "                if self.is_sure() && !has_other && cx.would_give_to(director) {", "                if self.is_sure() && (!has_other || has_other) && cx.would_give_to(director) {", ELECTION,
    ),
    Mutant(
        "the predecessor yields before its successor has the VIP", "src/election/holding.rs",
        "                    self.look(cx.now);\n                    cx.ask_alone(mac);", "                    cx.ask_alone(mac);\n                    return Some(Yielding::start(Some(director), GiveCause::Outranked, cx));", ELECTION,
    ),
    Mutant(
        "a move without the holder's agreement", "src/election/moving.rs",
        "                self.has = true;\n                None", "                self.has = true;\n                Some(Claiming::planned(director, self.since, cx))", ELECTION,
    ),
    Mutant(
        "an unlabelled director drops its VIPs at once", "src/election/holding.rs",
        "        let is_over = !cx.is_wanted() || !cx.has_others() || cx.now >= until;", "        let is_over = !cx.is_wanted() || cx.has_others() || cx.now >= until;", ELECTION,
    ),
    Mutant("a claim before it is known who is up", "src/election/standby.rs", "        if !cx.peers.settled() {\n            // The change", "        if false {\n            // The change", ELECTION),
    Mutant("one unanswered question and a peer is down", "src/election/peers.rs", "        if self.misses >= timing.misses {", "        if self.misses >= 1 {", ELECTION),
    Mutant(
        "an answer to a broadcast proves that a peer is up", "src/election/peers.rs",
        "            self.mac = Some(mac);\n            self.asked = None;\n            self.due = now;\n        } else", "            self.mac = Some(mac);\n            self.asked = None;\n            self.due = now;\n            self.misses = 0;\n            self.liveness = Liveness::Up;\n        } else", ELECTION,
    ),
    Mutant("no hold-down", "src/election/context.rs", "        settled.max(self.common.steady).max(self.common.ask_again)", "        settled.min(self.common.steady).max(self.common.ask_again)", ELECTION),
    Mutant("a VIP stays on a NIC without carrier", "src/election/vip.rs", "            State::Holding(_) | State::Claiming(_) if !up => {", "            State::Claiming(_) if !up => {", ELECTION),
    Mutant("moves for preference while the sources cannot be read", "src/election/context.rs", "        self.config.fresh\n            && self.me()", "        self.me()", ELECTION),
    Mutant("a director that is not ready takes over at once", "src/election/context.rs", "            turn + self.timing.patience\n", "            turn\n", ELECTION),
    Mutant("nobody looks for rivals when a segment is whole again", "src/election/holding.rs", "            self.detection.next = now;\n            if self.is_sure() {", "            if self.is_sure() {", ELECTION),
    Mutant("standing still is not noticed", "src/election/vip.rs", "                holding.doubt(cx.now);\n                None", "                let _ = holding;\n                None", ELECTION),
    # Health of real servers.
    Mutant(
        "a real server gets connections before it passed a check", "src/desired/health.rs",
        "            Err(RealServerState::Unknown(shared(refusal, failures)))", "            drop(shared(refusal, failures));\n            Ok(())",
    ),
    Mutant(
        "an agent's start takes the weight of who was not checked yet", "src/desired/health.rs",
        "            Err(RealServerState::Unknown(shared(refusal, failures)))", "            Err(RealServerState::Unready(shared(refusal, failures)))",
    ),
    Mutant(
        "a real server that fails keeps its weight", "src/desired/health.rs",
        "                && let Err(other) = check(virtual_service, key, *address, inputs, desired)", "                && let Err(other @ RealServerState::Unknown(_)) = check(virtual_service, key, *address, inputs, desired)",
    ),
    Mutant("if all fail, nobody gets connections", "src/desired/health.rs", "        if !gives_some(key, &states, &differing, inputs) {", "        if false && !gives_some(key, &states, &differing, inputs) {"),
    Mutant(
        "the last terminating endpoint stops before another one is known to serve", "src/desired/health.rs",
        "                && !differing.contains_key(address)\n        };", "        };",
    ),
    Mutant(
        "those that fail get connections while another one is not known yet", "src/desired/health.rs",
        "            Some(RealServerState::Unknown(_) | RealServerState::Ready { .. }) => true,", "            Some(RealServerState::Ready { .. }) => true,",
    ),
    Mutant("one failed check takes the weight", "src/health/state.rs", "                if self.against < u32::from(timers.fall) {", "                if self.against < 1 {"),
    Mutant("failures count that are not in a row", "src/health/state.rs", "                self.against = 0;\n                false", "                false"),
    Mutant(
        "who fails again and again is believed at once", "src/health/state.rs",
        "u32::from(timers.rise) << self.doublings;", "u32::from(timers.rise);",
    ),
    Mutant(
        "an answer that came too late counts", "src/health/checks.rs",
        "        let Place::Asked(deadline) = entry.place else {\n            return None;\n        };", "        let deadline = match entry.place {\n            Place::Asked(at) | Place::Due(at) | Place::Urgent(at) => at,\n        };",
    ),
    Mutant(
        "an answer counts for whoever was asked last", "src/health/path_probe.rs",
        "            && answer.acknowledged == self.sequence.wrapping_add(1)\n", "",
    ),
    Mutant("SERVFAIL passes", "src/agent/health/application/dns.rs", "            Some(SERVFAIL) => return Ok(Err(Failure::ServerFailure)),\n", "            Some(SERVFAIL) => return Ok(Ok(())),\n"),
    Mutant(
        "an answer to another query counts", "src/health/dns.rs",
        "        let is_to_this = own_header.starts_with(&[id0, id1])", "        let is_to_this = own_header.starts_with(&[id0, id1]) | true",
    ),
    Mutant(
        "a check that this node could not make speaks against the real server", "src/agent/health.rs",
        "            None => state.checks.not_made(&check, now),", "            None => news |= state.checks.count(&check, Err(Failure::Closed), now, epoch) == Some(true),",
    ),
    Mutant(
        "a standby without services makes no checks", "src/desired/node.rs",
        "        let states = self.states(inputs, desired);\n        if holds || warm {\n", "        if holds || warm {\n        let states = self.states(inputs, desired);\n",
    ),
)
