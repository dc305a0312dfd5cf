//! Stores the lists of strings in a document.

use serde_json::Value;

/// The lists that [`Metadata`](super::Metadata) has a method for.
pub(super) const LISTS: [&str; 5] = [AUTH_METHODS, AUTH_ALGORITHMS, GRANT_TYPES, SCOPES, DPOP];

pub(super) const AUTH_METHODS: &str = "token_endpoint_auth_methods_supported";
pub(super) const AUTH_ALGORITHMS: &str = "token_endpoint_auth_signing_alg_values_supported";
pub(super) const GRANT_TYPES: &str = "grant_types_supported";
pub(super) const SCOPES: &str = "scopes_supported";
pub(super) const DPOP: &str = "dpop_signing_alg_values_supported";

/// Strings one after the other, which take little more memory than in the document.
#[derive(Default)]
pub(super) struct TextList {
    text: Box<str>,
    /// The end of each string in `text`.
    ends: Box<[u32]>,
}

impl TextList {
    /// Returns the strings of a JSON array. It is empty if there is none.
    pub(super) fn new(value: Option<&Value>) -> Self {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        let (mut text, mut ends) = (String::new(), Vec::new());
        for item in items.filter_map(Value::as_str) {
            text.push_str(item);
            // The conversion succeeds, because a document has at most 1 MiB.
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        Self { text: text.into(), ends: ends.into() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| {
            self.text.get(usize::try_from(start).ok()?..usize::try_from(*end).ok()?)
        })
    }
}
