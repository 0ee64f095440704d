//! The binary as a user runs it: what it prints, and its exit status. No privileges, no cluster.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_directway");

/// What a run printed, and its exit status.
struct Ran {
    out: String,
    err: String,
    code: i32,
}

fn run_as(program: &Path, args: &[&str]) -> Ran {
    let output = Command::new(program)
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"))
        .env_remove("NODE_NAME")
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn run(args: &[&str]) -> Ran {
    run_as(Path::new(BINARY), args)
}

/// A directory of this test's own, gone at its end.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn source(&self) -> String {
        format!("dir:{}", self.0.path().display())
    }
}

fn plan<'a>(node: &'a str, observed: &'a str) -> Vec<&'a str> {
    let source = "dir:manifests";
    vec![
        "plan",
        "--node",
        node,
        "--source",
        source,
        "--observed",
        observed,
    ]
}

#[test]
fn a_real_server_s_plan_is_its_lines_in_safe_order() {
    let ran = run(&plan("r1", "r1.yaml"));
    assert_eq!(
        ran.out,
        "\
# r1: 7 ops
#   quiet
sysctl -w net.ipv4.conf.eth0.arp_ignore=1
sysctl -w net.ipv4.conf.eth0.arp_announce=2
sysctl -w net.ipv4.conf.eth1.arp_ignore=1
sysctl -w net.ipv4.conf.eth1.arp_announce=2
#   device
ip link add vip0 up type dummy
#   bind
ip addr add 10.77.0.100/32 dev vip0 proto 215
#   route
ip route add 10.77.0.100/32 dev vip0 proto 215

# note: on the wire, every real server in a network of the node was taken as reachable, and the VIPs as free
"
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn a_director_s_plan_changes_what_differs_and_nothing_foreign() {
    let ran = run(&plan("d", "d.yaml"));
    assert_eq!(
        ran.out,
        "\
# d: 5 ops
#   step 1, direct
ipvsadm -a -t 10.77.0.100:80 -r 10.77.0.11:80 -g -w 1
ipvsadm -e -t 10.77.0.100:80 -r 10.77.0.12:80 -g -w 3
#   step 1, quiesce
ipvsadm -e -t 10.77.0.100:80 -r 10.77.0.13:80 -g -w 0
#   step 1, claim
ip addr add 10.77.0.100/32 dev eth0 proto 215
#   step 2, when drained, remove
ipvsadm -d -t 10.77.0.100:80 -r 10.77.0.13:80

# note: on the wire, every real server in a network of the node was taken as reachable, and the VIPs as free
"
    );
    assert_eq!(ran.code, 0);
}

#[test]
fn a_node_that_has_no_part_gives_back_what_is_ours_only() {
    let ran = run(&plan("stranger", "d.yaml"));
    let lines: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        lines,
        [
            "ipvsadm -D -t 10.77.0.100:80",
            "ip addr del 10.77.0.100/32 dev lo",
            "sysctl -w net.ipv4.conf.eth0.arp_ignore=0",
            ""
        ]
    );
    assert!(ran.out.contains("has no node stranger"), "{}", ran.out);
}

#[test]
fn json_and_yaml_say_the_same() {
    let with = |format| {
        let mut args = plan("d", "d.yaml");
        args.extend(["-o", format]);
        run(&args).out
    };
    let json: serde_json::Value = serde_json::from_str(&with("json")).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&with("yaml")).unwrap();
    assert_eq!(json, yaml);
    let ops = json["nodes"][0]["ops"].as_array().unwrap();
    assert_eq!(ops.len(), 5);
    assert_eq!(ops[0]["phase"], "add-destination");
    assert_eq!(json["refusals"], serde_json::json!([]));
}

#[test]
fn refusals_name_the_object_the_field_and_the_fix() {
    let scratch = Scratch::new();
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/cli/manifests")
            .join(name);
        std::fs::read_to_string(path).unwrap()
    };
    scratch.write("nodes.yaml", &read("nodes.yaml"));
    scratch.write("web.yaml", &read("web.yaml"));
    let other = read("web.yaml").replace("name: web", "name: younger");
    scratch.write(
        "younger.yaml",
        &other.replace("namespace: shop", "namespace: zoo"),
    );
    let wrong = read("web.yaml").replace("name: web", "name: wrong");
    scratch.write("wrong.yaml", &wrong.replace("port: 80", "port: 80000"));
    let source = scratch.source();
    let mut args = plan("d", "d.yaml");
    args[4] = &source;
    let ran = run(&args);
    assert_eq!(ran.code, 2, "{}", ran.out);
    let refused = |start: &str, parts: &[&str]| {
        let line = ran.out.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no {start} in {}", ran.out));
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    };
    refused("#   zoo/younger", &["PortClaimed", "shop/web"]);
    refused(
        "#   shop/wrong",
        &["InvalidSpec", "spec.ports[0].port", "80000", "65535"],
    );
    assert!(
        ran.out.contains("10.77.0.11:80 -g -w 1"),
        "the others go on: {}",
        ran.out
    );
}

