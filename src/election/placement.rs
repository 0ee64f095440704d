//! Who should hold which VIP: rendezvous hashing with bounded load.
//!
//! Every VIP ranks its directors by [`score`]; a director takes the VIPs that score it highest, but no more than its
//! bound: 1.25 times its fair share, rounded up. The fair share is the mean where all VIPs may be anywhere; a VIP whose
//! selector narrows its directors counts in their shares alone. A VIP that a director refuses goes to its next choice.
//! Both sides rank by the same scores, so there is one outcome in any order (Gale and Shapley's deferred acceptance): a
//! director that comes or goes moves only the VIPs that it gets or had, and the few that the bound passes on.
//!
//! A preferred director gets its VIP whatever its load; such VIPs fill its bound first, so it gets fewer of the others.
//! Before preference and load come two questions, in this order: a director that cannot serve everything behind a VIP comes
//! after all that can, and a cordoned one after those that are not. So a cordoned director keeps a VIP that no other one
//! serves completely, because giving it away would cost requests, which a planned move must not.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::IpAddr,
};

use crate::model::NodeName;

use super::hash::score;

/// A VIP to be placed.
#[derive(Clone, Debug)]
pub struct PlacementInput<'a> {
    /// The VIP.
    pub vip: IpAddr,
    /// The directors that may hold it, cordoned ones too.
    pub eligible: Vec<&'a NodeName>,
    /// Those of them that cannot serve everything behind it.
    pub incomplete: Vec<&'a NodeName>,
    /// `spec.directors.preferred`.
    pub preferred: Option<&'a NodeName>,
}

/// Where the VIPs should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement<'a> {
    /// Per VIP all its eligible directors: the one that should hold it, its successor, then the others, best first.
    pub orders: BTreeMap<IpAddr, Vec<&'a NodeName>>,
    /// Hashes computed: one for each VIP and eligible director.
    pub hashes: usize,
}

impl<'a> Placement<'a> {
    /// The director that should hold `vip`.
    pub fn first(&self, vip: IpAddr) -> Option<&'a NodeName> {
        self.order(vip).first().copied()
    }

    /// The directors of `vip`, best first.
    pub fn order(&self, vip: IpAddr) -> &[&'a NodeName] {
        self.orders.get(&vip).map_or(&[], Vec::as_slice)
    }
}

/// Places all VIPs: the same answer on every node.
pub fn place<'a>(
    placement_inputs: &[PlacementInput<'a>],
    cordoned: &BTreeSet<NodeName>,
) -> Placement<'a> {
    let names: BTreeSet<&NodeName> = placement_inputs
        .iter()
        .flat_map(|input| &input.eligible)
        .copied()
        .collect();
    let names: Vec<&NodeName> = names.into_iter().collect();
    let mut hashes = 0;
    let vips: BTreeMap<IpAddr, Ranked> = placement_inputs
        .iter()
        .map(|input| (input.vip, Ranked::new(input, &names, cordoned, &mut hashes)))
        .collect();
    let ranked: Vec<&Ranked> = vips.values().collect();
    let winners = assign(&ranked, names.len(), None);
    // The holder of each VIP as if its winner were not there. When a winner goes, its VIPs go to these successors, and
    // do not move again when the placement is computed without it.
    let mut successors = vec![None; ranked.len()];
    for gone in 0..names.len() {
        if !winners.contains(&Some(gone)) {
            continue;
        }
        let without = assign(&ranked, names.len(), Some(gone));
        for ((successor, winner), next) in successors.iter_mut().zip(&winners).zip(without) {
            if *winner == Some(gone) {
                *successor = next;
            }
        }
    }
    let orders = vips.iter().zip(winners.iter().zip(&successors)).map(
        |((vip, ranked), (winner, successor))| {
            let first = winner.iter().chain(successor).copied();
            let by_score = ranked
                .choices
                .iter()
                .chain(&ranked.reserve)
                .map(|choice| choice.director);
            let rest = by_score
                .filter(|director| Some(*director) != *winner && Some(*director) != *successor);
            (
                *vip,
                first.chain(rest).map(|director| names[director]).collect(),
            )
        },
    );
    Placement {
        orders: orders.collect(),
        hashes,
    }
}

