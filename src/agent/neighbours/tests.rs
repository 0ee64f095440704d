use super::*;
use crate::{
    kernel::OpError,
    model::{Dev, Mac, Observed},
    plan::Op,
};

/// A kernel that answers as set and counts the queries.
#[derive(Default)]
struct Ether {
    alive: bool,
    rival: bool,
    /// On an interface that cannot send.
    unaskable: Option<IpAddr>,
    resolved: usize,
    probed: usize,
}

impl Kernel for Ether {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(Observed::default())
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        ops.iter().map(|_| Ok(())).collect()
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        self.resolved += addresses.len();
        let reach = if self.alive {
            Reach::Neighbour {
                dev: eth0(),
                mac: MAC,
            }
        } else {
            Reach::Silent { dev: eth0() }
        };
        let answer = |address: &IpAddr| match self.unaskable {
            Some(it) if it == *address => Err(failure("no buffer space")),
            Some(_) | None => Ok(reach.clone()),
        };
        let answers = addresses.iter().map(|it| (*it, answer(it)));
        answers.collect()
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        self.probed += targets.len();
        let macs: BTreeSet<Mac> = self.rival.then_some(MAC).into_iter().collect();
        let answer = Answer { macs };
        targets
            .iter()
            .map(|key| (key.clone(), Ok(answer.clone())))
            .collect()
    }
}

fn failure(cause: &str) -> KernelError {
    KernelError {
        doing: "resolve".to_owned(),
        cause: cause.to_owned(),
    }
}

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn eth0() -> Dev {
    "eth0".parse().unwrap()
}

fn server() -> IpAddr {
    [10, 0, 0, 5].into()
}

fn vip() -> AddressKey {
    AddressKey::new(eth0(), [10, 0, 0, 100].into())
}

fn reach_only() -> Questions {
    Questions {
        reach: [server()].into(),
        ..Questions::default()
    }
}

/// Sends all queries at once.
fn sense(wire: &mut NeighbourCache, ether: &mut Ether, questions: &Questions, now: Duration) {
    let (mut queries, due) = wire.questions(questions, now);
    queries.extend(due);
    let (told, result) = queries.ask(ether);
    result.unwrap();
    wire.hear(told, now);
}

fn is_neighbour(wire: &NeighbourCache) -> bool {
    matches!(
        wire.evidence().reach.get(&server()),
        Some(Reach::Neighbour { .. })
    )
}

#[test]
fn a_neighbour_is_asked_again_after_a_while_and_given_up_only_after_three_silences() {
    let (mut wire, mut ether) = (
        NeighbourCache::default(),
        Ether {
            alive: true,
            ..Ether::default()
        },
    );
    let at = |seconds: u64, ether: &mut Ether, wire: &mut NeighbourCache| {
        sense(wire, ether, &reach_only(), Duration::from_secs(seconds));
    };
    at(0, &mut ether, &mut wire);
    at(29, &mut ether, &mut wire);
    assert_eq!(ether.resolved, 1, "asked again too early");
    ether.alive = false;
    at(30, &mut ether, &mut wire);
    assert!(is_neighbour(&wire), "given up after one silence");
    assert_eq!(wire.next_due(), Some(Duration::from_secs(31)));
    at(31, &mut ether, &mut wire);
    assert!(is_neighbour(&wire), "given up after two");
    at(32, &mut ether, &mut wire);
    assert!(!is_neighbour(&wire), "kept after three");
    ether.alive = true;
    at(37, &mut ether, &mut wire);
    assert!(is_neighbour(&wire), "not taken back");
}

#[test]
fn an_interface_that_cannot_send_hides_no_other_s_answers() {
    let far: IpAddr = [10, 1, 0, 5].into();
    let (mut wire, mut ether) = (
        NeighbourCache::default(),
        Ether {
            alive: true,
            ..Ether::default()
        },
    );
    let questions = Questions {
        reach: [server(), far].into(),
        ..Questions::default()
    };
    sense(&mut wire, &mut ether, &questions, Duration::ZERO);
    (ether.alive, ether.unaskable) = (false, Some(far));
    for seconds in 30..=32 {
        let now = Duration::from_secs(seconds);
        let (_, due) = wire.questions(&questions, now);
        let (told, result) = due.ask(&mut ether);
        assert_eq!(result.is_err(), seconds == 30, "asked again after {LOST:?}");
        wire.hear(told, now);
    }
    assert!(!is_neighbour(&wire), "given up after three silences");
    let far = &wire.evidence().reach[&far];
    assert!(matches!(far, Reach::Neighbour { .. }), "{far:?}");
}

