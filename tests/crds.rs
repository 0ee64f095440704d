//! `crds/`, and the chart's copy of it, is what the types say. To write both anew:
//! `UPDATE_CRDS=1 cargo test --test crds`.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn committed_definitions_are_those_of_the_types() {
    let files = directway::api::crd_files().unwrap();
    for directory in ["crds", "charts/directway/files/crds"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        if std::env::var_os("UPDATE_CRDS").is_some() {
            fs::create_dir_all(&path).unwrap();
            for (name, text) in &files {
                fs::write(path.join(name), text).unwrap();
            }
        }
        for (name, text) in &files {
            let committed = fs::read_to_string(path.join(name)).unwrap_or_default();
            assert!(
                committed == *text,
                "{directory}/{name} differs from the types: run UPDATE_CRDS=1 cargo test --test crds, and look at the difference"
            );
        }
        let expected: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let present: Vec<String> = fs::read_dir(&path)
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
