use super::*;
use crate::{health::Target, model::CheckTimers};

fn path(last: u8) -> Check {
    of_vip(last, 100)
}

fn of_vip(last: u8, vip: u8) -> Check {
    Check {
        address: [10, 0, 0, last].into(),
        target: Target::Path {
            vip: [10, 0, 0, vip].into(),
            port: 80,
        },
        timers: CheckTimers::DEFAULT,
    }
}

fn is_down(checks: &Checks, check: &Check) -> bool {
    matches!(checks.verdict(check), Verdict::Down(_))
}

fn wanted(last: std::ops::Range<u8>, holds: bool) -> Wanted {
    last.map(|last| (path(last), holds)).collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Answers all checks that are due at `now`; returns how many there were.
fn answer(checks: &mut Checks, now: Duration, result: &Result<(), Failure>) -> usize {
    let due = checks.take(now, 0, usize::MAX);
    for check in &due.make {
        checks.count(check, result.clone(), now, 0);
    }
    due.make.len()
}

#[test]
fn a_new_check_is_made_at_once_and_then_once_in_an_interval() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(1..3, true), ms(5));
    assert_eq!(checks.next(), Some(ms(5)));
    assert_eq!(checks.verdict(&path(1)), Verdict::Unknown);
    assert_eq!(answer(&mut checks, ms(5), &Ok(())), 2);
    assert_eq!(checks.verdict(&path(1)), Verdict::Up);
    let made: usize = (0..2_000)
        .map(|tick| answer(&mut checks, ms(6 + tick * 10), &Ok(())))
        .sum();
    assert!((18..=23).contains(&made), "{made} in 20 s");
}

#[test]
fn a_standby_checks_less_often_until_it_holds_the_vip() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(1..2, false), ms(0));
    answer(&mut checks, ms(0), &Ok(()));
    let next = checks.next().unwrap();
    assert!((ms(5400)..=ms(6600)).contains(&next), "{next:?}");
    checks.want(&wanted(1..2, true), ms(100));
    assert_eq!(checks.next(), Some(ms(2100)));
}

#[test]
fn what_is_not_answered_in_time_counts_as_failed_and_later_answers_do_not_count() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(1..2, true), ms(0));
    for failures in 1..=3 {
        let now = checks.next().unwrap();
        assert_eq!(checks.take(now, 0, 10).make, [path(1)]);
        let deadline = checks.next().unwrap();
        assert_eq!(deadline, now + ms(1000));
        let due = checks.take(deadline, 5, 10);
        assert_eq!((due.expired, due.changed), (vec![path(1)], failures == 3));
        assert_eq!(checks.count(&path(1), Ok(()), deadline, 6), None, "late");
    }
    let Verdict::Down(down) = checks.verdict(&path(1)) else {
        panic!("{checks:?}");
    };
    assert_eq!((&down.failure, down.since), (&Failure::NoAnswer(1000), 5));
}

/// As long as docs/health.md says.
#[test]
fn who_falls_silent_is_down_after_three_intervals_and_one_timeout() {
    for seed in 1..50 {
        let mut checks = Checks::new(seed);
        checks.want(&wanted(1..2, true), ms(0));
        answer(&mut checks, ms(0), &Ok(()));
        let mut now = ms(0);
        while !is_down(&checks, &path(1)) {
            now = checks.next().unwrap();
            checks.take(now, 0, 1);
        }
        assert!(now <= ms(3 * 2200 + 1000), "{now:?}");
    }
}

#[test]
fn a_check_that_was_never_passed_is_repeated_soon() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(1..2, false), ms(0));
    answer(&mut checks, ms(0), &Err(Failure::Closed));
    let next = checks.next().unwrap();
    assert!(next <= ms(275), "{next:?}");
}

