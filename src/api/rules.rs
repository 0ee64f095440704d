//! The CEL rules of the kind VirtualService: what the API server refuses by itself.
//!
//! [`super::convert`] checks every one of them again, because admission can be bypassed. The messages
//! of both name the field, the value and the fix.

use kube::core::{Message, Rule};

use super::lists;
use crate::model::{CheckType, Protocol, Scheduler, listed};

/// Addresses that no VIP and no real server can have, as a condition on the address text `a`.
/// `isGlobalUnicast` leaves out loopback, multicast, link-local, unspecified and the limited broadcast;
/// 0.0.0.0/8 and 240.0.0.0/4 are unicast to the library, but to no network (RFC 1122 3.2.1.3, RFC 1112 4).
const UNICAST: &str = "ip(a).isGlobalUnicast() && !cidr('0.0.0.0/8').containsIP(a) && !cidr('240.0.0.0/4').containsIP(a)";

/// What a device may be called: printable ASCII without `/` and `:`.
const DEVICE: &str = "self.matches('^[!-.0-9;-~]{1,15}$') && self != '.' && self != '..'";

/// Such names without commas, with commas between them.
const INTERFACES: &str = "self.matches('^[!-+.0-9;-~-]{1,15}(,[!-+.0-9;-~-]{1,15}){0,7}$') && !self.matches('(^|,)[.][.]?(,|$)')";

/// A Kubernetes node name (RFC 1123 subdomain).
const NODE_NAME: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";

/// A Kubernetes Service name (RFC 1123 label; RFC 1035 before 1.34).
const SERVICE_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";

/// The path and query of a URL (RFC 3986 3.3 and 3.4).
const PATH: &str = "self.matches('^/[!$&-;=?-Z_a-z~%]*$')";

/// A label of a domain name (RFC 1035 2.3.1; with `_`, which is in names of services).
const LABEL: &str = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";

/// Labels with dots between them.
fn domain() -> String {
    format!("{LABEL}([.]{LABEL})*")
}

/// A text in quotes, as an expression. The API server drops a whole message that has a line break, so such a text is only
/// mentioned.
fn quoted(text: &str) -> String {
    format!("({text}.matches('[\\n\\r]') ? 'a text of several lines' : '\"' + {text} + '\"')")
}

/// A rule that holds for all addresses of a list; the message names the first one that breaks it.
fn each_address(field: &str, address: &str, holds: &str, complaint: &str) -> Rule {
    let addresses = format!("self.map(item, {address})");
    Rule::new(format!("self.all(item, [{address}].all(a, {holds}))")).message(Message::Expression(
        format!(
            "'{field}: ' + {} + ' {complaint}'",
            quoted(&format!("{addresses}.filter(a, !({holds}))[0]"))
        ),
    ))
}

const IS_ADDRESS: &str = "isIP(a)";
const NOT_ADDRESS: &str = "is not an IP address: write it as in 192.0.2.10 or 2001:db8::10, without prefix length or zone";
const IS_CANONICAL: &str = "!isIP(a) || ip.isCanonical(a)";
const NOT_CANONICAL: &str =
    "is not in canonical form: write it in lower case, shortened as RFC 5952 says";
const NOT_UNICAST: &str = "is no unicast address: loopback, multicast, link-local, unspecified and broadcast addresses cannot be used, choose one of the segment";

fn unless_malformed(condition: &str) -> String {
    format!("!isIP(a) || ({condition})")
}

pub(super) fn vips_are_addresses() -> Rule {
    each_address("spec.vips", "item", IS_ADDRESS, NOT_ADDRESS)
}

pub(super) fn vips_are_canonical() -> Rule {
    each_address("spec.vips", "item", IS_CANONICAL, NOT_CANONICAL)
}

pub(super) fn vips_are_unicast() -> Rule {
    each_address("spec.vips", "item", &unless_malformed(UNICAST), NOT_UNICAST)
}

pub(super) fn vips_differ_in_family() -> Rule {
    Rule::new("self.filter(v, isIP(v) && ip(v).family() == 4).size() <= 1 && self.filter(v, isIP(v) && ip(v).family() == 6).size() <= 1")
        .message(Message::Expression(
            "'spec.vips: \"' + self.join('\" and \"') + '\" are of the same family: use one IPv4 and one IPv6 address, or a second VirtualService'".to_owned(),
        ))
}

pub(super) fn external_are_addresses() -> Rule {
    each_address(
        "spec.realServers.external.address",
        "item.address",
        IS_ADDRESS,
        NOT_ADDRESS,
    )
}

pub(super) fn external_are_canonical() -> Rule {
    each_address(
        "spec.realServers.external.address",
        "item.address",
        IS_CANONICAL,
        NOT_CANONICAL,
    )
}

pub(super) fn external_are_unicast() -> Rule {
    each_address(
        "spec.realServers.external.address",
        "item.address",
        &unless_malformed(UNICAST),
        NOT_UNICAST,
    )
}

