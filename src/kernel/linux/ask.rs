//! Questions to a segment: who has these VIPs, and where are these neighbours?

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    model::Mac,
    wire::arp::{Frame, Packet},
};

use super::packet::ArpSocket;

/// How often a question is asked. RFC 5227 asks three times within three to seven seconds, for networks of any kind; on the
/// segments that directway serves, a host that is there answers within milliseconds.
const ROUNDS: u32 = 3;
/// From one probe to the next, and from the last one to the end: a claim waits that long, and clients with it. Held VIPs are
/// probed again and again, so who was too slow to answer is found out later.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);
/// The same for neighbours. Answers end the waiting, so only a missing one takes the time.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(100);
/// Frames sent at once, and the pause after them: some ten thousand questions per second at most.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(4);

/// Probes for `vips`: per VIP, the MACs of everybody who has it or is about to take it. `own` MACs don't count.
pub fn probe(
    socket: &ArpSocket,
    vips: &BTreeSet<Ipv4Addr>,
    own: &BTreeSet<Mac>,
) -> io::Result<BTreeMap<Ipv4Addr, BTreeSet<Mac>>> {
    let mut claims: BTreeMap<Ipv4Addr, BTreeSet<Mac>> = BTreeMap::new();
    let frames: Vec<Frame> = vips
        .iter()
        .map(|vip| Frame::probe(socket.mac(), *vip))
        .collect();
    ask(socket, &frames, PROBE_INTERVAL, |packet| {
        for ip in [packet.sender_ip, packet.target_ip] {
            if vips.contains(&ip) && packet.claims(ip) && !own.contains(&packet.sender_mac) {
                claims.entry(ip).or_default().insert(packet.sender_mac);
            }
        }
        // A second answer is as telling as the first: listen to the end.
        false
    })?;
    Ok(claims)
}

/// Resolves neighbours, each asked for with the source address that goes with it. Who does not answer is left out.
pub fn resolve(
    socket: &ArpSocket,
    neighbours: &BTreeMap<Ipv4Addr, Ipv4Addr>,
) -> io::Result<BTreeMap<Ipv4Addr, Mac>> {
    let mut found = BTreeMap::new();
    let frames: Vec<Frame> = neighbours
        .iter()
        .map(|(ip, source)| Frame::resolve(socket.mac(), *source, *ip))
        .collect();
    ask(socket, &frames, RESOLVE_INTERVAL, |packet| {
        if neighbours.contains_key(&packet.sender_ip) && packet.sender_mac != socket.mac() {
            found.entry(packet.sender_ip).or_insert(packet.sender_mac);
        }
        found.len() == neighbours.len()
    })?;
    Ok(found)
}

/// Announces `vips`, once each.
pub fn announce(socket: &ArpSocket, vips: &BTreeSet<Ipv4Addr>) -> io::Result<()> {
    for (index, vip) in vips.iter().enumerate() {
        if index > 0 && index % BURST == 0 {
            std::thread::sleep(PAUSE);
        }
        socket.send(&Frame::announcement(socket.mac(), *vip))?;
    }
    Ok(())
}

/// Sends every question in every round, `interval` apart, and hands all that is heard to `take`, until it is content or the time is up.
fn ask(
    socket: &ArpSocket,
    frames: &[Frame],
    interval: Duration,
    mut take: impl FnMut(&Packet) -> bool,
) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let mut listen = |until| -> io::Result<bool> {
            while let Some(packet) = socket.receive(until)? {
                if take(&packet) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let start = Instant::now();
        for burst in frames.chunks(BURST) {
            burst.iter().try_for_each(|frame| socket.send(frame))?;
            if frames.len() > BURST && listen(Instant::now() + PAUSE)? {
                return Ok(());
            }
        }
        // After a long list, the last questions of a round still get their full interval.
        let sent = if frames.len() > BURST {
            Instant::now()
        } else {
            start
        };
        if listen(sent + interval)? {
            return Ok(());
        }
    }
    Ok(())
}