/// A VIP's directors, best first.
struct Ranked {
    /// Those of the best grade.
    choices: Vec<Choice>,
    /// All others: one of them holds the VIP only where each of the `choices` fails.
    reserve: Vec<Choice>,
    preferred: Option<usize>,
}

#[derive(Clone, Copy)]
struct Choice {
    score: u64,
    director: usize,
}

/// What comes before preference, load and score; the least is the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Grade {
    incomplete: bool,
    cordoned: bool,
}

impl Ranked {
    fn new(
        input: &PlacementInput<'_>,
        names: &[&NodeName],
        cordoned: &BTreeSet<NodeName>,
        hashes: &mut usize,
    ) -> Self {
        let eligible: BTreeSet<usize> = input
            .eligible
            .iter()
            .filter_map(|name| names.binary_search(name).ok())
            .collect();
        *hashes += eligible.len();
        let grade = |director: usize| Grade {
            incomplete: input.incomplete.contains(&names[director]),
            cordoned: cordoned.contains(names[director]),
        };
        let best = eligible.iter().copied().map(grade).min();
        let choice = |director: usize| Choice {
            score: score(input.vip, names[director]),
            director,
        };
        let (mut choices, mut reserve): (Vec<Choice>, Vec<Choice>) = eligible
            .into_iter()
            .map(choice)
            .partition(|choice| Some(grade(choice.director)) == best);
        let preferred = input
            .preferred
            .and_then(|name| names.binary_search(&name).ok());
        choices.sort_by_key(|choice| Reverse((choice.score, choice.director)));
        reserve.sort_by_key(|choice| {
            let is_preferred = Some(choice.director) == preferred;
            let by_score = Reverse((is_preferred, choice.score, choice.director));
            (grade(choice.director), by_score)
        });
        let preferred = preferred
            .filter(|preferred| choices.iter().any(|choice| choice.director == *preferred));
        Self {
            choices,
            reserve,
            preferred,
        }
    }
}

/// One VIP in the fixed-point unit of shares.
const WHOLE: u64 = 1 << 32;

/// The holder of each VIP, as if `gone` were not there.
fn assign(vips: &[&Ranked], directors: usize, gone: Option<usize>) -> Vec<Option<usize>> {
    let open = |choice: &&Choice| Some(choice.director) != gone;
    let mut shares = vec![0_u64; directors];
    let mut holders = vec![None; vips.len()];
    let mut pinned = vec![0_u64; directors];
    for (vip, holder) in vips.iter().zip(&mut holders) {
        let open_choices = vip.choices.iter().filter(open);
        let count = open_choices.clone().count().max(1) as u64;
        for choice in open_choices {
            shares[choice.director] += WHOLE / count;
        }
        if let Some(preferred) = vip.preferred.filter(|preferred| Some(*preferred) != gone) {
            pinned[preferred] += 1;
            *holder = Some(preferred);
        }
    }
    let room: Vec<usize> = shares
        .iter()
        .zip(&pinned)
        .map(|(share, pinned)| (share * 5).div_ceil(WHOLE * 4).saturating_sub(*pinned) as usize)
        .collect();

    // Per director the VIPs that it has, the one with the lowest score on top.
    let mut taken: Vec<BinaryHeap<(Reverse<u64>, usize)>> = vec![BinaryHeap::new(); directors];
    let mut tried = vec![0_usize; vips.len()];
    let mut looking: Vec<usize> = (0..vips.len())
        .filter(|vip| holders[*vip].is_none())
        .collect();
    while let Some(vip) = looking.pop() {
        let Some(choice) = vips[vip].choices.iter().filter(open).nth(tried[vip]) else {
            // All its directors refused it, which only narrow selectors cause: the best one takes it above its bound.
            holders[vip] = vips[vip]
                .choices
                .iter()
                .find(open)
                .map(|choice| choice.director);
            continue;
        };
        tried[vip] += 1;
        let taken = &mut taken[choice.director];
        taken.push((Reverse(choice.score), vip));
        if taken.len() > room[choice.director] {
            looking.extend(taken.pop().map(|(_, refused)| refused));
        }
    }
    for (director, taken) in taken.iter().enumerate() {
        for (_, vip) in taken {
            holders[*vip] = Some(director);
        }
    }
    holders
}