#[test]
fn what_could_not_be_asked_is_new_again_and_what_waits_for_its_turn_is_not() {
    let mut wire = NeighbourCache::default();
    let questions = Questions {
        reach: [server()].into(),
        silence: [vip()].into(),
    };
    let (new, _) = wire.questions(&questions, Duration::ZERO);
    assert_eq!((new.reach.len(), new.probes.len()), (1, 1));
    let nothing = (NeighbourQueries::default(), NeighbourQueries::default());
    assert_eq!(wire.questions(&questions, Duration::from_secs(1)), nothing);
    assert_eq!(wire.evidence(), WireEvidence::default(), "no answer yet");
    let probes = NeighbourQueries {
        probes: [vip()].into(),
        ..NeighbourQueries::default()
    };
    wire.could_not_ask(&probes);
    let (new, due) = wire.questions(&questions, Duration::from_secs(1));
    assert_eq!((new, due.is_empty()), (probes, true));
    assert_eq!(wire.next_due(), Some(LOST));
}

#[test]
fn an_answer_in_between_starts_the_count_again() {
    let (mut wire, mut ether) = (NeighbourCache::default(), Ether::default());
    for (seconds, alive) in [
        (0, true),
        (30, false),
        (31, false),
        (32, true),
        (62, false),
        (63, false),
    ] {
        ether.alive = alive;
        let now = Duration::from_secs(seconds);
        sense(&mut wire, &mut ether, &reach_only(), now);
        assert!(is_neighbour(&wire), "given up at {seconds} s");
    }
}

#[test]
fn who_never_answered_is_silent_at_once() {
    let (mut wire, mut ether) = (NeighbourCache::default(), Ether::default());
    sense(&mut wire, &mut ether, &reach_only(), Duration::ZERO);
    assert_eq!(
        wire.evidence().reach.get(&server()),
        Some(&Reach::Silent { dev: eth0() })
    );
}

#[test]
fn whoever_answers_for_a_vip_that_should_be_silent_is_asked_again_soon() {
    let (mut wire, mut ether) = (NeighbourCache::default(), Ether::default());
    let questions = Questions {
        silence: [vip()].into(),
        ..Questions::default()
    };
    let rounds = [
        (0, false, 1),
        (29, true, 1),
        (30, true, 2),
        (34, true, 2),
        (35, false, 3),
        (40, false, 3),
    ];
    for (seconds, rival, probed) in rounds {
        ether.rival = rival;
        let now = Duration::from_secs(seconds);
        sense(&mut wire, &mut ether, &questions, now);
        assert_eq!(ether.probed, probed, "at {seconds} s");
    }
    assert_eq!(wire.evidence().answers[&vip().ip], Answer::default());
}

#[test]
fn what_nobody_asks_about_is_forgotten() {
    let (mut wire, mut ether) = (
        NeighbourCache::default(),
        Ether {
            alive: true,
            ..Ether::default()
        },
    );
    sense(&mut wire, &mut ether, &reach_only(), Duration::ZERO);
    sense(&mut wire, &mut ether, &Questions::default(), Duration::ZERO);
    assert_eq!(wire.evidence(), WireEvidence::default());
    assert_eq!(wire.next_due(), None);
}

#[test]
fn who_is_doubted_is_asked_again_soon_and_no_sooner_for_more_doubt() {
    let mut wire = NeighbourCache::default();
    let mut ether = Ether {
        alive: true,
        ..Ether::default()
    };
    sense(&mut wire, &mut ether, &reach_only(), Duration::ZERO);
    wire.doubt(&[server()].into(), Duration::from_secs(1));
    wire.doubt(&[server()].into(), Duration::from_secs(4));
    assert_eq!(wire.next_due(), Some(Duration::from_secs(6)));
}
