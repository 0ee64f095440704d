use crate::cli::output::{Table, short};

use super::{
    document::{Document, MoveLine, Service},
    drains::DrainLine,
    nodes::NodeLine,
};

/// The document as people read it.
pub(super) fn text(document: &Document) -> String {
    let mut parts = vec![services(&document.virtual_services)];
    parts.extend(document.virtual_services.iter().filter_map(why_not));
    if !document.drains.is_empty() {
        parts.push(drains(&document.drains));
    }
    parts.push(nodes(&document.nodes));
    if !document.moves.is_empty() {
        parts.push(moves(&document.moves));
    }
    if !document.notes.is_empty() {
        let notes = document.notes.iter().map(|note| format!("note: {note}\n"));
        parts.push(notes.collect());
    }
    parts.join("\n")
}

fn services(services: &[Service]) -> String {
    if services.is_empty() {
        return "No VirtualServices.\n".to_owned();
    }
    let mut table = Table::new([
        "VIRTUALSERVICE",
        "VIP",
        "PORTS",
        "HOLDER",
        "STANDBY",
        "REAL SERVERS",
        "READY",
    ]);
    for service in services {
        table.row([
            format!("{}/{}", service.namespace, service.name),
            dash(service.vips.join(",")),
            dash(service.ports.clone()),
            dash(holders(service)),
            dash(service.standbys.join(",")),
            format!(
                "{}/{}",
                service.real_servers.ready, service.real_servers.total
            ),
            service.ready.clone(),
        ]);
    }
    table.render()
}

/// The nodes that hold the VIPs, each once.
fn holders(service: &Service) -> String {
    let mut nodes: Vec<&str> = service.holders.iter().map(|it| it.node.as_str()).collect();
    nodes.dedup();
    nodes.join(",")
}

/// Everything that is wrong with one VirtualService.
fn why_not(service: &Service) -> Option<String> {
    let bad = |type_: &str, status: &str| match type_ {
        "VIPConflict" | "NodeConflict" => status == "True",
        "KubeProxyConflict" => status != "False",
        _ => status != "True",
    };
    let mut table = Table::default().indented(2);
    let mut any = false;
    let conditions = service.conditions.iter();
    for condition in conditions.filter(|condition| bad(&condition.type_, &condition.status)) {
        any = true;
        table.row([
            format!("{}={}", condition.type_, condition.status),
            condition.reason.clone(),
            condition.message.clone(),
        ]);
    }
    for (holder, why) in &service.why_holder {
        any = true;
        table.row([format!("holder {holder}"), String::new(), why.clone()]);
    }
    for other in &service.not_standing_by {
        any = true;
        let who = format!("standby {}", other.director);
        table.row([who, other.reason.clone(), other.message.clone()]);
    }
    for server in &service.not_ready {
        any = true;
        let who = match &server.node {
            Some(node) => format!("{} ({node})", server.address),
            None => server.address.clone(),
        };
        table.row([who, server.reason.clone(), server.message.clone()]);
    }
    any.then(|| format!("{}/{}\n{}", service.namespace, service.name, table.render()))
}

fn nodes(nodes: &[NodeLine]) -> String {
    if nodes.is_empty() {
        return "No agent has reported.\n".to_owned();
    }
    let mut table = Table::new(["NODE", "ROLES", "HELD", "BOUND", "SERVICES", "PROBLEMS"]);
    for node in nodes {
        table.row([
            node.name.clone(),
            dash(node.roles.join(",")),
            dash(short(&node.held)),
            dash(short(&node.bound)),
            node.services.to_string(),
            dash(if node.problems.is_empty() {
                String::new()
            } else {
                node.problems.len().to_string()
            }),
        ]);
    }
    let mut text = table.render();
    for node in nodes {
        for problem in &node.problems {
            text.push_str(&format!("  {}: {problem}\n", node.name));
        }
    }
    text
}

fn drains(drains: &[DrainLine]) -> String {
    let mut table = Table::new(["DRAINING", "NODE", "DIRECTOR", "CONNECTIONS", "AT MOST"]);
    for line in drains {
        table.row([
            line.address.clone(),
            dash(line.node.clone().unwrap_or_default()),
            line.director.clone(),
            line.connections.to_string(),
            format!("{} s", line.seconds_left),
        ]);
    }
    table.render()
}

