use directway::{
    model::IpvsSetting,
    plan::{Op, SetIpvs},
};

use crate::world::World;

pub fn settings_of_ipvs_are_set_and_given_back(world: &mut World) {
    let before = world.observe().net.ipvs;
    assert_eq!(
        before,
        IpvsSetting::ALL.map(|setting| (setting, 0)).into(),
        "what a fresh namespace has"
    );
    for setting in IpvsSetting::ALL {
        world.must([Op::Tune(SetIpvs { setting, to: 1 })]);
        assert_eq!(world.observe().net.ipvs[&setting], 1, "{setting}");
        if let Some(judge) = &world.judge {
            let text = judge.node(&format!("sysctl -n net.ipv4.vs.{setting}"));
            assert_eq!(text.trim(), "1", "{setting}");
        }
        world.must([Op::Untune(SetIpvs { setting, to: 0 })]);
    }
    assert_eq!(world.observe().net.ipvs, before);
}
