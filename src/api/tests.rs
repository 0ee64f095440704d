use kube::core::{DynamicObject, cel::Validator};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Manifest, ParsedVirtualService, VirtualService, crds,
    manifest::read,
    parse_manifests, parse_virtual_service,
    schema::{self, Unknown},
};
use crate::model::{Flag, Reason, Scheduler};

#[derive(Deserialize)]
struct Table {
    base: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    spec: Value,
    #[serde(default)]
    schema: bool,
    #[serde(default)]
    says: Vec<String>,
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn object(spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "directway.dev/v1alpha1",
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 7, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": spec,
    }))
    .unwrap()
}

fn cases() -> Vec<(Case, Value)> {
    let table: Table = serde_saphyr::from_str(include_str!("../../tests/api/cases.yaml")).unwrap();
    let merged = table.cases.into_iter().map(|case| {
        let mut spec = table.base.clone();
        merge(&mut spec, &case.spec);
        (case, spec)
    });
    merged.collect()
}

fn says(problems: &str, case: &Case, who: &str) {
    for fragment in &case.says {
        assert!(
            problems.contains(fragment),
            "{}: {who} does not name {fragment:?}: {problems}",
            case.name
        );
    }
}

/// What the API server checks, as far as it can run here: schema, defaults, then CEL.
fn api_server(spec: &Value) -> (Vec<String>, Vec<String>) {
    let schema = &*schema::VIRTUAL_SERVICE;
    let by_schema = schema::check(spec, &schema["properties"]["spec"], "spec", Unknown::Refuse);
    if !by_schema.is_empty() {
        return (by_schema, Vec::new());
    }
    let defaulted = kube::core::cel::apply_defaults(schema, &json!({"spec": spec}));
    let by_cel = match Validator::new().validate(schema, &defaulted, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    (Vec::new(), by_cel)
}

#[test]
fn both_rings_refuse_the_same_and_name_field_value_and_fix() {
    let cases = cases();
    assert!(cases.len() > 60, "the table has shrunk");
    for (case, spec) in cases {
        let (by_schema, by_cel) = api_server(&spec);
        let ParsedVirtualService { parsed, .. } = parse_virtual_service(&object(&spec));
        if case.says.is_empty() {
            assert_eq!((&by_schema, &by_cel), (&vec![], &vec![]), "{}", case.name);
            assert!(parsed.is_ok(), "{}: {parsed:?}", case.name);
            continue;
        }
        assert_eq!(
            !by_schema.is_empty(),
            case.schema,
            "{}: {by_schema:?}",
            case.name
        );
        if !case.schema {
            assert!(!by_cel.is_empty(), "{}: no CEL rule refuses it", case.name);
            says(&by_cel.join("\n"), &case, "CEL");
        }
        let refusal = parsed.expect_err(&case.name);
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        says(&refusal.message, &case, "the agent");
    }
}

#[test]
fn all_problems_of_an_object_are_told_at_once() {
    let spec = json!({
        "vips": ["127.0.0.1"], "ports": [{"port": 80}], "scheduler": {"name": "rr", "flags": ["mh-port"]},
        "directors": {"interface": "a/b"}, "realServers": {"external": [{"address": "x"}]},
    });
    let message = parse_virtual_service(&object(&spec))
        .parsed
        .unwrap_err()
        .message;
    for field in [
        "spec.vips",
        "spec.scheduler.flags",
        "spec.directors.interface",
        "spec.realServers.external",
    ] {
        assert!(message.contains(field), "{field} is not in {message}");
    }
}

#[test]
fn defaults_are_those_of_the_schema() {
    let (_, spec) = cases().swap_remove(0);
    let direct = parse_virtual_service(&object(&spec)).parsed.unwrap();
    let defaulted =
        kube::core::cel::apply_defaults(&schema::VIRTUAL_SERVICE, &json!({"spec": spec}));
    assert_eq!(
        defaulted["spec"]["scheduler"],
        json!({"name": "mh", "flags": ["mh-port", "mh-fallback"]})
    );
    assert_eq!(defaulted["spec"]["drainSeconds"], 60);
    assert_eq!(defaulted["spec"]["realServers"]["vipDevice"], "lo");
    assert_eq!(
        parse_virtual_service(&object(&defaulted["spec"]))
            .parsed
            .unwrap(),
        direct
    );
    assert_eq!(
        (&direct.scheduler, &direct.flags),
        (&Scheduler::Mh, &vec![Flag::Fallback, Flag::Port])
    );
    assert_eq!(direct.created, 1_767_323_045);
    let mut mh = cases().swap_remove(0).1;
    mh["scheduler"] = json!({"name": "mh"});
    assert_eq!(
        parse_virtual_service(&object(&mh)).parsed.unwrap().flags,
        [Flag::Fallback, Flag::Port]
    );
    mh["scheduler"] = json!({"name": "mh", "flags": []});
    assert_eq!(
        parse_virtual_service(&object(&mh)).parsed.unwrap().flags,
        []
    );
}

#[test]
fn an_object_of_any_shape_is_contained() {
    for spec in [
        json!(null),
        json!(5),
        json!([]),
        json!({}),
        json!({"vips": 1, "ports": {}, "realServers": []}),
    ] {
        let admitted = parse_virtual_service(&object(&spec));
        assert_eq!(admitted.key.to_string(), "shop/web");
        assert_eq!((admitted.uid.as_str(), admitted.generation), ("u-1", 7));
        assert!(admitted.parsed.unwrap_err().message.contains("spec"));
    }
    let mut garbled = object(&cases().swap_remove(0).1);
    garbled.data["status"] = json!({"conditions": "none"});
    assert!(
        parse_virtual_service(&garbled).parsed.is_ok(),
        "a garbled status is not the spec's fault"
    );
}

#[test]
fn a_directory_refuses_fields_that_are_not_known_by_name() {
    let text = "
# a comment alone is no document
---
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: web, lables: {a: b}}
spec:
  vips: [10.0.0.1]
  ports: [{port: 80}]
  schedular: {name: rr}
  realServers: {nodeSelector: {}}
colour: blue
---
apiVersion: v1
kind: Node
metadata: {name: a, labels: {directway.dev/director: true}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: b}, status: {addresses: [{type: InternalIP, address: 10.0.0.2}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: c}}
- {apiVersion: v1, kind: Node, metadata: {name: d}, status: {addresses: [{type: InternalIP, address: ten}]}}
--- # half-written
kind: [
---
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: good}
spec:
  vips: [10.0.0.3]
  ports: [{port: 80}]
  realServers: {nodeSelector: {}}
";
    let found = parse_manifests("web.yaml", text);
    let complaint = |index: usize| match &found[index] {
        Ok(Manifest::VirtualService(admitted)) => {
            admitted.parsed.as_ref().unwrap_err().message.clone()
        }
        Ok(Manifest::Node(name, _)) => panic!("node {name} was accepted"),
        Ok(Manifest::Other(other)) => other.refusal().message,
        Err(refusal) => refusal.message.clone(),
    };
    for (index, fragments) in [
        (
            0,
            &[
                "web.yaml: line 3",
                "metadata.lables: is not a known field",
                "spec.schedular: is not a known field",
                "colour: is not a known field",
            ][..],
        ),
        (
            1,
            &[
                "web.yaml: line 13",
                "metadata.labels.directway.dev/director: true",
                "in quotes",
            ],
        ),
        (
            3,
            &[
                "web.yaml: line 17: items[1]",
                "kind \"Pod\"",
                "use VirtualService",
            ],
        ),
        (4, &["items[2]", "\"ten\"", "is not an IP address"]),
        (5, &["web.yaml: ", "line 25, column 7"]),
    ] {
        for fragment in fragments {
            assert!(
                complaint(index).contains(fragment),
                "{index}: {fragment:?} is not in {}",
                complaint(index)
            );
        }
    }
    let Ok(Manifest::Node(name, node)) = &found[2] else {
        panic!("{:?}", found[2])
    };
    assert_eq!((name.0.as_str(), node.addresses.len()), ("b", 1));
    let Ok(Manifest::VirtualService(good)) = &found[6] else {
        panic!("{:?}", found[6])
    };
    assert_eq!(
        (good.key.to_string(), good.parsed.is_ok()),
        ("default/good".to_owned(), true)
    );
    assert_eq!(found.len(), 7);
}