#[test]
fn a_check_that_could_not_be_made_says_nothing() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(1..2, true), ms(0));
    for _ in 0..5 {
        let now = checks.next().unwrap();
        assert_eq!(checks.take(now, 0, 1).make, [path(1)]);
        checks.not_made(&path(1), now);
        assert_eq!(checks.next(), Some(now + ms(2000)));
    }
    assert_eq!(checks.verdict(&path(1)), Verdict::Unknown);
}

#[test]
fn where_there_are_too_many_each_has_its_turn() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(0..200, true), ms(0));
    assert_eq!(answer(&mut checks, ms(0), &Ok(())), 200);
    let mut made: BTreeMap<Check, usize> = BTreeMap::new();
    for tick in 0..600 {
        let now = ms(2300 + tick * 100);
        for check in checks.take(now, 0, 5).make {
            checks.count(&check, Ok(()), now, 0);
            *made.entry(check).or_default() += 1;
        }
    }
    // 3,000 turns instead of the 6,000 that they would like.
    assert_eq!(made.values().sum::<usize>(), 3_000);
    let least = made.values().min().unwrap();
    assert!(made.len() == 200 && *least >= 13, "{least}");
}

#[test]
fn what_is_not_wanted_any_more_is_forgotten_even_while_it_is_being_made() {
    let mut checks = Checks::new(7);
    checks.want(&wanted(1..4, true), ms(0));
    assert_eq!(checks.take(ms(0), 0, 2).make.len(), 3);
    checks.want(&wanted(2..3, true), ms(0));
    assert_eq!(checks.count(&path(1), Ok(()), ms(1), 0), None);
    assert_eq!(checks.count(&path(2), Ok(()), ms(1), 0), Some(true));
    checks.want(&Wanted::new(), ms(2));
    assert_eq!((checks.next(), checks.entries.len()), (None, 0));
}

#[test]
fn what_was_never_checked_does_not_wait_behind_what_was() {
    let mut checks = Checks::new(7);
    let old: Wanted = (0..200).map(|vip| (of_vip(1, vip), true)).collect();
    checks.want(&old, ms(0));
    answer(&mut checks, ms(0), &Ok(()));
    let mut more = old;
    more.insert(path(2), true);
    checks.want(&more, ms(60_000));
    assert_eq!(checks.take(ms(60_000), 0, 1).make, [path(2)]);
}

#[test]
fn one_failing_check_of_a_real_server_makes_its_others_urgent_and_they_share_the_time() {
    let mut checks = Checks::new(7);
    let server: Wanted = (0..100).map(|vip| (of_vip(1, vip), true)).collect();
    let mut all = server.clone();
    all.extend((0..100).map(|vip| (of_vip(2, vip), true)));
    checks.want(&all, ms(0));
    answer(&mut checks, ms(0), &Ok(()));
    // With two checks each tick, a round of all takes ten seconds; the first real server dies.
    let mut now = ms(2300);
    let mut first = None;
    while !server.keys().all(|check| is_down(&checks, check)) {
        let epoch = i64::try_from(now.as_secs()).unwrap();
        for check in checks.take(now, epoch, 2).make {
            let result = match server.contains_key(&check) {
                true => Err(Failure::Closed),
                false => Ok(()),
            };
            checks.count(&check, result, now, epoch);
        }
        if server.keys().any(|check| is_down(&checks, check)) {
            first.get_or_insert(now);
        }
        now += ms(100);
        assert!(now < ms(120_000), "not all are down after {now:?}");
    }
    let rest = now - first.unwrap();
    assert!(rest < ms(5000), "the others took {rest:?}");
    let since = |check: &Check| match checks.verdict(check) {
        Verdict::Down(down) => down.since,
        other => panic!("{other:?}"),
    };
    let times: BTreeSet<i64> = server.keys().map(since).collect();
    assert_eq!(times.len(), 1, "{times:?}");
    // After they came back and fail again, the time is another one.
    for _ in 0..200 {
        now += ms(500);
        answer(&mut checks, now, &Ok(()));
    }
    assert!(checks.failing.is_empty(), "{:?}", checks.failing);
}