pub(super) fn external_is_no_vip() -> Rule {
    // The API server's cost estimate loses the length of a text that comes out of a filtered list of objects;
    // out of a list of texts it doesn't. So the message filters the VIPs.
    let external = "self.realServers.external.exists(e, e.address == v)";
    Rule::new(format!(
        "!has(self.realServers.external) || !self.vips.exists(v, {external})"
    ))
    .message(Message::Expression(format!(
        "'spec.realServers.external.address: \"' + self.vips.filter(v, {external})[0] + '\" is one of spec.vips: name the address that the host has besides the VIP'"
    )))
}

pub(super) fn flags_belong_to_the_scheduler() -> Rule {
    let belongs = "f.startsWith(self.name + '-')";
    let flagged = lists::flagged_names();
    let suffixes = Scheduler::DEFAULT.flags().iter();
    let names: Vec<String> = suffixes
        .filter_map(|(flag, _)| Some(format!("self.name + '-{}", flag.suffix()?)))
        .collect();
    Rule::new(format!("!has(self.flags) || self.flags.all(f, {belongs})")).message(
        Message::Expression(format!(
            "'spec.scheduler.flags: \"' + self.flags.filter(f, !({belongs}))[0] + '\" does not belong to scheduler ' + self.name + ': ' + (self.name in ['{}'] ? 'use ' + {}' : 'remove it, only {} have flags')",
            flagged.join("', '"),
            names.join(" or ' + "),
            listed(&flagged, "and")
        )),
    )
}

pub(super) fn health_check_has_a_port() -> Rule {
    let fits = Protocol::ALL.into_iter().filter_map(|protocol| {
        let types = lists::types_asking(protocol);
        let fits = format!(
            "(p.protocol == '{}' && self.healthCheck.type in ['{}'])",
            protocol.name(),
            types.join("', '")
        );
        (!types.is_empty()).then_some(fits)
    });
    let fits: Vec<String> = fits.collect();
    let needs = CheckType::ALL.map(|it| {
        let protocols: Vec<&str> = it.protocols().iter().map(|it| it.name()).collect();
        format!("'{}': '{}'", it.name(), listed(&protocols, "or"))
    });
    Rule::new(format!(
        "!has(self.healthCheck) || self.healthCheck.type == 'None' || has(self.healthCheck.port) || self.ports.exists(p, {})",
        fits.join(" || ")
    ))
    .message(Message::Expression(format!(
        "'spec.healthCheck.type: ' + self.healthCheck.type + ' needs a ' + {{{}}}[self.healthCheck.type] + ' port, and spec.ports has none: name one in spec.healthCheck.port, or use None'",
        needs.join(", ")
    )))
}

pub(super) fn timeout_is_shorter_than_interval() -> Rule {
    // The API server takes a number as text for one of any length, which would cost too much here.
    Rule::new("self.timeoutSeconds <= self.intervalSeconds").message(
        "spec.healthCheck.timeoutSeconds: is longer than intervalSeconds: use that or less",
    )
}

pub(super) fn http_belongs_to_its_types() -> Rule {
    belongs_to("http", &lists::http_types())
}

pub(super) fn tls_belongs_to_its_type() -> Rule {
    belongs_to("tls", &lists::tls_types())
}

pub(super) fn dns_belongs_to_its_type() -> Rule {
    belongs_to("dns", &lists::dns_types())
}

fn belongs_to(field: &str, types: &[&str]) -> Rule {
    let list = types.join("', '");
    Rule::new(format!("!has(self.{field}) || self.type in ['{list}']")).message(Message::Expression(
        format!(
            "'spec.healthCheck.{field}: does not belong to type ' + self.type + ': use type {}, or remove it'",
            listed(types, "or")
        ),
    ))
}

pub(super) fn a_check_port_has_a_check() -> Rule {
    let types = listed(&lists::asking_types(), "or");
    Rule::new("!has(self.port) || self.type != 'None'").message(Message::Message(format!(
        "spec.healthCheck.port: has nothing to check with type None: use type {types}, or remove it"
    )))
}

pub(super) fn https_needs_a_ca() -> Rule {
    Rule::new("self.type != 'HTTPS' || (has(self.tls) && (has(self.tls.ca) || self.tls.insecure))").message(
        "spec.healthCheck.tls.ca: is missing, and type HTTPS verifies certificates by it alone: put the CA's certificate there in PEM, or set spec.healthCheck.tls.insecure to true",
    )
}

pub(super) fn dns_needs_a_name() -> Rule {
    Rule::new("self.type != 'DNS' || has(self.dns)").message(
        "spec.healthCheck.dns.name: is missing, and type DNS asks for it: use the name of a domain that the real servers know",
    )
}

pub(super) fn is_domain() -> Rule {
    Rule::new(format!("self.matches('^{}$')", domain())).message(Message::Expression(format!(
        "'spec.healthCheck.dns.name: ' + {} + ' is not the name of a domain: write it as in shop.example, with up to 63 letters, digits, \"-\" and \"_\" between two dots'",
        quoted("self")
    )))
}

