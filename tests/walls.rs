//! Which modules and crates each room may use. A room is a top-level module of `src`.
//!
//! A decision that can reach Kubernetes, netlink or a runtime needs a mock to be tested. So every import is checked
//! against [`ROOMS`], in test code as well. A room may use only rooms above it in that table, which rules out cycles.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used)]

#[path = "walls/paths.rs"]
mod paths;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use paths::{Target, paths};

/// A room, the rooms it may use, and the crates it may use. `std` is open to all.
type Room = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// From the foundation upwards: a room may use rooms above it in this table only.
const ROOMS: [Room; 19] = [
    ("model", &[], &["ipnet", "jiff", "proptest", "thiserror"]),
    ("wire", &["model"], &["proptest", "thiserror"]),
    ("health", &["model"], &["proptest"]),
    ("election", &["model", "wire"], &["thiserror"]),
    ("plan", &["model"], &[]),
    (
        "desired",
        &["model", "health", "election"],
        &["ipnet", "jiff"],
    ),
    ("forecast", &["model", "health", "desired", "plan"], &[]),
    ("http", &[], &["tokio"]),
    ("telemetry", &[], &["thiserror", "tracing_subscriber"]),
    (
        "admin",
        &[],
        &["http_body_util", "hyper", "hyper_util", "tokio", "tracing"],
    ),
    (
        "api",
        &["model"],
        &[
            "ipnet",
            // Times of objects, as k8s-openapi has them.
            "jiff",
            "k8s_openapi",
            "kube",
            "proptest",
            // The CAs of health checks, in PEM.
            "rustls",
            "schemars",
            "serde",
            "serde_json",
            "serde_saphyr",
            "thiserror",
        ],
    ),
    (
        "kernel",
        &["model", "plan", "wire"],
        &[
            "ipnet",
            "libc",
            "netlink_packet_core",
            "netlink_packet_generic",
            "netlink_sys",
            "proptest",
            "socket2",
            "thiserror",
        ],
    ),
    (
        "metrics",
        &["kernel", "model", "plan"],
        &["prometheus_client"],
    ),
    (
        "cluster",
        &["api", "model"],
        &[
            "futures",
            "hyper_timeout",
            "hyper_util",
            // The API server's clock.
            "jiff",
            "k8s_openapi",
            "kube",
            "notify",
            "serde",
            "serde_json",
            "tempfile",
            "thiserror",
            "tokio",
            "tower",
            "tracing",
        ],
    ),
    (
        "controller",
        &["admin", "api", "cluster", "desired", "election", "model"],
        &[
            "futures",
            "jiff",
            "k8s_openapi",
            "kube",
            "serde_json",
            "tokio",
            "tracing",
        ],
    ),
    (
        "agent",
        &[
            "admin", "api", "cluster", "desired", "election", "health", "http", "kernel",
            "metrics", "model", "plan", "wire",
        ],
        &[
            "futures",
            // Health checks by HTTP.
            "http_body_util",
            "hyper",
            "hyper_util",
            "ipnet",
            "jiff",
            "k8s_openapi",
            "kube",
            // The clock and the allocator; errnos stay below, see `an_errno_is_the_kernels_business`.
            "libc",
            "netlink_packet_core",
            "netlink_packet_route",
            "rtnetlink",
            // Health checks by HTTPS.
            "rustls",
            "serde",
            "serde_json",
            "serde_saphyr",
            "tempfile",
            "thiserror",
            "tokio",
            "tokio_rustls",
            "tracing",
        ],
    ),
    (
        "cli",
        &[
            "agent",
            "api",
            "cluster",
            "controller",
            "desired",
            "election",
            "forecast",
            "http",
            "kernel",
            "model",
            "plan",
            "telemetry",
        ],
        &[
            "clap",
            "ipnet",
            "jiff",
            "k8s_openapi",
            "kube",
            "serde",
            "serde_json",
            "serde_saphyr",
            "tempfile",
            "thiserror",
            "tokio",
        ],
    ),
    ("lib", &[], &[]),
    ("main", &["cli"], &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file, by its room and its path below `src`.
fn files() -> Vec<(String, PathBuf)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    let src = root().join("src");
    let mut found = Vec::new();
    walk(&src, &mut found);
    found.sort();
    let below = |path: PathBuf| {
        let path = path.strip_prefix(&src).unwrap().to_owned();
        let first = Path::new(path.iter().next().unwrap()).with_extension("");
        (first.to_str().unwrap().to_owned(), path)
    };
    found.into_iter().map(below).collect()
}

/// The crates of `Cargo.toml`, as code names them.
fn crates() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut found = BTreeSet::new();
    let mut listed = false;
    for line in text.lines() {
        if line.starts_with('[') {
            listed = line.contains("dependencies");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| listed) {
            found.insert(name.trim().replace('-', "_"));
        }
    }
    found
}

/// What one file must not use, each as a line that says where, what and what to do.
fn violations(room: &str, path: &Path, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let Some((_, rooms, allowed)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
        return vec![format!(
            "src/{}: room `{room}` is not in the table ROOMS of tests/walls.rs: add it, as low as it can be",
            path.display()
        )];
    };
    let refuse = |line: usize, import: String, fix: &str| {
        format!("src/{}:{line}: `{import}`: {fix}", path.display())
    };
    let mut found = Vec::new();
    for used in paths(path, text) {
        match used.target {
            Target::Room(name) if name == room || rooms.contains(&&*name) => {}
            Target::Room(name) => {
                let may = if rooms.is_empty() {
                    "no other room".to_owned()
                } else {
                    format!("only {}", rooms.join(", "))
                };
                found.push(refuse(
                    used.line,
                    format!("crate::{name}"),
                    &format!(
                        "room `{room}` may use {may}. Move what is needed down into a room that both may use, or pass it in"
                    ),
                ));
            }
            Target::Crate(name) if !crates.contains(&name) || allowed.contains(&&*name) => {}
            Target::Crate(name) => found.push(refuse(
                used.line,
                name.clone(),
                &format!(
                    "room `{room}` does not use crate {name}. Do that in a room above and pass plain values; if the crate belongs here, say so in ROOMS of tests/walls.rs"
                ),
            )),
        }
    }
    found
}

