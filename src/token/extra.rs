//! Holds the members of a token response that have no method of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

/// The maximum size of the members that a token keeps, in bytes of JSON.
const MAX_SIZE: usize = 64 * 1024;

/// Holds the text of a JSON object.
///
/// A tree of the same values can take a hundred times as much memory.
#[derive(Clone, Default)]
pub(crate) struct Extra(Option<Arc<str>>);

impl Extra {
    /// Keeps the members that fit into 64 KiB, the smallest first.
    pub(crate) fn new<'a>(members: impl IntoIterator<Item = (&'a str, &'a RawValue)>) -> Self {
        let mut members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| (Value::from(name).to_string(), value.get()))
            .collect();
        members.sort_by_key(|(name, value)| name.len() + value.len());

        let mut text = String::new();
        let mut kept = 0;
        for (name, value) in &members {
            // The 3 bytes are a brace or a comma before the member, a colon, and the last brace.
            if text.len() + name.len() + value.len() + 3 > MAX_SIZE {
                break;
            }
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(name);
            text.push(':');
            text.push_str(value);
            kept += 1;
        }
        let dropped = members.len() - kept;
        if dropped > 0 {
            tracing::debug!(
                dropped,
                "extra members of a token were dropped, because they exceed 64 KiB"
            );
        }
        if text.is_empty() {
            return Self::default();
        }
        text.push('}');
        Self(Some(text.into()))
    }

    /// Returns the value of a member, or `None` if it cannot be read.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.members().get(name)?.get()).ok()
    }

    /// Returns the members whose values can be read.
    pub(crate) fn values(&self) -> impl Iterator<Item = (String, Value)> {
        let members = self.members().into_iter();
        members.filter_map(|(name, raw)| Some((name, serde_json::from_str(raw.get()).ok()?)))
    }

    /// Returns a copy with another member, which replaces one of the same name.
    pub(crate) fn with(&self, name: &str, value: &Value) -> Self {
        let value = serde_json::value::to_raw_value(value).expect("a `Value` has only text keys");
        let mut members = self.members();
        members.insert(name.to_owned(), &value);
        Self::new(members.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    fn members(&self) -> BTreeMap<String, &RawValue> {
        let text = self.0.as_deref().unwrap_or("{}");
        // The text was made of JSON members, and a server's text must not cause a panic.
        serde_json::from_str(text).unwrap_or_default()
    }
}
