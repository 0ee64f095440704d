//! Which destination gets the next connection. rr and wrr use the kernel's algorithms. The hashing ones do
//! without its tables, but choose the same destination for the same client and change little when destinations do.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use crate::model::{Destination, Flag, Scheduler};

use super::table::{Entry, Flow, Turn};

/// Chooses a destination whose weight is not 0, given the connection counts.
pub(super) fn pick(
    entry: &mut Entry,
    flow: Flow,
    counts: &BTreeMap<IpAddr, u32>,
) -> Option<IpAddr> {
    let all = &entry.destinations;
    let count = |ip: &IpAddr| u64::from(counts.get(ip).copied().unwrap_or(0));
    let weighted = || all.iter().filter(|(_, destination)| destination.weight > 0);
    // The destination with the least `cost / weight`, the first one of equals.
    let least = |cost: &dyn Fn(&IpAddr) -> u64, by_weight: bool| {
        let mut best: Option<(u64, u64, IpAddr)> = None;
        for (ip, destination) in weighted() {
            let weight = if by_weight {
                u64::from(destination.weight)
            } else {
                1
            };
            let cost = cost(ip);
            if best.is_none_or(|(least, its, _)| cost * its < least * weight) {
                best = Some((cost, weight, *ip));
            }
        }
        best.map(|(_, _, ip)| ip)
    };
    match entry.settings.scheduler {
        Scheduler::Rr => {
            let index = round(all, &mut entry.turn)?;
            all.get(index).map(|(ip, _)| *ip)
        }
        Scheduler::Wrr => {
            let index = weighted_round(all, &mut entry.turn)?;
            all.get(index).map(|(ip, _)| *ip)
        }
        Scheduler::Lc => least(&count, false),
        Scheduler::Wlc | Scheduler::Lblc | Scheduler::Lblcr => least(&count, true),
        Scheduler::Sed => least(&|ip| count(ip) + 1, true),
        Scheduler::Nq => weighted()
            .map(|(ip, _)| *ip)
            .find(|ip| count(ip) == 0)
            .or_else(|| least(&|ip| count(ip) + 1, true)),
        Scheduler::Fo => heaviest(weighted()),
        Scheduler::Ovf => heaviest(
            weighted().filter(|(ip, destination)| count(ip) < u64::from(destination.weight)),
        ),
        Scheduler::Dh => {
            hashed(places(entry), flow.service.vip, 0).filter(|ip| has_weight(all, *ip))
        }
        Scheduler::Sh | Scheduler::Mh => {
            let port = if entry.settings.flags.contains(&Flag::Port) {
                flow.client_port
            } else {
                0
            };
            let first = hashed(places(entry), flow.client, port);
            match first.filter(|ip| has_weight(all, *ip)) {
                None if entry.settings.flags.contains(&Flag::Fallback) => {
                    hashed(weights(all), flow.client, port)
                }
                chosen => chosen,
            }
        }
        Scheduler::Other(_) => None,
    }
}

fn round(all: &[(IpAddr, Destination)], turn: &mut Turn) -> Option<usize> {
    let first = turn.last.map_or(0, |last| last + 1);
    let index = (0..all.len())
        .map(|step| (first + step) % all.len())
        .find(|index| all.get(*index).is_some_and(|(_, d)| d.weight > 0))?;
    turn.last = Some(index);
    Some(index)
}

/// `ip_vs_wrr_schedule`: rounds with a threshold that falls by the weights' greatest common divisor.
fn weighted_round(all: &[(IpAddr, Destination)], turn: &mut Turn) -> Option<usize> {
    let weights = || all.iter().map(|(_, destination)| destination.weight);
    let most = weights().max().filter(|most| *most > 0)?;
    let step = weights().filter(|weight| *weight > 0).fold(0, gcd);
    turn.weight = turn.weight.min(most);
    loop {
        let next = turn.last.map_or(0, |last| last + 1) % all.len();
        if next == 0 || turn.weight == 0 {
            turn.weight = if turn.weight > step {
                turn.weight - step
            } else {
                most
            };
        }
        turn.last = Some(next);
        if all.get(next).is_some_and(|(_, d)| d.weight >= turn.weight) {
            return Some(next);
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn heaviest<'a>(from: impl Iterator<Item = &'a (IpAddr, Destination)>) -> Option<IpAddr> {
    let mut best: Option<(u32, IpAddr)> = None;
    for (ip, destination) in from {
        if best.is_none_or(|(weight, _)| destination.weight > weight) {
            best = Some((destination.weight, *ip));
        }
    }
    best.map(|(_, ip)| ip)
}

/// The weights to hash with: a quiesced destination keeps its last one (`last_weight`, net/netfilter/ipvs/ip_vs_mh.c).
fn places(entry: &Entry) -> impl Iterator<Item = (IpAddr, u32)> {
    entry.places.iter().map(|(ip, weight)| (*ip, *weight))
}

fn weights(all: &[(IpAddr, Destination)]) -> impl Iterator<Item = (IpAddr, u32)> {
    let weights = all.iter();
    weights.map(|(ip, destination)| (*ip, destination.weight))
}

fn has_weight(all: &[(IpAddr, Destination)], ip: IpAddr) -> bool {
    weights(all).any(|(one, weight)| one == ip && weight > 0)
}

/// Weighted rendezvous: of all hashes of (destination, n < weight, client) the greatest wins.
fn hashed(from: impl Iterator<Item = (IpAddr, u32)>, client: IpAddr, port: u16) -> Option<IpAddr> {
    from.flat_map(|(ip, weight)| (0..weight.min(1024)).map(move |n| (ip, n)))
        .max_by_key(|(ip, n)| {
            // DefaultHasher::new has fixed keys: the same choice in every run.
            let mut hasher = DefaultHasher::new();
            (ip, n, client, port).hash(&mut hasher);
            hasher.finish()
        })
        .map(|(ip, _)| ip)
}
