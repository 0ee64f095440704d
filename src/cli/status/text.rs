use crate::cli::output::Table;

use super::document::{Document, NodeLine, Service};

/// More ranges than this are counted instead of listed.
const LISTED: usize = 4;

/// The document as people read it.
pub(super) fn text(document: &Document) -> String {
    let mut parts = vec![services(&document.virtual_services)];
    parts.extend(document.virtual_services.iter().filter_map(why_not));
    parts.push(nodes(&document.nodes));
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
        "REAL SERVERS",
        "READY",
    ]);
    for service in services {
        table.row([
            format!("{}/{}", service.namespace, service.name),
            dash(service.vips.join(",")),
            dash(service.ports.clone()),
            dash(service.holder.clone().unwrap_or_default()),
            format!(
                "{}/{}",
                service.real_servers.ready, service.real_servers.total
            ),
            service.ready.clone(),
        ]);
    }
    table.render()
}

/// Everything that is not as it should be with one VirtualService.
fn why_not(service: &Service) -> Option<String> {
    let bad = |type_: &str, status: &str| match type_ {
        "VIPConflict" => status == "True",
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

fn short(ranges: &[String]) -> String {
    match ranges.get(..LISTED) {
        Some(first) if ranges.len() > LISTED => {
            format!("{},… ({} ranges)", first.join(","), ranges.len())
        }
        Some(_) | None => ranges.join(","),
    }
}

fn dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
