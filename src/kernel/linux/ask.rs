//! Questions to a segment: who has these VIPs, and where are these neighbours?

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    model::Mac,
    wire::{Message, Received, Request, Sender},
};

use super::packet::LinkSocket;

/// A message, and the address it is sent from.
type Outgoing = (Option<IpAddr>, Message);

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
    socket: &LinkSocket,
    vips: &BTreeSet<IpAddr>,
    own: &BTreeSet<Mac>,
) -> io::Result<BTreeMap<IpAddr, BTreeSet<Mac>>> {
    let mut claims: BTreeMap<IpAddr, BTreeSet<Mac>> = BTreeMap::new();
    let probes: Vec<Outgoing> = vips
        .iter()
        .map(|vip| (None, question(*vip, Sender::Unspecified)))
        .collect();
    ask(socket, &probes, PROBE_INTERVAL, |heard| {
        if let Some(vip) = heard.claims().filter(|claimed| vips.contains(claimed))
            && !own.contains(&heard.from)
        {
            claims.entry(vip).or_default().insert(heard.from);
        }
        // A second answer is as telling as the first: listen to the end.
        false
    })?;
    Ok(claims)
}

/// Resolves neighbours, each asked for from the source address that goes with it, if any. Who does not answer is left out.
pub fn resolve(
    socket: &LinkSocket,
    neighbours: &BTreeMap<IpAddr, Option<IpAddr>>,
) -> io::Result<BTreeMap<IpAddr, Mac>> {
    let mut found = BTreeMap::new();
    let questions: Vec<Outgoing> = neighbours
        .iter()
        .map(|(ip, source)| {
            let sender = source.map_or(Sender::Unspecified, |_| Sender::Own);
            (*source, question(*ip, sender))
        })
        .collect();
    ask(socket, &questions, RESOLVE_INTERVAL, |heard| {
        if let Some(ip) = heard.has.filter(|ip| neighbours.contains_key(ip))
            && heard.from != socket.mac()
        {
            found.entry(ip).or_insert(heard.from);
        }
        found.len() == neighbours.len()
    })?;
    Ok(found)
}

/// Asks everybody.
fn question(about: IpAddr, sender: Sender) -> Message {
    Message::Request(Request {
        about,
        to: None,
        sender,
    })
}

/// Sends every question in every round, `interval` apart, and hands all that is heard to `take`, until it is content or the time is up.
fn ask(
    socket: &LinkSocket,
    questions: &[Outgoing],
    interval: Duration,
    mut take: impl FnMut(&Received) -> bool,
) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let mut listen = |until| -> io::Result<bool> {
            while let Some(heard) = socket.receive(until)? {
                if take(&heard) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let start = Instant::now();
        for burst in questions.chunks(BURST) {
            for (own, question) in burst {
                socket.send(*own, question)?;
            }
            if questions.len() > BURST && listen(Instant::now() + PAUSE)? {
                return Ok(());
            }
        }
        // After a long list, the last questions of a round still get their full interval.
        let sent = if questions.len() > BURST {
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
