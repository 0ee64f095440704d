use std::{fs, time::Duration};

use tempfile::TempDir;

use super::Files;
use crate::{
    cluster::{SourceName, Store},
    model::{NodeName, VsKey},
};

/// A directory, its reader and its store, with a clock of their own.
struct Fixture {
    dir: TempDir,
    files: Files,
    store: Store,
    now: Duration,
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: directway.dev/v1alpha1\nkind: VirtualService\nmetadata: {{name: {name}}}\n\
         spec:\n  vips: [10.0.0.{port}]\n  ports: [{{port: {port}}}]\n  realServers: {{nodeSelector: {{}}}}\n"
    )
}

fn node(name: &str, label: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{label}: \"\"}}}}\n\
         status: {{addresses: [{{type: InternalIP, address: 10.0.0.2}}]}}\n"
    )
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            files: Files::new(dir.path(), None),
            store: Store::new(&[SourceName::Directory]),
            now: Duration::ZERO,
            dir,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Looks once, `later` milliseconds after the last time; returns whether anything changed.
    fn look(&mut self, later: u64) -> bool {
        self.now += Duration::from_millis(later);
        let look = self.files.look(self.now);
        self.store.apply(look.changes)
    }

    /// Looks again after each wait that a look returns, until one returns none.
    fn settle(&mut self) {
        for _ in 0..100 {
            let look = self.files.look(self.now);
            self.store.apply(look.changes);
            match look.again {
                Some(wait) => self.now += wait,
                None => return,
            }
        }
        panic!("it never settles");
    }

    fn services(&self) -> Vec<String> {
        let services = &self.store.snapshot().virtual_services;
        services
            .iter()
            .map(|(key, object)| {
                format!(
                    "{}:{}",
                    key.name,
                    if object.is_ok() { "ok" } else { "refused" }
                )
            })
            .collect()
    }

    fn port(&self, name: &str) -> u16 {
        let services = &self.store.snapshot().virtual_services;
        services[&VsKey::new("default", name)]
            .as_ref()
            .unwrap()
            .ports[0]
            .port
    }

    fn problem(&self, subject: &str) -> Option<&String> {
        self.store
            .problems()
            .get(&(SourceName::Directory, subject.to_owned()))
    }
}

#[test]
fn what_is_in_the_files_is_known_and_changes_are_followed() {
    let mut fixture = Fixture::new();
    fixture.write(
        "web.yaml",
        &format!("{}---\n{}", service("web", 80), service("mail", 25)),
    );
    fixture.write("nodes.yml", &node("a", "directway.dev/director"));
    fixture.write("README.md", "not a manifest");
    fixture.write(".web.yaml.swp", "an editor's");
    assert!(!fixture.store.is_synced());
    fixture.settle();
    assert!(fixture.store.is_synced() && fixture.store.is_complete());
    assert_eq!(fixture.services(), ["mail:ok", "web:ok"]);
    assert!(fixture.store.snapshot().nodes[&NodeName::from("a")].is_director());

    assert!(!fixture.look(5000), "nothing has changed");
    fixture.write(
        "web.yaml",
        &format!("{}---\n{}", service("web", 81), service("mail", 25)),
    );
    fixture.settle();
    assert_eq!(fixture.port("web"), 81);
    fs::remove_file(fixture.dir.path().join("web.yaml")).unwrap();
    fixture.settle();
    assert!(
        fixture.services().is_empty(),
        "a deleted file's objects stay"
    );
}

#[test]
fn an_empty_directory_is_synced() {
    let mut fixture = Fixture::new();
    fixture.settle();
    assert!(fixture.store.is_synced());
}