#[test]
fn no_room_uses_what_is_not_for_it() {
    let crates = crates();
    let mut found = Vec::new();
    for (room, path) in files() {
        let text = fs::read_to_string(root().join("src").join(&path)).unwrap();
        found.extend(violations(&room, &path, &text, &crates));
    }
    assert!(found.is_empty(), "walls are broken:\n{}", found.join("\n"));
}

/// A permission that a room no longer uses must be removed, so that the table shows the real imports.
#[test]
fn no_room_may_use_more_than_it_does() {
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for (room, path) in files() {
        let text = fs::read_to_string(root().join("src").join(&path)).unwrap();
        used.extend(paths(&path, &text).into_iter().map(|used| {
            let (Target::Room(name) | Target::Crate(name)) = used.target;
            (room.clone(), name)
        }));
    }
    let mut found = Vec::new();
    for (room, rooms, crates) in ROOMS {
        for name in rooms.iter().chain(crates) {
            if !used.contains(&(room.to_owned(), (*name).to_owned())) {
                found.push(format!("`{room}` does not use `{name}`"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "take these out of ROOMS of tests/walls.rs:\n{}",
        found.join("\n")
    );
}

#[test]
fn arrows_between_rooms_point_one_way() {
    let mut known = BTreeSet::new();
    for (room, rooms, _) in ROOMS {
        for used in rooms {
            assert!(
                known.contains(used),
                "ROOMS: `{room}` may use `{used}`, which is not above it in the table: a circle, or a room that is gone"
            );
        }
        known.insert(room);
    }
    let there: BTreeSet<String> = files().into_iter().map(|(room, _)| room).collect();
    for (room, ..) in ROOMS {
        assert!(
            there.contains(room),
            "ROOMS: there is no src/{room}: remove it"
        );
    }
}

/// Rooms of decisions must stay pure: an edit of the table alone cannot give them Kubernetes, netlink or a runtime.
#[test]
fn decisions_know_neither_kubernetes_nor_netlink_nor_a_runtime() {
    for (room, _, crates) in ROOMS {
        if !["model", "wire", "election", "plan", "desired", "forecast"].contains(&room) {
            continue;
        }
        for name in crates {
            let outside = ["kube", "k8s_openapi", "schemars", "tokio", "hyper", "libc"];
            assert!(
                !outside.contains(name) && !name.contains("netlink"),
                "ROOMS opens `{room}` to {name}: decisions are plain values and functions"
            );
        }
    }
}

#[test]
fn an_errno_is_the_kernels_business() {
    for (room, path) in files() {
        let text = fs::read_to_string(root().join("src").join(&path)).unwrap();
        for (number, line) in text.lines().enumerate() {
            let errno = line.split("libc::").skip(1).any(|rest| {
                let mut bytes = rest.bytes();
                bytes.next() == Some(b'E') && bytes.next().is_some_and(|it| it.is_ascii_uppercase())
            });
            assert!(
                room == "kernel" || !errno,
                "src/{}:{}: `{}`: errnos stay in src/kernel: compare with a kind of `kernel::RefusalKind`",
                path.display(),
                number + 1,
                line.trim()
            );
        }
    }
}

/// Every form of import must be detected: an import that the lexer misses would never be refused.
#[test]
fn every_way_of_reaching_out_is_seen() {
    let crates = crates();
    let told = |path: &str, text: &str| violations("model", Path::new(path), text, &crates);
    for (text, import) in [
        ("use tokio::time;", "tokio"),
        ("use tokio;", "tokio"),
        ("use ::tokio::time;", "tokio"),
        ("use {std::fmt, kube::Client};", "kube"),
        ("fn f() { tokio::spawn(async {}); }", "tokio"),
        ("#[tokio::test]\nasync fn f() {}", "tokio"),
        ("use crate::agent::run;", "crate::agent"),
        (
            "use crate::{\n    model::Dev,\n    kernel::{Kernel, fake},\n};",
            "crate::kernel",
        ),
        ("use crate::{plan as p};", "crate::plan"),
        ("use directway::cli;", "crate::cli"),
        ("use crate::*;", "crate::*"),
        ("use super::super::admin;", "crate::admin"),
        (
            "mod tests { use super::super::super::admin; }",
            "crate::admin",
        ),
        ("fn f(it: &crate::api::Report) {}", "crate::api"),
        ("const A: char = '\"'; use tokio::time;", "tokio"),
        (
            "fn f<'a>(it: &'a str) -> char { '\\'' } use tokio::time;",
            "tokio",
        ),
    ] {
        let found = told("model/some.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(&format!("`{import}`")), "{found:?}");
    }
    for text in [
        "use super::tokio::x; use std::fmt; use crate::model::Dev;",
        "// use tokio::time;\n/* tokio::spawn /* */ kube::Client */",
        r###"const A: &str = "tokio::spawn \" kube::x"; const B: &str = r#"" tokio::x"#;"###,
        "mod tests { use super::super::Dev; }",
    ] {
        assert_eq!(told("model/some.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(
        told("model/mod.rs", "\nuse crate::kernel::fake;"),
        [
            "src/model/mod.rs:2: `crate::kernel`: room `model` may use no other room. Move what is needed down into a room \
             that both may use, or pass it in"
        ]
    );
}
