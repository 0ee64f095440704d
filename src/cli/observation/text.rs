use crate::cli::output::Table;

use super::{Address, Arp, Forward, Interface, Kind, Observation, Owner, Service, SyncRole};

/// The document as people read it.
pub fn text(observation: &Observation) -> String {
    let mut ipvs = match &observation.ipvs_missing {
        None => body(services(observation)),
        Some(why) => format!("  cannot be read: {why}\n"),
    };
    if observation.fwmark_services > 0 {
        let count = observation.fwmark_services;
        ipvs.push_str(&format!("  and {count} by firewall mark, foreign\n"));
    }
    if !observation.ipvs_settings.is_empty() {
        ipvs.push_str("\nIPVS settings (net.ipv4.vs, and the timeouts of ipvsadm --set)\n");
        ipvs.push_str(&settings(observation).render());
    }
    if !observation.sync_daemons.is_empty() {
        ipvs.push_str("\nIPVS connection synchronisation\n");
        ipvs.push_str(&daemons(observation).render());
    }
    [
        (
            "Interfaces (own/effective)",
            interfaces(observation).render(),
        ),
        ("Addresses (host-sized)", body(addresses(observation))),
        ("Host routes", body(routes(observation))),
        ("IPVS services", ipvs),
    ]
    .map(|(title, body)| format!("{title}\n{body}"))
    .join("\n")
}

fn body(rows: Option<Table>) -> String {
    rows.map_or_else(|| "  none\n".to_owned(), |table| table.render())
}

fn owner(owner: Owner) -> &'static str {
    match owner {
        Owner::Ours => "ours",
        Owner::Foreign => "foreign",
    }
}

fn own_and_effective(own: u32, effective: u32) -> String {
    format!("{own}/{effective}")
}

fn interfaces(observation: &Observation) -> Table {
    let mut table = Table::new([
        "NAME",
        "NETWORKS",
        "LINK",
        "ARP_IGNORE",
        "ARP_ANNOUNCE",
        "QUIET",
        "CHANGED BY DIRECTWAY",
    ])
    .indented(2);
    let Arp { ignore, announce } = observation.arp_all;
    table.row([
        "(conf/all)".to_owned(),
        String::new(),
        String::new(),
        ignore.to_string(),
        announce.to_string(),
    ]);
    for interface in &observation.interfaces {
        table.row([
            interface.name.clone(),
            interface.addresses.join(","),
            link(interface).to_owned(),
            own_and_effective(interface.arp.ignore, interface.effective_arp.ignore),
            own_and_effective(interface.arp.announce, interface.effective_arp.announce),
            quiet(interface).to_owned(),
            changes(interface),
        ]);
    }
    table
}

fn link(interface: &Interface) -> &'static str {
    match (interface.up, interface.carrier) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    }
}

/// Whether it is quiet; `-` for an interface that does not answer ARP itself.
fn quiet(interface: &Interface) -> &'static str {
    let hears = interface.kind == Kind::Other && interface.arp_capable && !interface.enslaved;
    match (hears, interface.quiet) {
        (false, _) => "-",
        (true, true) => "yes",
        (true, false) => "no",
    }
}

fn changes(interface: &Interface) -> String {
    let made = (interface.owner == Owner::Ours).then(|| "made".to_owned());
    let settings = interface
        .changed_arp
        .iter()
        .map(|(name, change)| format!("{name} {}→{}", change.before, change.set));
    made.into_iter()
        .chain(settings)
        .collect::<Vec<_>>()
        .join(", ")
}

fn addresses(observation: &Observation) -> Option<Table> {
    let mut table = Table::new(["ADDRESS", "INTERFACE", "ARP", "OWNER", "PROTO", "VALID"]);
    table = table.indented(2);
    for Address {
        address,
        interface,
        held,
        owner: whose,
        protocol,
        valid_seconds,
    } in &observation.addresses
    {
        table.row([
            address.to_string(),
            interface.clone(),
            if *held { "answers" } else { "quiet" }.to_owned(),
            owner(*whose).to_owned(),
            protocol.map_or("-".to_owned(), |number| number.to_string()),
            valid_seconds.map_or("forever".to_owned(), |seconds| format!("{seconds} s")),
        ]);
    }
    (!observation.addresses.is_empty()).then_some(table)
}