#[test]
fn a_large_list_is_read_and_what_blows_up_is_refused() {
    // About the nodes of a List of ten thousand VirtualServices.
    let large = format!("[{}]", vec!["0"; 300_000].join(","));
    assert_eq!(
        read(&large).unwrap().as_array().map(Vec::len),
        Some(300_000)
    );

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let inner = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![inner; 10].join(", ")
        ));
    }
    let twice = "kind: Node\nkind: List\n";
    for text in [bomb.as_str(), twice, "kind: !include /etc/passwd\n"] {
        assert!(
            matches!(&parse_manifests("bad.yaml", text)[..], [Err(_)]),
            "{text} was read"
        );
    }
}

#[test]
fn every_field_has_a_description() {
    fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
            {
                missing.push(path.clone());
            }
            walk(property, &path, missing);
            walk(&property["items"], &path, missing);
        }
    }
    let mut missing = Vec::new();
    for crd in crds() {
        let schema = schema::openapi_schema(&crd);
        walk(&schema["properties"]["spec"], "spec", &mut missing);
        walk(&schema["properties"]["status"], "status", &mut missing);
        assert!(
            schema["description"]
                .as_str()
                .is_some_and(|text| !text.contains("Auto-generated"))
        );
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_typed_kind_reads_what_it_writes() {
    for (case, spec) in cases().into_iter().filter(|(case, _)| case.says.is_empty()) {
        let typed: VirtualService =
            serde_json::from_value(serde_json::to_value(object(&spec)).unwrap()).unwrap();
        let again = serde_json::to_value(&typed).unwrap();
        assert_eq!(
            serde_json::from_value::<VirtualService>(again).unwrap(),
            typed,
            "{}",
            case.name
        );
    }
}
