//! The page `defaults` of the guide links to each setting.

use std::collections::BTreeSet;

use crate::sources::sources;

/// Types whose methods take and return `Self`, but are not settings. They are values, handles,
/// policies that are combined, and test doubles.
const NOT_SETTINGS: &[&str] =
    &["AccessToken", "Reply", "ReplayPolicy", "StoredValue", "TokenRequest", "Tokens"];

/// Returns the type and the name of each public method that takes and returns `Self`.
fn setters(source: &str) -> BTreeSet<(&str, &str)> {
    let mut found = BTreeSet::new();
    let mut type_name = None;
    let starts = source.match_indices("\nimpl").chain(source.match_indices("\n    pub "));
    let mut starts: Vec<_> = starts.map(|(at, _)| &source[at + 1..]).collect();
    starts.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
    for text in starts {
        let head = text.split_once(" {").map_or(text, |(head, _)| head);
        if head.starts_with("impl") {
            // `impl<S: Bound> Type<S>` or `impl Type`, but not `impl Trait for Type`.
            let words = head.split_whitespace();
            let name = head.rsplit("> ").next().filter(|_| head.starts_with("impl<"));
            let name = name.or(words.clone().nth(1)).and_then(|name| name.split('<').next());
            type_name = name.filter(|_| !head.contains(" for "));
        } else if let Some((_, signature)) = head.split_once("fn ") {
            let takes_self = signature.contains("(self") || signature.contains("mut self");
            let is_setter = (takes_self || signature.contains("\n        self,"))
                && !signature.contains("&mut self")
                && (signature.contains("-> Self") || signature.contains("-> Result<Self,"));
            if let (true, Some(type_name)) = (is_setter, type_name) {
                found.insert((type_name, signature.split(['(', '<']).next().unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_guide_links_to_each_setting() {
    let guide = include_str!("../../src/guide/defaults.md");
    let sources = sources();
    let all: BTreeSet<_> = sources.iter().flat_map(|source| setters(source)).collect();
    for known in [
        ("TokenCacheBuilder", "renew_ahead"),
        ("TokenEndpoint", "header"),
        ("EncryptedStore", "also_opens"),
        ("ReplayableLayer", "limit"),
        ("OAuth2Layer", "scheme"),
    ] {
        assert!(all.contains(&known), "{known:?} was not found in the sources");
    }
    for (type_name, name) in all {
        let links =
            [format!("::{type_name}::{name})"), format!("/struct.{type_name}.html#method.{name})")];
        let is_linked = links.iter().any(|link| guide.contains(link));
        assert!(
            is_linked || NOT_SETTINGS.contains(&type_name),
            "{type_name}::{name} is not on the page"
        );
    }
}