#[test]
fn a_half_written_file_changes_nothing() {
    let mut fixture = Fixture::new();
    let whole = format!("{}---\n{}", service("web", 80), service("mail", 25));
    fixture.write("web.yaml", &whole);
    fixture.settle();
    // Cut within a document, at its end, and to nothing, as a slow writer leaves it for a moment.
    let first = whole.find("---").unwrap();
    for cut in [0, first / 2, first, whole.len() - 4] {
        fixture.write("web.yaml", &whole[..cut]);
        fixture.look(1);
        fixture.look(100);
        assert_eq!(fixture.services(), ["mail:ok", "web:ok"], "cut at {cut}");
        fixture.write("web.yaml", &whole);
        fixture.settle();
        assert!(
            fixture.store.problems().is_empty(),
            "cut at {cut}: {:?}",
            fixture.store.problems()
        );
    }
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_disturbs_no_other() {
    let mut fixture = Fixture::new();
    fixture.write("web.yaml", &service("web", 80));
    fixture.settle();
    for broken in [
        "{",
        "",
        "kind: Banana",
        &service("web", 80).replace("80", "99999"),
    ] {
        fixture.write("web.yaml", broken);
        fixture.write("mail.yaml", &service("mail", 25));
        fixture.settle();
        assert_eq!(fixture.services(), ["mail:ok", "web:ok"], "{broken:?}");
        let problem = fixture.problem("web.yaml").unwrap();
        assert!(problem.contains("last good version"), "{problem}");
        assert!(
            fixture.store.is_complete(),
            "everything that ever was is known"
        );
        fs::remove_file(fixture.dir.path().join("mail.yaml")).unwrap();
    }
    fixture.write("web.yaml", &service("web", 81));
    fixture.settle();
    assert_eq!(
        (fixture.port("web"), fixture.problem("web.yaml")),
        (81, None)
    );
}

#[test]
fn a_file_that_never_was_good_is_told_of_and_makes_the_view_incomplete() {
    let mut fixture = Fixture::new();
    fixture.write("bad.yaml", &format!("{}---\n{{", service("mail", 25)));
    fixture.write("web.yaml", &service("web", 80));
    fixture.settle();
    assert!(fixture.store.is_synced() && !fixture.store.is_complete());
    assert_eq!(
        fixture.services(),
        ["mail:ok", "web:ok"],
        "the good documents count"
    );
    let problem = fixture.problem("bad.yaml").unwrap();
    assert!(
        problem.contains("bad.yaml") && problem.contains("line 9"),
        "{problem}"
    );
    fixture.write("bad.yaml", &service("mail", 25));
    fixture.settle();
    assert!(fixture.store.is_complete() && fixture.store.problems().is_empty());
}

#[test]
fn a_virtual_service_in_two_files_is_refused_with_both_names() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &service("web", 80));
    fixture.write("b.yaml", &service("web", 81));
    fixture.settle();
    assert_eq!(fixture.services(), ["web:refused"]);
    let problem = fixture.problem("VirtualService default/web").unwrap();
    assert!(problem.contains("a.yaml and b.yaml"), "{problem}");
    fs::remove_file(fixture.dir.path().join("a.yaml")).unwrap();
    fixture.settle();
    assert_eq!(
        (fixture.services(), fixture.port("web")),
        (vec!["web:ok".to_owned()], 81)
    );
    assert!(fixture.store.problems().is_empty());
}

#[test]
fn a_node_in_two_files_is_taken_from_the_first_and_told_of() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &node("node-1", "directway.dev/director"));
    fixture.write("b.yaml", &node("node-1", "directway.dev/backend"));
    fixture.settle();
    let nodes = &fixture.store.snapshot().nodes;
    assert!(nodes[&NodeName::from("node-1")].is_director());
    assert!(
        fixture
            .problem("Node node-1")
            .unwrap()
            .contains("a.yaml and b.yaml")
    );
}

#[test]
fn a_directory_that_is_gone_is_not_an_empty_one() {
    let mut fixture = Fixture::new();
    fixture.write("web.yaml", &service("web", 80));
    fixture.settle();
    let away = fixture.dir.path().with_extension("away");
    fs::rename(fixture.dir.path(), &away).unwrap();
    fixture.look(5000);
    assert_eq!(
        (fixture.services(), fixture.store.problems().len()),
        (vec!["web:ok".to_owned()], 1)
    );
    fs::rename(&away, fixture.dir.path()).unwrap();
    fixture.settle();
    assert!(fixture.store.problems().is_empty());
    assert_eq!(fixture.services(), ["web:ok"]);
}

#[test]
fn an_editor_that_moves_the_file_away_and_writes_a_new_one_removes_nothing() {
    let mut fixture = Fixture::new();
    fixture.write("web.yaml", &service("web", 80));
    fixture.settle();
    let path = fixture.dir.path().join("web.yaml");
    fs::rename(&path, fixture.dir.path().join("web.yaml~")).unwrap();
    assert!(!fixture.look(10));
    assert_eq!(fixture.services(), ["web:ok"]);
    fixture.write("web.yaml", &service("web", 81));
    fixture.settle();
    assert_eq!(fixture.port("web"), 81);
}

#[test]
fn a_service_has_no_endpoints_here() {
    let mut fixture = Fixture::new();
    let text = service("web", 80).replace("{nodeSelector: {}}", "{service: {name: web}}");
    fixture.write("a.yaml", &text);
    fixture.write("b.yaml", &service("dns", 53));
    fixture.settle();
    let services = &fixture.store.snapshot().virtual_services;
    let refusal = services[&VsKey::new("default", "web")]
        .as_ref()
        .unwrap_err();
    assert!(
        refusal
            .message
            .contains("spec.realServers.service: \"web\"")
            && refusal.message.contains("use nodeSelector or external"),
        "{refusal}"
    );
    assert!(services[&VsKey::new("default", "dns")].is_ok());
    assert_eq!(fixture.store.problems().len(), 1);
}

