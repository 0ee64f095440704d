//! `docs/api.md`, written from the definitions: every field with its type, default, limits and description.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

const HEAD: &str = "# API reference

Group `directway.dev`, version `v1alpha1`. Written from the definitions in `crds/` (`UPDATE_CRDS=1 cargo test --test crds`);
`kubectl explain` shows the same.
";

pub fn reference(crds: &[CustomResourceDefinition]) -> String {
    let mut page = HEAD.to_owned();
    for crd in crds {
        let names = &crd.spec.names;
        let short = names
            .short_names
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        write!(
            page,
            "\n## {}\n\n{}; `kubectl get {}.{}`",
            names.kind, crd.spec.scope, names.plural, crd.spec.group
        )
        .unwrap();
        if !short.is_empty() {
            write!(page, ", short `{short}`").unwrap();
        }
        page.push_str(".\n");
        for version in &crd.spec.versions {
            let schema = version
                .schema
                .as_ref()
                .and_then(|schema| schema.open_api_v3_schema.as_ref());
            let Some(schema) = schema else { continue };
            if let Some(description) = &schema.description {
                write!(page, "\n{description}\n").unwrap();
            }
            page.push_str("\n| field | type | description |\n|---|---|---|\n");
            for part in ["spec", "status"] {
                if let Some(property) = schema
                    .properties
                    .as_ref()
                    .and_then(|properties| properties.get(part))
                {
                    rows(&mut page, part, property, part == "spec");
                }
            }
        }
    }
    page
}

fn rows(page: &mut String, path: &str, schema: &JSONSchemaProps, required: bool) {
    let (path, inner) = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => (format!("{path}[]"), &**item),
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => (path.to_owned(), schema),
    };
    let description = schema
        .description
        .as_deref()
        .or(inner.description.as_deref())
        .unwrap_or("");
    let cell = |text: &str| {
        text.replace('|', "\\|")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let kind = inner.type_.as_deref().unwrap_or("any");
    let limits = limits(schema, inner, required);
    writeln!(
        page,
        "| `{path}` | {kind} | {}{limits} |",
        cell(description)
    )
    .unwrap();
    let is_required = |name: &String| {
        inner
            .required
            .as_ref()
            .is_some_and(|list| list.contains(name))
    };
    for (name, property) in inner.properties.iter().flatten() {
        rows(page, &format!("{path}.{name}"), property, is_required(name));
    }
}

fn limits(schema: &JSONSchemaProps, inner: &JSONSchemaProps, required: bool) -> String {
    let mut notes = Vec::new();
    if required {
        notes.push("required".to_owned());
    }
    if let Some(default) = &schema.default {
        notes.push(format!("default `{}`", default.0));
    }
    if let (Some(least), Some(most)) = (inner.minimum, inner.maximum) {
        notes.push(format!("{least} to {most}"));
    }
    if let Some(values) = &inner.enum_ {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", value.0.as_str().unwrap_or_default()))
            .collect();
        notes.push(format!("one of {}", values.join(" ")));
    }
    if notes.is_empty() {
        String::new()
    } else {
        format!(" *({})*", notes.join("; "))
    }
}