#[test]
fn bad_input_is_a_message_and_no_backtrace() {
    let scratch = Scratch::new();
    let broken = scratch.write(
        "broken.json",
        "{\"version\": 1, \"services\": [{\"vip\": \"x\"}]}",
    );
    let newer = scratch.write("newer.json", "{\"version\": 9}");
    for (args, code, part) in [
        (plan("d", "absent.json"), 64, "--observed absent.json"),
        (plan("d", &broken), 64, "line 1, column 37"),
        (plan("d", &newer), 64, "version: 9"),
        (vec!["plan", "--source", "dir:absent"], 64, "absent"),
        (
            vec!["plan", "--source", "floppy"],
            64,
            "use kubernetes or dir:PATH",
        ),
        (vec!["plan", "--delete"], 64, "--filename"),
        (vec!["plan", "-f", "d.yaml", "--node", "d"], 64, "--node"),
        (
            vec!["plan", "-f", "manifests/nodes.yaml"],
            64,
            "has no VirtualService",
        ),
        (
            vec!["plan", "-f", "manifests/web.yaml"],
            1,
            "/nonexistent/kubeconfig",
        ),
        (
            vec!["status", "--admin-address", "127.0.0.1:1"],
            1,
            "127.0.0.1:1",
        ),
        (
            vec!["status", "--kubeconfig", "absent"],
            1,
            "--kubeconfig absent",
        ),
        (vec!["agent"], 64, "--node-name"),
        (
            vec!["agent", "--node-name", "d", "--log-level", "=,="],
            64,
            "log level",
        ),
        (vec!["check", "--vip", "web"], 64, "--vip"),
        (vec!["frobnicate"], 64, "frobnicate"),
    ] {
        let ran = run(&args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(part), "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{args:?}");
        assert!(
            !ran.err.contains("panicked") && !ran.err.contains('\u{1b}'),
            "{args:?}: {}",
            ran.err
        );
    }
}

#[test]
fn the_variable_of_the_agent_s_pod_names_the_node_and_contradicts_nothing() {
    let with_variable = |args: &[&str]| {
        let output = Command::new(BINARY)
            .args(args)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"))
            .env("NODE_NAME", "r1")
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, out) =
        with_variable(&["plan", "--source", "dir:manifests", "--observed", "r1.yaml"]);
    assert!(code == Some(0) && out.starts_with("# r1: 7 ops"), "{out}");
    // The command gets as far as looking for a cluster, and fails there.
    assert_eq!(
        with_variable(&["plan", "-f", "manifests/web.yaml"]).0,
        Some(1)
    );
}

#[test]
fn crd_prints_both_kinds() {
    let ran = run(&["crd"]);
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&ran.out).unwrap();
    let kinds: Vec<_> = documents
        .iter()
        .map(|crd| &crd["spec"]["names"]["kind"])
        .collect();
    assert_eq!(kinds, ["VirtualService", "NodeState"]);
}

#[test]
fn help_teaches_by_example() {
    let help = run(&["--help"]).out;
    for name in [
        "agent",
        "controller",
        "crd",
        "plan",
        "status",
        "observe",
        "check",
        "cleanup",
    ] {
        assert!(
            help.lines().any(|line| line.trim().starts_with(name)),
            "{name} in {help}"
        );
        let ran = run(&[name, "--help"]);
        assert_eq!(ran.code, 0, "{name}");
        assert!(
            ran.out.contains("Example"),
            "{name} has no example:\n{}",
            ran.out
        );
        let example = format!("  directway {name}");
        assert!(
            ran.out.contains(&example),
            "{name} has no line to copy:\n{}",
            ran.out
        );
        let long = ran.out.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{name}");
        assert!(
            !ran.out.contains('\u{1b}'),
            "{name}: colours without a terminal"
        );
    }
}

#[test]
fn no_command_is_a_question_for_help() {
    let ran = run(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (64, ""));
    assert!(
        ran.err.contains("Usage: directway <COMMAND>"),
        "{}",
        ran.err
    );
    let version = format!("directway {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]).out, version);
}

#[test]
fn as_a_plugin_it_calls_itself_kubectl_directway() {
    let scratch = Scratch::new();
    let plugin = scratch.0.path().join("kubectl-directway");
    std::os::unix::fs::symlink(BINARY, &plugin).unwrap();
    let ran = run_as(&plugin, &["plan", "--help"]);
    assert!(
        ran.out.contains("Usage: kubectl directway plan"),
        "{}",
        ran.out
    );
    let ran = run_as(&plugin, &["crd"]);
    assert_eq!(ran.out, run(&["crd"]).out);
}

#[test]
fn what_needs_a_cluster_says_so() {
    for command in ["undo", "connect", "status"] {
        let ran = run(&[command]);
        assert_eq!(ran.code, 1, "{command}: {}", ran.err);
        assert!(ran.err.contains("no cluster"), "{command}: {}", ran.err);
    }
    let ran = run(&["undo", "--switch", "nowhere"]);
    assert_eq!(ran.code, 64);
    assert!(
        ran.err.contains("\"nowhere\" is not NAMESPACE/NAME"),
        "{}",
        ran.err
    );
    let ran = run(&["undo", "--cancel", "--timeout", "5"]);
    assert_eq!(ran.code, 64, "{}", ran.err);
}
