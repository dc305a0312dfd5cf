//! Every rule and every row has a test that names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// `C4` or `alf 32` out of each comment line of each file.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for comment in text.lines().filter_map(|line| line.trim().strip_prefix("// ")) {
                let mut series = String::new();
                for name in comment.split(',').map(str::trim) {
                    // `alf 36, 37` names both.
                    if let Some(row) = name.strip_prefix("alf ") {
                        series = "alf ".into();
                        found.insert(format!("alf {row}"));
                    } else if !series.is_empty() && name.parse::<u32>().is_ok() {
                        found.insert(format!("{series}{name}"));
                    } else {
                        series.clear();
                        found.insert(name.to_owned());
                    }
                }
            }
        }
    }
}

#[test]
fn every_rule_and_every_row_is_named_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["tests", "src"] {
        names(&root.join(folder), &mut found);
    }
    let rules = [("C", 11), ("R", 8), ("S", 7), ("W", 10), ("X", 5), ("G", 6)];
    let rules = rules
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}{number}")));
    let rows = (1..=43).map(|row| format!("alf {row}"));
    let expected = rules.chain(rows).chain(["O".to_owned()]);
    let missing: Vec<_> = expected.filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