pub(super) fn insecure_needs_no_ca() -> Rule {
    Rule::new("!self.insecure || !has(self.ca)").message(
        "spec.healthCheck.tls.insecure: is true, so that ca means nothing: remove one of them",
    )
}

pub(super) fn ca_has_a_certificate() -> Rule {
    Rule::new("self.contains('-----BEGIN CERTIFICATE-----')").message(
        "spec.healthCheck.tls.ca: has no certificate: use the CA's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----",
    )
}

pub(super) fn ca_has_no_key() -> Rule {
    Rule::new("!self.contains('PRIVATE KEY')").message(
        "spec.healthCheck.tls.ca: has a private key, which everybody who may read the VirtualService would see: use the CA's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----",
    )
}

pub(super) fn is_server_name() -> Rule {
    Rule::new(format!(
        "isIP(self) || (self.matches('^{}$') && !self.matches('(^|[.])[0-9]+$'))",
        domain()
    ))
    .message(Message::Expression(format!(
        "'spec.healthCheck.tls.serverName: ' + {} + ' is neither a host name nor an IP address: write it as in shop.example or 192.0.2.10, without a port'",
        quoted("self")
    )))
}

pub(super) fn a_body_needs_get() -> Rule {
    Rule::new("!has(self.expectedBody) || self.method == 'GET'").message(Message::Expression(
        "'spec.healthCheck.http.expectedBody: method ' + self.method + ' gets no body: use GET, or remove it'".to_owned(),
    ))
}

pub(super) fn is_path() -> Rule {
    Rule::new(PATH).message(Message::Expression(
        format!(
        "'spec.healthCheck.http.path: ' + {} + ' is not the path of a URL: begin with \"/\", and write other characters than letters, digits and punctuation as %XX'",
        quoted("self")
    ),
    ))
}

pub(super) fn is_host() -> Rule {
    // RFC 9110 7.2. A name whose last part is a number is not one: it would be taken for an address.
    Rule::new(format!(
        "self.matches('^{}(:[0-9]{{1,5}})?$') && (!self.matches('(^|[.])[0-9]+(:[0-9]+)?$') || isIP(self.split(':')[0]))",
        domain()
    ))
    .message(Message::Expression(format!(
        "'spec.healthCheck.http.host: ' + {} + ' is neither a host name nor an IPv4 address: write it as in shop.example or 192.0.2.10, with a port as in shop.example:8080'",
        quoted("self")
    )))
}

pub(super) fn are_statuses() -> Rule {
    let holds = "s.matches('^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$') && (size(s) == 3 || s.substring(0, 3) <= s.substring(4))";
    Rule::new(format!("self.all(s, {holds})")).message(Message::Expression(format!(
        "'spec.healthCheck.http.expectedStatuses: ' + {} + ' is not a status code or a range of them: write 200 or 200-299, from 100 to 599'",
        quoted(&format!("self.filter(s, !({holds}))[0]"))
    )))
}

pub(super) fn is_device(field: &str) -> Rule {
    Rule::new(DEVICE).message(Message::Expression(format!(
        "'{field}: ' + {} + ' is not an interface name: use 1 to 15 ASCII characters without \"/\", \":\" or space, and not \".\" or \"..\"'",
        quoted("self")
    )))
}

pub(super) fn are_interfaces() -> Rule {
    Rule::new(INTERFACES).message(Message::Expression(
        format!(
        "'spec.directors.interface: ' + {} + ' is not an interface name: use 1 to 15 ASCII characters without \"/\", \":\" or space, and not \".\" or \"..\"; or up to 8 names with commas between them, * for any characters'",
        quoted("self")
    ),
    ))
}

pub(super) fn preferred_is_a_node_name() -> Rule {
    Rule::new(NODE_NAME).message(Message::Expression(
        format!(
        "'spec.directors.preferred: ' + {} + ' is not a node name: use one that kubectl get nodes shows'",
        quoted("self")
    ),
    ))
}

pub(super) fn some_source_of_real_servers() -> Rule {
    Rule::new("has(self.nodeSelector) || has(self.service) || (has(self.external) && size(self.external) > 0)").message(
        "spec.realServers: has no source: set nodeSelector ({} selects every node labelled directway.dev/backend), name a service, or list hosts under external",
    )
}

pub(super) fn is_service_name() -> Rule {
    Rule::new(SERVICE_NAME).message(Message::Expression(
        format!(
        "'spec.realServers.service.name: ' + {} + ' is not a Service name: use one that kubectl get services shows'",
        quoted("self")
    ),
    ))
}

pub(super) fn values_fit_the_operator() -> Rule {
    Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
        .message(Message::Expression(
            "'nodeSelector.matchExpressions: key \"' + self.key + '\": ' + self.operator + (self.operator in ['In', 'NotIn'] ? ' needs values: list at least one' : ' takes no values: remove them')".to_owned(),
        ))
}
