//! A small validator for structural schemas, for objects that the API server did not validate: admission was
//! bypassed, or the manifest is in a directory.

use std::sync::LazyLock;

use k8s_openapi::{
    api::core::v1::Node,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::VirtualService;

/// What to do with fields that the schema doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The API server prunes them; an object that still has one is newer than this program.
    Ignore,
    /// For a directory: nothing else would report a misspelt field.
    Refuse,
}

/// The schema of a VirtualService, `spec` and `status`; metadata is [`METADATA`].
pub(super) static VIRTUAL_SERVICE: LazyLock<Value> =
    LazyLock::new(|| openapi_schema(&without_null(VirtualService::crd())));
/// The schema of an object's metadata.
pub(super) static METADATA: LazyLock<Value> = LazyLock::new(schema_of::<ObjectMeta>);
/// The schema of a v1 Node.
pub(super) static NODE: LazyLock<Value> = LazyLock::new(schema_of::<Node>);

/// The definition without `nullable`: a field that is not there is left out, as is usual in Kubernetes. The API server
/// drops a null from such a field.
pub(super) fn without_null(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn strip(schema: &mut JSONSchemaProps) {
        schema.nullable = None;
        for property in schema.properties.iter_mut().flat_map(|it| it.values_mut()) {
            strip(property);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
            strip(items);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
            strip(values);
        }
    }
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|it| it.open_api_v3_schema.as_mut()) {
            strip(schema);
        }
    }
    crd
}

/// The value without members that are null, as the API server keeps it.
pub(super) fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, member)| !member.is_null());
            let kept = kept.map(|(name, member)| (name.clone(), pruned(member)));
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The schema of a CRD's first version.
pub(super) fn openapi_schema(crd: &CustomResourceDefinition) -> Value {
    let schema = crd
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    serde_json::to_value(schema).unwrap_or_default()
}

fn schema_of<T: JsonSchema>() -> Value {
    schemars::generate::SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Everything in `value` that breaks `schema`, each as `PATH: value and fix`.
pub(super) fn check(value: &Value, schema: &Value, path: &str, unknown: Unknown) -> Vec<String> {
    let mut walk = Walk {
        unknown,
        problems: Vec::new(),
    };
    walk.value(value, schema, path);
    walk.problems
}

struct Walk {
    unknown: Unknown,
    problems: Vec<String>,
}

impl Walk {
    fn complain(&mut self, path: &str, complaint: impl std::fmt::Display) {
        let path = if path.is_empty() { "object" } else { path };
        self.problems.push(format!("{path}: {complaint}"));
    }

    fn value(&mut self, value: &Value, schema: &Value, path: &str) {
        if value.is_null() && schema["nullable"] == Value::Bool(true) {
            return;
        }
        if let Some(wanted) = schema["type"].as_str()
            && !has_type(value, wanted)
        {
            let hint = if wanted == "string" && (value.is_boolean() || value.is_number()) {
                ": write it in quotes"
            } else {
                ""
            };
            self.complain(
                path,
                format_args!("{} is not {}{hint}", short(value), article(wanted)),
            );
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
            self.complain(
                path,
                format_args!(
                    "{} is not known: use one of {}",
                    short(value),
                    allowed.join(" ")
                ),
            );
            return;
        }
        match value {
            Value::Object(map) => self.object(map, schema, path),
            Value::Array(items) => self.array(items, schema, path),
            Value::Number(number) => self.bounds(number.as_f64(), schema, path, value),
            Value::String(text) => self.length(text, schema, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, map: &Map<String, Value>, schema: &Value, path: &str) {
        let count = map.len() as u64;
        if let Some(max) = schema["maxProperties"].as_u64().filter(|max| count > *max) {
            self.complain(
                path,
                format_args!("has {count} entries: give at most {max}"),
            );
            return;
        }
        for field in schema["required"].as_array().into_iter().flatten() {
            if let Some(name) = field.as_str()
                && !map.contains_key(name)
            {
                self.complain(&child(path, name), "is missing: add it");
            }
        }
        let properties = schema["properties"].as_object();
        let additional = schema.get("additionalProperties").filter(|s| s.is_object());
        for (name, value) in map {
            if let Some(schema) = properties.and_then(|properties| properties.get(name)) {
                self.value(value, schema, &child(path, name));
            } else if let Some(schema) = additional {
                self.value(value, schema, &child(path, name));
            } else if self.unknown == Unknown::Refuse && properties.is_some() {
                let known: Vec<_> = properties
                    .into_iter()
                    .flat_map(Map::keys)
                    .cloned()
                    .collect();
                self.complain(
                    &child(path, name),
                    format_args!("is not a known field: use one of {}", known.join(" ")),
                );
            }
        }
    }

    fn array(&mut self, items: &[Value], schema: &Value, path: &str) {
        let count = items.len() as u64;
        if let Some(min) = schema["minItems"].as_u64().filter(|min| count < *min) {
            self.complain(
                path,
                format_args!("has {count} entries: give at least {min}"),
            );
        }
        let max = schema["maxItems"].as_u64();
        if let Some(max) = max.filter(|max| count > *max) {
            self.complain(
                path,
                format_args!("has {count} entries: give at most {max}"),
            );
        }
        // There may be millions more.
        let most = usize::try_from(max.unwrap_or(count)).unwrap_or(usize::MAX);
        let items = items.get(..most).unwrap_or(items);
        if let Some(item_schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.value(item, item_schema, &format!("{path}[{index}]"));
            }
        }
        self.duplicates(items, schema, path);
    }

    /// `x-kubernetes-list-type` set and map.
    fn duplicates(&mut self, items: &[Value], schema: &Value, path: &str) {
        let identities: Vec<Value> = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => items.to_vec(),
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                let defaults = &schema["items"]["properties"];
                let identity = |item: &Value| {
                    let part = |key: &str| {
                        let value = item.get(key).or_else(|| defaults[key].get("default"));
                        (key.to_owned(), value.cloned().unwrap_or_default())
                    };
                    keys.into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(part)
                        .collect()
                };
                items
                    .iter()
                    .map(|item| Value::Object(identity(item)))
                    .collect()
            }
            Some(_) | None => return,
        };
        for (index, identity) in identities.iter().enumerate() {
            if identities[..index].contains(identity) {
                self.complain(
                    &format!("{path}[{index}]"),
                    format_args!("{} is there already: remove one of them", short(identity)),
                );
            }
        }
    }

    fn bounds(&mut self, number: Option<f64>, schema: &Value, path: &str, value: &Value) {
        let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        let Some(number) = number else { return };
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            let text = |bound: Option<f64>, none: &str| {
                bound.map_or_else(|| none.to_owned(), |bound| bound.to_string())
            };
            self.complain(
                path,
                format_args!(
                    "{value} is out of range: use {} to {}",
                    text(min, "any"),
                    text(max, "any")
                ),
            );
        }
    }

    fn length(&mut self, text: &str, schema: &Value, path: &str) {
        let count = text.chars().count() as u64;
        let min = schema["minLength"].as_u64().unwrap_or(0);
        let max = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
        if count < min {
            self.complain(
                path,
                format_args!("{text:?} is too short: give at least {min} characters"),
            );
        } else if count > max {
            let value = short(&Value::String(text.to_owned()));
            self.complain(
                path,
                format_args!("{value} is too long: give at most {max} characters"),
            );
        }
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        // A type that JSON schema doesn't have, so there is nothing to check.
        _ => true,
    }
}

