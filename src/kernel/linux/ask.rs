//! Requests on a segment: which hosts have these VIPs, and what are the MACs of these neighbours?

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

/// The address it is sent from, if any, and the message.
type Outgoing = (Option<IpAddr>, Message);

/// How often each question is sent. RFC 5227 asks three times within three to seven seconds, for networks of any kind;
/// on the segments that directway serves, a host answers within milliseconds.
const ROUNDS: u32 = 3;
/// The time from one probe to the next, and after the last one. The caller waits for all of them. Agents repeat their
/// probes, so a host that was too slow to answer is found the next time.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);
/// The same for neighbours. The waiting ends when all have answered, so only a missing answer takes the time.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(100);
/// Frames sent at once, and the pause after them: at most 16,000 questions per second.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(4);

/// Probes for `vips`: per VIP, the MACs of all hosts that have it or are about to take it. `own` MACs don't count.
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
        // More hosts may answer, so listen to the end.
        false
    })?;
    Ok(claims)
}

/// Resolves neighbours, each with its sender address for the request, if any. Those that don't answer are left out.
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

/// A request to all hosts.
fn question(about: IpAddr, sender: Sender) -> Message {
    Message::Request(Request {
        about,
        to: None,
        sender,
    })
}

/// Sends all questions in every round, and gives every frame to `take`, until that returns true or the time is up.
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
