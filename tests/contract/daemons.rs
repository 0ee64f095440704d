use directway::{
    model::{SyncDaemon, SyncHalf},
    plan::Op,
};

use crate::world::{EEXIST, ENODEV, ESRCH, World};

fn on(dev: &str, id: u32) -> SyncDaemon {
    SyncDaemon {
        dev: dev.parse().expect("a device name"),
        id,
    }
}

pub fn daemons_are_started_seen_and_stopped(world: &mut World) {
    assert_eq!(world.observe().net.sync, [].into());
    for half in SyncHalf::ALL {
        let daemon = on("eth0", 215);
        world.must([Op::StartSync(half, daemon.clone())]);
        assert_eq!(world.observe().net.sync, [(half, daemon)].into());
        if let Some(judge) = &world.judge {
            let text = judge.node("ipvsadm -Ln --daemon");
            let seen = format!("{half} sync daemon (mcast=eth0, syncid=215");
            assert!(text.starts_with(&seen), "{text:?}");
        }
        world.must([Op::StopSync(half)]);
        assert_eq!(world.observe().net.sync, [].into());
    }
}

pub fn there_is_one_daemon_of_each(world: &mut World) {
    let both = SyncHalf::ALL.map(|half| (half, on("eth1", 1)));
    for (half, daemon) in both.clone() {
        world.must([Op::StartSync(half, daemon)]);
        let text = world.refused(Op::StartSync(half, on("eth0", 2)), EEXIST);
        assert!(text.contains("runs already"), "{text}");
    }
    assert_eq!(world.observe().net.sync, both.into());
    for half in SyncHalf::ALL {
        world.must([Op::StopSync(half)]);
        world.refused(Op::StopSync(half), ESRCH);
    }
}

pub fn a_daemon_needs_its_device(world: &mut World) {
    for half in SyncHalf::ALL {
        let text = world.refused(Op::StartSync(half, on("eth9", 1)), ENODEV);
        assert!(text.contains("eth9"), "{text}");
    }
    assert_eq!(world.observe().net.sync, [].into());
}
