//! Tests that the compiler names the repair of common mistakes.
//!
//! The texts are those of one version of the compiler. Rewrite them with `TRYBUILD=overwrite`.

use std::process::Command;

/// The compiler whose texts are in `cases`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn compile_errors_name_the_repair() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    if version.stdout.starts_with(COMPILER.as_bytes()) {
        trybuild::TestCases::new().compile_fail("cases/*.rs");
    } else {
        println!("skipped: the texts in `cases` are those of {COMPILER}*");
    }
}
