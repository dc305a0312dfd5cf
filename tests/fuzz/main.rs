//! Runs the fuzz targets as ordinary tests.
//!
//! Runs every case of their corpora, and a number of mutations, which are the same in each run.
//! `FUZZ_CASES=100000` runs more mutations, `FUZZ_SEED=2` other ones. `fuzz/` runs the same targets
//! under libFuzzer.
#![allow(unreachable_pub, missing_docs)]

mod mutator;
mod targets;

use std::path::{Path, PathBuf};
use std::{env, fs};

use self::mutator::Mutator;

/// The default number of mutations.
const CASES: u64 = 1000;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// Returns the named cases of a target, in the same order on every machine.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = here().join("corpus").join(name);
    let mut cases: Vec<_> = fs::read_dir(folder)
        .expect("each target has a corpus")
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
        })
        .collect();
    cases.sort();
    cases
}

/// Names the case in which a target panicked.
struct Trying<'a>(&'a str, &'a [u8]);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case is {}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn run(target: &str, name: &str, data: &[u8]) {
    let (_, run) = targets::ALL
        .iter()
        .find(|(found, _)| *found == target)
        .expect("targets::ALL lists every target");
    let _trying = Trying(name, data);
    run(data);
}

fn run_corpus(target: &str) {
    let cases = corpus(target);
    assert!(!cases.is_empty());
    for (name, data) in &cases {
        run(target, name, data);
    }
}

fn run_mutations(target: &str) {
    let cases = corpus(target).into_iter().map(|(_, data)| data).collect();
    let words = mutator::words(&fs::read_to_string(here().join("words.dict")).unwrap());
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let mut mutator = Mutator::new(seed, cases, words);
    for n in 0..number("FUZZ_CASES").unwrap_or(CASES) {
        let name = format!("mutation {n} (FUZZ_SEED={seed} FUZZ_CASES={})", n + 1);
        run(target, &name, &mutator.next());
    }
}

macro_rules! targets {
    ($($(#[$when:meta])? $target:ident)*) => {$(
        $(#[$when])?
        mod $target {
            #[test]
            fn each_case_of_the_corpus_keeps_the_promises() {
                super::run_corpus(stringify!($target));
            }

            #[test]
            fn random_cases_keep_the_promises() {
                super::run_mutations(stringify!($target));
            }
        }
    )*

    /// The targets that are tested here.
    const TESTED: &[&str] = &[$($(#[$when])? stringify!($target)),*];
    };
}

targets! {
    challenge
    #[cfg(feature = "jwt")]
    dpop_nonces
    error_response
    metadata
    replay_body
    replay_schedule
    retry_after
    stored_record
    token_response
}

#[test]
fn each_target_is_tested_and_has_a_program() {
    let all: Vec<_> = targets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(all, TESTED);
    // The folder is not part of the package.
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if cfg!(feature = "jwt") && fuzz.exists() {
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        let programs = manifest.split("[[bin]]").skip(1).map(|bin| {
            let name = bin.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
            name.trim_matches('"')
        });
        assert_eq!(programs.collect::<Vec<_>>(), all);
    }
}