/// `umount` leaves the mount point, which is another directory and empty.
#[test]
fn an_empty_directory_in_the_place_of_one_with_manifests_takes_nothing_away() {
    let mut fixture = Fixture::new();
    let path = fixture.dir.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("web.yaml"), service("web", 80)).unwrap();
    fixture.files = Files::new(&path, None);
    fixture.settle();
    assert_eq!(fixture.services(), ["web:ok"]);
    let unmount = |name: &str| {
        fs::rename(&path, fixture.dir.path().join(name)).unwrap();
        fs::create_dir(&path).unwrap();
    };
    unmount("away");
    let subject = path.display().to_string();
    for _ in 0..3 {
        fixture.now += Duration::from_secs(5);
        let look = fixture.files.look(fixture.now);
        assert!(look.unreadable);
        fixture.store.apply(look.changes);
        assert_eq!(fixture.services(), ["web:ok"]);
        let problem = fixture.problem(&subject).unwrap();
        assert!(problem.contains("unmounted"), "{problem}");
    }
    // Another directory with manifests counts, and so does the deletion of its files.
    fs::write(path.join("mail.yaml"), service("mail", 25)).unwrap();
    fixture.settle();
    assert_eq!(fixture.services(), ["mail:ok"]);
    assert_eq!(fixture.problem(&subject), None);
    fs::remove_file(path.join("mail.yaml")).unwrap();
    fixture.settle();
    assert!(fixture.services().is_empty());
}

/// The agent is started anew while the file system is away; or its files were deleted while no agent ran.
#[test]
fn an_agent_that_starts_on_an_empty_directory_knows_whether_it_is_the_one_that_had_manifests() {
    let mut fixture = Fixture::new();
    let path = fixture.dir.path().join("manifests");
    let restart = |fixture: &mut Fixture| {
        fixture.files = Files::new(&path, fixture.files.identity());
        fixture.store = Store::new(&[SourceName::Directory]);
        fixture.settle();
    };
    fs::create_dir(&path).unwrap();
    fs::write(path.join("web.yaml"), service("web", 80)).unwrap();
    restart(&mut fixture);
    assert_eq!(fixture.services(), ["web:ok"]);
    let away = fixture.dir.path().join("away");
    fs::rename(&path, &away).unwrap();
    fs::create_dir(&path).unwrap();
    restart(&mut fixture);
    assert!(!fixture.store.is_synced());
    let subject = path.display().to_string();
    assert!(fixture.problem(&subject).unwrap().contains("unmounted"));
    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    fixture.settle();
    assert_eq!(fixture.services(), ["web:ok"]);
    fs::remove_file(path.join("web.yaml")).unwrap();
    restart(&mut fixture);
    assert!(fixture.store.is_synced() && fixture.services().is_empty());
}

#[test]
fn what_other_systems_make_of_a_manifest_is_read() {
    let mut fixture = Fixture::new();
    fixture.write("WEB.YAML", &service("web", 80));
    fixture.write("mail.Yml", &format!("\u{feff}{}", service("mail", 25)));
    let both = format!("{}---\n{}", service("dns", 53), service("ntp", 123));
    fixture.write(
        "windows.yaml",
        &format!("\u{feff}{}", both.replace('\n', "\r\n")),
    );
    fixture.settle();
    assert_eq!(
        fixture.services(),
        ["dns:ok", "mail:ok", "ntp:ok", "web:ok"]
    );
    assert!(fixture.store.problems().is_empty());
}

#[test]
fn what_is_not_read_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let mut fixture = Fixture::new();
    fixture.write("web.yaml", &service("web", 80));
    let latin = std::ffi::OsStr::from_bytes(b"b\xfcro.yaml");
    let latin = fixture.dir.path().join(latin);
    fs::write(&latin, service("mail", 25)).unwrap();
    let below = fixture.dir.path().join("below");
    for dir in [
        &below,
        &fixture.dir.path().join("empty"),
        &fixture.dir.path().join(".git"),
    ] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(below.join("dns.yaml"), service("dns", 53)).unwrap();
    fs::write(fixture.dir.path().join(".git/x.yaml"), "").unwrap();
    fixture.settle();
    assert_eq!(fixture.services(), ["web:ok"]);
    let told: Vec<&String> = fixture
        .store
        .problems()
        .keys()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(told, ["below", "b\u{fffd}ro.yaml"]);
    fs::remove_file(latin).unwrap();
    fs::remove_dir_all(below).unwrap();
    fixture.settle();
    assert!(fixture.store.problems().is_empty());
}
