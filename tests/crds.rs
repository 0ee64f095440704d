//! `crds/`, the chart's copy of it and `docs/api.md` must be what the types generate. To write them anew:
//! `UPDATE_CRDS=1 cargo test --test crds`.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used)]

#[path = "crds/reference.rs"]
mod reference;

use std::{collections::BTreeSet, fs, path::Path};

/// Compares a committed file with what it should be, or writes it.
fn is_committed(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_CRDS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "{file} differs from the types: run UPDATE_CRDS=1 cargo test --test crds, and look at the difference"
    );
}

#[test]
fn committed_definitions_are_those_of_the_types() {
    let files = directway::api::crd_files().unwrap();
    for directory in ["crds", "charts/directway/files/crds"] {
        for (name, text) in &files {
            is_committed(&format!("{directory}/{name}"), text);
        }
        let expected: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let present: Vec<String> =
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
        assert_eq!(
            present.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            expected,
            "{directory} has other files than there are kinds"
        );
    }
}

/// Whoever may write an object shall not be able to write one that costs every reader its memory.
#[test]
fn every_list_and_text_has_a_greatest_length() {
    fn walk(path: &str, schema: &serde_json::Value, endless: &mut Vec<String>) {
        let bound = match schema["type"].as_str() {
            Some("string") if schema.get("enum").is_none() => Some("maxLength"),
            Some("array") => Some("maxItems"),
            Some("object") if schema.get("additionalProperties").is_some() => Some("maxProperties"),
            _ => None,
        };
        if let Some(bound) = bound.filter(|bound| schema[*bound].as_u64().is_none()) {
            endless.push(format!("{path}: {bound}"));
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), inner, endless);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = schema.get(inner) {
                walk(&format!("{path}[]"), schema, endless);
            }
        }
    }
    let mut endless = Vec::new();
    for crd in directway::api::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            let path = format!("{}: {part}", crd["spec"]["names"]["kind"]);
            walk(&path, &schema["properties"][part], &mut endless);
        }
    }
    assert!(endless.is_empty(), "without a bound: {endless:#?}");
}

#[test]
fn the_reference_is_that_of_the_types() {
    is_committed(
        "docs/api.md",
        &reference::reference(&directway::api::crds()),
    );
}

/// The chart's schema and parts of the documentation are written by hand; their lists must be complete.
#[test]
fn lists_by_hand_are_those_of_the_types() {
    use directway::{api::ConditionType, election::Timer, model::IpvsSetting};
    let read =
        |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let values: serde_json::Value =
        serde_json::from_str(&read("charts/directway/values.schema.json")).unwrap();
    let agent = &values["properties"]["agent"]["properties"];
    let settings = agent["ipvsSettings"]["propertyNames"]["enum"].as_array();
    let settings: Vec<&str> = settings
        .unwrap()
        .iter()
        .filter_map(|it| it.as_str())
        .collect();
    assert_eq!(settings, IpvsSetting::ALL.map(IpvsSetting::name));
    let timers = agent["failoverTimers"]["properties"].as_object().unwrap();
    for timer in Timer::NAMES {
        assert!(
            timers.contains_key(timer),
            "values.schema.json lacks {timer}"
        );
    }
    let install = read("docs/install.md");
    for setting in IpvsSetting::ALL {
        assert!(
            install.contains(&format!("| `{setting}`")),
            "docs/install.md lacks {setting}"
        );
    }
    let api = read("docs/api.md");
    let line = api
        .lines()
        .find(|it| it.starts_with("| `status.conditions[]`"));
    for condition in ConditionType::ALL {
        assert!(
            line.unwrap().contains(condition.name()),
            "{line:?} lacks {condition}"
        );
    }
}