fn article(wanted: &str) -> &str {
    match wanted {
        "object" => "an object (key: value lines)",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        other => other,
    }
}

/// A value, shortened for a message.
fn short(value: &Value) -> String {
    const LIMIT: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= LIMIT {
        return text;
    }
    let head: String = text.chars().take(LIMIT).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: &Value) -> Vec<String> {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 2, "maxLength": 4},
                "count": {"type": "integer", "minimum": 1, "maximum": 9, "nullable": true},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "list": {
                    "type": "array", "minItems": 1, "maxItems": 3,
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["p", "q"],
                    "items": {"type": "object", "properties": {"p": {"type": "integer"}, "q": {"type": "string", "default": "x"}}},
                },
            },
        });
        check(value, &schema, "", Unknown::Refuse)
    }

    #[test]
    fn what_fits_is_not_complained_about() {
        let value = json!({"name": "abc", "count": null, "kind": "a", "labels": {"x": "y"}, "list": [{"p": 1}, {"p": 1, "q": "y"}]});
        assert_eq!(problems(&value), Vec::<String>::new());
    }

    #[test]
    fn every_problem_names_its_field_and_value() {
        let value = json!({"name": "abcdef", "count": 10, "kind": "c", "labels": {"x": true}, "list": [{"p": 1}, {"p": 1, "q": "x"}, 5, 6], "nmae": 1});
        let found = problems(&value);
        for expected in [
            r#"name: "abcdef" is too long: give at most 4 characters"#,
            "count: 10 is out of range: use 1 to 9",
            r#"kind: "c" is not known: use one of a b"#,
            "labels.x: true is not a text: write it in quotes",
            "list: has 4 entries: give at most 3",
            "list[2]: 5 is not an object (key: value lines)",
            r#"list[1]: {"p":1,"q":"x"} is there already: remove one of them"#,
            "nmae: is not a known field: use one of count kind labels list name",
        ] {
            assert!(
                found.iter().any(|problem| problem == expected),
                "{expected:?} is not in {found:#?}"
            );
        }
        assert_eq!(found.len(), 8, "{found:#?}");
        assert_eq!(problems(&json!({})), ["name: is missing: add it"]);
        assert_eq!(problems(&json!([])).len(), 1);
    }

    #[test]
    fn generated_schemas_are_inlined_and_have_what_is_checked() {
        assert_eq!(
            VIRTUAL_SERVICE["properties"]["spec"]["properties"]["vips"]["maxItems"],
            2
        );
        assert_eq!(
            METADATA["properties"]["labels"]["additionalProperties"]["type"],
            "string"
        );
        assert_eq!(
            NODE["properties"]["status"]["properties"]["addresses"]["items"]["properties"]["address"]
                ["type"],
            "string"
        );
        assert!(!NODE.to_string().contains("$ref"));
    }
}
