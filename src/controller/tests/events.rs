//! Which transitions and moves become Events, and how often.

use std::time::Duration;

use super::*;

#[test]
fn news_are_told_once_and_not_too_often() {
    let mut ground = Ground::serving();
    let key = VsKey::new("default", "web");
    let mut restarted = EventFilter::begin(&ground.cluster, &ground.directors());
    let mut now = Duration::ZERO;
    let serving = ground.status("web").conditions;
    assert_eq!(
        restarted.events(&key, &serving, now).len(),
        0,
        "a restart is no news"
    );
    let told = EventFilter::default().events(&key, &serving, now);
    let actions: Vec<_> = told.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["Accepted", "Ready"]);
    ground.report("d", |report| {
        report.peer.directing[0].ready = IpRanges::default()
    });
    let down = ground.status("web").conditions;
    assert_eq!(restarted.events(&key, &down, now).len(), 1);
    // A condition that flaps has one Event per pause, and in the end one for its last state.
    let mut count = 0;
    for round in 0..100 {
        now += Duration::from_millis(100);
        let conditions = if round % 2 == 0 { &serving } else { &down };
        count += restarted.events(&key, conditions, now).len();
    }
    assert!(count <= 1, "{count} events in 10 s");
    now += PAUSE;
    assert_eq!(restarted.events(&key, &serving, now).len() + count, 1);
    assert_eq!(restarted.events(&key, &serving, now + PAUSE).len(), 0);
}

#[test]
fn news_that_is_held_back_has_its_time() {
    let mut ground = Ground::serving();
    let key = VsKey::new("default", "web");
    let serving = ground.status("web").conditions;
    ground.report("d", |report| {
        report.peer.directing[0].ready = IpRanges::default()
    });
    let down = ground.status("web").conditions;
    let mut event_filter = EventFilter::default();
    let mut pass = |conditions, now| {
        event_filter.retain(&ground.cluster, now);
        let told = event_filter.events(&key, conditions, now).len();
        (told, event_filter.wait(now))
    };
    let second = Duration::from_secs(1);
    assert_eq!(pass(&serving, Duration::ZERO), (2, None));
    // Also a pass that has nothing to write returns when the next one is due.
    assert_eq!(pass(&down, 4 * second), (0, Some(6 * second)));
    assert_eq!(pass(&down, 5 * second), (0, Some(5 * second)));
    assert_eq!(pass(&serving, 6 * second), (0, None));
    assert_eq!(pass(&down, 7 * second), (0, Some(3 * second)));
    assert_eq!(pass(&down, PAUSE), (1, None));
}

#[test]
fn a_move_is_told_once_with_its_cause() {
    let mut ground = Ground::serving();
    let moved = |at: &str, vip: &str, cause| Move {
        at: at.parse().unwrap(),
        vips: one(vip),
        from: Some("e".to_owned()),
        cause,
        after: Duration::from_millis(281),
    };
    ground.report("d", |report| {
        report.moves = vec![moved("2026-01-01T00:00:00Z", VIP, TakeCause::Planned)];
    });
    let mut event_filter = EventFilter::begin(&ground.cluster, &ground.directors());
    let key = VsKey::new("default", "web");
    let told = |event_filter: &mut EventFilter, ground: &Ground, now| {
        let parsed = &ground.cluster.snapshot().virtual_services[&key];
        let directors = ground.directors();
        let parsed = parsed.as_ref().unwrap();
        let event = event_filter.holder(parsed, &ground.cluster, &directors, now);
        event.map(|it| (format!("{:?}", it.type_), it.note.unwrap_or_default()))
    };
    let now = Duration::ZERO;
    assert_eq!(
        told(&mut event_filter, &ground, now),
        None,
        "a restart is no news"
    );
    ground.report("d", |report| {
        report
            .moves
            .push(moved("2026-01-01T00:01:00Z", VIP, TakeCause::HolderDown));
        report.moves.push(moved(
            "2026-01-01T00:02:00Z",
            "10.0.0.101",
            TakeCause::Planned,
        ));
    });
    let note = "d took 10.0.0.100 from e: holder-down, after 281 ms".to_owned();
    let expected = Some(("Warning".to_owned(), note));
    assert_eq!(told(&mut event_filter, &ground, now), expected);
    assert_eq!(told(&mut event_filter, &ground, now + PAUSE), None);
    // A backend's word makes it no holder, and is no news.
    ground.directors = Some([("d".into(), Vec::new())].into_iter().collect());
    ground.report("r1", |report| {
        report.moves = vec![moved("2026-01-01T00:03:00Z", VIP, TakeCause::Planned)];
    });
    assert_eq!(told(&mut event_filter, &ground, now + 2 * PAUSE), None);
}

#[test]
fn a_takeover_of_many_vips_is_told_of_the_node_that_took_them() {
    let mut ground = Ground::serving();
    let vips: Vec<String> = (1..=1_000)
        .map(|host| format!("10.0.{}.{}", 1 + host / 250, host % 250))
        .collect();
    for (index, vip) in vips.iter().enumerate() {
        ground.apply(
            &format!("web-{index}"),
            &format!("u-{index}"),
            1,
            json!([vip]),
        );
    }
    let mut event_filter = EventFilter::begin(&ground.cluster, &ground.directors());
    ground.report("d", |report| {
        report.moves = vec![Move {
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            vips: vips.iter().map(|vip| ip(vip)).collect(),
            from: Some("e".to_owned()),
            cause: TakeCause::HolderDown,
            after: Duration::from_millis(281),
        }];
    });
    let mut pass = |ground: &Ground, now| {
        event_filter.retain(&ground.cluster, now);
        let parsed = ground.cluster.snapshot().virtual_services.values();
        let directors = ground.directors();
        let told = parsed.filter_map(|it| {
            event_filter.holder(it.as_ref().unwrap(), &ground.cluster, &directors, now)
        });
        let alone = told.count();
        let together = event_filter.moved_together(&ground.cluster, now);
        (alone, together, event_filter.left_out(now).is_some())
    };
    let (alone, together, left_out) = pass(&ground, Duration::ZERO);
    assert_eq!((alone, together.len(), left_out), (10, 1, false));
    let (node, event) = &together[0];
    let note = event.note.as_deref().unwrap_or_default();
    assert_eq!(node.0, "d");
    assert!(
        note.starts_with("d took 1000 VIPs, 10.0.1.1-10.0.1.249,"),
        "{note}"
    );
    assert!(
        note.ends_with(" from e: holder-down, after 281 ms"),
        "{note}"
    );
    let (alone, together, left_out) = pass(&ground, PAUSE);
    assert_eq!((alone, together.len(), left_out), (0, 0, false));
}
