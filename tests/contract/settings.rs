use directway::{
    model::IpvsSetting,
    plan::{IpvsChange, Op},
};

use crate::world::World;

pub fn settings_of_ipvs_are_set_and_given_back(world: &mut World) {
    let before = world.observe().net.ipvs;
    assert_eq!(
        before,
        IpvsSetting::ALL
            .map(|setting| match setting {
                IpvsSetting::ConnReuseMode => (setting, 1),
                IpvsSetting::SyncThreshold => (setting, 3),
                IpvsSetting::TcpTimeout => (setting, 900),
                IpvsSetting::TcpfinTimeout => (setting, 120),
                IpvsSetting::UdpTimeout => (setting, 300),
                _ => (setting, 0),
            })
            .into(),
        "what a fresh namespace has"
    );
    for setting in IpvsSetting::ALL {
        let (from, to) = (before[&setting], before[&setting] + 1);
        world.must([Op::SetIpvs(IpvsChange { setting, to })]);
        assert_eq!(world.observe().net.ipvs[&setting], to, "{setting}");
        if let Some(judge) = &world.judge {
            let text = if setting.is_timeout() {
                judge.node("ipvsadm -L --timeout")
            } else {
                judge.node(&format!("sysctl -n net.ipv4.vs.{setting}"))
            };
            let expected = match setting {
                // The kernel keeps the second number.
                IpvsSetting::SyncThreshold => format!("{to}\t50"),
                IpvsSetting::TcpTimeout => format!("Timeout (tcp tcpfin udp): {to} 120 300"),
                IpvsSetting::TcpfinTimeout => format!("Timeout (tcp tcpfin udp): 900 {to} 300"),
                IpvsSetting::UdpTimeout => format!("Timeout (tcp tcpfin udp): 900 120 {to}"),
                _ => to.to_string(),
            };
            assert_eq!(text.trim(), expected, "{setting}");
        }
        world.must([Op::RestoreIpvs(IpvsChange { setting, to: from })]);
    }
    assert_eq!(world.observe().net.ipvs, before);
}