fn routes(observation: &Observation) -> Option<Table> {
    let mut table = Table::new(["ADDRESS", "INTERFACE", "OWNER"]).indented(2);
    for route in &observation.routes {
        let address = route.address.to_string();
        table.row([&address, &route.interface, owner(route.owner)]);
    }
    (!observation.routes.is_empty()).then_some(table)
}

fn services(observation: &Observation) -> Option<Table> {
    let mut table =
        Table::new(["SERVICE", "SCHEDULER", "REAL SERVER", "WEIGHT", "OWNER"]).indented(2);
    for service in &observation.services {
        let socket = std::net::SocketAddr::new(service.vip, service.port);
        table.row([
            format!("{socket}/{}", service.protocol),
            scheduler(service),
            String::new(),
            String::new(),
            owner(service.owner).to_owned(),
        ]);
        for destination in &service.destinations {
            let forward = match destination.forward {
                Forward::Direct => "",
                Forward::Local => " (local)",
                Forward::Tunnel => " (tunnel)",
                Forward::Masquerade => " (masquerade)",
                Forward::Bypass => " (bypass)",
            };
            let address = destination.address;
            let server = match destination.port {
                Some(port) => format!("{}, foreign", std::net::SocketAddr::new(address, port)),
                None => address.to_string(),
            };
            let connections = destination
                .connections
                .map(|connections| format!(", {} active", connections.active))
                .unwrap_or_default();
            table.row([
                String::new(),
                String::new(),
                format!("{server}{forward}"),
                format!("{}{connections}", destination.weight),
            ]);
        }
    }
    (!observation.services.is_empty()).then_some(table)
}

fn settings(observation: &Observation) -> Table {
    let mut table = Table::new(["NAME", "VALUE", "CHANGED BY DIRECTWAY"]).indented(2);
    for (name, setting) in &observation.ipvs_settings {
        let changed = setting.changed;
        let changed = changed.map(|change| format!("{}→{}", change.before, change.set));
        table.row([
            name,
            &setting.value.to_string(),
            &changed.unwrap_or_default(),
        ]);
    }
    table
}

fn daemons(observation: &Observation) -> Table {
    let mut table = Table::new(["DAEMON", "INTERFACE", "SYNCID", "OWNER"]).indented(2);
    for daemon in &observation.sync_daemons {
        let role = match daemon.role {
            SyncRole::Master => "master (sends)",
            SyncRole::Backup => "backup (receives)",
        };
        let id = daemon.sync_id.to_string();
        table.row([role, &daemon.interface, &id, owner(daemon.owner)]);
    }
    table
}

fn scheduler(service: &Service) -> String {
    let mut text = service.scheduler.clone();
    if !service.flags.is_empty() {
        text.push_str(&format!(" ({})", service.flags.join(",")));
    }
    if let Some(persistence) = service.persistence {
        text.push_str(&format!(
            " persistent {} s /{}",
            persistence.timeout_seconds, persistence.prefix_length
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_foreign_are_told_apart() {
        let written = include_str!("../../../tests/cli/d.yaml");
        let document: Observation = serde_saphyr::from_str(written).unwrap();
        let (observed, ledger) = document.to_model().unwrap();
        assert_eq!(
            text(&Observation::new(&observed, &ledger)),
            "\
Interfaces (own/effective)
  NAME        NETWORKS      LINK  ARP_IGNORE  ARP_ANNOUNCE  QUIET  CHANGED BY DIRECTWAY
  (conf/all)                      0           0
  eth0        10.77.0.1/24  up    1/1         2/2           yes    arp_ignore 0→1
  lo          127.0.0.1/8   up    0/0         0/0           -

Addresses (host-sized)
  ADDRESS      INTERFACE  ARP      OWNER    PROTO  VALID
  10.77.0.7    eth0       answers  foreign  -      forever
  10.77.0.100  lo         quiet    ours     215    forever

Host routes
  none

IPVS services
  SERVICE             SCHEDULER  REAL SERVER              WEIGHT  OWNER
  10.77.0.100:80/TCP  wrr                                         ours
                                 10.77.0.12               1
                                 10.77.0.13               1
  10.99.0.1:443/TCP   rr                                          foreign
                                 10.244.0.5 (masquerade)  1
"
        );
    }
}