fn moves(moves: &[MoveLine]) -> String {
    let mut table = Table::new(["MOVED", "VIP", "FROM", "TO", "CAUSE", "AFTER"]);
    for line in moves {
        table.row([
            format!("{:.0}", line.at),
            short(&line.vips),
            dash(line.from.clone().unwrap_or_default()),
            line.to.clone(),
            line.cause.clone(),
            format!("{} ms", line.milliseconds),
        ]);
    }
    table.render()
}

fn dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        directors::UnreadyStandby,
        document::{Condition, NotReady},
    };
    use super::*;
    use crate::api::{Count, Holder};

    #[test]
    fn what_is_not_as_it_should_be_is_told_with_its_reason() {
        let condition = |type_: &str, status: &str, reason: &str| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "why".to_owned(),
        };
        let well = Service {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            vips: vec!["10.0.0.100".to_owned()],
            ports: "80/TCP".to_owned(),
            holders: vec![Holder {
                vip: "10.0.0.100".to_owned(),
                node: "d".to_owned(),
            }],
            why_holder: [("d".to_owned(), "e is preferred, but cordoned".to_owned())].into(),
            standbys: vec!["e".to_owned()],
            not_standing_by: vec![],
            real_servers: Count { ready: 2, total: 2 },
            ready: "True".to_owned(),
            conditions: vec![
                condition("Ready", "True", "Serving"),
                condition("VIPConflict", "False", "NoConflict"),
            ],
            not_ready: vec![],
        };
        let ill = Service {
            name: "mail".to_owned(),
            holders: vec![],
            why_holder: Default::default(),
            standbys: vec![],
            not_standing_by: vec![UnreadyStandby {
                director: "e".to_owned(),
                reason: "NoRealServers".to_owned(),
                message: "none".to_owned(),
            }],
            real_servers: Count { ready: 0, total: 1 },
            ready: "False".to_owned(),
            conditions: vec![
                condition("Ready", "False", "NotHeld"),
                condition("VIPConflict", "True", "VIPConflict"),
            ],
            not_ready: vec![NotReady {
                address: "10.0.0.11".to_owned(),
                node: Some("r1".to_owned()),
                director: "d".to_owned(),
                reason: "NotBound".to_owned(),
                message: "wait".to_owned(),
            }],
            vips: vec!["10.0.0.101".to_owned()],
            namespace: "shop".to_owned(),
            ports: "25/TCP".to_owned(),
        };
        let node = NodeLine {
            name: "d".to_owned(),
            roles: vec!["director"],
            held: (0..6).map(|host| format!("10.0.{host}.1")).collect(),
            services: 2,
            problems: vec!["IPVSMissing: no; load it".to_owned()],
            ..NodeLine::default()
        };
        let document = Document {
            virtual_services: vec![well, ill],
            drains: vec![DrainLine {
                address: "10.0.0.12".to_owned(),
                node: Some("r2".to_owned()),
                director: "d".to_owned(),
                connections: 3,
                until: "2026-01-01T00:01:00Z".parse().unwrap(),
                seconds_left: 41,
            }],
            nodes: vec![node],
            moves: vec![MoveLine {
                at: "2026-01-01T00:00:00.25Z".parse().unwrap(),
                vips: vec!["10.0.0.100".to_owned()],
                to: "d".to_owned(),
                from: Some("e".to_owned()),
                cause: "holder-down".to_owned(),
                milliseconds: 281,
            }],
            notes: vec!["mind the gap".to_owned()],
        };
        assert_eq!(
            text(&document),
            "\
VIRTUALSERVICE  VIP         PORTS   HOLDER  STANDBY  REAL SERVERS  READY
shop/web        10.0.0.100  80/TCP  d       e        2/2           True
shop/mail       10.0.0.101  25/TCP  -       -        0/1           False

shop/web
  holder d    e is preferred, but cordoned

shop/mail
  Ready=False       NotHeld        why
  VIPConflict=True  VIPConflict    why
  standby e         NoRealServers  none
  10.0.0.11 (r1)    NotBound       wait

DRAINING   NODE  DIRECTOR  CONNECTIONS  AT MOST
10.0.0.12  r2    d         3            41 s

NODE  ROLES     HELD                                              BOUND  SERVICES  PROBLEMS
d     director  10.0.0.1,10.0.1.1,10.0.2.1,10.0.3.1,… (6 ranges)  -      2         1
  d: IPVSMissing: no; load it

MOVED                 VIP         FROM  TO  CAUSE        AFTER
2026-01-01T00:00:00Z  10.0.0.100  e     d   holder-down  281 ms

note: mind the gap
"
        );
    }
}
