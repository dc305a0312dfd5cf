//! The public settings, by the sources of the crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Reads the names of the constructors and setters of these types out of the sources.
pub fn public_settings(folder: &Path, found: &mut BTreeSet<String>) {
    const TYPES: [&str; 11] = [
        "ClientAssertion",
        "ClientAuth",
        "ClientSecretJwt",
        "Credentials",
        "Grant",
        "JwtBearer",
        "KeyFile",
        "RefreshToken",
        "SignedJwt",
        "SigningKey",
        "TokenExchange",
    ];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            public_settings(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut of = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(header) = line.strip_prefix("impl ") {
                let name = header.strip_suffix(" {").unwrap_or_default();
                of = TYPES.iter().find(|known| **known == name);
            }
            let function = line.strip_prefix("    pub ").and_then(|rest| {
                let rest = rest.strip_prefix("const ").unwrap_or(rest);
                rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")
            });
            let (Some(of), Some(function)) = (of, function) else { continue };
            let name = function.split(['(', '<']).next().unwrap();
            let mut signature = function.to_owned();
            while !signature.contains('{') {
                signature.push_str(lines.next().unwrap());
            }
            if signature.contains("-> Self") || signature.contains("-> Result<Self") {
                found.insert(format!("{of}::{name}"));
            }
        }
    }
}
