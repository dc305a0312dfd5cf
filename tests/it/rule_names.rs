//! Each rule of the guarantees, and each row of ALF, is named by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Collects names such as `C4` and `alf 32` from the comment lines of each file.
fn collect_names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_names(&path, found);
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

/// Returns the names of the numbered rules, such as `C4`. A section begins with `# C: `, and a rule
/// with its number.
fn rules(page: &Path) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    let text = fs::read_to_string(page).unwrap();
    for line in text.lines() {
        if let Some((letter, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(": ")) {
            section = letter;
        } else if let Some((number, _)) = line.split_once(". ") {
            if number.parse::<u32>().is_ok() {
                names.push(format!("{section}{number}"));
            }
        }
    }
    names
}

#[test]
fn every_rule_and_every_row_is_named_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["tests", "src"] {
        collect_names(&root.join(folder), &mut found);
    }
    let rules = rules(&root.join("src/guide/guarantees.md"));
    assert!(rules.len() > 40, "the rules were not found: {rules:?}");
    let rows = (1..=43).map(|row| format!("alf {row}"));
    let expected = rules.into_iter().chain(rows).chain(["O".to_owned()]);
    let missing: Vec<_> = expected.filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
