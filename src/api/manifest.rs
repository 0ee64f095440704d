//! Manifests in files: what `kubectl apply -f` would read, without an API server behind it.
//!
//! No API server prunes these objects, so fields that are not known are refused by name, and every error names its
//! file and line.

use std::fmt;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

use super::{
    ParsedVirtualService,
    convert::parse_parts,
    node,
    schema::{self, Unknown},
};
use crate::model::{Node, NodeName, Reason, Refusal, ServiceName};

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// A VirtualService, valid or not.
    VirtualService(Box<ParsedVirtualService>),
    /// A node.
    Node(NodeName, Node),
    /// An object of another API group, or of a kind of Kubernetes that is not read here.
    Other(OtherManifest),
}

/// An object of which only the name is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherManifest {
    place: String,
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
}

impl OtherManifest {
    /// Its name, if it is a Service.
    pub fn service(&self) -> Option<ServiceName> {
        let is_service = (self.api_version.as_str(), self.kind.as_str()) == ("v1", "Service");
        is_service.then(|| ServiceName::new(&self.namespace, &self.name))
    }

    /// Its refusal, for readers that a foreign object tells nothing.
    pub fn refusal(&self) -> Refusal {
        not_read(&self.place, &self.api_version, &self.kind)
    }
}

impl fmt::Display for OtherManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

fn not_read(place: &str, api_version: &str, kind: &str) -> Refusal {
    invalid(
        place,
        format_args!(
            "kind \"{kind}\" of apiVersion \"{api_version}\" is not read here: use VirtualService (directway.dev/v1alpha1), Node (v1) or List (v1)"
        ),
    )
}

/// Reads a file of YAML documents. An invalid one becomes a refusal and does not affect the others.
///
/// `file` is the file's name in messages.
pub fn parse_manifests(file: &str, text: &str) -> Vec<Result<Manifest, Refusal>> {
    let mut manifests = Vec::new();
    // Some editors begin a file with a byte order mark (YAML 1.2, 5.2), which is no part of its first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for document in documents(text) {
        let place = format!("{file}: line {}", document.line);
        match read(&document.text) {
            Ok(Value::Null) => {}
            Ok(value) => object(&place, value, &mut manifests),
            Err(error) => manifests.push(Err(not_yaml(file, &document, &error))),
        }
    }
    manifests
}

/// Parses a document. The limits stop documents whose aliases expand enormously; a List of ten thousand objects passes.
pub(super) fn read(text: &str) -> Result<Value, serde_saphyr::Error> {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 8_000_000, max_events: 32_000_000 },
    };
    options.alias_limits.max_total_replayed_events = 100_000;
    serde_saphyr::from_str_with_options(text, options)
}

/// The parser counts lines from the start of the document, but the message must count from the start of the file: so
/// the document is parsed again, after as many empty lines as there are lines before it.
fn not_yaml(file: &str, document: &Document, error: &serde_saphyr::Error) -> Refusal {
    let padded = format!("{}{}", "\n".repeat(document.line - 1), document.text);
    let complaint = read(&padded).map_or_else(
        |again| again.without_snippet().to_string(),
        |_| error.to_string(),
    );
    invalid(file, complaint)
}

fn invalid(place: &str, complaint: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::InvalidSpec, format!("{place}: {complaint}"))
}

struct Document {
    /// Its first line in the file, from 1.
    line: usize,
    text: String,
}

/// Splits at `---`, which YAML 1.2 (9.1.2) allows at the start of a line for nothing else: a broken document must not
/// hide those after it, as it would if one parser read the whole file.
fn documents(text: &str) -> Vec<Document> {
    let mut documents = vec![Document {
        line: 1,
        text: String::new(),
    }];
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if let Some(rest) =
            rest.filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        {
            documents.push(Document {
                line: index + 1,
                text: format!("   {rest}"),
            });
        } else if let Some(document) = documents.last_mut() {
            document.text.push_str(line);
        }
    }
    documents.retain(|document| {
        let mut lines = document.text.lines().map(str::trim);
        lines.any(|line| !line.is_empty() && !line.starts_with('#'))
    });
    documents
}

fn object(place: &str, value: Value, manifests: &mut Vec<Result<Manifest, Refusal>>) {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    match (api_version, kind) {
        ("v1", "List") => match value.get("items") {
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    object(&format!("{place}: items[{index}]"), item.clone(), manifests);
                }
            }
            Some(_) | None => manifests.push(Err(invalid(place, "items: is not a list"))),
        },
        ("v1", "Node") => manifests.push(parse_node(place, value)),
        ("directway.dev/v1alpha1", "VirtualService") => {
            manifests.push(parse_virtual_service(place, &value));
        }
        _ => manifests.push(other(place, &value, api_version, kind)),
    }
}

/// An object that may be meant as it is; one of our API group is a mistake.
fn other(place: &str, value: &Value, api_version: &str, kind: &str) -> Result<Manifest, Refusal> {
    let is_ours = api_version.split('/').next() == Some("directway.dev");
    if is_ours || api_version.is_empty() || kind.is_empty() {
        return Err(not_read(place, api_version, kind));
    }
    let text = |field: &str| value["metadata"][field].as_str();
    let name = text("name").ok_or_else(|| not_read(place, api_version, kind))?;
    Ok(Manifest::Other(OtherManifest {
        place: place.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: text("namespace").unwrap_or("default").to_owned(),
        name: name.to_owned(),
    }))
}

/// Metadata with a name, and its other problems.
fn metadata(value: &Value) -> Result<(ObjectMeta, Vec<String>), String> {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let problems = schema::check(metadata, &schema::METADATA, "metadata", Unknown::Refuse);
    let parsed = ObjectMeta::deserialize(metadata).map_err(|_| problems.join("; "))?;
    if parsed.name.as_deref().unwrap_or_default().is_empty() {
        return Err("metadata.name: is missing: add it".to_owned());
    }
    Ok((parsed, problems))
}

fn parse_virtual_service(place: &str, value: &Value) -> Result<Manifest, Refusal> {
    let (metadata, mut problems) = metadata(value).map_err(|problem| invalid(place, problem))?;
    problems.extend(top_level(
        value,
        &["apiVersion", "kind", "metadata", "spec", "status"],
    ));
    let mut admitted = parse_parts(&metadata, value, Unknown::Refuse, problems);
    admitted.parsed = admitted
        .parsed
        .map_err(|refusal| Refusal::new(refusal.reason, format!("{place}: {}", refusal.message)));
    Ok(Manifest::VirtualService(Box::new(admitted)))
}

fn top_level(value: &Value, known: &[&str]) -> Vec<String> {
    let fields = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name);
    fields
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| {
            format!(
                "{name}: is not a known field: use one of {}",
                known.join(" ")
            )
        })
        .collect()
}

fn parse_node(place: &str, value: Value) -> Result<Manifest, Refusal> {
    let (_, mut problems) = metadata(&value).map_err(|problem| invalid(place, problem))?;
    // This schema includes the metadata, whose problems are found twice and then deduplicated.
    problems.extend(schema::check(&value, &schema::NODE, "", Unknown::Refuse));
    problems.sort_unstable();
    problems.dedup();
    if !problems.is_empty() {
        return Err(invalid(place, problems.join("; ")));
    }
    let object: core::Node =
        serde_json::from_value(value).map_err(|error| invalid(place, error))?;
    let (name, node, problems) = node(&object);
    if problems.is_empty() {
        Ok(Manifest::Node(name, node))
    } else {
        Err(invalid(place, problems.join("; ")))
    }
}
