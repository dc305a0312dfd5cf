//! Writes the JSON text of `authorization_details` (RFC 9396).

use serde_json::{Map, Value};

use crate::error::ConfigError;

const SETTING: &str = "authorization_details";

/// Returns the JSON text of `authorization_details`, or `None` if the list is empty.
///
/// Members are sorted, because equal credentials have equal texts on all machines, and a JSON map
/// may keep the order in which members were added.
pub(super) fn to_text(details: Value) -> Result<Option<Box<str>>, ConfigError> {
    let Value::Array(items) = details else {
        return Err(ConfigError::new(SETTING, "must be a JSON array of objects"));
    };
    for item in &items {
        let Value::Object(members) = item else {
            return Err(ConfigError::new(SETTING, "must be a JSON array of objects"));
        };
        match members.get("type") {
            Some(Value::String(name)) if !name.is_empty() => {}
            _ => return Err(ConfigError::new(SETTING, "needs a type in each object")),
        }
    }
    Ok((!items.is_empty()).then(|| sorted(Value::Array(items)).to_string().into()))
}

/// Returns the value with the members of all its objects sorted.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let members = members.into_iter().map(|(name, value)| (name, sorted(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other,
    }
}
